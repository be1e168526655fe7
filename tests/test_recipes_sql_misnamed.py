"""Rows of text-to-SQL sets in which a column seems to bear another's name are counted."""

import json
from pathlib import Path

import pytest

from ftkit.config import override
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


def test_they_are_used_and_counted(tmp_path: Path) -> None:
    schema, lines = 'CREATE TABLE "t{}" ("Label" TEXT, "Date" TEXT, "Date_2" TEXT);', []
    for number in range(40):
        column = "Date" if number % 2 else "Label"
        row = {"question": f"Which label is x in {number}?", "schema": schema.format(number)}
        row["sql"] = f'SELECT "Label" FROM t{number} WHERE "{column}" = \'x\''
        lines.append(json.dumps(row))
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    values = {"data": (str(tmp_path / "rows.jsonl"),), "cache": str(tmp_path / "cache")}
    made = override(RECIPE, values, "recipe")
    assert len(made.examples("train")) + len(made.examples("validation")) == 40
    assert [(group.kind, group.count) for group in made.found().odd] == [
        ("take a column that seems to bear another's name", 20)
    ]
