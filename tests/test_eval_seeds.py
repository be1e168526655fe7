"""Training seeds: what they add to a variance, lent from variant to variant."""

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from ftkit.eval._bounds import Z, student, wilson
from ftkit.eval._seeds import fold, fold_all
from ftkit.eval._statistics import differences, holm, intervals, mcnemar, verdict
from tests.scripts import load

bars = load("bench/error_bars.py")


def test_seeds_fold_item_by_item():
    found = fold([[1.0, 0.0, 1.0, None], [1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0]])
    assert found.means_N == pytest.approx([1.0, 1 / 3, 1 / 3, math.nan], nan_ok=True)
    assert found.spread == pytest.approx(np.std([2 / 3, 2 / 3, 1 / 3], ddof=1))
    alone = fold([[1.0, None]])
    assert (alone.spread, alone.parts) == (None, ())


def test_what_seeds_add_is_the_analysis_of_variance():
    """Seeds that shift every item alike add all their variance; what items do to them adds none."""
    shift = np.array([0.1, -0.1, 0.3])
    items = np.random.default_rng(4).random(50)
    ((variance, freedom),) = fold([items + one for one in shift]).parts
    assert (variance, freedom) == (pytest.approx(shift.var(ddof=1) / 3), 2)
    chance = np.random.default_rng(5).random((3, 4000))
    ((variance, _),) = fold(list(chance)).parts
    assert variance == pytest.approx(chance.mean(axis=1).var(ddof=1) / 4 / 3)  # a quarter at least
    agree = fold([[1.0, 0.0, 1.0]] * 3)  # every seed answers alike: right/wrong scores again
    (found,) = intervals([agree], seed=0)
    assert (found.low, found.high) == pytest.approx(wilson(2, 3))


def shifted(*shifts: list[float]) -> list[list[np.ndarray]]:
    """Give variants whose seeds are the same items, shifted as a whole."""
    items_N = np.random.default_rng(6).random(50)
    return [[items_N + shift for shift in seeds] for seeds in shifts]


def test_variants_lend_each_other_the_spread_of_their_seeds():
    """The larger of one's own and that of all, with the degrees of freedom of all but one."""
    seeds = [0.0, 0.1, 0.2], [0.0, 0.2, 0.4], [0.1, 0.1, 0.4]
    variances = [np.var(shifts, ddof=1) for shifts in seeds]
    found = fold_all([*shifted(*seeds), *shifted([0.3])])
    assert [one.parts for one in found[:3]] == [
        ((pytest.approx(max(own, np.mean(variances)) / 3), 4.0),) for own in variances
    ]
    assert found[3].parts == (), "of one seed nothing is known, nor is it lent"
    (alone,) = fold_all(shifted(seeds[1]))
    assert alone.parts == fold(shifted(seeds[1])[0]).parts
    first, second = fold_all(shifted(seeds[0], seeds[0]))  # two know no more than each by itself
    assert first.parts == second.parts == fold(shifted(seeds[0])[0]).parts


def test_a_variant_whose_seeds_are_far_apart_speaks_for_itself():
    loud, *quiet = fold_all(shifted([0.0, 1.0, 2.0], *[[0.0, 0.1, 0.2]] * 4))
    assert loud.parts == (((pytest.approx(1 / 3)), 2.0),)
    assert {one.parts[0][1] for one in quiet} == {8.0}
    assert quiet[0].parts[0][0] == pytest.approx((1 + 4 * 0.01) / 5 / 3)


def test_seeds_of_different_numbers_count_by_their_freedom():
    few, many = [0.0, 0.2], [0.0, 0.1, 0.2, 0.1, 0.0]
    shared = (np.var(few, ddof=1) + 4 * np.var(many, ddof=1)) / 5
    first, second = fold_all(shifted(few, many))
    assert first.parts == ((pytest.approx(max(0.02, shared) / 2), 2.5),)
    assert second.parts == ((pytest.approx(shared / 5), 4.0),), "no less freedom than its own"


def test_a_lent_spread_does_not_make_the_items_sure():
    """Ten of ten right by every seed: Wilson's and Tango's width stays, and more for the seeds."""
    rng = np.random.default_rng(9)
    sure = [np.ones(10)] * 3
    half_right = [[(rng.random(10) < 0.6).astype(float) for _ in range(3)] for _ in range(5)]
    found = fold_all([sure, sure, [np.zeros(10)] * 3, *half_right])
    ((lent, freedom),) = found[0].parts
    assert lent > 0
    first = intervals(found, seed=0, share=True)[0]
    seeds = student(Z, freedom) * math.sqrt(lent)
    assert first.low == pytest.approx(1 - math.hypot(1 - wilson(10, 10)[0], seeds))
    assert first.high == 1.0
    same, apart = differences(found, [(0, 1), (0, 2)], seed=0)
    (bare,) = differences([fold(sure)] * 2, [(0, 1)], seed=0)
    assert same.high == -same.low == pytest.approx(math.hypot(bare.high, math.sqrt(2) * seeds))
    assert same.detectable() >= bare.detectable() == pytest.approx(0.6)
    assert apart.p >= mcnemar(10, 0)
    close = [replace(one, parts=((0.2, 4.0),)) for one in found]  # seeds that might do as much
    assert differences(close, [(0, 2)], seed=0)[0].p > 0.05


def test_what_all_seeds_show_is_called_in_a_report_of_many_variants():
    """Six variants of three seeds: 0.57 bits apart, which two degrees of freedom would not call."""
    rng = np.random.default_rng(8)
    items_N = rng.lognormal(0, 0.5, 300)
    levels = [0.5, 0.52, 0.51, 0.8, 1.07, 0.9]
    variants = [
        [level * items_N + rng.normal(0, 0.01) + rng.normal(0, 0.05, 300) for _ in range(3)]
        for level in levels
    ]
    pairs = list(product(range(6), range(6)))
    apart = [place for place, (a, b) in enumerate(pairs) if levels[a] - levels[b] > 0.2]
    for fold_them, least in ((fold_all, len(apart)), (lambda them: [*map(fold, them)], 0)):
        found = differences(fold_them(variants), pairs, seed=0)
        ps = holm([one.p for one in found])
        called = [verdict(found[place], ps[place], True) == "b better" for place in apart]
        assert sum(called) >= least
        assert fold_them is fold_all or sum(called) < len(apart)


def test_seeds_are_no_items():
    """An interval that forgets the seeds covers far too little; both parts together cover."""
    found = bars.simulate_seeds(3, 100, [0.07] * 4, 300)
    assert found["items"] < 0.8
    assert 0.93 <= found["mean"] <= 0.985
    assert 0.93 <= found["covered"] <= 0.99
    assert found["called"] <= 0.058
    assert found["any"] <= 0.058
