"""Reference queries are run before anybody is asked them: on real databases, in little time."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ftkit.cli import _golds, ftkit
from ftkit.config import override
from ftkit.recipes.sql_qa import RECIPE

ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r"
QUERIES = {
    3: "SELECT abs(-9223372036854775807 - a) FROM t",  # compiles, and overflows
    5: "SELECT a FROM t WHERE a = 777",
    6: "SELECT a FROM t WHERE a = 777",
    8: ENDLESS,
}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Make 30 rows over a database, of which four have a query that is of no use."""
    (tmp_path / "databases").mkdir()
    with closing(sqlite3.connect(tmp_path / "databases" / "d.sqlite")) as made:
        made.execute("CREATE TABLE t (a INTEGER)")
        made.execute("INSERT INTO t VALUES (1)")
        made.commit()
    lines = [
        {
            "question": f"Which a is over -{n} or 777?",
            "db_id": "d",
            "sql": QUERIES.get(n, f"SELECT a FROM t WHERE a > -{n}"),
        }
        for n in range(1, 31)
    ]
    path = tmp_path / "r.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def recipe(rows: Path) -> Any:
    made = {"data": [str(rows)], "cache": str(rows.parent / "cache")}
    return override(RECIPE, made, "recipe")


def test_queries_that_fail_or_are_slow_or_find_nothing_are_named_with_their_place(
    rows: Path,
) -> None:
    words = ["data", "--recipe", "sql_qa", "--data", str(rows)]
    result = CliRunner().invoke(ftkit, [*words, "--set", f"recipe.cache={rows.parent / 'cache'}"])
    assert result.exit_code == 0, result.output
    assert "\n29 different queries were run on their databases.\n" in result.stdout.lower()
    (fails,) = (line for line in result.stdout.splitlines() if _golds.FAILS in line)
    assert fails == f"  1 × {_golds.FAILS}: {rows}:3"
    assert "error: integer overflow" in result.stdout
    assert f"  1 × {_golds.SLOW}: {rows}:8\n" in result.stdout
    (nothing,) = (line for line in result.stdout.splitlines() if _golds.NOTHING in line)
    assert nothing.startswith("  2 × ")
    assert {f"{rows}:5", f"{rows}:6"} == set(nothing.partition("as right: ")[2].split(", "))


def test_queries_have_a_minute_together_and_what_is_left_is_said(rows: Path) -> None:
    taught = recipe(rows)
    found, said = _golds.run_queries(taught, taught.found(), seconds=-1.0)
    assert said == ""
    assert found.odd == taught.found().odd
    found, said = _golds.run_queries(taught, taught.found(), seconds=0.5)
    assert "different queries were run" in said
    assert "; the queries of " in said


def test_without_a_database_nothing_is_run(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    row = {"schema": "CREATE TABLE t (a)", "sql": "SELECT a FROM t", "db_id": "nowhere"}
    path.write_text("".join(json.dumps(row | {"question": f"q {n}"}) + "\n" for n in range(20)))
    taught = recipe(path)
    assert _golds.run_queries(taught, taught.found()) == (taught.found(), "")
    assert _golds.run_queries(RECIPE, None) == (None, "")
