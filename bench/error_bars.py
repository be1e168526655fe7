"""Simulate what error bars and verdicts promise, through the scorecard's own functions.

Items and answers are drawn anew in every run. Two variants of one distribution (each item has one
chance for both, each answer is drawn by itself) must rarely be called different; intervals must
cover the truth; a true difference of 0.05 must be found as often as the code states.

python bench/error_bars.py --runs 5000 --out results/bench/statistics.json
"""
# Shapes: N items, R runs, S seeds.

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))  # a bare clone has to find itself

from ftkit.eval._statistics import differences, fold, intervals, verdict

SEED = 7  # chosen before the first run
SIZES = (100, 300, 1000)
TRUE = 0.05
LOT = 1000  # runs at once
Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, Floats, float], Floats]


def right(a: float, b: float) -> tuple[Draw, Draw, float]:
    """Answers that are right or wrong, by chances of a beta distribution."""

    def items(rng: np.random.Generator, shape: Floats, _: float) -> Floats:
        return rng.beta(a, b, shape.shape)

    def answers(rng: np.random.Generator, items_NR: Floats, less: float) -> Floats:
        chance_NR = items_NR * (1 - less / (a / (a + b)))
        return (rng.random(items_NR.shape) < chance_NR).astype(np.float64)

    return items, answers, a / (a + b)


def shares() -> tuple[Draw, Draw, float]:
    """Shares of four facts, which are found by the item's chance."""
    items, _, mean = right(4, 2)

    def answers(rng: np.random.Generator, items_NR: Floats, less: float) -> Floats:
        return rng.binomial(4, items_NR * (1 - less / mean)) / 4

    return items, answers, mean


def bits(spread: float = 0.5, noise: float = 0.2) -> tuple[Draw, Draw, float]:
    """Bits per byte: skewed, and far more different between items than between variants."""
    mean = math.exp(spread**2 / 2 + noise**2 / 2)

    def items(rng: np.random.Generator, shape: Floats, _: float) -> Floats:
        return rng.lognormal(0, spread, shape.shape)

    def answers(rng: np.random.Generator, items_NR: Floats, less: float) -> Floats:
        return items_NR * rng.lognormal(0, noise, items_NR.shape) * (1 - less / mean)

    return items, answers, mean


KINDS = {
    "right/wrong, about 50 %": right(1, 1),
    "right/wrong, about 80 %": right(8, 2),
    "right/wrong, about 95 %": right(19, 1),
    "shares of four facts": shares(),
    "bits per byte": bits(),
}


def simulate(kind: str, n: int, runs: int, batch: int = 0) -> dict[str, float]:
    """Simulate evaluations of n items.

    Args:
        kind: of scores, one of KINDS.
        n: items.
        runs: evaluations.
        batch: which of many such lots of runs.

    Returns:
        Shares of the runs: `called` different though they are not, `covered` by the interval of
        this difference, `mean` covered by the interval of a variant's own mean, `found` of a true
        difference of 0.05, and `stated`, the power that the code gives for it.
    """
    rng = np.random.default_rng([SEED, n, list(KINDS).index(kind), batch])
    items, answers, truth = KINDS[kind]
    items_NR = items(rng, np.empty((n, runs)), 0.0)
    drawn = [answers(rng, items_NR, less) for less in (0.0, 0.0, TRUE)]
    variants = [fold([scores_N]) for scores_NR in drawn for scores_N in scores_NR.T]
    same = [(run, runs + run) for run in range(runs)]
    other = [(run, 2 * runs + run) for run in range(runs)]
    found = [one for one in differences(variants, same + other, SEED + batch) if one is not None]
    words = [verdict(one, one.p, lower_is_better=False) for one in found]
    own = intervals(variants[:runs], SEED + batch)
    return {
        "called": float(np.mean([word != "tie" for word in words[:runs]])),
        "covered": float(np.mean([one.low <= 0 <= one.high for one in found[:runs]])),
        "covered_5": float(np.mean([one.low <= TRUE <= one.high for one in found[runs:]])),
        "mean": float(np.mean([_holds(one.low, truth, one.high) for one in own])),
        "found": float(np.mean([word == "a better" for word in words[runs:]])),
        "stated": float(np.mean([one.power(TRUE) for one in found[runs:]])),
    }


