"""Bad input, one table: each row yields its sentence with file and line, and leaves nothing behind.

A row that cannot be used stops (exit code 2), or is counted and skipped when that is asked for; a
file that cannot be read, or a setting that is none, stops in any case.
"""

import gzip
import io
import json
import lzma
import zipfile
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from click.testing import CliRunner
from pyarrow import parquet

from ftkit.cli import ftkit

QA = [{"question": f"What is ill {n}?", "answer": f"Ill {n} is bad."} for n in range(30)]
SCHEMA = "CREATE TABLE a (b TEXT, c INTEGER)"
SQL = [
    {"question": f"How many {n}?", "schema": SCHEMA, "sql": f"SELECT {n} FROM a"} for n in range(30)
]


def turns(text: str, contents: Any = None) -> dict[str, Any]:
    """Make a dialogue of one turn a letter: s, u, a, or another, which is a role of its own."""
    names = {"s": "system", "u": "user", "a": "assistant"}
    said = [f"{letter}{n}" for n, letter in enumerate(text)] if contents is None else contents
    return {
        "messages": [
            {"role": names.get(letter, letter), "content": content}
            for letter, content in zip(text, said, strict=True)
        ]
    }


TALKS = [turns("ua", [f"Hi {n}.", f"Hello {n}."]) for n in range(30)]
GOOD = {"medical": QA, "chat": TALKS, "sql_qa": SQL}


def sql(**changes: Any) -> dict[str, Any]:
    return {"question": "Why?", "schema": SCHEMA, "sql": "SELECT b FROM a"} | changes


