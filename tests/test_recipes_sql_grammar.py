"""Queries are held to their schema while they are written: what runs can be, what cannot is not."""

import random
from pathlib import Path

import pytest

from ftkit.catalog import load
from ftkit.config import override
from ftkit.recipes._limits import Held
from ftkit.recipes._sql_compact import names
from ftkit.recipes._sql_files import compiles
from ftkit.recipes._sql_grammar import Grammar
from ftkit.recipes.sql_qa import RECIPE

SCHEMA = (
    "CREATE TABLE ships (id INTEGER, name TEXT, built INTEGER); "
    'CREATE TABLE crew (id INTEGER, "full name" TEXT, ship_id INTEGER, age REAL)'
)
DATA = Path(__file__).parent.parent.parent / "shared" / "data" / "sql_qa"
RUN = (
    "SELECT name FROM ships WHERE built > 1900 AND name <> 'O''Hara  x' ORDER BY built LIMIT 3",
    "SELECT COUNT(*), AVG( built) FROM ships GROUP BY name HAVING COUNT( DISTINCT built) >= 2",
    "SELECT ships. name FROM crew JOIN ships ON crew. ship_id = ships. id WHERE crew. age IS NULL",
    "SELECT T1. name, t2. age FROM ships AS T1 LEFT JOIN crew AS t2 ON T1. id = t2. ship_id",
    'SELECT "full name" FROM crew WHERE age = ( SELECT MAX( age) FROM crew)',
    "SELECT name FROM ships WHERE id NOT IN ( SELECT ship_id FROM crew WHERE crew. age < built)",
    "SELECT T1. name FROM ships AS T1 NATURAL LEFT OUTER JOIN crew CROSS JOIN crew AS b",
    "SELECT name FROM ships UNION SELECT name FROM ships WHERE built BETWEEN 1 AND 2",
    "SELECT a. name FROM ships AS a JOIN ships AS b ON a. built = b. built",
    "SELECT COUNT(*) AS n FROM crew GROUP BY ship_id ORDER BY N ASC, ship_id DESC",
    "SELECT name FROM ( SELECT name FROM ships) AS inner_one WHERE name LIKE '%a'",
    "SELECT CASE WHEN built > 3 THEN 'new' ELSE 'old' END FROM ships",
    "SELECT name || ' ' || built FROM ships, crew WHERE ships. id = ship_id",
    "SELECT (built + 1) * 2 - id / 3 FROM ships WHERE NOT EXISTS ( SELECT 1 FROM crew)",
)


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    return Grammar(SCHEMA)


def begins(grammar: Grammar, query: str) -> int:
    """Count the letters up to which a query may be written."""
    return next((n for n in range(1, len(query) + 1) if not grammar.allows(query[:n])), 0)


@pytest.mark.parametrize("query", RUN)
def test_what_runs_can_be_written_letter_by_letter(grammar: Grammar, query: str) -> None:
    assert compiles(query, SCHEMA) is None
    assert not begins(grammar, query), query[: begins(grammar, query)]
    assert grammar.allows(query, whole=True)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT nom",  # no such name: `no` may become NOT
        "SELECT name FROM shops",
        "SELECT name FROM name",
        "SELECT name FROM crew WHERE",  # crew has none: only JOIN can follow
        "SELECT name FROM ships WHERE age",
        "SELECT ships. age",
        "SELECT age FROM crew JOIN ships ON id",  # of both
        "SELECT age FROM crew WHERE ships",
        "SELECT name built",
        "SELECT name FROM ships id",
        "SELECT name FROM ships. id",
        "SELECT name(",
        "SELECT name FROM ships WHERE =",
        "SELECT name FROM ships JOIN ships ON",
        "SELECT name FROM ships JOIN 'x",
        "SELECT name FROM ships JOIN MIN(",
        "SELECT name FROM ships WHERE built = 3)",
        "SELECT name FROM ships; DROP TABLE ships",
        "SELECT name FROM ships\n",
        "SELECT name FROM  ",
        "SELECT name FROM ships -- ",
        "SELECT name % 'x",
        "select",
        "SELECT Name",
        "SELECT name FROM Ships",
        "SELECT name FROM ships DESC",
        "SELECT name DESC",
        "SELECT name FROM ships NOT",
        "SELECT name FROM ships ON id",
        "SELECT name FROM ships LEFT TRUE",
        "SELECT name FROM ships JOIN ( TRUE",
        "SELECT name FROM ships WHERE name = '\ufffd\ufffd\ufffd\ufffd",
        "SELECT name FROM ships WHERE name = '    ",
        'SELECT "full\ufffd',
        "SELECT LIKE",
        "SELECT name FROM ships WHERE LEFT",
        "name",
        " COUNT( name",
        "SELECT name FROM ships WHERE built > 3 name",
        "DROP TABLE ships",
        "WITH old AS",
        "Sure! SELECT",
    ],
)
def test_what_cannot_run_is_not_written(grammar: Grammar, text: str) -> None:
    assert begins(grammar, text), text


