"""Error bars and verdicts: intervals over items and seeds, paired differences, Holm, power.

Every variant answers the same items, so differences are taken item by item. A difference is called
only when its 95 % interval leaves out 0 and Holm's correction (1979) over all comparisons of a
report leaves p below 0.05; all else is a tie. Scores that are right or wrong whatever the seed:
Wilson's interval, Tango's for pairs, and the exact test of McNemar (1947). All others: Student's t,
widened as a bootstrap of the items says. Seeds widen both (`eval/_seeds.py`).
docs/statistics.md has what was simulated.
"""
# Shapes: N items, K variants or pairs of variants.

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from ._bounds import ALPHA, Floats, Parts, Z, errors, half, surprise, tango, wilson
from ._seeds import Folded

RESAMPLES = 10_000
POWER = 0.8  # with which a detectable difference is found


@dataclass(frozen=True)
class Interval:
    """A mean over items with its 95 % interval.

    Attributes:
        mean: None where no item has a score.
        low: lower end.
        high: upper end.
        n: the items that have a score.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Difference:
    """How far a lies above b on the same items.

    Attributes:
        difference: mean of a minus mean of b.
        low: lower end of the 95 % interval.
        high: upper end.
        n: the items both have a score for.
        p: exact McNemar for right/wrong scores, from Student's t otherwise; uncorrected.
        parts: variances of the difference that p rests on, with their degrees of freedom.
        wide: half the interval where seeds widen it: a smaller difference is not called.
        step: 1 / n where McNemar's p moves in steps of one item, else 0.
    """

    difference: float
    low: float
    high: float
    n: int
    p: float
    parts: Parts = ()
    wide: float = 0.0
    step: float = 0.0

    def power(self, true: float, comparisons: int = 1) -> float:
        """State how often a true difference would be called, were the report to try so many.

        Args:
            true: the difference.
            comparisons: of the report; at worst Holm asks for a p of 0.05 / comparisons.

        Returns:
            0 to 1, to the normal approximation of Connor 1987 with the step for exactness.
        """
        error, bound = self._error, self._bound(comparisons)
        if self._few(comparisons):
            return 0.0
        if error == 0:
            return float(abs(true) > bound)
        return NormalDist().cdf((abs(true) - bound) / error)

    def detectable(self, comparisons: int = 1) -> float:
        """State the smallest true difference that is called in 80 % of the cases with these n.

        Returns:
            inf where these items are too few to call any.
        """
        if self._few(comparisons):
            return math.inf
        surest = math.ceil(math.log2(2 * comparisons / ALPHA)) * self.step  # all on one side
        return max(self._bound(comparisons) + NormalDist().inv_cdf(POWER) * self._error, surest)

    def _few(self, comparisons: int) -> bool:
        """Say whether even a sign test on which all items agree could not call a difference."""
        return ALPHA / comparisons <= 2.0 ** (1 - self.n)

    @property
    def _error(self) -> float:
        return math.sqrt(sum(variance for variance, _ in self.parts))

    def _bound(self, comparisons: int) -> float:
        """Give the smallest difference found that is called."""
        level = NormalDist().inv_cdf(1 - ALPHA / comparisons / 2)
        return max(half(level, self.parts) + self.step, self.wide)


def mcnemar(only_a: int, only_b: int) -> float:
    """Test whether a and b are right equally often, from the items on which just one is right.

    >>> mcnemar(0, 5), mcnemar(8, 2), mcnemar(0, 0)
    (0.0625, 0.109375, 1.0)
    """
    n, few = only_a + only_b, min(only_a, only_b)
    term = total = 1
    for k in range(few):
        term = term * (n - k) // (k + 1)
        total += term
    return float(min(1.0, 2 * total / 2**n))


def holm(ps: Sequence[float]) -> list[float]:
    """Correct p values for their number.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, largest = [0.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda place: ps[place])):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[place]))
        corrected[place] = largest
    return corrected


def intervals(variants: Sequence[Folded], seed: int, share: bool = False) -> list[Interval]:
    """Average each variant's scores and bound the means.

    Args:
        variants: over the same items.
        seed: of the bootstrap.
        share: whether the mean lies between 0 and 1, where its interval then ends.
    """
    known = [variant.means_N[np.isfinite(variant.means_N)] for variant in variants]
    graded = [
        place
        for place, scores_N in enumerate(known)
        if not (_binary(scores_N) or _constant(scores_N))
    ]
    ends = {}
    if graded:
        scores_NK = np.stack([variants[place].means_N for place in graded], axis=1)
        for place, error in zip(graded, errors(scores_NK, seed, RESAMPLES), strict=True):
            ends[place] = half(Z, (_part(error, len(known[place])),))
    return [
        _interval(scores_N, ends.get(place), half(Z, variants[place].parts), share)
        for place, scores_N in enumerate(known)
    ]


def _part(error: float, n: int) -> tuple[float, float]:
    """Give the variance that the draw of items leaves, with its degrees of freedom."""
    return float(error) ** 2, max(1.0, n - 1.0)


