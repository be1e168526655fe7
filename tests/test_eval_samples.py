"""Single answers in the report: which are called right, which not, and of which nothing is said."""

import pytest

from ftkit.catalog import load
from ftkit.eval._metric import Score
from ftkit.eval._report import html
from ftkit.eval._samples import samples
from ftkit.eval._tally import build, grade
from tests import cards


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    return cards.items(tmp_path_factory.mktemp("report"), 300)


@pytest.fixture(scope="module")
def entries(asked):
    return cards.entries(asked)


def test_samples_are_spread_and_mostly_disputed(asked, entries):
    shown = samples(asked, entries, "execution_accuracy")
    assert len(shown) == 60
    assert [s.number for s in shown] == sorted({s.number for s in shown})
    assert sum(s.disputed for s in shown) >= 40
    assert shown[-1].number > 250
    reply = shown[0].replies[-1]
    assert (reply.variant, reply.method) == ("sql_qa-full", "full")
    assert shown[0].context == cards.SCHEMA


@pytest.mark.parametrize("name", ["bits_per_byte", "format_failure"])
def test_no_answer_is_called_right_for_a_score_that_says_no_such_thing(asked, entries, name):
    """One bit per byte is no right answer, and a format failure still less."""
    metric = load("eval", name)
    graded = [(entry, grade(entry, asked, {name: metric})) for entry, _ in entries]
    card = build("chat", asked, graded, {name: metric}, 0, {})
    page = html(card, samples(asked, graded, name, card.readings[name].marks), [])
    assert "60 of 300 items" in page
    for word in ('title="right"', "Show only items", "models disagree on", '"sample disputed'):
        assert word not in page


def test_items_that_the_metric_does_not_apply_to_are_counted_nowhere(asked, entries):
    """Neither in the n of the bars nor among the answers that are not right."""
    name = "execution_accuracy"
    halves = [
        (entry, {name: [Score(None)] * 150 + scores[name][150:]}) for entry, scores in entries
    ]
    card = build("sql_qa", asked, halves, {name: load("eval", name)}, 0, {})
    shown = samples(asked, halves, name)
    page = html(card, shown, [])
    assert "n = 150 items that it applies to" in page
    assert "with 95 % intervals, n = 150" in page
    last = [sample.replies[-1] for sample in shown]
    right, wrong = sum(reply.right for reply in last), sum(reply.wrong for reply in last)
    without = sum(reply.score is None for reply in last)
    assert without > 0 < wrong
    assert right + wrong + without == len(shown)
    assert f"not <small>{wrong}</small>" in page
    assert page.count(" x8") == wrong
    assert "Share of queries that return the rows of the reference query." in page
