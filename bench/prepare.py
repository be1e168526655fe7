"""Rows a second from dialogues to packed rows of tokens and labels: ftkit, and TRL's preparation.

    python bench/prepare.py --base RUN --rows ROWS.jsonl.gz --trl PYTHON [--count 12000] [--out F]

The same rows (question, answer), tokenizer and chat template; rows of LENGTH tokens. Each runs in
a process of its own, one after the other, on one thread, with cold caches. ftkit: render, mask,
drop what is too long, pack, and lay every row out as tensors. TRL: what SFTTrainer does with a
dataset (`_prepare_dataset`: tokenize, build labels, pack best-fit) in both its forms, messages with
assistant_only_loss and prompt with completion; its collator comes later and is not counted. Seconds
are the processor's, so that other work on the machine does not count. PYTHON has trl installed.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _figures import kept

LENGTH = 1024
BATCH = 8
ALONE = {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}


def main() -> None:
    """Measure every variant in a process of its own and print the ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--base", type=Path, required=True, help="a run with tokenizer and template"
    )
    parser.add_argument("--rows", type=Path, required=True, help="rows of question and answer")
    parser.add_argument("--trl", required=True, help="a Python that has trl")
    parser.add_argument("--count", type=int, default=12_000, help="rows")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--notes", default="", help="what a reader of the figures must know")
    parser.add_argument("--only", choices=VARIANTS, help="measure this one here and print it")
    asked = parser.parse_args()
    if asked.only:
        print(json.dumps(VARIANTS[asked.only](asked.base, pairs(asked.rows, asked.count))))
        return
    found: dict[str, Any] = {}
    for name in VARIANTS:
        python = asked.trl if name.startswith("trl") else sys.executable
        told = ["--base", str(asked.base), "--rows", str(asked.rows), "--count", str(asked.count)]
        command = [python, __file__, *told, "--trl", asked.trl, "--only", name]
        print("$", *command, flush=True)
        with tempfile.TemporaryDirectory() as cache:
            alone = os.environ | ALONE | {"HF_DATASETS_CACHE": cache}
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=alone)
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
        found[name] = json.loads(done.stdout.splitlines()[-1])
        said = found[name]
        said["rows_per_second"] = round(asked.count / said["seconds"], 1)
        print(f"{name:16} {said['rows_per_second']:9,.0f} rows/s  {said}", flush=True)
    best = max(found[name]["rows_per_second"] for name in found if name.startswith("trl"))
    ratio = found["ftkit"]["rows_per_second"] / best
    print(f"against TRL's faster form: ratio {ratio:.2f}")
    kept(
        asked.out,
        f"From {asked.count:,} dialogues to packed rows of {LENGTH} tokens",
        ["", "rows/s", "places filled", "how"],
        [
            [name, f"{said['rows_per_second']:,.0f}", f"{said['filled']:.1%}", said["how"]]
            for name, said in found.items()
        ],
        notes=f"against TRL's faster form: {ratio:.2f}. Seconds are the processor's. {asked.notes}",
        variants=found,
        ratio=round(ratio, 3),
    )


def pairs(file: Path, count: int) -> list[tuple[str, str]]:
    """Read questions and answers."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for _, line in zip(range(count), lines, strict=False)]
    assert len(rows) == count, len(rows)
    return [(row["question"], row["answer"]) for row in rows]


def dialogue(question: str, answer: str) -> tuple[dict[str, str], dict[str, str]]:
    """Put a row into messages."""
    return {"role": "user", "content": question}, {"role": "assistant", "content": answer}


def figures(began: tuple[float, float], tokens: int, rows: int, how: str) -> dict[str, Any]:
    """Say how long it took and how full the rows are."""
    return {
        "seconds": round(time.process_time() - began[0], 3),
        "wall": round(time.perf_counter() - began[1], 3),
        "filled": round(tokens / (rows * LENGTH), 4),
        "how": how,
    }


def ftkit(base: Path, rows: list[tuple[str, str]]) -> dict[str, Any]:
    """Run what `ftkit tune` does between reading and training."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from transformers import AutoTokenizer

    from ftkit.recipes._check import encode
    from ftkit.recipes._pack import Packer
    from ftkit.recipes._recipe import Example
    from ftkit.recipes._render import Renderer

    tokenizer = AutoTokenizer.from_pretrained(base)
    examples = [Example(dialogue(*row), {}, str(place)) for place, row in enumerate(rows)]
    began = time.process_time(), time.perf_counter()
    found = encode(examples, Renderer(tokenizer), LENGTH)
    packer = Packer(found.items, LENGTH, BATCH, where=found.where)
    learned = sum(packer(number).tokens for number in range(packer.updates))
    how = f"{found.part.overlong} too long and dropped, {learned:,} tokens learned"
    return figures(began, found.part.tokens, len(packer.rows(0)), how)


def trl(base: Path, rows: list[tuple[str, str]], *, completion: bool) -> dict[str, Any]:
    """Run SFTTrainer's preparation of a dataset."""
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM
    from trl import SFTConfig, SFTTrainer, __version__  # type: ignore[import-not-found]

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(base)
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "head_dim": 8}
    heads = {"num_attention_heads": 1, "num_key_value_heads": 1, "vocab_size": len(tokenizer)}
    talks = [dialogue(*row) for row in rows]
    if completion:
        table = [{"prompt": [asked], "completion": [said]} for asked, said in talks]
    else:
        table = [{"messages": list(talk)} for talk in talks]
    loss = {"completion_only_loss": True} if completion else {"assistant_only_loss": True}
    with tempfile.TemporaryDirectory() as out:
        args = SFTConfig(
            out, packing=True, max_length=LENGTH, report_to="none", use_cpu=True, bf16=False, **loss
        )
        model = Qwen3ForCausalLM(Qwen3Config(**size, **heads))
        first = Dataset.from_list(table[:8])
        trainer = SFTTrainer(model, args, train_dataset=first, processing_class=tokenizer)
        data = Dataset.from_list(table)
        began = time.process_time(), time.perf_counter()
        packed = trainer._prepare_dataset(data, tokenizer, args, True, None, "train")
        ended = figures(began, 0, 1, "")
    tokens = sum(map(len, packed["input_ids"]))
    learned = sum(label != -100 for labels in packed["labels"] for label in labels)
    how = f"trl {__version__}, too long ones cut, {learned:,} tokens learned"
    return ended | {"filled": round(tokens / (len(packed) * LENGTH), 4), "how": how}


VARIANTS = {
    "ftkit": ftkit,
    "trl messages": lambda base, rows: trl(base, rows, completion=False),
    "trl completion": lambda base, rows: trl(base, rows, completion=True),
}

if __name__ == "__main__":
    main()
