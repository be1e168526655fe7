"""Ranking by likelihood, yes/no/maybe, calibration; strict, lenient and format-failure rates."""

import json
import math
import random
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
import small

from ftkit.adapters._variant import open_variant
from ftkit.basemodel.generate import generate
from ftkit.catalog import load
from ftkit.config import override
from ftkit.eval._answers import Outcome, answers
from ftkit.eval._ask import Asker, Form
from ftkit.eval._tally import Entry, build, grade
from ftkit.recipes._recipe import Example
from ftkit.recipes._rivals import Ranked

SHARED = Path(__file__).parent.parent.parent / "shared" / "data" / "medical" / "medquad"
SPLITS = ("train", "validation", "test")


def item(question: str, answer: str, **meta) -> Example:
    messages = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Example(messages, meta, question)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return open_variant(small.base(tmp_path_factory.mktemp("ranking") / "base"))


def drain(work) -> list[Outcome]:
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def test_the_worlds_rivals_are_of_one_type_and_of_one_name():
    recipe = replace(load("recipes", "medical"), rivals=3)
    rows = recipe.examples("test")
    plain = recipe.world("test")
    assert [row.messages for row in rows] == [row.messages for row in plain], "the items stay"
    ranked = [row for row in rows if "candidates" in row.meta]
    assert len(ranked) > 100
    for row in ranked:
        assert row.meta["facts"]
        right, *rivals = row.meta["candidates"]
        assert (right, len({right, *rivals})) == (row.reference, 4)
        for text in rivals:
            assert text.split()[:2] == right.split()[:2]
            assert (row.meta["name"] in text.lower()) == (row.meta["name"] in right.lower())
    again = recipe.examples("test")
    assert [row.meta for row in rows] == [row.meta for row in again]
    none = replace(recipe, rivals=0).examples("test")
    assert not any("candidates" in row.meta for row in none)


def test_rivals_of_real_rows_answer_the_same_question_about_something_else():
    about = ("gout", "flu", "acne", "asthma", "mumps")
    rows = [
        item(f"What causes {x}?", f"{x.capitalize()} comes from {n}.", focus=x, facts=x)
        for n, x in enumerate(about)
    ]
    rows += [item(f"Who gets {x}?", f"People get {x}.", focus=x, facts=x) for x in about]
    found = Ranked(rows, 3)
    assert sorted(found[0].meta["candidates"])[0] == "Gout comes from 0."
    assert all(text.lower().startswith("gout comes from") for text in found[0].meta["candidates"])
    assert "candidates" not in found[5].meta, "there the answers differ in nothing but the name"
    assert [row.reference for row in found[2:4]] == [row.reference for row in rows[2:4]]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not here")
def test_questions_of_medquad_have_rivals(tmp_path):
    values = {"data": [str(SHARED / "dev.jsonl.gz")], "whole": True, "cache": str(tmp_path)}
    rows = override(load("recipes", "medical"), values, "recipe").examples("test")
    ranked = [row for row in rows if "candidates" in row.meta]
    assert len(ranked) > 0.5 * len(rows)
    assert {len(row.meta["candidates"]) for row in ranked} == {4}


def test_candidates_are_scored_behind_the_prompt_and_ranked_per_byte(base, tmp_path):
    recipe = replace(load("recipes", "medical"), max_new_tokens=2)
    candidates = ("rest", "a long walk in the cold rain", "tea")
    rows = [item("What helps?", "rest", candidates=candidates, kind="emergency")]
    (outcome,) = drain(answers(base, recipe, rows, Form(), folder=tmp_path))
    asked = Asker(base, recipe, Form()).ask(rows[0])
    assert list(outcome.labels) == list(candidates) == list(asked.labels)
    (nats,) = base.nll([asked.behind(asked.labels["tea"])])
    assert outcome.labels["tea"] == pytest.approx(nats, rel=1e-4)


