#!/usr/bin/env bash
# The whole job on real data: a base from books, textbooks and SQL notebooks, tuned three ways on
# WikiSQL and Spider, judged on their development questions.
#
#   bench/real_sql.sh DATA OUT [PRETRAIN_TOKENS] [TUNE_MINUTES]
#
# DATA holds pretrain/{standardebooks,openstax}/train/*.txt.gz and sql_qa/{wikisql,spider,wikisql_train_nodb}.
# Every stage is an ordinary command; a stage that is finished is passed over, one that was stopped
# goes on, so the script can be started again after Ctrl-C.
set -euo pipefail
data=${1:?"usage: bench/real_sql.sh DATA OUT [PRETRAIN_TOKENS] [TUNE_MINUTES]"}
out=${2:?"usage: bench/real_sql.sh DATA OUT [PRETRAIN_TOKENS] [TUNE_MINUTES]"}
tokens=${3:-7000000}
minutes=${4:-5}
python=${PYTHON:-python3}
ftkit() { "$python" -m ftkit "$@"; }
sql="$data/sql_qa"
rows=(--data "$sql/wikisql" --data "$sql/spider" --data "$sql/wikisql_train_nodb")

stage() { # stage FOLDER COMMAND...: begin, go on or pass over
  local folder=$1
  shift
  if [ -f "$folder/run/done" ]; then
    echo "$folder is finished"
  elif [ -f "$folder/run/run.toml" ]; then
    ftkit "$1" --resume --out "$folder"
  else
    ftkit "$@" --out "$folder"
  fi
}

mkdir -p "$out"
[ -f "$out/notebooks.jsonl" ] || ftkit data --recipe sql_qa "${rows[@]}" --prose "$out/notebooks.jsonl"
# About as much plain text as notebooks: the first books and textbooks in alphabetical order.
books=()
for book in $(ls "$data"/pretrain/standardebooks/train/*.txt.gz | head -n 6) \
            $(ls "$data"/pretrain/openstax/train/*.txt.gz | head -n 2); do
  books+=(--data "$book")
done
stage "$out/base" pretrain "${books[@]}" --data "$out/notebooks.jsonl" \
  --tokens "$tokens" --set plan.vocab_size=8192
for method in full lora soft_prompt; do
  stage "$out/sql_qa-$method" tune --recipe sql_qa --method "$method" --base "$out/base" "${rows[@]}" \
    --minutes "$minutes" --set recipe.max_new_tokens=128
done
ftkit eval "$out"/sql_qa-* --out "$out/eval"
