"""Error bars and verdicts: Wilson and bootstrap intervals, paired differences, McNemar, Holm.

Every variant answers the same items, so differences are taken item by item and the same resampled
items serve all of them (Efron 1979; Wilson 1927; McNemar 1947, exact; Holm 1979). A difference is
called only when its 95 % interval leaves out 0 and Holm's correction over the comparisons of a
metric leaves p below 0.05; all else is a tie.
"""
# Shapes: R resamples, N items, K variants or pairs of variants.

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
ALPHA = 0.05
Z = 1.959963984540054  # the normal quantile of 1 - ALPHA / 2
CHUNK = 20_000_000  # resampled items held at once
Floats = NDArray[np.float64]
Scores = Sequence[float | None]


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
        p: exact McNemar for right/wrong scores, from the bootstrap otherwise; uncorrected.
    """

    difference: float
    low: float
    high: float
    n: int
    p: float


class Resamples:
    """How often each of N items is drawn in each of R bootstrap samples, the same for all scores.

    Args:
        n: items.
        seed: of the draw.
        resamples: R.
    """

    def __init__(self, n: int, seed: int = 0, resamples: int = RESAMPLES) -> None:
        self.n, self.seed, self.resamples = n, seed, resamples

    def means(self, scores_NK: Floats) -> Floats:
        """Average each column over the items of each resample.

        Args:
            scores_NK: scores; nan where an item has none, which leaves it out of the average.

        Returns:
            means_RK.
        """
        rng = np.random.default_rng(self.seed)
        known_NK = np.isfinite(scores_NK).astype(np.float32)
        values_NK = np.nan_to_num(scores_NK).astype(np.float32)
        step = max(1, CHUNK // max(1, self.n))
        parts = []
        for start in range(0, self.resamples, step):
            rows = min(step, self.resamples - start)
            drawn_RN = rng.integers(0, self.n, (rows, self.n), dtype=np.int32)
            drawn_RN += np.arange(rows, dtype=np.int32)[:, None] * self.n
            counts = np.bincount(drawn_RN.ravel(), minlength=rows * self.n)
            counts_RN = counts.reshape(rows, self.n).astype(np.float32)
            sums_RK = (counts_RN @ values_NK).astype(np.float64)
            parts.append(sums_RK / np.maximum(counts_RN @ known_NK, 1))
        return np.concatenate(parts)


def wilson(right: int, n: int) -> tuple[float, float]:
    """Bound a share of right answers.

    >>> [round(end, 3) for end in wilson(0, 100)], [round(end, 3) for end in wilson(50, 100)]
    ([0.0, 0.037], [0.404, 0.596])
    """
    share = right / n
    centre = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


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


def intervals(columns: Sequence[Scores], seed: int) -> list[Interval]:
    """Average each variant's scores and bound the means: Wilson for 0/1, bootstrap otherwise.

    Args:
        columns: one sequence a variant, over the same items; None where an item has no score.
        seed: of the bootstrap.
    """
    scores_NK = _table(columns)
    known = [scores_N[np.isfinite(scores_N)] for scores_N in scores_NK.T]
    graded = [place for place, scores_N in enumerate(known) if not _binary(scores_N)]
    ends = {}
    if graded:
        means_RK = Resamples(len(scores_NK), seed).means(scores_NK[:, graded])
        ends = {place: _ends(means_R) for place, means_R in zip(graded, means_RK.T, strict=True)}
    return [_interval(scores_N, ends.get(place)) for place, scores_N in enumerate(known)]


def _interval(scores_N: Floats, ends: tuple[float, float] | None) -> Interval:
    """Average the scores there are."""
    n = len(scores_N)
    if not n:
        return Interval(None, None, None, 0)
    return Interval(float(scores_N.mean()), *(ends or wilson(round(scores_N.sum()), n)), n)


def differences(
    columns: Sequence[Scores], pairs: Sequence[tuple[int, int]], seed: int
) -> list[Difference | None]:
    """Compare variants two by two on the items both have a score for.

    Args:
        columns: as for `intervals`.
        pairs: places (a, b) in `columns`.
        seed: of the bootstrap.

    Returns:
        One a pair; None where the two share no scored item.
    """
    scores_NK = _table(columns)
    if not len(scores_NK) or not pairs:
        return [None] * len(pairs)
    apart_NK = np.stack([scores_NK[:, a] - scores_NK[:, b] for a, b in pairs], axis=1)
    means_RK = Resamples(len(scores_NK), seed).means(apart_NK)
    found: list[Difference | None] = []
    for place, (a, b) in enumerate(pairs):
        apart = apart_NK[:, place]
        known = np.isfinite(apart)
        if not known.any():
            found.append(None)
            continue
        if _binary(scores_NK[known, a]) and _binary(scores_NK[known, b]):
            p = mcnemar(int((apart[known] > 0).sum()), int((apart[known] < 0).sum()))
        else:
            p = _two_sided(means_RK[:, place])
        n, mean = int(known.sum()), float(apart[known].mean())
        found.append(Difference(mean, *_ends(means_RK[:, place]), n, p))
    return found


def verdict(found: Difference, corrected_p: float, lower_is_better: bool) -> str:
    """Say who is better: `a better`, `b better` or `tie`."""
    if found.low <= 0 <= found.high or corrected_p >= ALPHA:
        return "tie"
    return "a better" if (found.difference < 0) == lower_is_better else "b better"


def fold(seeds: Sequence[Scores]) -> tuple[list[float | None], float | None]:
    """Average the scores of one variant's training seeds item by item.

    Args:
        seeds: the scores of each seed over the same items.

    Returns:
        The averaged scores and the standard deviation between the seeds' means, None for one seed.
    """
    table_NS = _table(seeds)
    means_N = table_NS.mean(axis=1)  # nan where one of the seeds has no score
    kept = [None if math.isnan(mean) else float(mean) for mean in means_N.tolist()]
    known_NS = table_NS[np.isfinite(means_N)]
    if len(seeds) < 2 or not len(known_NS):
        return kept, None
    return kept, float(known_NS.mean(axis=0).std(ddof=1))


def _table(columns: Sequence[Scores]) -> Floats:
    """Lay scores side by side, nan for None."""
    return np.array(
        [[math.nan if score is None else score for score in column] for column in columns],
        dtype=np.float64,
    ).T


def _binary(scores: Floats) -> bool:
    return bool(np.isin(scores, (0.0, 1.0)).all())


def _ends(means_R: Floats) -> tuple[float, float]:
    """Cut off the tails of resampled means; digits that single precision makes up are dropped."""
    low, high = np.quantile(means_R, [ALPHA / 2, 1 - ALPHA / 2]).tolist()
    return round(low, 6), round(high, 6)


def _two_sided(means_R: Floats) -> float:
    """Read a two-sided p off resampled mean differences."""
    tail = min((means_R <= 0).sum(), (means_R >= 0).sum())
    return float(min(1.0, 2 * (tail + 1) / (len(means_R) + 1)))