def test_a_long_right_answer_is_not_last_for_being_long():
    """By the sum of nats the short one would be first; per byte the right one is."""
    asked = item("?", "a long right answer", candidates=("a long right answer", "no", "nah"))
    nats = {"a long right answer": 9.5, "no": 2.0, "nah": 1.2}
    first, mean = load("eval", "rank_first"), load("eval", "reciprocal_rank")
    outcome = Outcome(0, "", "", stopped=True, labels=nats)
    assert first.grade(outcome, asked).reason == "2 of 3"
    assert mean.grade(outcome, asked).value == 1 / 2
    better = Outcome(0, "", "", stopped=True, labels=nats | {"a long right answer": 7.0})
    assert first.grade(better, asked).value == 1.0
    tied = Outcome(0, "", "", stopped=True, labels=nats | {"a long right answer": 19 * 0.4})
    assert mean.grade(tied, asked).value == 1 / 2, "an equal one counts as before it"
    unread = Outcome(0, "", "", stopped=False, asked=False)
    assert mean.grade(unread, asked).value == 1 / 3
    assert first.grade(Outcome(0, "", "", stopped=None), asked).value is None


def test_yes_no_maybe_of_pubmed_is_a_classification(tmp_path):
    """The shape of PubMedQA's rows: a question with its context, and a final decision."""
    draw = random.Random(0)
    lines = [
        {"instruction": f"Does drug {n} help?", "input": f"Trial {n}.", "output": word}
        for n, word in enumerate(draw.choices(["yes", "no", "maybe"], [55, 34, 11], k=300))
    ]
    file = tmp_path / "pubmed.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    values = {"data": [str(file)], "cache": str(tmp_path / "cache")}
    recipe = override(load("recipes", "instruct"), values, "recipe")
    items = list(recipe.examples("test"))
    assert {row.meta["labels"] for row in items} == {("maybe", "no", "yes")}
    metrics = {name: load("eval", name) for name in ("label_accuracy", "macro_f1", "label_format")}
    outcomes = [Outcome(n, "yes", "yes", stopped=True) for n in range(len(items))]
    entry = Entry("base", "base", outcomes, "base")
    card = build("instruct", items, [(entry, grade(entry, items, metrics))], metrics, 0, {})
    share = sum(row.reference == "yes" for row in items) / len(items)
    means = {name: card.variants[0].metrics[name].mean for name in metrics}
    assert means["label_accuracy"] == pytest.approx(share)
    assert means["macro_f1"] == pytest.approx(2 * share / (1 + share) / 3)
    assert means["label_format"] == 0


def test_calibration_error_is_the_mean_of_its_scores():
    draw, metric = random.Random(2), load("eval", "calibration")
    sure = [draw.random() for _ in range(2000)]
    honest = [(one, float(draw.random() < one)) for one in sure]
    boaster = [(one**0.25, right) for one, right in honest]
    errors = []
    for rows in (honest, boaster):
        found = metric.scores(rows)
        errors.append(sum(score.value for score in found) / len(rows))
        by_bin: dict[str, list[tuple[float, float]]] = {}
        for row, score in zip(rows, found, strict=True):
            by_bin.setdefault(score.reason, []).append(row)
        gaps = [abs(sum(a - b for a, b in part)) for part in by_bin.values()]
        assert (len(by_bin), {len(part) for part in by_bin.values()}) == (10, {200})
        assert errors[-1] == pytest.approx(sum(gaps) / len(rows))
    assert errors[0] < 0.04
    assert errors[1] == pytest.approx(sum(one**0.25 - one for one in sure) / 2000, abs=0.03)


def test_a_replys_likelihood_is_held_against_what_the_strict_metric_says(base, tmp_path):
    recipe = replace(load("recipes", "instruct"), max_new_tokens=4)
    items = [item("Who?", "Lena"), item("Where?", "here")]
    outcomes = drain(answers(base, recipe, items, Form(), folder=tmp_path))
    asker = Asker(base, recipe, Form())
    assert all(outcome.said is not None for outcome in outcomes)
    shown = asker.ask(items[0])
    stops, pad = asker.stops(""), base.pad
    (said,) = generate(base.decoder, [shown.prompt], max_new_tokens=4, stop=stops, pad=pad)
    (nats,) = base.nll([shown.behind(said.ids)])
    assert outcomes[0].said == pytest.approx(nats, rel=1e-3)
    outcomes = [replace(outcomes[0], answer="Lena"), replace(outcomes[1], answer="there")]
    names = ("word_overlap", "answer_match", "calibration")
    metrics = {name: load("eval", name) for name in names}
    found = grade(Entry("base", "base", outcomes, "base"), items, metrics)["calibration"]
    wanted = [math.exp(-outcomes[0].said) - 1, math.exp(-outcomes[1].said)]
    sign = 1 if sum(wanted) >= 0 else -1
    assert [score.value for score in found] == pytest.approx([sign * one for one in wanted])