def _holds(low: float | None, truth: float, high: float | None) -> bool:
    return low is not None and high is not None and low <= truth <= high


def simulate_seeds(
    seeds: int, n: int, between: float, runs: int, batch: int = 0
) -> dict[str, float]:
    """Simulate variants of several training seeds each, whose chances differ from seed to seed.

    Args:
        seeds: S of each variant.
        n: items.
        between: standard deviation of a seed's shift, about as much in its mean.
        runs: evaluations.
        batch: which of many such lots of runs.

    Returns:
        `called`, `covered` and `mean` as in `simulate`; `items` is how often an interval over the
        items alone, the seeds averaged and forgotten, would have covered the mean.
    """
    rng = np.random.default_rng([SEED, n, seeds, round(1000 * between), batch])
    items_RN = rng.uniform(0.3, 0.7, (runs, n))
    folded, bare = [], []
    for _ in range(2):
        shift_RS = rng.normal(0, between, (runs, seeds))
        chance_RSN = np.clip(items_RN[:, None] + shift_RS[:, :, None], 0, 1)
        scores_RSN = (rng.random(chance_RSN.shape) < chance_RSN).astype(np.float64)
        folded += [fold(list(scores_SN)) for scores_SN in scores_RSN]
        bare += [fold([scores_SN.mean(axis=0)]) for scores_SN in scores_RSN]
    pairs = [(run, runs + run) for run in range(runs)]
    found = [one for one in differences(folded, pairs, SEED + batch) if one is not None]
    own, alone = (intervals(each[:runs], SEED + batch) for each in (folded, bare))
    words = [verdict(one, one.p, lower_is_better=False) for one in found]
    return {
        "called": float(np.mean([word != "tie" for word in words])),
        "covered": float(np.mean([one.low <= 0 <= one.high for one in found])),
        "mean": float(np.mean([_holds(one.low, 0.5, one.high) for one in own])),
        "items": float(np.mean([_holds(one.low, 0.5, one.high) for one in alone])),
    }


def averaged(one: Callable[..., dict[str, float]], *cell: Any, runs: int) -> dict[str, float]:
    """Simulate many runs in lots of a thousand, which fit into memory."""
    lots = [one(*cell, LOT, batch) for batch in range(max(1, runs // LOT))]
    return {name: fmean(lot[name] for lot in lots) for name in lots[0]}


SEEDS = [(count, n, between) for count in (3, 5) for n in (100, 300) for between in (0, 0.02, 0.05)]


def main() -> int:
    """Simulate every cell and keep the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5000, help="in thousands")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    asked = parser.parse_args()
    from _figures import kept

    rows, behind = [], []
    for kind in KINDS:
        for n in SIZES:
            began = time.perf_counter()
            found = averaged(simulate, kind, n, runs=asked.runs)
            behind.append({"kind": kind, "n": n, **found})
            rows.append([kind, f"{n:,}", *(f"{100 * share:.1f}" for share in found.values())])
            print(rows[-1], f"{time.perf_counter() - began:.1f} s", flush=True)
    for count, n, between in SEEDS:
        found = averaged(simulate_seeds, count, n, between, runs=asked.runs)
        behind.append({"seeds": count, "n": n, "between": between, **found})
        head = f"{count} seeds, {100 * between:g} points apart"
        known = [f"{100 * found[name]:.1f}" for name in ("called", "covered")]
        own = f"{100 * found['mean']:.1f} (items alone: {100 * found['items']:.1f})"
        rows.append([head, f"{n:,}", *known, "", own, "", ""])
        print(rows[-1], flush=True)
    heads = ["scores", "n", "called different, are not", "interval of no difference covers"]
    heads += ["interval of 0.05 covers", "interval of a mean covers", "0.05 found", "power stated"]
    notes = f"In percent of {asked.runs:,} simulated evaluations a row, seed {SEED}."
    title = "What intervals and verdicts promise, simulated"
    kept(asked.out, title, heads, rows, notes=notes, runs=asked.runs, seed=SEED, figures=behind)
    return 0


if __name__ == "__main__":
    sys.exit(main())
