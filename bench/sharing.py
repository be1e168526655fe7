"""What it brings to compute the beginning of rows that begin alike once, and what it costs.

The same rows, updates of about as many of them, with and without: seconds of processor time,
which a busy machine does not change, and the loss of validation rows, as rows of one schema now
meet in one update.

python bench/sharing.py --base BASE --out results/bench/sharing.json
    (a base that knows little of the task, such as a demo's; --data for rows of your own)
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from _figures import kept

from ftkit.catalog import load
from ftkit.config import override, table
from ftkit.recipes._tune import Tuning, tune
from ftkit.runs import Run

PLAN = Tuning(checks=2)


def tuned(
    folder: Path, base: Path, recipe: Any, method: str, sharing: int, seed: int
) -> dict[str, Any]:
    """Tune, and return what it came to."""
    how = load("adapters", method)
    run = Run.create(folder, {"command": "tune", "method": {"name": method} | table(how)})
    plan, shared, began = replace(PLAN, sharing=sharing), "", time.process_time()
    for record in tune(run, recipe, how, str(base), plan, seed=seed):
        shared = record.get("shared_beginnings", shared)
    spent = time.process_time() - began
    said = {"method": method, "sharing": sharing, "seed": seed, "shared": shared, "cpu": spent}
    found = said | {kind: run.done[kind] for kind in ("validation_nats", "steps")}
    print(found, flush=True)
    return found


def main() -> None:
    """Tune by each method with and without, seed after seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--data", action="append", default=[], help="rows of sql_qa's shapes")
    parser.add_argument("--rows", type=int, default=12_000, help="of the embedded world")
    parser.add_argument("--methods", default="full,lora")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--label", default="the SQL world", help="whose rows they are")
    parser.add_argument("--out", type=Path)
    said = parser.parse_args()
    recipe = override(load("recipes", "sql_qa"), {"rows": said.rows}, "recipe")
    if said.data:
        recipe = override(recipe, {"data": said.data, "on_bad_rows": "skip"}, "recipe")
    found = [
        tuned(Path(folder) / "run", said.base, recipe, method, sharing, seed)
        for method in said.methods.split(",")
        for seed in range(said.seeds)
        for sharing in (1, PLAN.sharing)
        for folder in [tempfile.mkdtemp()]
    ]
    rows = []
    for method in said.methods.split(","):
        whole, shared = (
            [one for one in found if (one["method"], one["sharing"]) == (method, sharing)]
            for sharing in (1, PLAN.sharing)
        )
        seconds = [fmean(one["cpu"] for one in each) for each in (whole, shared)]
        for each, took in zip((whole, shared), seconds, strict=True):
            rows.append(
                [
                    method,
                    each[0]["shared"] or "-",
                    f"{fmean(one['steps'] for one in each):.0f}",
                    f"{took:.0f}",
                    ", ".join(f"{one['validation_nats']:.3f}" for one in each),
                ]
            )
        print(f"ratio {seconds[0] / seconds[1]:.2f} ({method})")
    columns = ["", "read once for several rows", "updates", "seconds", "validation nats"]
    title = f"Beginnings that rows share, computed once: {said.label}"
    notes = f"Updates of {PLAN.batch} tokens; training seeds: {said.seeds}; processor time."
    kept(said.out, title, columns, rows, notes=notes, runs=found)


if __name__ == "__main__":
    main()