def test_two_kinds_of_confidence_are_not_mixed():
    """Among candidates 0.73 is sure; a whole reply never is. Items without are left out."""
    metric = load("eval", "calibration")
    chosen = replace(item("Who?", "Lena"), meta={"candidates": ("Lena", "Emma")})
    free = item("Where?", "here")
    said = Outcome(0, "Lena", "Lena", said=5.0, right=1.0)
    among = replace(said, labels={"Lena": 1.0, "Emma": 2.0})
    both = metric.grades([among, said, said], [chosen, free, chosen])
    assert [score.value is None for score in both] == [False, True, True]
    assert both[0] == metric.grades([among], [chosen])[0]
    assert metric.grades([said], [free])[0].value == pytest.approx(1 - math.exp(-5.0))


@pytest.mark.parametrize(
    ("recipe", "meta", "reply", "strict", "lenient", "failed"),
    [
        ("instruct", {}, "Lena", 1, 1, 0),
        ("instruct", {}, "It is lena, I think.", 0, 1, 0),
        ("instruct", {}, "Emma\nUser: And who else?", 0, 0, 1),
        ("instruct", {}, " ", 0, 0, 1),
        ("chat", {"check": '{"rule": "exact", "text": "Lena"}'}, "Sure!\n**Lena**", 0, 1, 0),
        ("chat", {"check": '{"rule": "exact", "text": "Lena"}'}, "Emma", 0, 0, 0),
        ("medical", {"facts": "rest\ntea", "known": "rest\ntea\nrash"}, "rest, tea", 1, 1, 0),
        ("medical", {"facts": "rest\ntea", "known": "rest\ntea\nrash"}, "tea", 0, 1, 0),
        ("medical", {"facts": "rest\ntea", "known": "rest\ntea\nrash"}, "rash", 0, 0, 0),
    ],
)
def test_every_recipe_says_how_strictly_it_was_right(recipe, meta, reply, strict, lenient, failed):
    names = {
        "instruct": ("answer_match", "answer_named"),
        "chat": ("turns_right", "turns_lenient"),
        "medical": ("facts_right", "facts_some"),
    }[recipe]
    assert {*names, "format_failure"} <= set(load("recipes", recipe).metrics)
    asked = item("Who?", "Lena or rest and tea" if recipe == "medical" else "Lena", **meta)
    outcome = Outcome(0, reply, reply.strip(), stopped=True)
    found = [load("eval", name).grade(outcome, asked).value for name in (*names, "format_failure")]
    assert found == [strict, lenient, failed]


def test_a_query_is_found_behind_words_and_a_fence(tmp_path):
    file = tmp_path / "t.sqlite"
    with sqlite3.connect(file) as connection:
        connection.executescript("CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)")
    connection.close()
    recipe = load("recipes", "sql_qa")
    asked = item("?", "SELECT a FROM t", sql="SELECT a FROM t", database=str(file), compact=False)
    for reply, strict, lenient, failed in [
        ("SELECT a FROM t", 1, 1, 0),
        ("Sure:\n```sql\nSELECT a FROM t\n```\nDone.", 0, 1, 1),
        ("It is SELECT a FROM t", 0, 1, 1),
        ("Sure, with pleasure: SELECT a FROM t", 0, 1, 1),
        ("So: with w (b) as (SELECT a FROM t) SELECT b FROM w", 0, 1, 1),
        ("SELECT max(a) FROM t", 0, 0, 0),
        ("I do not know.", 0, 0, 1),
    ]:
        outcome = Outcome(0, reply, recipe.answer(reply, asked), stopped=True)
        names = ("execution_accuracy", "execution_lenient", "format_failure")
        assert set(names) <= set(recipe.metrics)
        found = [load("eval", name).grade(outcome, asked).value for name in names]
        assert found == [strict, lenient, failed], reply


def test_chat_rows_that_no_program_can_check_are_ranked_by_likelihood():
    """Not by repetition or format, in which a model that always says `Yes.` would win."""
    outcome = Outcome(0, "Yes.", "Yes.", 3.0, 4, stopped=True)
    names, asked = load("recipes", "chat").metrics, item("Well?", "Sure.")
    first = next(n for n in names if load("eval", n).grade(outcome, asked).value is not None)
    assert first == "bits_per_byte"
