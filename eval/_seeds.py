"""Training seeds: scores averaged over them, and what they add to the variance of a mean.

A random effects analysis of variance, items by seeds. An interval rests on the variant's own seeds.
Three of them tell too little of their spread for a p as small as Holm asks for, so for p the
variants of a report lend each other theirs. docs/statistics.md has what was simulated.
"""
# Shapes: N items, S seeds.

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ._bounds import Floats, Parts

LEAST = 0.25  # of the variance between seeds; 0 covers 92 % in places, 1 is needlessly wide
Scores = Sequence[float | None]


@dataclass(frozen=True)
class Folded:
    """One variant's scores, averaged item by item over its training seeds.

    The mean is about the items and the seeds that might have been drawn. With one seed nothing is
    known of others: its interval speaks of that one run.

    Attributes:
        means_N: nan where one of the seeds has no score.
        spread: standard deviation between the seeds' means; None for one seed.
        chance: variance between the seeds' means that the items alone would put there.
        parts: what the seeds add to the variance of the mean, with its degrees of freedom;
            nothing for one seed.
        lent: what stands in place of `parts` in a p.
    """

    means_N: Floats
    spread: float | None = None
    chance: float = 0.0
    parts: Parts = ()
    lent: Parts = ()


def fold(seeds: Sequence[Scores]) -> Folded:
    """Fold the scores of one variant's training seeds.

    Args:
        seeds: the scores of each seed over the same items; None where an item has none.
    """
    table_NS = np.array([np.array(scores, dtype=np.float64) for scores in seeds]).T
    means_N = table_NS.mean(axis=1)
    known_NS = table_NS[np.isfinite(means_N)]
    n, count = known_NS.shape
    if count < 2 or not n:
        return Folded(means_N)
    between = float(known_NS.mean(axis=0).var(ddof=1))
    left_NS = known_NS - known_NS.mean(axis=1, keepdims=True) - known_NS.mean(axis=0)
    left_NS += known_NS.mean()
    chance = float((left_NS**2).sum()) / max(1, (n - 1) * (count - 1)) / n
    part = (_added(between, chance) / count, count - 1.0)
    return Folded(means_N, math.sqrt(between), chance, (part,), (part,))


def fold_all(variants: Sequence[Sequence[Scores]]) -> list[Folded]:
    """Fold the training seeds of all variants of a report, which lend each other their spread.

    For p, the variance between seeds is a variant's own or that of all together, whichever is
    larger, with the degrees of freedom of all but one.

    Args:
        variants: the seeds of each, as `fold` takes them.
    """
    folded = [fold(seeds) for seeds in variants]
    several = [variant for variant in folded if variant.parts]
    if len(several) < 2:
        return folded
    freedoms = [variant.parts[0][1] for variant in several]
    between = np.average([(variant.spread or 0.0) ** 2 for variant in several], weights=freedoms)
    chance = np.average([variant.chance for variant in several], weights=freedoms)
    shared = _added(float(between), float(chance))
    # Of unlike variances, the sum has fewer degrees of freedom than the parts: one is given up.
    freedom = sum(freedoms) * (1 - 1 / len(several))
    return [
        replace(variant, lent=tuple(_lent(*own, shared, freedom) for own in variant.parts))
        for variant in folded
    ]


def _lent(own: float, least: float, shared: float, freedom: float) -> tuple[float, float]:
    """Give a variant of `least` + 1 seeds the spread of all, if it is the larger."""
    return max(own, shared / (least + 1)), max(freedom, least)


def _added(between: float, chance: float) -> float:
    """Take off what the items alone put between seeds; a quarter stays, as few agree by luck."""
    return max(between - chance, LEAST * between)