def _interval(scores_N: Floats, wide: float | None, seeds: float, share: bool) -> Interval:
    """Average the scores there are; `wide` and `seeds` are what items and seeds leave open."""
    n = len(scores_N)
    if not n:
        return Interval(None, None, None, 0)
    mean = float(scores_N.mean())
    if wide is not None:
        low, high = mean - wide, mean + wide
    elif _binary(scores_N):
        low, high = wilson(round(scores_N.sum()), n)
    elif share:  # all alike: as far as the share of others can pull the mean
        other = wilson(0, n)[1]
        low, high = mean - other * mean, mean + other * (1 - mean)
    else:
        return Interval(mean, None, None, n)
    low, high = _moved(mean, low, high, seeds)
    return Interval(mean, max(low, 0.0) if share else low, min(high, 1.0) if share else high, n)


def _moved(mean: float, low: float, high: float, seeds: float) -> tuple[float, float]:
    """Widen an interval over items for the seeds (Zou & Donner 2008)."""
    return mean - math.hypot(mean - low, seeds), mean + math.hypot(high - mean, seeds)


def differences(
    variants: Sequence[Folded], pairs: Sequence[tuple[int, int]], seed: int
) -> list[Difference | None]:
    """Compare variants two by two on the items both have a score for.

    Args:
        variants: over the same items.
        pairs: places (a, b) in `variants`.
        seed: of the bootstrap.

    Returns:
        One a pair; None where the two share no scored item.
    """
    if not pairs or not len(variants[0].means_N):
        return [None] * len(pairs)
    sides = [(variants[a], variants[b]) for a, b in pairs]
    apart_KN = np.stack([a.means_N - b.means_N for a, b in sides])
    graded = [place for place, pair in enumerate(sides) if not _right_or_wrong(*pair)]
    binary = [place for place in range(len(pairs)) if place not in set(graded)]
    seeds = [((*a.parts, *b.parts), (*a.lent, *b.lent)) for a, b in sides]
    paired = _paired(apart_KN[binary], [seeds[place] for place in binary])
    found = dict(zip(binary, paired, strict=True))
    if graded:
        error_K = errors(apart_KN[graded].T, seed, RESAMPLES)
        for place, error in zip(graded, error_K, strict=True):
            found[place] = _graded(apart_KN[place], float(error), *seeds[place])
    return [found[place] if found[place].n else None for place in range(len(pairs))]


def _right_or_wrong(a: Folded, b: Folded) -> bool:
    """Say whether the shared items are right or wrong for both, whatever the seed."""
    shared_N = np.isfinite(a.means_N - b.means_N)
    return _binary(a.means_N[shared_N]) and _binary(b.means_N[shared_N])


def _paired(apart_KN: Floats, seeds_K: Sequence[tuple[Parts, Parts]]) -> list[Difference]:
    """Compare right/wrong scores; a variant that no seed moves may have been lent a spread."""
    n_K = np.isfinite(apart_KN).sum(axis=1)
    only_a_K, only_b_K = (apart_KN > 0).sum(axis=1), (apart_KN < 0).sum(axis=1)
    ends = tango(*(counts.astype(np.float64) for counts in (only_a_K, only_b_K, n_K.clip(1))))
    found = []
    for low, high, n, a, b, (own, lent) in zip(
        *ends, n_K, only_a_K, only_b_K, seeds_K, strict=True
    ):
        size, only_a, only_b = max(1, int(n)), int(a), int(b)
        mean = (only_a - only_b) / size
        variance = ((only_a + only_b) / size - mean**2) / size
        parts = ((max(0.0, variance), 1e9), *lent)  # a share's variance is known with it
        p = mcnemar(only_a, only_b)
        p = max(p, surprise(mean, parts)) if lent else p
        apart = _moved(mean, float(low), float(high), half(Z, own))
        wide = (apart[1] - apart[0]) / 2 if lent else 0.0
        found.append(Difference(mean, *apart, int(n), p, parts, wide, 1 / size))
    return found


def _graded(apart_N: Floats, error: float, own: Parts, lent: Parts) -> Difference:
    """Compare other scores."""
    known_N = apart_N[np.isfinite(apart_N)]
    n = len(known_N)
    if not n:
        return Difference(0.0, 0.0, 0.0, 0, 1.0)
    mean, items = float(known_N.mean()), _part(error, n)
    parts, wide = (items, *lent), half(Z, (items, *own))
    # Were the signs of the differences drawn at random, all would agree by luck this often.
    luck = 2.0 ** (1 - int((known_N != 0).sum()))
    p = min(1.0, max(surprise(mean, parts), luck))
    return Difference(mean, mean - wide, mean + wide, n, p, parts, wide)


def verdict(found: Difference, corrected_p: float, lower_is_better: bool) -> str:
    """Say who is better: `a better`, `b better` or `tie`."""
    if found.low <= 0 <= found.high or corrected_p >= ALPHA:
        return "tie"
    return "a better" if (found.difference < 0) == lower_is_better else "b better"


def _constant(scores: Floats) -> bool:
    return bool((scores == scores[:1]).all())


def _binary(scores: Floats) -> bool:
    return bool(np.isin(scores, (0.0, 1.0)).all())
