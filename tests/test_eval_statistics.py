"""Error bars and verdicts: known values, and what they promise, proved by simulation."""

import math

import numpy as np
import pytest

from ftkit.eval._statistics import (
    Difference,
    Resamples,
    differences,
    fold,
    holm,
    intervals,
    mcnemar,
    verdict,
    wilson,
)


def test_wilson_agrees_with_published_values():
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    known = {(81, 263): (0.2553, 0.3662), (15, 148): (0.0624, 0.1605)}
    known |= {(0, 20): (0.0, 0.1611), (1, 29): (0.0061, 0.1718)}
    for (right, n), ends in known.items():
        assert wilson(right, n) == pytest.approx(ends, abs=5e-5)


def test_mcnemar_is_the_exact_binomial():
    for a, b in [(0, 0), (1, 0), (5, 5), (3, 12), (40, 61), (700, 1300)]:
        n = a + b
        tail = math.fsum(math.comb(n, k) / 2**n for k in range(min(a, b) + 1))
        assert mcnemar(a, b) == mcnemar(b, a) == pytest.approx(min(1.0, 2 * tail), rel=1e-12)


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03, 0.005]) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_resamples_are_the_same_for_every_score_and_in_every_chunk(monkeypatch):
    scores = np.random.default_rng(1).random((50, 2))
    scores[:, 1] = scores[:, 0] + 1
    whole = Resamples(50, seed=3, resamples=400).means(scores)
    assert whole[:, 1] - whole[:, 0] == pytest.approx(np.ones(400), abs=1e-6)
    assert whole.std(axis=0) == pytest.approx(scores.std(axis=0) / math.sqrt(50), rel=0.1)
    monkeypatch.setattr("ftkit.eval._statistics.CHUNK", 50 * 7)
    chunks = Resamples(50, seed=3, resamples=400).means(scores)
    assert chunks.shape == (400, 2)
    assert chunks.mean() == pytest.approx(whole.mean(), abs=0.02)


def test_an_item_without_a_score_is_left_out():
    first, second = [1.0, 0.0, None, 1.0], [None, None, None, None]
    known, none = intervals([first, second], seed=0)
    assert (known.mean, known.n) == (pytest.approx(2 / 3), 3)
    assert (known.low, known.high) == pytest.approx(wilson(2, 3))
    assert (none.mean, none.low, none.n) == (None, None, 0)
    assert differences([first, second], [(0, 1)], seed=0) == [None]
    assert intervals([[], []], seed=0)[0].n == 0


def test_a_difference_is_paired():
    # Ten items on which a alone is right, among items that vary far more than that.
    rng = np.random.default_rng(2)
    b = rng.integers(0, 2, 200).astype(float)
    b[:10] = 0.0
    a = b.copy()
    a[:10] = 1.0
    (found,) = differences([list(a), list(b)], [(0, 1)], seed=0)
    assert found.difference == pytest.approx(0.05)
    assert 0.02 <= found.low < 0.05 < found.high <= 0.085
    assert found.p == mcnemar(10, 0)
    assert verdict(found, found.p, lower_is_better=False) == "a better"
    assert verdict(found, found.p, lower_is_better=True) == "b better"
    (same,) = differences([list(a), list(a)], [(0, 1)], seed=0)
    assert (same.difference, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)
    assert verdict(same, same.p, lower_is_better=False) == "tie"


@pytest.mark.parametrize(
    ("low", "high", "p", "word"),
    [
        (0.01, 0.03, 0.01, "a better"),
        (-0.03, -0.01, 0.01, "b better"),
        (0.0, 0.03, 0.01, "tie"),
        (-0.01, 0.03, 0.01, "tie"),
        (0.01, 0.03, 0.05, "tie"),  # one of many comparisons: Holm's p decides too
    ],
)
def test_a_tie_is_by_rule(low, high, p, word):
    found = Difference((low + high) / 2, low, high, 100, p)
    assert verdict(found, p, lower_is_better=False) == word


def test_seeds_fold_item_by_item():
    scores, spread = fold([[1.0, 0.0, 1.0, None], [1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0]])
    assert scores == [1.0, pytest.approx(1 / 3), pytest.approx(1 / 3), None]
    assert spread == pytest.approx(np.std([2 / 3, 2 / 3, 1 / 3], ddof=1))
    assert fold([[1.0, None]]) == ([1.0, None], None)


@pytest.mark.parametrize("n", [100, 300])
def test_two_draws_of_one_variant_are_called_different_in_one_case_of_twenty(n):
    rng = np.random.default_rng(2)
    chance_N = rng.beta(1, 1, n)
    runs = 1500
    a_NK = (rng.random((n, runs)) < chance_N[:, None]).astype(float)
    b_NK = (rng.random((n, runs)) < chance_N[:, None]).astype(float)
    pairs = [(run, runs + run) for run in range(runs)]
    found = differences([*a_NK.T, *b_NK.T], pairs, seed=2)
    called = [verdict(item, item.p, lower_is_better=False) != "tie" for item in found]
    assert np.mean(called) <= 0.058
    covered = [item.low <= 0 <= item.high for item in found]
    assert 0.935 <= np.mean(covered) <= 0.97


def test_intervals_cover_and_a_real_difference_is_found():
    rng = np.random.default_rng(7)
    n, runs = 500, 600
    right_NK = (rng.random((n, runs)) < 0.8).astype(float)
    covered = [found.low <= 0.8 <= found.high for found in intervals(list(right_NK.T), seed=7)]
    assert 0.935 <= np.mean(covered) <= 0.975
    # Bits per byte, skewed: the bootstrap covers a little less than it says.
    bits_NK = rng.exponential(1.0, (n, runs))
    covered = [found.low <= 1.0 <= found.high for found in intervals(list(bits_NK.T), seed=7)]
    assert 0.93 <= np.mean(covered) <= 0.965
    # 10 points between variants that agree on most items: found nearly always at n = 500.
    lost_NK = right_NK * (rng.random((n, runs)) >= 0.15) + (1 - right_NK) * (
        rng.random((n, runs)) < 0.1
    )
    pairs = [(run, runs + run) for run in range(runs)]
    called = [
        verdict(found, found.p, lower_is_better=False)
        for found in differences([*right_NK.T, *lost_NK.T], pairs, seed=7)
    ]
    assert np.mean([word == "a better" for word in called]) > 0.99
