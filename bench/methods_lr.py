"""Which learning rate suits each method: tunings of a tiny base, judged by its validation rows.

Test rows are not read. Rates lie a factor of three apart; of those that one seed cannot tell from
the best, the smallest is chosen, as wider bases bear less. Defaults older than this search stay.

python bench/methods_lr.py --out results/bench/methods_lr.json
python bench/methods_lr.py --base BASE --recipe medical --data MEDQUAD@0.05 --set longest=300 \
    --label MedQuAD --out results/bench/methods_lr_medquad.json   # whether it holds on real rows
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from _figures import kept

from ftkit.basemodel.budget import Pretrain
from ftkit.basemodel.pretrain import pretrain
from ftkit.catalog import load, names
from ftkit.config import override, table
from ftkit.recipes._tune import Tuning, tune
from ftkit.runs import Run

RATES = {
    "full": (5e-4, 1.5e-3, 5e-3),
    "lora": (1e-3, 3e-3, 1e-2, 3e-2),
    "dora": (1e-3, 3e-3, 1e-2, 3e-2),
    "ia3": (1e-2, 3e-2, 1e-1, 3e-1),
    "soft_prompt": (3e-2, 1e-1, 3e-1, 1.0),
    "prefix": (3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0),
    "p_tuning": (1e-3, 3e-3, 1e-2, 3e-2),
}
BASE = Pretrain(preset="pico", tokens=1_000_000, batch=4096, context=384, vocab_size=1024)
WORLD = {
    "rows": 600, "tests": 8, "epochs": 2.0, "length": 384, "max_dropped": 1.0,
    "characters": 4_000_000,
}  # fmt: skip
PLAN = Tuning(batch=2048, checks=2)
CLOSE = 0.005  # of the best loss


def base(folder: Path, world: Any) -> Path:
    """Pretrain a tiny base on the world's own text."""
    run = Run.create(folder, {"command": "pretrain", "options": {"seed": 0}, "plan": table(BASE)})
    for _ in pretrain(run, BASE, documents=list(world.corpus())):
        pass
    return folder


def tried(out: Path, start: Path, world: Any, name: str, rate: float) -> dict[str, Any]:
    """Tune by a method at a rate; return what it came to on the validation rows."""
    method = override(load("adapters", name), {"lr": rate}, "method")
    run = Run.create(out, {"command": "tune", "method": {"name": name} | table(method)})
    for _ in tune(run, world, method, str(start), PLAN):
        pass
    facts = run.done
    kinds = ("validation_nats", "validation_nats_before", "trainable_params", "seconds", "steps")
    return {"method": name, "lr": rate} | {kind: facts[kind] for kind in kinds}


def main() -> None:
    """Try every rate of every method, and say which is best."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, help="a base to tune instead of a tiny new one")
    parser.add_argument("--recipe", default="sql_qa")
    parser.add_argument("--data", action="append", help="rows in place of the embedded world's")
    parser.add_argument("--set", action="append", default=[], help="NAME=VALUE of the recipe")
    parser.add_argument("--label", default="the SQL world", help="whose rows they are")
    parser.add_argument("--out", type=Path)
    said = parser.parse_args()
    if said.data and not said.base:
        parser.error("rows of your own need a --base")
    if said.set and not said.data:
        parser.error("--set is for rows of your own: the embedded world's settings are WORLD")
    settings: dict[str, Any] = dict(WORLD)
    if said.data:
        given = {name: int(value) for name, _, value in (one.partition("=") for one in said.set)}
        settings = {"data": said.data, "on_bad_rows": "skip", "epochs": 2.0} | given
    world = override(load("recipes", said.recipe), settings, "recipe")
    began, found = time.process_time(), []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        start = said.base or base(folder / "base", world)
        for name in names("adapters"):
            for rate in RATES[name]:
                out = folder / f"{name}-{rate:g}"
                found.append(tried(out, start, world, name, rate))
                print(f"{name} {rate:g}: {found[-1]['validation_nats']:.4f}", flush=True)
    of = f"of {BASE.tokens:,} tokens" if said.base is None else "of one's own"
    notes = (
        f"a base {of}, {found[0]['validation_nats_before']:.3f} nats before (prefix and prompts "
        f"begin elsewhere); {len(world.examples('train')):,} rows, {found[0]['steps']} updates "
        f"of {PLAN.batch:,} tokens, one seed; {time.process_time() - began:.0f} s of one core."
    )
    show(said.out, found, notes, f"Learning rates, on validation rows of {said.label}")


def show(out: Path | None, found: list[dict[str, Any]], notes: str, title: str) -> None:
    """Lay the tries out as a table, and keep them."""
    rows = []
    for name in sorted(RATES, key=lambda name: min(_nats(found, name).values())):
        nats = _nats(found, name)
        chosen = min(lr for lr, loss in nats.items() if loss <= (1 + CLOSE) * min(nats.values()))
        trained = next(one["trainable_params"] for one in found if one["method"] == name)
        tries = ", ".join(f"{lr:g}: {loss:.3f}" for lr, loss in nats.items())
        rows.append([name, f"{trained:,}", tries, f"{chosen:g}", f"{load('adapters', name).lr:g}"])
    columns = ("method", "trained", "nats per labelled token at each rate", "chosen", "default")
    kept(out, title, columns, rows, notes=notes, tries=found)


def _nats(found: list[dict[str, Any]], name: str) -> dict[float, float]:
    return {one["lr"]: one["validation_nats"] for one in found if one["method"] == name}


if __name__ == "__main__":
    main()
