"""Fine-tuning against the peers at their best: TRL's SFTTrainer by LoRA, transformers' Trainer.

    python bench/tune.py --peer-python TRL/bin/python --data rows.jsonl [--rows 3000] [--out F]
    (a quick look, without a search: --rows 80 --peers trl --tries 1)

A qwen3 of 5.6M parameters, 256 wide, 6 layers, is trained one epoch on the same rows by each, in
a process of its own. Each peer's settings are searched on SEARCHED rows first; the fastest when
warm then does the whole run, its default beside it. Rates are in rows a second of processor time,
which a busy machine does not change, that of compilers included: the ratio counts all from the
start of Python to the saved result, `warm` the second half of the steps, when all is compiled. The
ratio is to the peer's shortest whole run: that one, or what the search lets expect of another
setting, as one that compiles may be the fastest and yet take longest. Rows that are too long for
ours are given to nobody. The loss of held-out rows is compared pair by pair, with the
peer at its fastest and at its default. A run that fails leaves a row that says so, and each run's
figures are kept when it ends. TRL's default is bfloat16; a processor that emulates it takes a
second a row, so there the default trains on SEARCHED rows alone: the table says so, and neither a
ratio nor a loss is compared with it. So 3,000 rows take some twenty minutes on one core.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from _spent import peak, spent, warm

BEGAN = spent()

from _figures import kept  # noqa: E402
from _given import SEARCHED, SEED, base, cut, rows, taught  # noqa: E402

from ftkit.basemodel.device import bfloat16_unit  # noqa: E402

THREADS = 1
PATIENCE = 3 * 3600  # seconds of the clock after which a run has failed
PLAIN = {"gradient_checkpointing": False, "logging_steps": 1000}
ALIKE = {"train_sampling_strategy": "group_by_length"}
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "trl": [
        PLAIN | ALIKE | {"per_device_train_batch_size": 8},
        PLAIN | ALIKE | {"per_device_train_batch_size": 32},
        PLAIN | {"per_device_train_batch_size": 16},
        PLAIN | {"per_device_train_batch_size": 8, "padding_free": True, "max_length": None},
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
KEPT = ("warm", "cpu", "failed")  # of what was searched
NOT_RUN = {"warm": 0.0, "failed": "not run"}
METHODS = {"trl": ("lora", 3e-3), "trainer": ("full", 5e-4)}
ROWS = 8  # of an update, as many as the peers' default has, and theirs at their best mostly


def ours(asked: dict[str, Any]) -> dict[str, Any]:
    """Tune as `ftkit tune` does."""
    from ftkit.adapters._variant import open_variant
    from ftkit.catalog import load
    from ftkit.config import table
    from ftkit.recipes._tune import Tuning, tune
    from ftkit.runs import Run

    recipe, method = taught(asked["recipe"], Path(asked["data"])), load("adapters", asked["method"])
    plan = Tuning(batch=asked["batch"], checks=1, held_out=32)
    run = Run.create(Path(asked["out"]), {"command": "tune", "method": table(method)})
    ends: list[tuple[int, float]] = []
    for record in tune(run, recipe, method, asked["base"], plan, seed=SEED):
        if record.get("event") == "plan":
            planned = record
        if "loss" in record:
            ends.append((record["step"], spent()))
    found = {"cpu": spent() - BEGAN, "warm": warm(ends, planned["rows"]["train"]), "memory": peak()}
    held_out = json.loads(Path(asked["held_out"]).read_text())
    nats = open_variant(run.path).nll(held_out)
    counts = {"steps": ends[-1][0], "trained": planned["trainable_params"]}
    return found | counts | {"nats": nats}


def measured(command: Sequence[str], asked: dict[str, Any]) -> dict[str, Any]:
    """Run one variant in its process; print the command and what it gave, or why nothing."""
    whole = [*command, json.dumps(asked)]
    print(" ".join(whole), flush=True)
    # In one process, as all else: otherwise compilers run beside it and are not counted.
    alone = {"OMP_NUM_THREADS": str(THREADS), "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    surroundings = os.environ | {"HF_HUB_OFFLINE": "1"} | alone
    try:
        done = subprocess.run(
            whole, capture_output=True, text=True, check=True, env=surroundings, timeout=PATIENCE
        )
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as problem:
        said = str(getattr(problem, "stderr", None) or problem).strip() or "without a word"
        reason = said.splitlines()[-1]
        print(f"  failed: {reason}", flush=True)
        return {"warm": 0.0, "failed": reason}
    print(f"  {found['warm']:.1f} rows/s warm, {found['cpu']:.0f} s in all", flush=True)
    return found


def compare(
    peer: str, command: list[str], mine: list[str], job: dict[str, Any], most: int, default: bool
) -> Iterator[dict[str, Any]]:
    """Search a peer's settings, then let it, its default and ours train; yield what is known."""
    method, lr = METHODS[peer]
    asked = job | {"peer": peer, "lr": lr, "seed": SEED, "threads": THREADS, "method": method}
    few, alike = asked | {"rows": job["few"]}, {"bf16": bool(bfloat16_unit())}  # as ours decides
    emulated = peer == "trl" and not bfloat16_unit()
    found: dict[str, Any] = {"searched": [], "rows": job["count"], "on": job["searched"]}
    found |= dict.fromkeys(("default", "best", "ours"), NOT_RUN)
    for one in SETTINGS[peer][:most]:
        tried = measured(command, few | {"settings": one | alike})
        kept_of_it = {key: tried[key] for key in KEPT if key in tried}
        found["searched"].append({"settings": one | alike} | kept_of_it)
        yield found
    best = max(found["searched"], key=lambda one: one["warm"])["settings"]
    found["ours"] = measured(mine, asked | {"out": f"{job['folder']}/{method}"})
    yield found
    found["best"] = measured(command, asked | {"settings": best}) | {"settings": best}
    yield found
    if not default:
        return
    found["default"] = measured(command, (few if emulated else asked) | {"settings": {}})
    found["default"] |= {"rows": job["searched"]} if emulated else {}
    yield found


