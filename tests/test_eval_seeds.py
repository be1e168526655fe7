"""Training seeds: what they add to a variance, lent from variant to variant."""

import json
import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from ftkit.eval._bounds import wilson
from ftkit.eval._seeds import fold, fold_all
from ftkit.eval._statistics import differences, holm, intervals, mcnemar, verdict
from tests.scripts import ROOT, load

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
    """For p the larger of one's own and that of all, with the freedom of all but one."""
    seeds = [0.0, 0.1, 0.2], [0.0, 0.2, 0.4], [0.1, 0.1, 0.4]
    variances = [np.var(shifts, ddof=1) for shifts in seeds]
    found = fold_all([*shifted(*seeds), *shifted([0.3])])
    assert [one.lent for one in found[:3]] == [
        ((pytest.approx(max(own, np.mean(variances)) / 3), 4.0),) for own in variances
    ]
    assert [one.parts for one in found[:3]] == [
        ((pytest.approx(own / 3), 2.0),) for own in variances
    ]
    assert found[3].lent == found[3].parts == (), "of one seed nothing is known, nor is it lent"
    (alone,) = fold_all(shifted(seeds[1]))
    assert alone.lent == alone.parts == fold(shifted(seeds[1])[0]).parts
    first, second = fold_all(shifted(seeds[0], seeds[0]))  # two know no more than each by itself
    assert first.lent == second.lent == first.parts


def test_seeds_of_different_numbers_count_by_their_freedom():
    few, many = [0.0, 0.2], [0.0, 0.1, 0.2, 0.1, 0.0]
    shared = (np.var(few, ddof=1) + 4 * np.var(many, ddof=1)) / 5
    first, second = fold_all(shifted(few, many))
    assert first.lent == ((pytest.approx(max(0.02, shared) / 2), 2.5),)
    assert second.lent == ((pytest.approx(shared / 5), 4.0),), "no less freedom than its own"


def test_an_interval_rests_on_a_variants_own_seeds():
    """And what is called must lie outside of it, however sure the others' seeds make p."""
    loud, *quiet = shifted([0.5, 1.0, 1.5], *[[0.0, 0.01, 0.02]] * 5)
    found = fold_all([loud, *quiet])
    bare, full = (
        [intervals(some, seed=0)[0] for some in (folded, [folded[0]])]
        for folded in (found, [fold(loud)])
    )
    assert bare == full
    (apart,) = differences(found, [(0, 1)], seed=0)
    assert apart.p < 0.01
    assert apart.low < 0 < apart.high
    assert verdict(apart, apart.p, lower_is_better=False) == "tie"
    assert apart.detectable() > apart.wide == pytest.approx((apart.high - apart.low) / 2)
    (alone,) = differences([fold(loud), fold(quiet[0])], [(0, 1)], seed=0)
    assert (apart.low, apart.high) == (alone.low, alone.high)


def test_a_lent_spread_does_not_make_the_items_sure():
    """Ten of ten right by every seed: Wilson's and Tango's width stays; p counts what is lent."""
    rng = np.random.default_rng(9)
    sure = [np.ones(10)] * 3
    half_right = [[(rng.random(10) < 0.6).astype(float) for _ in range(3)] for _ in range(5)]
    found = fold_all([sure, sure, [np.zeros(10)] * 3, *half_right])
    ((lent, _),) = found[0].lent
    assert lent > 0
    first = intervals(found, seed=0, share=True)[0]
    assert (first.low, first.high) == pytest.approx(wilson(10, 10))
    same, apart = differences(found, [(0, 1), (0, 2)], seed=0)
    (bare,) = differences([fold([np.ones(10)])] * 2, [(0, 1)], seed=0)
    assert (same.low, same.high) == pytest.approx((bare.low, bare.high))
    assert same.detectable() >= bare.detectable() == pytest.approx(0.6)
    assert apart.p >= mcnemar(10, 0)
    close = [replace(one, lent=((0.2, 4.0),)) for one in found]  # seeds that might do as much
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
    found = bars.simulate_seeds(3, 100, [0.07] * 2 + [0.0] * 2, 300)
    assert found["items"] < 0.8
    for promised in ("mean", "covered"):
        assert found[promised] >= 0.93
    for wrong in ("called", "any"):
        assert found[wrong] <= 0.058


def test_the_figures_shown_keep_the_bounds():
    kept = json.loads((ROOT / "results" / "bench" / "seeds.json").read_text())
    assert kept["seed"] == bars.SEED
    assert {(cell["seeds"], cell["n"], cell["spread"]) for cell in kept["figures"]} == {*bars.SEEDS}
    luck = 3 * math.sqrt(0.05 * 0.95 / kept["runs"])
    for cell in kept["figures"]:
        for promised in ("mean", "covered"):
            assert cell[promised] >= 0.95 - luck
        for wrong in ("called", "any"):
            assert cell[wrong] <= 0.05 + luck
