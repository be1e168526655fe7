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
    assert len(marked) == 4  # the template's frame, and three examples
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
    bad = source / "train.jsonl"
    bad.write_text(bad.read_text() + '\n{"question": ""}')
    refused = data("--data", source, "--prose", "other.jsonl")
    assert refused.exit_code == 2
    assert not Path("other.jsonl").exists(), "rows were lost, and nobody said they might be"
    refused = data("--data", source, "--prose", "prose.jsonl")
    assert refused.exit_code == 2
    assert refused.stderr == "Error: prose.jsonl exists: choose another name for --prose\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "none.jsonl"], "no such file or folder: none.jsonl"),
        (["--base", "nothing"], "--base nothing has no tokenizer to open: "),
        (["--set", "recipe.rowz=3"], "unknown setting 'recipe.rowz': SqlQa has "),
        (
            ["--set", "method.rank=3"],
            "unknown settings 'method' in `ftkit data`: there is only 'recipe'",
        ),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(words, message: str):
    result = data(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {message}")
    assert result.stderr.count("\n") == 1


def test_a_mixture_shows_each_part(tmp_path: Path):
    base = small.base(tmp_path / "base")
    words = ["data", "--recipe", "chat,medical", "--base", str(base), "--html", "page.html"]
    words += ["--set", "recipe.rows=60", "--set", "recipe.length=2000"]
    result = CliRunner().invoke(ftkit, words)
    assert result.exit_code == 0, result.stderr
    first, _, second = result.stdout.partition("--- medical ---")
    assert first.startswith("--- chat ---\ntrain      60 rows")
    assert second.startswith("\ntrain      60 rows")
    for part in (first, second):
        assert part.count("the loss falls on the marked part") == 3
        assert "Training rows by length in tokens:\n" in part
        assert "─ recipe.length 2,000\n" in part
        assert "All fit into recipe.length, 2,000 tokens." in part
        assert "<|bos|><|user|>QUESTION<|end|><|assistant|>«ANSWER<|end|>»\n" in part
    page = Path("page.html").read_text()
    assert "<h2>chat</h2>" in page
    assert "<h2>medical</h2>" in page
    assert result.stdout.endswith("page.html: the same as a page\n")


def test_rows_that_do_not_fit_are_shown_and_then_refused_as_tune_would(tmp_path: Path):
    base, source = small.base(tmp_path / "base"), rows(tmp_path / "concerts")
    words = ("--data", source, "--base", base, "--set", "recipe.length=40")
    result = data(*words)
    assert result.exit_code == 2
    assert "28 rows (100.0 %) are longer than recipe.length, 40 tokens, and are left" in (
        result.stdout
    )
    assert result.stdout.count("the loss falls on the marked part") == 3
    assert "3 are longer and asked all the same" in result.stdout
    assert result.stderr == (
        "Error: 28 of 28 rows are longer than 40 tokens, so `ftkit tune` would refuse them: raise "
        "'recipe.length' or 'recipe.max_dropped'\n"
    )
    assert data(*words, "--set", "recipe.max_dropped=1").exit_code == 0


def test_a_seed_shows_other_rows_and_without_a_base_the_way_to_tokens_is_told(tmp_path: Path):
    source = rows(tmp_path / "concerts")
    shown = [
        {line.split(": the loss")[0] for line in result.stdout.splitlines() if ": the loss" in line}
        for result in (data("--data", source), data("--data", source, "--seed", "1"))
    ]
    assert [len(places) for places in shown] == [3, 3]
    assert not shown[0] & shown[1]
    said = data("--data", source).stdout
    assert "Training rows by length in characters:" in said
    assert "--base DIR shows the tokens" in said
    assert "recipe.length" not in said


@pytest.mark.parametrize("option", ["--html", "--prose"])
def test_nothing_is_written_over(option: str):
    Path("taken").write_text("mine")
    result = data(option, "taken")
    assert result.stderr == f"Error: taken exists: choose another name for {option}\n"
    assert Path("taken").read_text() == "mine"
    result = data(option, "none/here")
    assert result.stderr == f"Error: {option} none/here: there is no folder none\n"


def test_answers_that_are_taken_for_labels_are_named_beside_the_rows():
    mails = [{"question": f"Mail {n}?", "answer": ["<b>spam", "good"][n % 2]} for n in range(40)]
    Path("mails.jsonl").write_text("\n".join(map(json.dumps, mails)))
    words = ["data", "--recipe", "instruct", "--data", "mails.jsonl", "--html", "page.html"]
    result = CliRunner().invoke(ftkit, words)
    assert result.exit_code == 0, result.stderr
    said = "2 answers, taken for labels: <b>spam, good; --set recipe.labels= to say otherwise."
    assert f"\n{said}\n" in result.stdout
    assert said.replace("<b>", "&lt;b&gt;") in Path("page.html").read_text()