def test_an_unfinished_query_is_none(grammar: Grammar) -> None:
    for text in ("SELECT", "SELECT name", "SELECT name FROM ships WHERE", "SELECT name FROM shi"):
        assert grammar.allows(text)
        assert not grammar.allows(text, whole=True)
    for text in ("SELECT name FROM ships WHERE name = 'x", "SELECT ( name FROM ships"):
        assert not grammar.allows(text, whole=True)


def test_what_cannot_begin_so_cannot_go_on_so(grammar: Grammar) -> None:
    """Letters that are left out, doubled or changed: behind a refused beginning none is allowed."""
    draw = random.Random(5)
    refused = 0
    for query in RUN * 6:
        place = draw.randrange(len(query))
        other = draw.choice(["", query[place] * 2, draw.choice(" ,.()'=xA1")])
        changed = query[:place] + other + query[place + 1 :]
        if first := begins(grammar, changed):
            refused += 1
            later = [n for n in range(first, len(changed) + 1) if grammar.allows(changed[:n])]
            assert not later, (changed[:first], changed[: later[0]])
        elif grammar.allows(changed, whole=True):
            assert compiles(changed, SCHEMA) is None
    assert refused > 30


def test_every_reference_of_the_world_can_be_written() -> None:
    for example in RECIPE.examples("test")[:40]:
        for limits in ("names", "texts"):
            grammar = RECIPE.grammar(example, limits)
            query = example.reference
            assert all(grammar.allows(query[:n]) for n in range(len(query)))
            assert grammar.allows(query, whole=True)
    assert RECIPE.grammar(example, "") is None
    assert RECIPE.grammar(RECIPE.ask("How many?"), "names") is None, "there is no schema"


@pytest.mark.parametrize(("source", "most"), [("spider", 0.01), ("wikisql", 0.0)])
@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data is not here")
def test_nearly_every_reference_of_real_data_can_be_written(
    tmp_path: Path, source: str, most: float
) -> None:
    values = {"data": (str(DATA / source),), "on_bad_rows": "skip"}
    recipe = override(load("recipes", "sql_qa"), values, "recipe")
    rows = random.Random(0).sample(list(recipe.examples("train")), 150)
    refused = [
        row.reference
        for row in rows
        if begins(grammar := recipe.grammar(row, "names"), row.reference)
        or not grammar.allows(row.reference, whole=True)
    ]
    assert len(refused) <= most * len(rows), refused
    assert any(names(row.meta["schema"]).schema != row.meta["schema"] for row in rows)


def test_names_in_capitals_may_be_those_of_functions() -> None:
    grammar = Grammar('CREATE TABLE Sales (DATE TEXT, "ORDER" INT, SUM REAL)')
    for query in (
        "SELECT DATE, SUM( SUM) FROM Sales WHERE DATE > '2020' GROUP BY DATE",
        'SELECT "ORDER" FROM Sales ORDER BY "ORDER"',
    ):
        assert not begins(grammar, query), query[: begins(grammar, query)]
        assert grammar.allows(query, whole=True)
    assert begins(grammar, "SELECT ORDER FROM Sales")


