"""Bounds of means and shares: Wilson's, Tango's for pairs, Student's widened as a bootstrap says.

Chosen by simulation (docs/statistics.md): percentiles of a bootstrap cover too little near the
edges and for skewed scores, Wald's interval for pairs too little where few differ. Sources: Wilson
1927; Tango 1998, paired score interval; Hall 1988, symmetric bootstrap of t; Wallace 1959, t as z.
"""
# Shapes: R resamples, N items, K columns of scores.

import math

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.05
Z = 1.959963984540054  # the normal quantile of 1 - ALPHA / 2
CHUNK = 20_000_000  # resampled items held at once
WIDEST = 3.0  # times Student's; where hardly an item differs, resamples have no spread at all
Floats = NDArray[np.float64]
Parts = tuple[tuple[float, float], ...]  # independent variances of a mean, with their freedom


def wilson(right: int, n: int) -> tuple[float, float]:
    """Bound a share of right answers.

    >>> [round(end, 3) for end in wilson(0, 100)], [round(end, 3) for end in wilson(50, 100)]
    ([0.0, 0.037], [0.404, 0.596])
    """
    share = right / n
    centre = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def tango(only_a: Floats, only_b: Floats, n: Floats) -> tuple[Floats, Floats]:
    """Bound the differences of paired shares: those that a score test does not reject.

    Args:
        only_a: in each comparison, the items on which a alone is right.
        only_b: those on which b alone is.
        n: all items.

    >>> [end.round(3).tolist() for end in tango(*np.array([[0.0], [0.0], [100.0]]))]
    [[-0.037], [0.037]]
    """
    apart = (only_a - only_b) / n
    ends = []
    for side in (-1.0, 1.0):
        inside, outside = apart.copy(), np.full_like(apart, side)
        for _ in range(45):  # halvings, to 1e-13
            middle = (inside + outside) / 2
            kept = np.abs(_score(only_a, only_b, n, middle)) <= Z
            inside, outside = np.where(kept, middle, inside), np.where(kept, outside, middle)
        ends.append(inside)
    return ends[0], ends[1]


def _score(only_a: Floats, only_b: Floats, n: Floats, apart: Floats) -> Floats:
    """Test a difference; b's share is the likeliest one under it (Tango 1998, formula 11)."""
    linear = -only_a - only_b + (2 * n - only_a + only_b) * apart
    root = np.sqrt(np.maximum(linear**2 + 8 * n * only_b * apart * (1 - apart), 0))
    likeliest = (root - linear) / (4 * n)
    variance = n * (2 * likeliest + apart * (1 - apart))
    return (only_a - only_b - n * apart) / np.sqrt(np.maximum(variance, 1e-12))


def student(z: float, freedom: float) -> float:
    """Turn a normal quantile into Student's; for 2 degrees of freedom it is 4 % too wide.

    >>> [round(student(Z, freedom), 2) for freedom in (1, 2, 4, 30, 1000)]
    [12.71, 4.48, 2.79, 2.04, 1.96]
    """
    if freedom == 1:  # of two seeds: Wallace's would be 38 % too wide, Cauchy's own is short
        return 1 / math.tan(math.pi / 2 * max(math.erfc(z / math.sqrt(2)), 1e-150))
    power = (z * (8 * freedom + 3) / (8 * freedom + 1)) ** 2 / freedom
    return math.sqrt(freedom * math.expm1(min(power, 700.0)))


def half(z: float, parts: Parts) -> float:
    """Give half an interval's width: each part's own half, squared and added (Zou & Donner 2008).

    Args:
        z: the normal quantile of the level.
        parts: variances with their degrees of freedom.
    """
    return math.sqrt(sum(student(z, freedom) ** 2 * variance for variance, freedom in parts))


def surprise(mean: float, parts: Parts) -> float:
    """Find p: one minus the level of the interval that just reaches 0."""
    if mean == 0:
        return 1.0
    low, high = 0.0, 38.0  # beyond which p is 0 in doubles
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if half(middle, parts) < abs(mean) else (low, middle)
    return math.erfc(low / math.sqrt(2))


def errors(scores_NK: Floats, seed: int, resamples: int) -> Floats:
    """Find the standard error of each column's mean, such that Student's t bounds it.

    In resamples of the items, the same for all columns, |t| of the mean stays below some bound in
    95 % of the cases. The error is as many times larger as this bound is larger than Student's.

    Args:
        scores_NK: scores; nan where an item has none.
        seed: of the resamples.
        resamples: R.

    Returns:
        errors_K, 0 for a column of fewer than two scores.
    """
    known_NK = np.isfinite(scores_NK)
    n_K = known_NK.sum(axis=0)
    mean_K = np.where(known_NK, scores_NK, 0.0).sum(axis=0) / np.maximum(n_K, 1)
    apart_NK = np.where(known_NK, scores_NK - mean_K, 0.0)
    sd_K = np.sqrt((apart_NK**2).sum(axis=0) / np.maximum(n_K - 1, 1))
    unit_NK = (apart_NK / np.where(sd_K > 0, sd_K, 1.0)).astype(np.float32)
    bound_K = _bounds(unit_NK, known_NK, seed, resamples)
    student_K = [student(Z, max(1, n - 1)) for n in n_K.tolist()]
    wider_K = np.minimum(bound_K / np.array(student_K), WIDEST)
    found_K: Floats = sd_K / np.sqrt(np.maximum(n_K, 1)) * wider_K
    return found_K


def _bounds(
    unit_NK: NDArray[np.float32], known_NK: NDArray[np.bool_], seed: int, resamples: int
) -> Floats:
    """Find what |t| of each column's mean stays below in 95 % of the resamples."""
    rng, n = np.random.default_rng(seed), len(unit_NK)
    t_KR = np.empty((unit_NK.shape[1], resamples), dtype=np.float32)
    step, whole = max(1, CHUNK // max(1, n)), bool(known_NK.all())
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn_RN = rng.integers(0, n, (rows, n), dtype=np.int32)
        drawn_RN += np.arange(rows, dtype=np.int32)[:, None] * n
        counts = np.bincount(drawn_RN.ravel(), minlength=rows * n)
        counts_NR = counts.reshape(rows, n).T.astype(np.float32)
        size_KR = np.float32(n)
        if not whole:
            size_KR = np.maximum(known_NK.T.astype(np.float32) @ counts_NR, 2)
        mean_KR = unit_NK.T @ counts_NR / size_KR
        spread_KR = np.maximum((unit_NK**2).T @ counts_NR / size_KR - mean_KR**2, 1e-9)
        t_KR[:, start : start + rows] = np.abs(mean_KR) * np.sqrt((size_KR - 1) / spread_KR)
    place = math.ceil((1 - ALPHA) * resamples) - 1
    bound_K: Floats = np.partition(t_KR, place, axis=1)[:, place].astype(np.float64)
    return bound_K