def judged(found: dict[str, Any], labelled: int) -> dict[str, Any]:
    """Work out the ratios to the peer at its best and the gaps in loss to it and its default.

    A gap is the interval of ours less the peer's, in nats a labelled token. What failed has none.
    """
    from ftkit.eval._seeds import fold
    from ftkit.eval._statistics import differences

    ours, best, said = found["ours"], found["best"], dict[str, Any]()
    if "failed" in ours:
        return said
    if "failed" not in best:
        said["expected"] = expected(found)
        said["ratio"] = min([best["cpu"], *said["expected"]]) / ours["cpu"]
        said["warm"] = ours["warm"] / best["warm"]
        said["memory_ratio"] = ours["memory"] / best["memory"]
    for name in ("default", "best"):
        if "failed" in found[name] or "rows" in found[name]:  # fewer rows teach less
            continue
        pair = [fold([run["nats"]]) for run in (ours, found[name])]
        gap = differences(pair, [(0, 1)], SEED)[0]
        scale = len(ours["nats"]) / labelled  # from nats a row to nats a labelled token
        if gap is not None:
            said[f"gap to {name}"] = [gap.low * scale, gap.high * scale]
    return said


def batch(file: Path) -> int:
    """Work out about how many tokens as many rows as a peer's update hold, in steps of 64."""
    sizes = [len(json.loads(line)["ids"]) for line in file.read_text().splitlines()]
    if not sizes:
        raise SystemExit("no row is short enough to be trained on")
    return -(-ROWS * sum(sizes) // len(sizes) // 64) * 64


def expected(found: dict[str, Any]) -> list[float]:
    """Work out how long the whole run would take with each setting that was searched, in seconds.

    What a compiler did for the search is kept for the whole run, so this is too much for it; the
    setting that is the fastest has its own run.
    """
    searched = [one for one in found["searched"] if "failed" not in one]
    return [one["cpu"] + (found["rows"] - found["on"]) / one["warm"] for one in searched]


def main() -> None:
    """Measure LoRA and full fine-tuning and print the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer-python", help="Python of an environment with trl and peft")
    parser.add_argument("--data", type=Path, help="rows of a shape that the recipe reads")
    parser.add_argument("--tries", type=int, help="settings of a peer to search at most")
    parser.add_argument("--no-default", action="store_true", help="leave the peers' default out")
    parser.add_argument("--recipe", default="sql_qa")
    parser.add_argument("--rows", type=int, default=3000, help="training rows at most")
    parser.add_argument("--searched", type=int, default=SEARCHED, help="rows of the search")
    parser.add_argument("--base", type=Path, help="a base to tune instead of a small new one")
    parser.add_argument("--peers", default="trl,trainer")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--only", help="measure ours here, as this JSON says, and print it")
    said = parser.parse_args()
    if said.only:
        print(json.dumps(ours(json.loads(said.only))))
        return
    if said.data is None or said.peer_python is None:
        parser.error("--data and --peer-python are needed")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        place = said.base or base(folder)
        data = folder / "data.jsonl"
        lines = said.data.read_text().splitlines(keepends=True)
        cut(said.recipe, lines, said.rows, data)
        count = rows(taught(said.recipe, data), place, said.rows, said.searched, folder)
        held_out = json.loads((folder / "held_out.json").read_text())
        labelled = sum(label != -100 for _, labels in held_out for label in labels[1:])
        job = {name: str(folder / file) for name, file in FILES.items()}
        job |= {"base": str(place), "recipe": said.recipe, "folder": temporary, "count": count}
        job |= {"searched": min(said.searched, count), "batch": batch(folder / "rows.jsonl")}
        command = [said.peer_python, str(Path(__file__).parent / "_peers.py")]
        mine = [sys.executable, __file__, "--only"]
        result: dict[str, Any] = {}
        for peer in said.peers.split(","):
            for one in compare(peer, command, mine, job, said.tries, not said.no_default):
                result[peer] = one | {"labelled": labelled} | judged(one, labelled)
                keep(said.out, result, count)
    show(said.out, result, count)


FILES = {
    "rows": "rows.jsonl", "few": "few.jsonl", "held_out": "held_out.json", "data": "data.jsonl",
}  # fmt: skip


def keep(out: Path | None, result: dict[str, Any], count: int) -> list[list[str]]:
    """Write what is known so far; return its table."""
    table = []
    for peer, one in result.items():
        method = METHODS[peer][0]
        for name in ("default", "best", "ours"):
            run = one[name]
            who = f"{method}, ours" if name == "ours" else f"{method}, {peer} at its {name}"
            who += f" ({run['rows']} rows)" if "rows" in run else ""
            if "failed" in run:
                word = "not run" if run == NOT_RUN else "failed"
                table.append([who, word, "", "", ""])
            else:
                loss = sum(run["nats"]) / one["labelled"]
                figures = f"{run['cpu']:.0f}", f"{run['warm']:.1f}", f"{run['memory'] / 2**20:,.0f}"
                table.append([who, *figures, f"{loss:.4f}"])
    notes = f"{count} rows, one epoch, {THREADS} thread; seconds and rates of processor time, the "
    notes += "loss in nats a labelled token of held-out rows."
    columns = ("", "seconds in all", "rows/s warm", "MiB at the peak", "loss")
    kept(out, "Fine-tuning against the peers", columns, table, notes=notes, peers=result)
    return table


def show(out: Path | None, result: dict[str, Any], count: int) -> None:
    """Print the table and the ratios, LoRA's last, and keep them."""
    for row in keep(out, result, count):
        print(*row, sep=" | ")
    for peer, one in result.items():
        for name in ("default", "best"):
            if f"gap to {name}" in one:
                low, high = one[f"gap to {name}"]
                said = f"ours less {peer} at its {name}: {low:+.4f} to {high:+.4f}"
                print(f"{METHODS[peer][0]} loss, {said}")
    for peer in reversed(result):
        for name in ("ratio", "warm"):
            print(f"{METHODS[peer][0]} {name} {figure(result[peer], name)}")
    first = next(iter(result.values()))
    print(f"ratio {figure(first, 'ratio')}\nwarm {figure(first, 'warm')}")
    if any("ratio" not in one for one in result.values()):
        raise SystemExit(1)


def figure(one: dict[str, Any], name: str) -> str:
    """Put a ratio into words."""
    return f"{one[name]:.2f}" if name in one else "failed"


if __name__ == "__main__":
    main()
