"""How near --dry-run comes: 24 cells of size, method and length, each tried and then trained.

    python bench/plan.py [--out F]

Bases are random, rows are random words of one length. Time is the processor's, so that a busy
machine changes nothing; memory is the peak of a process that does nothing else.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _figures import kept

SIZES = {"0.5M": (96, 3), "3M": (256, 3), "8M": (320, 6)}  # width, layers
METHODS = ("full", "lora", "dora", "soft_prompt")
LENGTHS = (48, 200)
VOCABULARY, STEPS, BATCH = 1024, 12, 1024


@dataclass(frozen=True)
class Cell:
    """One tuning."""

    size: str
    method: str
    length: int


def base(folder: Path, width: int, layers: int) -> None:
    """Write a random qwen3 with a tokenizer of ours."""
    import torch

    from ftkit.basemodel import GPT, GPTConfig
    from ftkit.basemodel.export import write_model
    from ftkit.basemodel.tokenizer import train_tokenizer

    tokenizer = train_tokenizer((f"w{n} " * 3 for n in range(4000)), VOCABULARY)
    torch.manual_seed(0)
    heads = width // 32
    shape = GPTConfig(
        vocab_size=tokenizer.size,
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=32,
        bos_token_id=tokenizer.id("<|bos|>"),
        pad_token_id=tokenizer.id("<|pad|>"),
        eos_token_id=(tokenizer.id("<|end|>"), tokenizer.id("<|eos|>")),
    )
    folder.mkdir(parents=True)
    write_model(GPT(shape), folder)
    tokenizer.save(folder, shape.max_position_embeddings)


def rows(path: Path, length: int) -> None:
    """Write questions of random words, so many that an epoch has STEPS updates."""
    draw = random.Random(length)
    words = length // 6  # of about three tokens, in question and answer
    lines = []
    for _ in range(STEPS * BATCH // length * 10 // 9):
        ask, answer = (" ".join(f"w{draw.randrange(4000)}" for _ in range(words)) for _ in range(2))
        lines.append(json.dumps({"question": ask, "answer": answer}) + "\n")
    path.write_text("".join(lines))


def one(cell: Cell, folder: Path, tried: bool) -> dict[str, Any]:
    """Try a cell, or train it."""
    from ftkit.catalog import load
    from ftkit.config import override, table
    from ftkit.recipes._trial import trial
    from ftkit.recipes._tune import Tuning, tune
    from ftkit.runs import Run

    values = {"data": [str(folder / f"{cell.length}.jsonl")], "epochs": 1.0}
    recipe = override(load("recipes", "medical"), values, "recipe")
    method, plan = load("adapters", cell.method), Tuning(batch=BATCH, checks=2)
    place, began = str(folder / cell.size), time.process_time()
    if tried:
        found = trial(recipe, method, place, plan, clock=time.process_time)
        return {"seconds": found.seconds, "memory": found.memory, "steps": found.steps}
    out = folder / f"{cell.size}-{cell.method}-{cell.length}"
    run = Run.create(out, {"command": "tune", "method": table(method)})
    for _ in tune(run, recipe, method, place, plan):
        pass
    seconds = time.process_time() - began
    return {"seconds": seconds, "memory": run.done["peak_memory"], "steps": run.done["steps"]}


def main() -> None:
    """Measure every cell twice and print how far apart the two are."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--cells", type=int, default=24, help="how many, from the first")
    parser.add_argument("--only", nargs=5, help="measure one here: SIZE METHOD LENGTH FOLDER HOW")
    said = parser.parse_args()
    if said.only:
        size, method, length, folder, how = said.only
        print(json.dumps(one(Cell(size, method, int(length)), Path(folder), how == "tried")))
        return
    cells = [Cell(size, m, length) for size in SIZES for m in METHODS for length in LENGTHS]
    table: list[list[str]] = []
    errors: dict[str, list[float]] = {"seconds": [], "memory": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for size, (width, layers) in SIZES.items():
            base(folder / size, width, layers)
        for length in LENGTHS:
            rows(folder / f"{length}.jsonl", length)
        for cell in cells[: said.cells]:
            guess, real = (measured(cell, folder, how) for how in ("tried", "trained"))
            table.append([cell.size, cell.method, str(cell.length), *compared(guess, real, errors)])
            print(*table[-1], sep=" | ", flush=True)
            keep(said.out, table, errors)  # so that what stops a later cell costs no earlier one
    print(keep(said.out, table, errors))
    if any("failed" in row for row in table):
        raise SystemExit(1)


def compared(
    guess: dict[str, Any], real: dict[str, Any], errors: dict[str, list[float]]
) -> tuple[str, str]:
    """Put what was said beside what was true, and note how far apart they are."""
    for found in (guess, real):
        if "failed" in found:
            return "failed", str(found["failed"])
    for name, found in errors.items():
        found.append(guess[name] / real[name] - 1)
    return (
        f"{guess['seconds']:.1f} / {real['seconds']:.1f}",
        f"{guess['memory'] / 2**20:.0f} / {real['memory'] / 2**20:.0f}",
    )


def keep(out: Path | None, table: list[list[str]], errors: dict[str, list[float]]) -> str:
    """Write what is known so far; return the errors in words."""
    notes = "; ".join(f"{name}: {far(found)}" for name, found in errors.items())
    columns = ("size", "method", "tokens", "seconds, said / true", "MiB, said / true")
    kept(out, "--dry-run against the truth", columns, table, notes=notes, errors=errors)
    return notes


def far(errors: list[float]) -> str:
    """Put the median and the worst error into words."""
    if not errors:
        return "no cell done"
    sizes = [abs(error) for error in errors]
    return f"median error {statistics.median(sizes):.1%}, worst {max(sizes):.1%}"


def measured(cell: Cell, folder: Path, how: str) -> dict[str, Any]:
    """Measure a cell in a process of its own."""
    words = [cell.size, cell.method, str(cell.length), str(folder), how]
    done = subprocess.run(
        [sys.executable, __file__, "--only", *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        return {"failed": last[:200]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
