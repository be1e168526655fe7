"""Training seeds: scores averaged over them, and what they add to the variance of a mean.

A random effects analysis of variance, items by seeds. Three seeds tell little of their own spread,
so the variants of a report lend each other theirs, unless one stands out. docs/statistics.md has
what was simulated, and what was tried.
"""
# Shapes: N items, S seeds.

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ._bounds import Floats, Parts

LEAST = 0.25  # of the variance between seeds; 0 covers 92 % in places, 1 is needlessly wide
ALONE = 3.0  # times the variants' mean variance between seeds: such a one speaks for itself
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
    """

    means_N: Floats
    spread: float | None = None
    chance: float = 0.0
    parts: Parts = ()


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
    return Folded(means_N, math.sqrt(between), chance, (part,))


def fold_all(variants: Sequence[Sequence[Scores]]) -> list[Folded]:
    """Fold the training seeds of all variants of a report, which lend each other their spread.

    The variance between seeds is a variant's own or that of all together, whichever is larger,
    with the degrees of freedom of all but one; one that stands out keeps its own.

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
    return [_lent(variant, float(between), shared, freedom) for variant in folded]


def _lent(variant: Folded, between: float, shared: float, freedom: float) -> Folded:
    """Give a variant the spread of all, unless it has one seed or stands out."""
    if variant.spread is None or variant.spread**2 > ALONE * between:
        return variant
    ((own, least),) = variant.parts
    return replace(variant, parts=((max(own, shared / (least + 1)), max(freedom, least)),))


def _added(between: float, chance: float) -> float:
    """Take off what the items alone put between seeds; a quarter stays, as few agree by luck."""
    return max(between - chance, LEAST * between)
