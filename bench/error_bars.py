"""Simulate what error bars and verdicts promise, through the scorecard's own functions.

Items and answers are drawn anew in every run. Two variants of one distribution (each item has one
chance for both, each answer is drawn by itself) must rarely be called different; intervals must
cover the truth; a true difference of 0.05 must be found as often as the code states.

python bench/error_bars.py --runs 5000 --out results/bench/statistics.json
python bench/error_bars.py --part seeds --runs 1000 --out results/bench/seeds.json
"""
# Shapes: N items, R runs, S seeds, K variants.

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))  # a bare clone has to find itself

from ftkit.eval._seeds import Folded, fold, fold_all
from ftkit.eval._statistics import differences, holm, intervals, verdict

SEED = 7  # chosen before the first run
SIZES = (100, 300, 1000)
TRUE = 0.05
BETTER = 0.1  # a difference that may be found with several seeds
LOT = 1000  # runs at once; a tenth where a run has many variants
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
    seeds: int, n: int, spreads: Sequence[float], runs: int, batch: int = 0
) -> dict[str, float]:
    """Simulate reports on variants of several training seeds, whose chances differ by seed.

    All variants are equally good but for a last one, which is 0.1 better than the first.

    Args:
        seeds: S of each variant.
        n: items.
        spreads: of each variant, the standard deviation of a seed's shift, about as much in its
            mean; the last one's is the first's.
        runs: reports.
        batch: which of many such lots of runs.

    Returns:
        `called` and `covered` as in `simulate`, of the first two variants; `any` is how often a
        report calls at least one of the equal ones different, corrected for all its comparisons;
        `mean` as in `simulate`, of the first; `items` is how often an interval over the items
        alone, the seeds averaged and forgotten, would have covered it; `found` and `stated` are of
        the last one against the first.
    """
    rng = np.random.default_rng([SEED, n, seeds, *(round(1000 * one) for one in spreads), batch])
    reports = [_report(rng, seeds, n, [*spreads, spreads[0]]) for _ in range(runs)]
    count = len(spreads) + 1
    pairs = [(max(pair), min(pair)) for pair in combinations(range(count), 2)]
    every = [(count * run + a, count * run + b) for run in range(runs) for a, b in pairs]
    found = differences([one for report in reports for one in report], every, SEED + batch)
    told = [one for one in found if one is not None]
    tries = [told[len(pairs) * run : len(pairs) * (run + 1)] for run in range(runs)]
    corrected = [holm([one.p for one in some]) for some in tries]
    words = [
        [verdict(one, p, lower_is_better=False) for one, p in zip(some, ps, strict=True)]
        for some, ps in zip(tries, corrected, strict=True)
    ]
    equal = [place for place, (a, _) in enumerate(pairs) if a < len(spreads)]
    first, last = pairs.index((1, 0)), pairs.index((count - 1, 0))
    own = intervals([report[0] for report in reports], SEED + batch)
    bare = [Folded(report[0].means_N) for report in reports]
    alone = intervals(bare, SEED + batch)
    return {
        "called": fmean(verdict(some[first], some[first].p, False) != "tie" for some in tries),
        "covered": fmean(some[first].low <= 0 <= some[first].high for some in tries),
        "any": fmean(any(some[place] != "tie" for place in equal) for some in words),
        "mean": fmean(_holds(one.low, 0.5, one.high) for one in own),
        "items": fmean(_holds(one.low, 0.5, one.high) for one in alone),
        "found": fmean(some[last] == "a better" for some in words),
        "stated": fmean(some[last].power(BETTER, len(pairs)) for some in tries),
    }


