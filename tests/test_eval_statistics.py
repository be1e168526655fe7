"""Error bars and verdicts: known values, and what they promise, proved by simulation."""

import json
import math
from itertools import product
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from ftkit.eval._bounds import Z, errors, student, surprise, tango, wilson
from ftkit.eval._seeds import fold
from ftkit.eval._statistics import (
    Difference,
    differences,
    holm,
    intervals,
    mcnemar,
    verdict,
)
from tests.scripts import load

ROOT = Path(__file__).parent.parent


bars = load("bench/error_bars.py")


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


def test_tangos_ends_are_where_its_score_test_ends():
    for a, b, n in [(12, 2, 44), (0, 8, 50), (30, 55, 300)]:
        low, high = (float(end[0]) for end in tango(*np.array([[a], [b], [n]], dtype=float)))
        assert low < (a - b) / n < high
        for end in (low, high):
            assert score(a, b, n, end) == pytest.approx(Z, abs=1e-4)
    (low,), (high,) = tango(*np.array([[0.0], [0.0], [50.0]]))
    assert (low, high) == pytest.approx((-Z * Z / (50 + Z * Z), Z * Z / (50 + Z * Z)))


def score(a, b, n, apart):
    """Compute Tango's statistic with the likeliest share found by search."""
    q = np.linspace(max(0, -apart) + 1e-9, (1 - abs(apart)) / 2 + max(0, -apart), 100_001)
    rest = 1 - 2 * q - apart
    with np.errstate(divide="ignore", invalid="ignore"):
        likely = a * np.log(q + apart) + b * np.log(q) + (n - a - b) * np.log(rest)
    best = q[np.nanargmax(likely)]
    return abs(a - b - n * apart) / math.sqrt(n * (2 * best + apart * (1 - apart)))


@pytest.mark.parametrize(("level", "table"), [(0.9, 3.078), (0.975, 12.706), (0.9995, 636.619)])
def test_two_seeds_have_the_t_of_the_tables(level, table):
    assert student(NormalDist().inv_cdf(level), 1) == pytest.approx(table, rel=1e-3)
    assert surprise(table, ((1.0, 1.0),)) == pytest.approx(2 * (1 - level), rel=1e-3)


def test_a_bootstrap_widens_students_t_where_it_must(monkeypatch):
    rng = np.random.default_rng(1)
    scores_NK = np.stack([rng.normal(0, 1, 200), np.zeros(200), rng.normal(5, 2, 200)], axis=1)
    scores_NK[:2, 1] = 1.0, 0.5  # hardly an item differs: resamples without any are common
    scores_NK[150:, 2] = np.nan
    plain = [np.nanstd(x, ddof=1) / math.sqrt(np.isfinite(x).sum()) for x in scores_NK.T]
    found = errors(scores_NK, 3, 4000)
    assert found / plain == pytest.approx([1.0, 3.0, 1.0], abs=0.05)
    monkeypatch.setattr("ftkit.eval._bounds.CHUNK", 200 * 7)
    assert errors(scores_NK, 3, 4000) == pytest.approx(found, rel=0.03)
    skewed = rng.lognormal(0, 1.5, (60, 1))
    assert errors(skewed, 3, 4000) > 1.1 * skewed.std(ddof=1) / math.sqrt(60)


def test_an_item_without_a_score_is_left_out():
    first, second = [1.0, 0.0, None, 1.0], [None, None, None, None]
    known, none = intervals([fold([first]), fold([second])], seed=0)
    assert (known.mean, known.n) == (pytest.approx(2 / 3), 3)
    assert (known.low, known.high) == pytest.approx(wilson(2, 3))
    assert (none.mean, none.low, none.n) == (None, None, 0)
    assert differences([fold([first]), fold([second])], [(0, 1)], seed=0) == [None]
    assert intervals([fold([[]])], seed=0)[0].n == 0
    third = [0.5, 0.25, 0.5, None]
    (apart,) = differences([fold([first]), fold([third])], [(0, 1)], seed=0)
    assert (apart.n, apart.difference) == (2, pytest.approx(0.125))


def test_a_difference_is_paired():
    # Ten items on which a alone is right, among items that vary far more than that.
    rng = np.random.default_rng(2)
    b = rng.integers(0, 2, 200).astype(float)
    b[:10] = 0.0
    a = b.copy()
    a[:10] = 1.0
    (found,) = differences([fold([a]), fold([b])], [(0, 1)], seed=0)
    assert found.difference == pytest.approx(0.05)
    assert 0.02 <= found.low < 0.05 < found.high <= 0.095
    assert found.p == mcnemar(10, 0)
    assert verdict(found, found.p, lower_is_better=False) == "a better"
    assert verdict(found, found.p, lower_is_better=True) == "b better"
    (same,) = differences([fold([a]), fold([a])], [(0, 1)], seed=0)
    assert (same.difference, same.p) == (0.0, 1.0)
    assert (same.low, same.high) == pytest.approx((-0.0188, 0.0188), abs=1e-4)
    assert verdict(same, same.p, lower_is_better=False) == "tie"


