"""Rows of the worlds in any number: distinct, checked, loadable again, and all or nothing."""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ftkit.catalog import load
from ftkit.cli import ftkit
from ftkit.config import override
from ftkit.errors import FtkitError
from ftkit.recipes import _generate
from ftkit.recipes._generate import generate
from ftkit.recipes._medical_world import cases

COUNT = 130


def written(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", ["sql_qa", "chat", "medical"])
def test_rows_are_different_begin_a_longer_file_and_load_again(name: str, tmp_path: Path) -> None:
    recipe, out = load("recipes", name), tmp_path / "mine.jsonl"
    made = generate(recipe, COUNT, 7, out)
    rows = written(out)
    assert made.rows == len(rows) == COUNT
    said = [{k: v for k, v in row.items() if k != "db_id"} for row in rows]
    assert len({json.dumps(row) for row in said}) == COUNT
    (tmp_path / "half").mkdir()
    generate(recipe, COUNT // 2, 7, tmp_path / "half" / "a.jsonl")
    assert written(tmp_path / "half" / "a.jsonl") == rows[: COUNT // 2]
    generate(recipe, 20, 8, tmp_path / "other.jsonl")
    assert written(tmp_path / "other.jsonl") != rows[:20]
    loaded = override(recipe, {"data": str(out)}, "recipe")
    found = [e for split in ("train", "validation", "test") for e in loaded.examples(split)]
    assert len(found) >= COUNT * 0.9  # duplicates of a test answer, and a split's remainder
    names = {path.name for path in tmp_path.iterdir()} - {"half", "mine.jsonl", "other.jsonl"}
    assert names == ({"databases"} if name == "sql_qa" else set())


def test_every_gold_query_gives_rows_of_its_own_database(tmp_path: Path) -> None:
    made = generate(load("recipes", "sql_qa"), COUNT, 7, tmp_path / "mine.jsonl")
    rows = written(tmp_path / "mine.jsonl")
    assert made.databases == len({row["db_id"] for row in rows}) == 7
    assert made.databases == len(list((tmp_path / "databases").iterdir()))
    full = 0
    for row in rows:
        path = tmp_path / "databases" / f"{row['db_id']}.sqlite"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            tables = database.execute("SELECT sql FROM sqlite_master").fetchall()
            assert [f"{sql};" for (sql,) in tables] == row["schema"].split("\n")
            full += bool(database.execute(row["sql"]).fetchall())
            there = "\n".join(database.iterdump())  # what is asked for was drawn from these rows
            assert all(value in there for value in re.findall(r" = ('[^']*')", row["sql"]))
    assert full > COUNT * 0.9


@pytest.mark.parametrize("seed", [0, 7])
def test_no_row_asks_of_what_the_embedded_test_asks(tmp_path: Path, seed: int) -> None:
    generate(load("recipes", "medical"), COUNT, seed, tmp_path / "mine.jsonl")
    asked = {case.condition for case in cases("test", 0, 400)}
    assert not asked & {row["focus"] for row in written(tmp_path / "mine.jsonl")}


def test_a_world_that_runs_out_says_so_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load("recipes", "medical")
    rows = [{"question": f"{n % 7}?", "answer": "a", "db_id": f"{n}"} for n in range(21)]
    monkeypatch.setattr(type(recipe), "generate", lambda self, seed, folder: iter(rows))
    out = tmp_path / "mine.jsonl"
    with pytest.raises(FtkitError, match="medical gives 7 different rows from seed 3, not 8: ask"):
        generate(recipe, 8, 3, out)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(_generate, "IDLE", 5)
    endless = iter(lambda: rows[0], None)
    monkeypatch.setattr(type(recipe), "generate", lambda self, seed, folder: endless)
    with pytest.raises(FtkitError, match="medical gives 1 different rows"):
        generate(recipe, 8, 3, out)
    assert generate(recipe, 1, 3, out).rows == 1


@pytest.mark.parametrize("problem", [KeyboardInterrupt, OSError])
def test_a_stopped_writing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: type[BaseException]
) -> None:
    recipe = load("recipes", "sql_qa")

    def stopped(self: Any, seed: int, folder: Path) -> Any:
        (folder / "a.sqlite").touch()
        yield {"question": "?"}
        raise problem

    monkeypatch.setattr(type(recipe), "generate", stopped)
    with pytest.raises(problem):
        generate(recipe, 8, 3, tmp_path / "mine.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_two_seeds_share_a_folder_and_the_same_one_does_not(tmp_path: Path) -> None:
    recipe = load("recipes", "sql_qa")
    generate(recipe, 25, 1, tmp_path / "train.jsonl")
    generate(recipe, 25, 2, tmp_path / "dev.jsonl")
    assert len(list((tmp_path / "databases").iterdir())) == 4
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FtkitError, match=r"_train_1_0\.sqlite exists: choose another --seed"):
        generate(recipe, 25, 1, tmp_path / "again.jsonl")
    assert sorted(tmp_path.rglob("*")) == before
    loaded = override(recipe, {"data": str(tmp_path)}, "recipe")
    assert len(loaded.examples("test")) == 25


def say(*words: str | Path) -> Any:
    return CliRunner().invoke(ftkit, ["data", *map(str, words)])


def test_the_command_says_what_it_wrote(tmp_path: Path) -> None:
    out = tmp_path / "mine.jsonl"
    done = say("--recipe", "sql_qa", "--generate", 30, "--seed", 7, "--out", out)
    assert done.exit_code == 0, done.output
    words = " ".join(done.output.split())
    assert "30 rows for --data" in words
    assert words.endswith("2 databases beside them")
    assert len(written(out)) == 30


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--generate", 5], "--generate N and --out FILE.jsonl go together"),
        (["--out", "x.jsonl"], "--generate N and --out FILE.jsonl go together"),
        (
            ["--generate", 5, "--out", "x.jsonl", "--data", "y"],
            "--data does not go with --generate",
        ),
        (
            ["--generate", 5, "--out", "x.jsonl", "--set", "recipe.rows=3"],
            "'recipe.rows' does not go with --generate: rows are drawn from --seed alone",
        ),
        (
            ["--generate", 5, "--out", "x.jsonl", "--set", "rcipe.rows=3"],
            "unknown settings 'rcipe' in `ftkit data`",
        ),
        (
            ["--generate", 5, "--out", "x.jsonl", "--on-bad-rows", "skip"],
            "--on-bad-rows does not go with --generate",
        ),
        (
            ["--generate", 5, "--out", "x.jsonl", "--config", "mine.toml"],
            "'recipe.rows' does not go with --generate",
        ),
        (
            ["--generate", 5, "--out", "x.jsonl", "--recipe", "chat,medical"],
            "--generate takes one recipe at a time, not chat,medical",
        ),
        (["--generate", 0, "--out", "x.jsonl"], "--generate must be above 0, not 0"),
        (["--generate", 5, "--out", "x.json"], "a file that ends in .jsonl"),
        (["--generate", 5, "--out", "no/x.jsonl"], "there is no folder no"),
        (["--generate", 5, "--out", "there.jsonl"], "there.jsonl exists: choose another name"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str | Path], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.jsonl").touch()
    Path("mine.toml").write_text("[recipe]\nrows = 3\n")
    done = say("--recipe", "chat", *words)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.toml", "there.jsonl"]