# (recipe, what is wrong in a row: an object, or a line as it stands; what is said of it)
ROWS: list[tuple[str, Any, str]] = [
    # what no JSON reader takes
    ("medical", '{"question": "a",}', "not valid JSON"),
    ("medical", '{"question": "a"', "not valid JSON"),
    ("medical", "question,answer", "not valid JSON"),
    ("medical", b'{"question": "\xff", "answer": "b"}', "not UTF-8 (byte 0xff"),
    ("medical", b'\xfe\xff{"question": "a"}', "not UTF-8 (byte 0xfe"),
    ("medical", '{"question": "\\ud83d", "answer": "b"}', "it holds half of a \\u pair"),
    ("medical", '{"question": "a", "answer": "\\udc00x"}', "it holds half of a \\u pair"),
    ("medical", "[" * 100_000, "JSON that cannot be read (too many brackets)"),
    ("medical", f'{{"n": {"9" * 5000}}}', "JSON that cannot be read (a huge number)"),
    # what is no row
    ("medical", "[1, 2]", "a row is a JSON object {...}, not a list"),
    ("medical", '"text"', "a row is a JSON object {...}, not text"),
    ("medical", "3", "a row is a JSON object {...}, not a number"),
    ("medical", "null", "a row is a JSON object {...}, not null"),
    ("medical", {}, "it has no fields; a row is {"),
    ("medical", {"q": "a", "a": "b"}, "it has 'q', 'a'; a row is {"),
    ("medical", {"q" * 1000: "a"}, f"it has '{'q' * 199}; a row is {{"),
    # questions and answers
    ("medical", {"question": "a"}, "'answer' is missing"),
    ("medical", {"question": "a", "answer": None}, "'answer' is null"),
    ("medical", {"question": "a", "answer": ""}, "'answer' is empty"),
    ("medical", {"question": "a", "answer": " \n"}, "'answer' is empty"),
    ("medical", {"question": "a", "answer": 3}, "'answer' is a number"),
    ("medical", {"question": "a", "answer": ["b"]}, "'answer' is a list"),
    ("medical", {"question": "a", "answer": {"b": 1}}, "'answer' is an object"),
    ("medical", {"question": "a", "answer": True}, "'answer' is true or false"),
    ("medical", {"question": None, "answer": "b"}, "'question' is null"),
    ("medical", {"question": "", "answer": "b"}, "'question' is empty"),
    ("medical", {"answer": "b"}, "it has 'answer'; a row is {"),
    ("medical", {"question": "a", "answer": "b", "focus": 3}, "'focus' is a number"),
    ("medical", {"instruction": "a", "input": "b"}, "'output' is missing"),
    ("medical", {"instruction": "a", "input": 3, "output": "b"}, "'input' is a number"),
    ("medical", {"prompt": "a", "chosen": "b"}, "'completion' is missing"),
    ("medical", {"text": "a", "label": 1}, "'label' is a number"),
    ("medical", {"text": "a"}, "it has 1 turns, not a question and its answer"),
    ("medical", turns("uaua"), "it has 4 turns, not a question and its answer"),
    # dialogues
    ("chat", {"text": "a"}, "it is a text, and no dialogue to hold"),
    ("chat", {"messages": []}, "'messages' is a list; a row is {"),
    ("chat", {"messages": "hello"}, "'messages' is text; a row is {"),
    ("chat", {"messages": {"role": "user"}}, "'messages' is an object; a row is {"),
    ("chat", {"messages": ["hello"]}, "message 1 is text, not an object"),
    ("chat", {"messages": [None]}, "message 1 is null, not an object"),
    ("chat", {"system": 3} | turns("ua"), "'system' is a number"),
    ("chat", turns("u"), "no turn of the assistant follows one of the user"),
    ("chat", turns("su"), "no turn of the assistant follows one of the user"),
    ("chat", turns("a"), "message 1 is of the assistant; a dialogue begins with the user"),
    ("chat", turns("sa"), "message 2 is of the assistant; a dialogue begins with the user"),
    ("chat", turns("uua"), "messages 1 and 2 are both of the user"),
    ("chat", turns("uaa"), "messages 2 and 3 are both of the assistant"),
    ("chat", turns("usa"), "message 2 is of the system, which speaks first and once"),
    ("chat", turns("ssua"), "message 2 is of the system, which speaks first and once"),
    ("chat", turns("ut"), "message 2: 'role' is 't', not system, user or assistant"),
    ("chat", {"messages": [{"content": "x"}]}, "message 1: 'role' is None"),
    ("chat", {"messages": [{"role": 3, "content": "x"}]}, "message 1: 'role' is 3"),
    ("chat", {"messages": [{"role": "b" * 1000}]}, f"'role' is '{'b' * 199}, not system"),
    ("chat", turns("ua", ["a", ""]), "message 2, of the assistant, is empty"),
    ("chat", turns("ua", [" ", "b"]), "message 1, of the user, is empty"),
    ("chat", turns("ua", ["a", None]), "message 2: 'content' is null"),
    ("chat", turns("ua", ["a", 7]), "message 2: 'content' is a number"),
    ("chat", turns("ua", ["a", [{"type": "image_url"}]]), "message 2: 'content' is a list"),
    ("chat", {"conversations": [{"from": "tool", "value": "x"}]}, "message 1: 'from' is 'tool'"),
    ("chat", {"prompt": turns("u")["messages"], "completion": "b"}, "'completion' is no list of"),
    # questions to databases
    ("sql_qa", {"question": "a", "schema": SCHEMA}, "'sql' is missing; a row has the texts"),
    ("sql_qa", sql(sql=None), "'sql' is null; a row has the texts"),
    ("sql_qa", sql(sql=["SELECT 1"]), "'sql' is a list"),
    ("sql_qa", sql(question=""), "'question' is empty"),
    ("sql_qa", sql(schema=None), "'schema' is null"),
    ("sql_qa", sql(schema="a table"), "'schema' is not CREATE TABLE text that SQLite takes"),
    ("sql_qa", sql(schema="DROP TABLE a"), "'schema' is not CREATE TABLE text that SQLite takes"),
    ("sql_qa", sql(sql="SELECT d FROM a"), "SQLite does not take 'sql': no such column: d"),
    ("sql_qa", sql(sql="SELECT b FROM z"), "SQLite does not take 'sql': no such table: z"),
    ("sql_qa", sql(sql="SELEC b"), 'SQLite does not take \'sql\': near "SELEC": syntax error'),
    ("sql_qa", sql(sql="DELETE FROM a"), "SQLite does not take 'sql': it does more than read"),
    ("sql_qa", sql(sql="ATTACH 'x' AS y"), "SQLite does not take 'sql': it does more than read"),
    ("sql_qa", sql(sql="SELECT 1; SELECT 2"), "SQLite does not take 'sql': You can only execute"),
    ("sql_qa", sql(sql="SELECT b FROM a WHERE b = 'var1'"), "'sql' asks for 'var1', which stands"),
    ("sql_qa", sql(db_id=3), "'db_id' is a number"),
    ("sql_qa", sql(db_id="../a"), "'db_id' is no plain file name: '../a'"),
    ("sql_qa", sql(db_id="other"), "no database at databases/other.sqlite"),
]  # fmt: skip


def run(*words: str) -> Any:
    return CliRunner().invoke(ftkit, ["data", *words])


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))


def left() -> list[str]:
    """Name what lies here and is no cache that is whole."""
    stores = Path(".cache/ftkit/rows")
    torn = (
        [each.name for each in stores.iterdir() if each.name[0] == "."] if stores.is_dir() else []
    )
    return sorted([path.name for path in Path().iterdir() if path.name != ".cache"] + torn)