ODD = (
    'CREATE TABLE "order" (id, total, "left" INT, "as" TEXT, "Temp [C]" REAL, "a""b" TEXT); '
    "CREATE TABLE shop (id, order_id, city, t)"
)


@pytest.mark.parametrize(
    "query",
    [
        'SELECT "order". total FROM "order" WHERE "order". id > 3',
        'SELECT city FROM shop JOIN "order" ON shop. order_id = "order". id',
        'SELECT T1. "left" FROM "order" AS T1 WHERE T1. "left" BETWEEN 1 AND 2 AND "left" IN (1)',
        'SELECT "left" FROM "order" GROUP BY "left" HAVING "left" IS NULL ORDER BY "left" LIMIT 1',
        'SELECT "as" FROM "order" WHERE "as" = "as"',
        'SELECT "Temp [C]", COUNT( "Temp [C]") FROM "order" WHERE "Temp [C]" > 3',
        'SELECT "a""b" FROM "order" ORDER BY "a""b"',
        "SELECT city FROM ( SELECT city, t FROM shop WHERE t = 3) AS x",
        "SELECT t FROM shop t1",
        'SELECT city, ( SELECT MAX( id) FROM "order" WHERE "order". id = shop. order_id) FROM shop',
        'SELECT T1. city, ( SELECT 1 FROM "order" AS T2 WHERE T2. id = T1. t) FROM shop AS T1',
    ],
)
def test_odd_names_and_queries_in_queries(query: str) -> None:
    assert compiles(query, ODD) is None
    grammar = Grammar(ODD)
    assert not begins(grammar, query), query[: begins(grammar, query)]
    assert grammar.allows(query, whole=True)


def test_a_table_has_one_other_name() -> None:
    grammar = Grammar("CREATE TABLE t (a)")
    assert grammar.allows("SELECT a FROM t t")
    assert not grammar.allows("SELECT a FROM t t t")
    assert not grammar.allows("SELECT a FROM t AS x t")
    assert grammar.allows("SELECT x. a FROM t AS x JOIN t AS x2 ON")
    assert not grammar.allows("SELECT x. a FROM t AS x JOIN t AS x ON")
    assert not grammar.allows("SELECT x. a FROM t x JOIN t x ON")


def test_a_token_may_end_a_query_and_the_reply_at_once() -> None:
    """In plain text a line's end ends a query; the tokens of a base have both in one."""
    pieces = ["", "SELECT name", " FROM ships", "\n\nNext", ", na\n", "me\n"]
    made = Held(Grammar(SCHEMA), lambda ids: "".join(pieces[i] for i in ids), stop="\n")
    assert made([1], False)
    assert made([1, 2, 3], False)
    assert made([1, 2, 3, 4], False), "what comes behind the end is cut"
    assert not made([1, 3], False), "no query ends here"
    assert not made([1, 4], False)
    assert not made([1, 2, 0], False), "a token that adds nothing"
    plain = Held(Grammar(SCHEMA), lambda ids: "".join(pieces[i] for i in ids))
    assert not plain([1, 2, 3], False)


def test_texts_are_words_of_the_question() -> None:
    grammar = Grammar(SCHEMA, "Is the Old  Maid's café older than ships named Gulls?")
    start = "SELECT built FROM ships WHERE name = '"
    for text in ("old", "Old  Maid''s", "café", "gull", "Gulls", "%old%", " Old", ""):
        query = f"{start}{text}'"
        assert not begins(grammar, query), text
        assert grammar.allows(query, whole=True), text
    for text in ("new", "Maids", "ld", "o", "ol", "name"):
        assert not grammar.allows(f"{start}{text}'", whole=True), text
    assert not grammar.allows(f"{start}n"[:-1] + "new")
    assert grammar.allows(f"{start}caf\ufffd"), "half a character may become the other half"
    assert not grammar.allows(f"{start}old\ufffd")
    assert Grammar('CREATE TABLE t ("Größe" REAL)').allows('SELECT "Gr\ufffd')
    assert Grammar(SCHEMA).allows(f"{start}new'", whole=True)
