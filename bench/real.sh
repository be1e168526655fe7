#!/usr/bin/env bash
# The whole job on real data: one base from books, textbooks and the training rows as plain text,
# tuned three ways for each recipe and for the mixture of all, judged on the development rows.
#
#   bench/real.sh DATA OUT [PRETRAIN_TOKENS] [TUNE_MINUTES] [LIMIT]
#
# DATA holds pretrain/{standardebooks,openstax}, sql_qa/{wikisql,spider,wikisql_train_nodb},
# medical/{medquad,medical_meadow_small,med_safety_bench} and chat/{sgd,topical_chat,mts_dialog}.
# Rows with a fault are named and left out. RECIPES names others than all three; MIX= leaves the
# mixture out. Every stage is an ordinary command; one that is finished is passed over, one that was
# stopped goes on, so the script can be started again after Ctrl-C.
set -euo pipefail
usage="usage: bench/real.sh DATA OUT [PRETRAIN_TOKENS] [TUNE_MINUTES] [LIMIT]"
data=${1:?"$usage"}
out=${2:?"$usage"}
tokens=${3:-7000000}
minutes=${4:-5}
limit=${5:-500}
recipes=${RECIPES:-sql_qa medical chat}
mix=${MIX-${recipes// /,}}
python=${PYTHON:-python3}
ftkit() { "$python" -m ftkit "$@"; }

declare -A sets=(
  [sql_qa]="wikisql spider wikisql_train_nodb"
  [medical]="medquad medical_meadow_small med_safety_bench"
  [chat]="sgd topical_chat mts_dialog"
)
rows() { # rows RECIPE: its sources, one word a line
  local name
  for name in ${sets[$1]}; do printf '%s\n' --data "$data/$1/$name"; done
}

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
texts=()
# About as much plain text as rows: the first books and textbooks in alphabetical order.
for book in $(ls "$data"/pretrain/standardebooks/train/*.txt.gz | head -n 6) \
            $(ls "$data"/pretrain/openstax/train/*.txt.gz | head -n 2); do
  texts+=(--data "$book")
done
all=()
for recipe in $recipes; do
  mapfile -t own < <(rows "$recipe")
  all+=("${own[@]}")
  [ -f "$out/$recipe.jsonl" ] || ftkit data --recipe "$recipe" "${own[@]}" --on-bad-rows skip --prose "$out/$recipe.jsonl"
  texts+=(--data "$out/$recipe.jsonl")
done
stage "$out/base" pretrain "${texts[@]}" --tokens "$tokens" --set plan.vocab_size=8192
for method in full lora soft_prompt; do
  for recipe in $recipes; do
    mapfile -t own < <(rows "$recipe")
    stage "$out/$recipe-$method" tune --recipe "$recipe" --method "$method" --base "$out/base" \
      "${own[@]}" --on-bad-rows skip --minutes "$minutes" --set recipe.max_new_tokens=128
  done
  [ -z "$mix" ] || stage "$out/mixture-$method" tune --recipe "$mix" --method "$method" \
    --base "$out/base" "${all[@]}" --on-bad-rows skip --minutes "$minutes" --set recipe.max_new_tokens=128
done
folders=()
for name in ${recipes} ${mix:+mixture}; do
  for method in soft_prompt lora full; do folders+=("$out/$name-$method"); done
done
ftkit eval "${folders[@]}" --limit "$limit" --out "$out/eval"