def _report(rng: np.random.Generator, seeds: int, n: int, spreads: Sequence[float]) -> list[Folded]:
    """Draw the answers of all variants to the same items; the last variant is better."""
    items_N = rng.uniform(0.3, 0.7, n)
    shift_KS = rng.normal(0, 1, (len(spreads), seeds)) * np.array(spreads)[:, None]
    shift_KS[-1] += BETTER
    chance_KSN = np.clip(items_N + shift_KS[:, :, None], 0, 1)
    return fold_all((rng.random(chance_KSN.shape) < chance_KSN).astype(np.float64))


def averaged(one: Callable[..., dict[str, float]], *cell: Any, runs: int) -> dict[str, float]:
    """Simulate many runs in lots, which fit into memory."""
    lot = LOT // 10 if one is simulate_seeds else LOT
    lots = [one(*cell, lot, batch) for batch in range(max(1, runs // lot))]
    return {name: fmean(lot[name] for lot in lots) for name in lots[0]}


SPREADS = {
    "all 0 points apart": [0.0] * 6,
    "all 2 points apart": [0.02] * 6,
    "all 5 points apart": [0.05] * 6,
    "two variants 5 points apart, four 0": [0.05] * 2 + [0.0] * 4,
    "one variant 5 points apart, five 0": [0.05] + [0.0] * 5,
    "six between 0.5 and 5 points apart": [0.05, 0.01, 0.03, 0.02, 0.04, 0.005],
    "one of three 5 points apart, two 0": [0.05] + [0.0] * 2,
}
SEEDS = [(count, n, spread) for count, n in ((3, 100), (3, 300), (5, 300)) for spread in SPREADS]


def items(runs: int) -> tuple[list[list[str]], list[dict[str, Any]]]:
    """Simulate single runs: rows of a table, and the figures behind."""
    rows, behind = [], []
    for kind in KINDS:
        for n in SIZES:
            found = averaged(simulate, kind, n, runs=runs)
            behind.append({"kind": kind, "n": n, **found})
            rows.append([kind, f"{n:,}", *(f"{100 * share:.1f}" for share in found.values())])
            print(rows[-1], flush=True)
    return rows, behind


def reports(runs: int) -> tuple[list[list[str]], list[dict[str, Any]]]:
    """Simulate reports on several seeds: rows of a table, and the figures behind."""
    rows, behind = [], []
    for count, n, spread in SEEDS:
        found = averaged(simulate_seeds, count, n, SPREADS[spread], runs=runs)
        behind.append({"seeds": count, "n": n, "spread": spread, **found})
        shares = [f"{100 * share:.1f}" for share in found.values()]
        rows.append([f"{count} seeds, {spread}", str(n), *shares])
        print(rows[-1], flush=True)
    return rows, behind


HEADS = {
    "items": [
        *("scores", "n", "called different, are not", "interval of no difference covers"),
        *("interval of 0.05 covers", "interval of a mean covers", "0.05 found", "power stated"),
    ],
    "seeds": [
        *("six variants, or three", "n", "two called different, are not", "their interval covers"),
        *("any of a report called, is not", "interval of a mean covers", "items alone cover"),
        *("0.1 found", "power stated, at Holm's worst"),
    ],
}
PARTS = {
    "items": (items, "What intervals and verdicts promise, simulated"),
    "seeds": (reports, "Several training seeds, simulated"),
}


def main() -> int:
    """Simulate every cell of a part and keep the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", choices=PARTS, default="items")
    parser.add_argument("--runs", type=int, default=5000, help="in thousands")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    asked = parser.parse_args()
    if asked.runs < LOT or asked.runs % LOT:
        parser.error(f"--runs goes by thousands, not {asked.runs}")
    from _figures import kept

    simulated, title = PARTS[asked.part]
    rows, behind = simulated(asked.runs)
    notes = f"In percent of {asked.runs:,} simulated evaluations a row, seed {SEED}."
    more: dict[str, Any] = {"runs": asked.runs, "seed": SEED, "figures": behind}
    kept(asked.out, title, HEADS[asked.part], rows, notes=notes, **more)
    return 0


if __name__ == "__main__":
    sys.exit(main())
