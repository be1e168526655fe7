"""Sources: what is read, and what is refused with file, line and field."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from ftkit.errors import FtkitError
from ftkit.recipes._read import Source, rows, source, split_files, texts

SHAPE = {"question": True, "sql": True, "db_id": False}
GOOD = {"question": "How many?", "sql": "SELECT 1", "db_id": None}


def write(path: Path, *lines: str | bytes) -> Path:
    whole = b"".join((x if isinstance(x, bytes) else x.encode()) + b"\n" for x in lines)
    path.write_bytes(gzip.compress(whole) if path.suffix == ".gz" else whole)
    return path


def refused(path: Path) -> str:
    with pytest.raises(FtkitError) as caught:
        [texts(row, SHAPE) for row in rows(path)]
    return str(caught.value)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_rows_know_their_place_and_empty_lines_count(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, "\ufeff" + json.dumps(GOOD), "", json.dumps(GOOD | {"sql": "é"}))
    found = list(rows(path))
    assert [row.where for row in found] == [f"{path}:1", f"{path}:3"]
    assert texts(found[1], SHAPE) == {"question": "How many?", "sql": "é", "db_id": ""}
    assert found[0].folder == tmp_path


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("sql", None, "'sql' is null; a row has the texts question, sql, db_id (or null)"),
        ("sql", 7, "'sql' is a number"),
        ("sql", True, "'sql' is true or false"),
        ("sql", ["x"], "'sql' is a list"),
        ("sql", {}, "'sql' is an object"),
        ("sql", "  ", "'sql' is empty"),
        ("db_id", 3, "'db_id' is a number"),
    ],
)
def test_a_field_that_does_not_fit_is_named(
    tmp_path: Path, field: str, value: Any, words: str
) -> None:
    path = write(tmp_path / "rows.jsonl", json.dumps(GOOD), json.dumps(GOOD | {field: value}))
    assert refused(path).startswith(f"{path}:2: {words}")


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", '{"question": "x", "query": "y"}')
    assert refused(path).startswith(
        f"{path}:1: 'sql' is missing; a row has the texts question, sql"
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"question": "x",}', "broken JSON at column 18"),
        ("[1, 2]", "a row is a JSON object {...}, not a list"),
        ('"text"', "a row is a JSON object {...}, not text"),
        (b'{"question": "\xff"}', "byte 15 is not UTF-8 text"),
        ('{"question": "\\ud83d"}', "a \\u escape is half of a pair"),
        ("[" * 100_000, "JSON that is nested too deeply"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str | bytes, words: str) -> None:
    path = write(tmp_path / "rows.jsonl", json.dumps(GOOD), line)
    assert refused(path).startswith(f"{path}:2: {words}")


def test_files_that_are_none(tmp_path: Path) -> None:
    assert refused(tmp_path / "gone.jsonl") == f"no such file: {tmp_path / 'gone.jsonl'}"
    assert "is empty" in refused(write(tmp_path / "empty.jsonl"))
    (tmp_path / "no.jsonl.gz").write_bytes(b"plain text")
    assert "is no whole gzip file" in refused(tmp_path / "no.jsonl.gz")
    whole = gzip.compress(json.dumps(GOOD).encode() * 999)
    (tmp_path / "torn.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    assert "is no whole gzip file" in refused(tmp_path / "torn.jsonl.gz")
    assert "cannot be read" in refused(tmp_path)


def test_a_source_has_a_weight(tmp_path: Path) -> None:
    path = write(tmp_path / "rows@2.jsonl", json.dumps(GOOD))
    assert source(str(path)) == Source(path, 1.0), "an @ in a file's name is a name"
    assert source(f"{path}@0.5") == Source(path, 0.5)
    for word in ("@0", "@-1", "@two", "@nan", "@inf"):
        with pytest.raises(FtkitError, match="must be a number above 0"):
            source(f"{path}{word}")
    with pytest.raises(FtkitError, match="there is no such file or folder"):
        source(str(tmp_path / "gone"))


def test_a_folder_shows_its_splits(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl.gz", json.dumps(GOOD))
    assert split_files(tmp_path) == {"train": train}
    dev = write(tmp_path / "dev.jsonl", json.dumps(GOOD))
    assert split_files(tmp_path) == {"train": train, "test": dev}
    assert split_files(dev) == {"all": dev}
    with pytest.raises(FtkitError, match="rows are read from files that end in"):
        split_files(write(tmp_path / "rows.csv", "a,b"))
    (tmp_path / "none").mkdir()
    with pytest.raises(FtkitError, match="holds no rows: a folder needs train"):
        split_files(tmp_path / "none")
