"""Fine-tuning against the peers at their best: TRL's SFTTrainer by LoRA, transformers' Trainer.

    python bench/tune.py --peer-python TRL/bin/python --data rows.jsonl [--rows 3000] [--out F]

A qwen3 of 5.6M parameters, 256 wide, 6 layers, is trained one epoch on the same rows by each, in
a process of its own. Each peer's settings are searched on SEARCHED rows first; the fastest then
does the whole run, its default beside it. Rates are in rows a second of processor time, which a
busy machine does not change: `whole` counts all from the start of Python to the saved result,
`warm` the steps after the first. The loss of held-out rows is compared pair by pair.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BEGAN = time.process_time()

import torch  # noqa: E402 (loading it is part of the whole)
from _figures import kept  # noqa: E402

SEARCHED, THREADS, SEED = 192, 1, 0
PLAIN = {"bf16": False, "gradient_checkpointing": False, "logging_steps": 1000}
ALIKE = {"train_sampling_strategy": "group_by_length"}
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "trl": [
        PLAIN | ALIKE | {"per_device_train_batch_size": 8},
        PLAIN | ALIKE | {"per_device_train_batch_size": 32},
        PLAIN | {"per_device_train_batch_size": 16},
        PLAIN | {"per_device_train_batch_size": 8, "padding_free": True},
        PLAIN | {"per_device_train_batch_size": 4, "packing": True, "max_length": 256},
        PLAIN | ALIKE | {"per_device_train_batch_size": 8, "torch_compile": True},
    ],
    "trainer": [
        PLAIN | ALIKE | {"per_device_train_batch_size": 8},
        PLAIN | ALIKE | {"per_device_train_batch_size": 32},
        PLAIN | {"per_device_train_batch_size": 8, "flatten": True},
        PLAIN | ALIKE | {"per_device_train_batch_size": 8, "torch_compile": True},
    ],
}
METHODS = {"trl": ("lora", 3e-3), "trainer": ("full", 5e-4)}
BATCH = 512  # tokens of an update, about as many as 8 rows padded


def base(folder: Path) -> Path:
    """Write the model, pretrained for a moment on the text of the SQL world."""
    from ftkit.basemodel import GPT, GPTConfig
    from ftkit.basemodel.budget import Pretrain
    from ftkit.basemodel.export import write_model
    from ftkit.basemodel.pretrain import pretrain
    from ftkit.basemodel.tokenizer import train_tokenizer
    from ftkit.catalog import load
    from ftkit.config import override, table
    from ftkit.runs import Run

    world = override(load("recipes", "sql_qa"), {"characters": 1_500_000}, "recipe")
    texts = list(world.corpus())
    tokenizer = train_tokenizer(texts, 4096)
    bos, pad, end, eos = map(tokenizer.id, ("<|bos|>", "<|pad|>", "<|end|>", "<|eos|>"))
    torch.manual_seed(SEED)
    shape = GPTConfig(
        num_hidden_layers=6,
        intermediate_size=736,
        vocab_size=tokenizer.size,
        bos_token_id=bos,
        pad_token_id=pad,
        eos_token_id=(end, eos),
    )
    raw = folder / "raw"
    raw.mkdir(parents=True)
    write_model(GPT(shape), raw)
    tokenizer.save(raw, shape.max_position_embeddings)
    plan = Pretrain(base=str(raw), tokens=300_000, batch=4096)
    settings = {"command": "pretrain", "options": {"seed": SEED}, "plan": table(plan)}
    for _ in pretrain(Run.create(folder / "base", settings), plan, documents=texts):
        pass
    return folder / "base"


def taught(name: str, data: Path) -> Any:
    """Load the recipe."""
    from ftkit.catalog import load
    from ftkit.config import override

    values = {"data": [str(data)], "on_bad_rows": "skip", "epochs": 1.0}
    return override(load("recipes", name), values, "recipe")


def rows(recipe: Any, place: Path, most: int, folder: Path) -> None:
    """Write what the peers train on and what all are judged by: texts, and tokens of ours."""
    from transformers import AutoTokenizer

    from ftkit.recipes._render import Renderer

    renderer = Renderer(AutoTokenizer.from_pretrained(place), str(place))
    for split, name in (("train", "rows.jsonl"), ("validation", "held_out.json")):
        found = []
        for example in recipe.examples(split)[:most]:
            row = renderer.render(example.messages)
            turns = {"prompt": list(example.prompt), "completion": [example.messages[-1]]}
            found.append(turns | {"ids": row.ids, "labels": row.labels})
        if split == "train":
            lines = "".join(json.dumps(row) + "\n" for row in found)
            (folder / name).write_text(lines)
            (folder / "few.jsonl").write_text(
                "".join(json.dumps(row) + "\n" for row in found[:SEARCHED])
            )
        else:
            (folder / name).write_text(json.dumps([(row["ids"], row["labels"]) for row in found]))


def ours(asked: dict[str, Any]) -> dict[str, Any]:
    """Tune as `ftkit tune` does."""
    from ftkit.adapters._variant import open_variant
    from ftkit.catalog import load
    from ftkit.config import table
    from ftkit.recipes._tune import Tuning, tune
    from ftkit.runs import Run

    recipe, method = taught(asked["recipe"], Path(asked["data"])), load("adapters", asked["method"])
    plan = Tuning(batch=BATCH, checks=1, held_out=32)
    run = Run.create(Path(asked["out"]), {"command": "tune", "method": table(method)})
    ends: list[tuple[int, float]] = []
    for record in tune(run, recipe, method, asked["base"], plan, seed=SEED):
        if "loss" in record:
            ends.append((record["step"], time.process_time()))
    cpu = time.process_time() - BEGAN
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    steps, count = ends[-1][0], len(recipe.examples("train"))
    each = (ends[-1][1] - ends[0][1]) / max(1, steps - ends[0][0])
    held_out = json.loads(Path(asked["held_out"]).read_text())
    nats = open_variant(run.path).nll(held_out)
    return {
        "cpu": cpu, "warm": count / steps / each, "steps": steps, "peak_memory": peak, "nats": nats,
    }  # fmt: skip


def measured(command: Sequence[str], asked: dict[str, Any]) -> dict[str, Any]:
    """Run one variant in its process; print the command and what it gave."""
    whole = [*command, json.dumps(asked)]
    print(" ".join(whole), flush=True)
    offline = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(THREADS)}
    done = subprocess.run(
        whole, capture_output=True, text=True, check=False, env=os.environ | offline
    )
    if done.returncode:
        print(f"  failed: {done.stderr.strip().splitlines()[-1]}", flush=True)
        return {"warm": 0.0, "failed": done.stderr[-2000:]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"  {found['warm']:.1f} rows/s warm, {found['cpu']:.0f} s in all", flush=True)
    return found


def compare(peer: str, command: list[str], mine: list[str], job: dict[str, Any]) -> dict[str, Any]:
    """Search a peer's settings, then let it, its default and ours train on all rows."""
    method, lr = METHODS[peer]
    asked = job | {"peer": peer, "lr": lr, "seed": SEED, "threads": THREADS, "method": method}
    few = asked | {"rows": job["few"]}
    tries = [measured(command, few | {"settings": one}) for one in SETTINGS[peer]]
    best = SETTINGS[peer][max(range(len(tries)), key=lambda at: tries[at]["warm"])]
    return {
        "searched": [
            {"settings": one, "warm": each["warm"]}
            for one, each in zip(SETTINGS[peer], tries, strict=True)
        ],
        "best": measured(command, asked | {"settings": best}) | {"settings": best},
        "default": measured(command, asked | {"settings": {}}),
        "ours": measured(mine, asked | {"out": f"{job['folder']}/{method}"}),
    }


