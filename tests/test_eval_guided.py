"""Of several queries the database takes one; no gold query is looked at."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from ftkit import catalog
from ftkit.adapters._variant import open_variant
from ftkit.basemodel import rows
from ftkit.cli import ftkit
from ftkit.errors import FtkitError
from ftkit.eval import _answers
from ftkit.eval._answers import answers
from ftkit.eval._ask import Form
from ftkit.eval._groups import collect
from ftkit.eval._guided import guided
from ftkit.eval._sql import Sql
from tests.test_eval_answers import _drain

FAILS, NOTHING = "SELECT z FROM t", "SELECT a FROM t WHERE a > 9"
COUNTS_NONE = "SELECT COUNT(*) FROM t WHERE a > 9"


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = tmp_path / "t.sqlite"
    file = sqlite3.connect(path)
    file.executescript("CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 'x'), (2, NULL), (0, 'y')")
    file.close()
    return str(path)


@pytest.mark.parametrize(
    ("queries", "taken"),
    [
        (["SELECT a FROM t", "SELECT b FROM t"], 0),  # what is trusted most stays
        ([FAILS, NOTHING, "SELECT b FROM t", "SELECT a FROM t"], 2),
        ([FAILS, NOTHING, COUNTS_NONE], 1),
        ([FAILS, "", "DROP TABLE t"], 0),
        ([COUNTS_NONE, "SELECT MAX(a) FROM t WHERE a > 9", "SELECT COUNT(*) FROM t"], 2),
        (["SELECT a FROM t WHERE b = 'y'", "SELECT a, b FROM t WHERE b = 'y'"], 1),  # a lone 0
        (["SELECT COUNT(*), MAX(a) FROM t WHERE a > 9", "SELECT a FROM t"], 1),
    ],
)
def test_the_first_query_that_finds_something_is_taken(database, queries, taken):
    sql, asked = Sql(), []

    def run(query):
        asked.append(query)
        return sql.query(database, query)

    assert guided(run, [*queries, *queries]) == queries[taken]
    assert len(asked) == len(set(asked))


def test_what_was_found_is_not_looked_behind(database):
    sql = Sql()

    def queries():
        yield "SELECT a FROM t"
        raise AssertionError("another one was asked for")

    assert guided(lambda query: sql.query(database, query), queries()) == "SELECT a FROM t"


def test_the_gold_query_chooses_nothing(database):
    """A first answer that finds something stays, though a later one is right."""
    metric = catalog.load("eval", "execution_guided")
    gold = "SELECT a FROM t"
    for queries, value in (
        (["SELECT b FROM t", gold], 0.0),
        ([FAILS, gold], 1.0),
        ([FAILS, "SELECT b FROM t", gold], 0.0),
    ):
        assert metric.score(json.dumps(queries), gold, database).value == value
    assert metric.score(json.dumps([gold]), gold, "").value is None
    with pytest.raises(ValueError, match="cannot be opened as a SQLite database"):
        metric.score(json.dumps([gold]), gold, __file__)
    for wrong in (gold, "[]", "{}", '"SELECT 1"', "[1]"):
        with pytest.raises(ValueError, match="a prediction is a JSON list of queries"):
            metric.score(wrong, gold, database)


def test_an_item_that_was_not_asked_counts_as_wrong_here_too(database):
    metric = catalog.load("eval", "execution_guided")
    example = SimpleNamespace(meta={"sql": "SELECT a FROM t", "database": database, "samples": 2})
    assert metric.grade(SimpleNamespace(answer="", samples=()), example).value == 0.0
    example.meta.pop("samples")
    assert metric.grade(SimpleNamespace(answer="", samples=()), example).value is None


def test_candidates_are_drawn_for_those_who_ask_a_database(tiny_runs, tmp_path, monkeypatch):
    (group,) = collect([tiny_runs["lora"]], limit=3, candidates=4)
    assert [item.meta["samples"] for item in group.items] == [4] * 3
    variant = open_variant(tiny_runs["lora"])
    # A tiny run never ends a query: what it says up to the limit is looked at here.
    monkeypatch.setattr(_answers, "_ended", lambda _, item, reply: str(reply.ids))
    monkeypatch.setattr(type(group.recipe), "answer", lambda self, reply, example: reply)
    found = _drain(answers(variant, group.recipe, group.items, Form(), folder=tmp_path))
    said = [outcome.samples for outcome in found]
    assert [len(set(samples)) for samples in said] == [4] * 3
    assert len({samples[0] for samples in said}) > 1
    alone = _drain(answers(variant, group.recipe, group.items[2:], Form(), folder=tmp_path / "b"))
    assert alone[0].samples == said[2], "no item's depend on its batch"
    with pytest.raises(FtkitError, match="--candidates is for recipes that ask a database"):
        collect([tiny_runs["lora"]], recipe="chat", limit=2, candidates=4)


def test_the_command_draws_tells_and_notes_them(tiny_runs, tmp_path):
    words = ["eval", str(tiny_runs["lora"]), "--limit", "3", "--shots", "0", "--candidates", "2"]
    result = CliRunner().invoke(ftkit, [*words, "--out", str(tmp_path / "eval")])
    assert result.exit_code == 0, result.stderr
    card = json.loads((tmp_path / "eval" / "scorecard.json").read_text())
    assert "--candidates 2" in card["facts"]["command"]
    assert card["facts"]["decoding"] == "greedy, float32; 2 more at temperature 1"
    assert {line["metrics"]["execution_guided"]["n"] for line in card["variants"]} == {3}
    assert "; execution, guided 0.0 %" in result.stdout + result.stderr
    (first, *_) = (tmp_path / "eval" / "answers.jsonl").read_text().splitlines()
    assert len(json.loads(first)["variants"]["base"]["samples"]) == 2


def test_queries_are_held_to_their_schema_alike_for_base_and_variant(
    tiny_runs, tmp_path, monkeypatch
):
    """A tiny run says anything; held, all that it says begins a query over the item's schema."""
    monkeypatch.setattr(rows, "FORCED", 999)
    (group,) = collect([tiny_runs["lora"]], limit=3, candidates=2, limits="names")
    for form in (Form(), Form("prose")):
        variant = open_variant(tiny_runs["lora"])
        free = [replace(item, meta=item.meta | {"limits": ""}) for item in group.items]
        before = _drain(answers(variant, group.recipe, free, form, folder=tmp_path))
        found = _drain(answers(variant, group.recipe, group.items, form, folder=tmp_path))
        for item, outcome, other in zip(group.items, found, before, strict=True):
            grammar = group.recipe.grammar(item, "names")
            assert grammar.allows(outcome.reply)
            assert outcome.reply.startswith("SELECT")
            assert not grammar.allows(other.reply)
            assert outcome.nll == other.nll, "what is likely stays as it is"
    with pytest.raises(FtkitError, match="--only is for recipes that ask a database"):
        collect([tiny_runs["lora"]], recipe="chat", limit=2, limits="names")


def test_the_command_holds_queries_and_notes_it(tiny_runs, tmp_path):
    words = ["eval", str(tiny_runs["lora"]), "--limit", "3", "--shots", "0", "--only", "texts"]
    before = (tiny_runs["lora"] / "README.md").read_text()
    result = CliRunner().invoke(ftkit, [*words, "--out", str(tmp_path / "eval")])
    assert result.exit_code == 0, result.stderr
    assert "is left as it is: its scores are of free answers" in result.output
    assert (tiny_runs["lora"] / "README.md").read_text() == before
    card = json.loads((tmp_path / "eval" / "scorecard.json").read_text())
    assert "--only texts" in card["facts"]["command"]
    said = "greedy, float32; names of the schema and texts of the question only"
    assert card["facts"]["decoding"] == said
    result = CliRunner().invoke(ftkit, ["eval", str(tiny_runs["lora"]), "--only", "nothing"])
    assert result.exit_code == 2
    assert "'nothing' is not one of 'names', 'texts'" in result.stderr