def test_a_few_items_cannot_make_a_graded_difference_sure():
    """Five equal differences have no spread; a sign test of five cannot go below 2 in 32."""
    for n in (1, 2, 5):
        (found,) = differences([fold([[0.75] * n]), fold([[0.5] * n])], [(0, 1)], seed=0)
        assert found.p == min(1.0, 2.0 ** (1 - n))
        assert verdict(found, found.p, lower_is_better=False) == "tie"
        assert (found.detectable(), found.power(0.25)) == (math.inf, 0.0)
    (six,) = differences([fold([[0.75] * 6]), fold([[0.5] * 6])], [(0, 1)], seed=0)
    assert (six.detectable(), six.power(0.25)) == (0.0, 1.0)
    assert six.detectable(2) == math.inf


def test_what_can_be_detected_is_what_power_is_stated_for():
    rng = np.random.default_rng(3)
    right_NK = (rng.random((320, 2)) < 0.7).astype(float)
    graded_NK = rng.random((320, 2))
    for table_NK in (right_NK, graded_NK):
        (found,) = differences([fold([x]) for x in table_NK.T], [(0, 1)], seed=0)
        for comparisons in (1, 200):
            least = found.detectable(comparisons)
            assert found.power(least, comparisons) == pytest.approx(0.8, abs=1e-6)
        assert found.detectable(200) > 1.4 * found.detectable()
        error = math.sqrt(found.parts[0][0])
        # Student's t is hardly wider than z here; McNemar's p moves in steps of one item.
        step = found.detectable() - (Z + 0.8416) * error
        assert step == pytest.approx(1 / 320 if table_NK is right_NK else 0.0, abs=0.02 * error)
    (same,) = differences([fold([right_NK[:, 0]])] * 2, [(0, 1)], seed=0)
    assert same.detectable() == pytest.approx(6 / 320), "five items on one side are never enough"
    assert mcnemar(5, 0) > 0.05 > mcnemar(6, 0)


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


def test_scores_that_are_all_alike_do_not_make_a_mean_sure():
    """As Wilson's interval of a share that is 0; a mean without bounds has none then."""
    for level in (0.25, 0.1):
        (found,) = intervals([fold([[level] * 100])], 0, share=True)
        assert (found.low, found.high) == pytest.approx(
            (level * (1 - wilson(0, 100)[1]), level + (1 - level) * wilson(0, 100)[1])
        )
    (bits,) = intervals([fold([[1.7] * 100])], 0)
    assert (bits.mean, bits.low, bits.high, bits.n) == (pytest.approx(1.7), None, None, 100)


def test_a_share_ends_at_its_bounds():
    scores = [1.0] * 60 + [0.5]
    whole, share = (intervals([fold([scores])], 0, share)[0] for share in (False, True))
    assert whole.high > 1.0 == share.high
    assert share.low == whole.low


@pytest.mark.parametrize("n", [100, 300, 1000])
@pytest.mark.parametrize("kind", list(bars.KINDS)[:3])
def test_right_or_wrong_scores_keep_what_is_promised(kind: str, n: int):
    """Near the edge Wilson's interval covers 96.6 % at n = 100, as answers are whole numbers."""
    runs, luck = (1000, 0.007) if n == 1000 else (5000, 0.0)  # all of them in the slow test
    keeps(bars.averaged(bars.simulate, kind, n, runs=runs), kind, luck)


@pytest.mark.parametrize("kind", list(bars.KINDS)[3:])
def test_graded_scores_keep_what_is_promised(kind: str):
    keeps(bars.simulate(kind, 100, 1000), kind, luck=0.007)


@pytest.mark.slow
@pytest.mark.parametrize("n", bars.SIZES)
@pytest.mark.parametrize("kind", list(bars.KINDS))
def test_five_thousand_runs(kind: str, n: int):
    keeps(bars.averaged(bars.simulate, kind, n, runs=5000), kind)


def test_the_figures_shown_are_of_five_thousand_runs_and_keep_the_bounds():
    kept = json.loads((ROOT / "results" / "bench" / "statistics.json").read_text())
    assert (kept["runs"], kept["seed"]) == (5000, bars.SEED) == (5000, 7)
    cells = [cell for cell in kept["figures"] if "kind" in cell]
    assert {(cell["kind"], cell["n"]) for cell in cells} == {*product(bars.KINDS, bars.SIZES)}
    for cell in cells:
        keeps(cell, cell["kind"])


def keeps(found: dict[str, float], kind: str, luck: float = 0.0) -> None:
    """Hold a cell to its bounds; `luck` is the standard error of a shorter simulation."""
    edge = 0.005 if "95 %" in kind else 0.0
    assert found["called"] <= 0.058 + luck
    for name in ("covered", "covered_5", "mean"):
        assert 0.935 - luck <= found[name] <= 0.965 + edge + luck, name
    assert found["found"] == pytest.approx(found["stated"], abs=0.03 + 2 * luck)