def judged(found: dict[str, Any], labelled: int) -> dict[str, Any]:
    """Work out the ratios, and the interval of the difference in loss, ours less the peer's."""
    from ftkit.eval._statistics import intervals

    ours, best = found["ours"], found["best"]
    gaps = [a - b for a, b in zip(ours["nats"], best["nats"], strict=True)]
    interval = intervals([gaps], SEED)[0]
    scale = len(gaps) / labelled  # from nats a row to nats a labelled token
    return {
        "ratio": best["cpu"] / ours["cpu"],
        "warm": ours["warm"] / best["warm"],
        "memory": ours["peak_memory"] / best["peak_memory"],
        "nats": {name: sum(found[name]["nats"]) / labelled for name in ("ours", "best")},
        "difference": [interval.low * scale, interval.high * scale],
    }


def main() -> None:
    """Measure LoRA and full fine-tuning and print the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer-python", help="Python of an environment with trl and peft")
    parser.add_argument("--data", type=Path, help="rows of a shape that the recipe reads")
    parser.add_argument("--recipe", default="sql_qa")
    parser.add_argument("--rows", type=int, default=3000, help="training rows at most")
    parser.add_argument("--base", type=Path, help="a base to tune instead of a small new one")
    parser.add_argument("--peers", default="trl,trainer")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--only", help="measure ours here, as this JSON says, and print it")
    said = parser.parse_args()
    if said.only:
        print(json.dumps(ours(json.loads(said.only))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        place = said.base or base(folder)
        lines = said.data.read_text().splitlines(keepends=True)[: said.rows]
        data = folder / "data.jsonl"
        data.write_text("".join(lines))
        rows(taught(said.recipe, data), place, said.rows, folder)
        held_out = json.loads((folder / "held_out.json").read_text())
        labelled = sum(label != -100 for _, labels in held_out for label in labels[1:])
        job = {name: str(folder / file) for name, file in FILES.items()}
        job |= {"base": str(place), "recipe": said.recipe, "folder": temporary}
        command = [said.peer_python, str(Path(__file__).parent / "_peers.py")]
        mine = [sys.executable, __file__, "--only"]
        found = {peer: compare(peer, command, mine, job) for peer in said.peers.split(",")}
    result = {peer: one | judged(one, labelled) for peer, one in found.items()}
    show(said.out, result, said.rows)


FILES = {
    "rows": "rows.jsonl", "few": "few.jsonl", "held_out": "held_out.json", "data": "data.jsonl",
}  # fmt: skip


def show(out: Path | None, result: dict[str, Any], count: int) -> None:
    """Print the table and the ratios, LoRA's last, and keep them."""
    table = []
    for peer, one in result.items():
        method = METHODS[peer][0]
        for name in ("default", "best", "ours"):
            run = one[name]
            if "failed" in run:
                table.append([f"{method}, {peer} at its {name}", "failed", "", ""])
                continue
            who = f"{method}, ours" if name == "ours" else f"{method}, {peer} at its {name}"
            mib = run["peak_memory"] / 2**20
            table.append([who, f"{run['cpu']:.0f}", f"{run['warm']:.1f}", f"{mib:,.0f}"])
            print(*table[-1], sep=" | ")
        low, high = one["difference"]
        print(f"{method} loss, ours less the peer's: {low:+.4f} to {high:+.4f} nats a token")
    for peer in reversed(result):
        print(f"{METHODS[peer][0]} ratio {result[peer]['ratio']:.2f}")
        print(f"{METHODS[peer][0]} warm {result[peer]['warm']:.2f}")
    first = next(iter(result.values()))
    notes = f"{count} rows, one epoch, {THREADS} thread; seconds and rates of processor time."
    columns = ("", "seconds in all", "rows/s warm", "MiB at the peak")
    kept(out, "Fine-tuning against the peers", columns, table, notes=notes, peers=result)
    print(f"ratio {first['ratio']:.2f}\nwarm {first['warm']:.2f}")


if __name__ == "__main__":
    main()
