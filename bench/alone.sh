#!/usr/bin/env bash
# One recipe on a base that read that recipe's embedded corpus alone: the quick trial behind the
# choices in docs/findings.md, of which the demo is the whole.
#
#   bench/alone.sh RECIPE TOKENS OUT [METHODS] [LIMIT] [--set NAME=VALUE ...]
#
# METHODS is a list in quotes ("lora full"); the settings go to each tuning.
set -euo pipefail
usage="usage: bench/alone.sh RECIPE TOKENS OUT [METHODS] [LIMIT] [--set NAME=VALUE ...]"
recipe=${1:?"$usage"}
tokens=${2:?"$usage"}
out=${3:?"$usage"}
methods=${4:-lora full}
limit=${5:-240}
shift $(($# < 5 ? $# : 5))
python=${PYTHON:-python3}

mkdir -p "$out"
if [ ! -f "$out/base/run/done" ]; then
  "$python" - "$recipe" > "$out/corpus.jsonl" <<'EOF'
import json
import sys

from ftkit.catalog import load

for text in load("recipes", sys.argv[1]).corpus():
    print(json.dumps({"text": text}))
EOF
  "$python" -m ftkit pretrain --data "$out/corpus.jsonl" --tokens "$tokens" --out "$out/base"
fi
runs=()
for method in $methods; do
  runs+=("$out/$method")
  if [ ! -f "$out/$method/run/done" ]; then
    "$python" -m ftkit tune --recipe "$recipe" --method "$method" --base "$out/base" --out "$out/$method" "$@"
  fi
done
"$python" -m ftkit eval "${runs[@]}" --recipe "$recipe" --limit "$limit" --out "$out/eval"