@pytest.mark.parametrize(("recipe", "row", "said"), ROWS, ids=lambda value: str(value)[:40])
def test_a_bad_row_is_named_and_can_be_skipped(recipe: str, row: Any, said: str) -> None:
    line = (
        row
        if isinstance(row, bytes)
        else (row if isinstance(row, str) else json.dumps(row)).encode()
    )
    good = [json.dumps(each).encode() for each in GOOD[recipe]]
    Path("rows.jsonl").write_bytes(b"\n".join([*good[:2], line, *good[2:]]) + b"\n")
    Path("databases").mkdir()
    stopped = run("--recipe", recipe, "--data", "rows.jsonl")
    assert stopped.exit_code == 2, stopped.output
    assert stopped.stderr.startswith("Error: rows.jsonl:3: "), stopped.stderr
    assert said in stopped.stderr
    assert "Traceback" not in stopped.output
    assert left() == ["databases", "rows.jsonl"]
    skipped = run("--recipe", recipe, "--data", "rows.jsonl", "--on-bad-rows", "skip")
    assert skipped.exit_code == 0, skipped.output
    assert "1 of 31 rows cannot be used" in skipped.output
    (rejected,) = Path("rejected.jsonl").read_text().splitlines()
    assert json.loads(rejected)["where"] == "rows.jsonl:3"


WHOLE = "".join(json.dumps(row) + "\n" for row in QA).encode()


def table(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), out)
    return out.getvalue()


def archive(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr(name, content)
    return out.getvalue()


# (name of the file, its content, what is said)
FILES: list[tuple[str, bytes | None, str]] = [
    ("gone.jsonl", None, "no such file or folder: gone.jsonl"),
    ("empty.jsonl", b"", "empty.jsonl is empty: it holds no rows"),
    ("blank.jsonl", b"\n \n\n", "blank.jsonl is empty: it holds no rows"),
    ("empty.json", b"[]", "empty.json is empty: it holds no rows"),
    ("blank.txt", b"\n \n\n", "blank.txt is empty: it holds no rows"),
    ("head.csv", b"question,answer\n", "head.csv is empty: it holds no rows"),
    ("rows.docx", b"PK", "rows.docx is no corpus: that is a file .txt"),
    ("torn.jsonl.gz", gzip.compress(WHOLE)[:80], "torn.jsonl.gz cannot be unpacked"),
    ("none.jsonl.gz", b"plain", "none.jsonl.gz cannot be unpacked"),
    ("torn.jsonl.xz", lzma.compress(WHOLE)[:80], "torn.jsonl.xz cannot be unpacked"),
    ("none.jsonl.zst", b"plain", "none.jsonl.zst cannot be unpacked"),
    ("none.zip", b"plain", "none.zip cannot be unpacked"),
    ("bare.zip", archive("a.png", b"x"), "bare.zip is empty: it holds no rows"),
    ("none.parquet", b"plain", "none.parquet cannot be read as Parquet"),
    ("torn.parquet", table(QA)[:200], "torn.parquet cannot be read as Parquet"),
    ("torn.json", b'[{"question": "a", "answer": "b"},', "torn.json:1: not valid JSON"),
    ("more.json", b'[{"question": "a", "answer": "b"}] x', "more.json:1: not valid JSON (more"),
    ("other.json", b"3", "other.json:1: a .json file is a list of objects"),
    ("open.csv", b'question,answer\n"a,b\n', "open.csv:2: broken CSV"),
    ("twice.csv", b"question,question\na,b\n", "twice.csv:1: the first line of a table names each"),
    ("wide.csv", b"question,answer\na,b,c\n", "wide.csv:2: 3 fields, but the first line names 2"),
    ("other.csv", b"q,a\nb,c\n", "other.csv:2: it has 'q', 'a'; a row is {"),
    ("latin.csv", "question,answer\ncaf\xe9,b\n".encode("latin-1"), "latin.csv:2: not UTF-8"),
    ("rows.jsonl@0", WHOLE, "--data rows.jsonl@0: the weight behind @ must be a number above 0"),
    ("rows.jsonl@x", WHOLE, "--data rows.jsonl@x: the weight behind @ must be a number above 0"),
]


@pytest.mark.parametrize(("name", "content", "said"), FILES, ids=lambda value: str(value)[:30])
def test_a_file_that_cannot_be_read_is_named(name: str, content: bytes | None, said: str) -> None:
    file = name.partition("@")[0]
    if content is not None:
        Path(file).write_bytes(content)
    result = run("--recipe", "medical", "--data", name)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith(f"Error: {said}"), result.stderr
    assert "Traceback" not in result.output
    assert left() == ([] if content is None else [file])
