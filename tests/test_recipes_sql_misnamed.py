"""Rows of text-to-SQL sets in which a column seems to bear another's name: told, or left out."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ftkit.config import override
from ftkit.errors import FtkitError
from ftkit.recipes._sql_compact import names
from ftkit.recipes._sql_misnamed import misnamed
from ftkit.recipes.sql_qa import RECIPE

DATES = "label, date, date_2"


@pytest.mark.parametrize(
    ("question", "sql", "columns", "told"),
    [
        ("Which label in Peru?", "SELECT label FROM t WHERE date = 'peru'", DATES, True),
        ("Which label in Peru?", 'SELECT "Label" FROM t WHERE "Date_2" = 1', DATES, True),
        ("Which label?", "SELECT label FROM t", DATES, False),  # takes neither
        ("Which label in 3?", "SELECT label FROM t WHERE set_2 = 3", "label, set_2", False),
        ("Which third?", "SELECT label_3 FROM t", "label, label_2, label_3", True),
        ("Which label?", "SELECT label, date(label) FROM t", DATES, False),  # a function
        ("Which label?", "SELECT label FROM t", 'label, "from", from_2', False),  # a keyword
        ("Which label?", 'SELECT "from" FROM t', 'label, "from", from_2', True),
        ("Which date?", "SELECT date_2 FROM t", "date_2); CREATE TABLE u (date", False),
        ("Which round has Ann?", "SELECT spot FROM t WHERE who = 'ann'", "spot, round, who", True),
        ("Which round?", "SELECT round FROM t", "round, spot", False),
        ("Which spot and round?", "SELECT spot FROM t", "round, spot", False),
        ("Who won which round?", "SELECT name FROM t WHERE round = 1", "name, round", False),
        ("Where was the set of 3?", "SELECT venue FROM t", 'venue, "3", "of", "set"', False),
        ("How many in the year?", "SELECT COUNT(*) FROM t", "count, year", False),
        ("How many rounds a year?", "SELECT COUNT(spot) FROM t", "count, spot, year", True),
        ("Which round is from Bo?", 'SELECT "from" FROM t', '"from", round', False),
        ("Which month is it?", 'SELECT "to" FROM t', '"to", month', True),
        ("Which round?", "SELECT * FROM t", '"", round', False),
        ("Which name?", "SELECT spot FROM t", "spot); CREATE TABLE u (name", False),
        ("Welche Größe hat es?", "SELECT art FROM t", "art, Größe", True),
    ],
)
def test_two_signs_of_a_lost_name(question: str, sql: str, columns: str, told: bool) -> None:
    assert misnamed(question, sql, names(f"CREATE TABLE t ({columns})")) is told


def rows(folder: Path, **more: Any) -> Any:
    """Write forty rows over as many schemas, every second with a lost name, with databases."""
    (folder / "databases").mkdir(parents=True)
    schema, lines = 'CREATE TABLE "t{}" ("Label" TEXT, "Date" TEXT, "Date_2" TEXT);', []
    with closing(sqlite3.connect(folder / "databases" / "all.sqlite")) as database:
        for number in range(40):
            database.execute(schema.format(number))
            database.execute(f"INSERT INTO t{number} VALUES ('x', 'x', 'x')")
            column = "Date" if number % 2 else "Label"
            row = {"question": f"Which label is x in {number}?", "schema": schema.format(number)}
            row["sql"] = f'SELECT "Label" FROM t{number} WHERE "{column}" = \'x\''
            lines.append(json.dumps(row | {"db_id": "all"}))
        database.commit()
    (folder / "rows.jsonl").write_text("\n".join(lines))
    values = {"data": (str(folder / "rows.jsonl"),), "cache": str(folder / "cache")}
    return override(RECIPE, values | {"validation": "0.25"} | more, "recipe")


def queries(made: Any, *splits: str) -> list[str]:
    return [example.meta["sql"] for split in splits for example in made.examples(split)]


def test_they_are_used_and_counted_unless_they_are_to_be_left_out(tmp_path: Path) -> None:
    kept = rows(tmp_path)
    known = queries(kept, "train", "validation")
    assert len(known) == 30
    ((kind, count),) = [(group.kind, group.count) for group in kept.found().odd]
    assert kind.startswith("take a column that seems to bear another's name; with recipe.misnamed=")
    assert count == 20
    left = replace(kept, misnamed="drop")
    assert sorted(queries(left, "train", "validation")) == sorted(
        query for query in known if '"Date"' not in query
    )
    gone = [query for query in known if '"Date"' in query]
    assert [(group.kind, group.count) for group in left.found().left_out] == [
        ("take a column that seems to bear another's name", len(gone))
    ]
    assert not left.found().odd
    assert not left.found().bad


def test_what_is_asked_in_the_end_is_not_chosen_by_it(tmp_path: Path) -> None:
    kept = rows(tmp_path)
    asked = queries(kept, "test")
    assert len(asked) == 10
    assert 0 < sum('"Date"' in query for query in asked) < 10
    assert queries(replace(kept, misnamed="drop"), "test") == asked
    whole = replace(kept, misnamed="drop", whole=True)
    assert len(queries(whole, "test")) == 40


def test_another_word_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FtkitError, match=r"'recipe.misnamed' cannot be 'skip'"):
        rows(tmp_path, misnamed="skip")
