"""Rows of text-to-SQL sets in which a column seems to bear another's name: told, or left out."""

import json
from pathlib import Path
from typing import Any

import pytest

from ftkit.config import override
from ftkit.errors import FtkitError
from ftkit.recipes._sql_rows import misnamed
from ftkit.recipes.sql_qa import RECIPE

DATES = {"date", "date_2", "label"}


@pytest.mark.parametrize(
    ("question", "sql", "columns", "told"),
    [
        ("Which label in Peru?", "SELECT label FROM t WHERE date = 'peru'", DATES, True),
        ("Which label in Peru?", 'SELECT "Label" FROM t WHERE "Date_2" = 1', DATES, True),
        ("Which label?", "SELECT label FROM t", DATES, False),  # takes neither
        ("Which label in 3?", "SELECT label FROM t WHERE set_2 = 3", {"label", "set_2"}, False),
        ("Which third?", "SELECT label_3 FROM t", {"label", "label_2", "label_3"}, True),
        ("Which round has Ann?", "SELECT spot FROM t WHERE who = 'ann'", {"spot", "round"}, True),
        ("Which round?", "SELECT round FROM t", {"round", "spot"}, False),
        ("Which spot and round?", "SELECT spot FROM t", {"round", "spot"}, False),
        ("Who won which round?", "SELECT name FROM t WHERE round = 1", {"name", "round"}, False),
        ("Where was the match of 3?", "SELECT venue FROM t", {"venue", "3", "of"}, False),
        ("How many rounds and round?", "SELECT COUNT(*) FROM t", {"round", "spot"}, False),
        ("Which round is from Bo?", 'SELECT "from" FROM t', {"from", "round"}, False),
        ("Which month is it?", 'SELECT "to" FROM t', {"to", "month"}, True),
        ("", "SELECT a.spot FROM t a JOIN u b ON a.id = b.id", {"spot", "id", "round"}, False),
        ("The round?", "SELECT MAX(a.spot) FROM t a", {"spot", "id", "round"}, True),
    ],
)
def test_two_signs_of_a_lost_name(question: str, sql: str, columns: set[str], told: bool) -> None:
    assert misnamed(question, sql, columns) is told


def rows(folder: Path, **more: Any) -> Any:
    """Write rows, every second with a lost name, and a test that has one."""
    folder.mkdir()
    schema = 'CREATE TABLE "t{}" ("Label" TEXT, "Date" TEXT, "Date_2" TEXT);'
    lines = []
    for number in range(20):
        sql = f'SELECT "Label" FROM t{number} WHERE "{"Date" if number % 2 else "Label"}" = \'x\''
        row = {"question": f"Which label is x in {number}?", "schema": schema.format(number)}
        lines.append(json.dumps(row | {"sql": sql}))
    (folder / "train.jsonl").write_text("\n".join(lines))
    (folder / "dev.jsonl").write_text(lines[1].replace("t1", "t99").replace("in 1", "in 99"))
    values = {"data": (str(folder),), "cache": str(folder / "cache"), "validation": "0.1"}
    return override(RECIPE, values | more, "recipe")


def test_they_are_used_and_counted_unless_they_are_to_be_left_out(tmp_path: Path) -> None:
    kept = rows(tmp_path / "kept")
    assert sum(len(kept.examples(split)) for split in ("train", "validation")) == 20
    ((kind, count),) = [(group.kind, group.count) for group in kept.found().odd]
    assert kind.startswith("take a column that seems to bear another's name; recipe.misnamed=drop")
    assert count == 10
    left = rows(tmp_path / "left", misnamed="drop", on_bad_rows="skip")
    assert sum(len(left.examples(split)) for split in ("train", "validation")) == 10
    assert [(group.kind, group.count) for group in left.found().bad] == [
        ("a column that seems to bear another's name", 10)
    ]
    assert not left.found().odd


def test_without_leave_to_skip_the_first_is_named(tmp_path: Path) -> None:
    with pytest.raises(FtkitError, match=r"train\.jsonl:2: .*takes a column that seems to bear"):
        rows(tmp_path / "rows", misnamed="drop").examples("train")
    with pytest.raises(FtkitError, match=r"'recipe.misnamed' cannot be 'skip'"):
        rows(tmp_path / "more", misnamed="skip")


def test_what_eval_asks_of_another_file_is_not_chosen_either(tmp_path: Path) -> None:
    rows(tmp_path / "rows")
    more = {"misnamed": "drop", "data": (str(tmp_path / "rows" / "train.jsonl"),)}
    assert rows(tmp_path / "more", **more, whole="true").found().bad == ()
