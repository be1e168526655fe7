"""`ftkit data`: counts, the learned part marked, rows as prose, bad rows by file and line."""

import json
from pathlib import Path

import pytest
import small
from click.testing import CliRunner, Result

from ftkit.cli import ftkit

SCHEMA = "CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT, age INTEGER)"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def data(*words: str | Path) -> Result:
    return CliRunner().invoke(ftkit, ["data", "--recipe", "sql_qa", *map(str, words)])


def rows(folder: Path) -> Path:
    """Write 30 training and 3 test rows of real-data shape, with the test's database."""
    import sqlite3

    (folder / "databases").mkdir(parents=True)
    file = sqlite3.connect(folder / "databases" / "concert.sqlite")
    file.executescript(SCHEMA)
    file.close()
    for name, count, db in (("train", 30, None), ("dev", 3, "concert")):
        lines = [
            {
                "question": f"Which {name} singers are older than {n}?",
                "schema": SCHEMA,
                "sql": f"SELECT name FROM singer WHERE age > {n}",
                "db_id": db,
            }
            for n in range(count)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def test_counts_and_the_learned_part_without_a_tokenizer(tmp_path: Path):
    result = data("--data", rows(tmp_path / "concerts"))
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["train", "28", "rows"]
    assert lines[2].split()[:3] == ["test", "3", "rows"]
    assert result.stdout.count("the loss falls on the marked part") == 3
    assert "concerts/train.jsonl:1" in result.stdout
    answers = [line for line in lines if line.startswith("assistant: ")]
    assert len(answers) == 3
    assert all(line.startswith("assistant: «") and line.endswith("<end>»") for line in answers)
    assert result.stdout.count("«") == 3


def test_the_tokens_that_are_learned_with_a_tokenizer(tmp_path: Path):
    base = small.base(tmp_path / "base")
    result = data("--data", rows(tmp_path / "concerts"), "--base", base)
    assert result.exit_code == 0, result.stderr
    assert "tokens, " in result.stdout
    marked = [piece.split("»")[0] for piece in result.stdout.split("«")[1:]]
    assert len(marked) == 3
    # The answer, and the token that ends the turn; nothing of the prompt.
    assert all(piece.endswith("<|end|>") and "<|user|>" not in piece for piece in marked)


def test_a_row_cannot_command_the_terminal(tmp_path: Path):
    lines = [
        json.dumps({"question": f"\x1b[2J[red]Who is {n}?", "schema": SCHEMA, "sql": "SELECT 1"})
        for n in range(30)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    result = data("--data", tmp_path / "rows.jsonl")
    assert result.exit_code == 0, result.stderr
    assert "\x1b" not in result.stdout
    assert "\ufffd[2J[red]Who is " in result.stdout


def test_prose_is_a_corpus_of_the_training_rows_alone(tmp_path: Path):
    source = rows(tmp_path / "concerts")
    result = data("--data", source, "--prose", "prose.jsonl")
    assert result.exit_code == 0, result.stderr
    texts = [json.loads(line)["text"] for line in Path("prose.jsonl").read_text().splitlines()]
    whole = "\n".join(texts)
    assert whole.count("Which train singers") == 28
    assert "Which dev singers" not in whole
    assert "<|" not in whole
    refused = data("--data", source, "--prose", "prose.jsonl")
    assert refused.exit_code == 2
    assert refused.stderr == "Error: prose.jsonl exists: choose another name for --prose\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "none.jsonl"], "no such file or folder: none.jsonl"),
        (["--base", "nothing"], "--base nothing has no tokenizer to open: "),
        (["--set", "recipe.rowz=3"], "unknown setting 'recipe.rowz': SqlQa has "),
        (["--set", "method.rank=3"], "unknown settings 'method' in `ftkit data`: there are recipe"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(words, message: str):
    result = data(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {message}")
    assert result.stderr.count("\n") == 1
