"""The SQL recipe: real data and its refusals, the embedded world."""

import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ftkit.catalog import load
from ftkit.config import override
from ftkit.errors import FtkitError
from ftkit.recipes._check import check
from ftkit.recipes._sql_compact import names
from ftkit.recipes._sql_spelling import first_statement
from ftkit.recipes.sql_qa import RECIPE


@pytest.mark.parametrize(
    ("reply", "statement"),
    [
        ("SELECT 1; DROP TABLE t", "SELECT 1"),
        (" SELECT ';' FROM t ;", "SELECT ';' FROM t"),
        ("Sure! SELECT 1", "Sure! SELECT 1"),
        ("", ""),
    ],
)
def test_an_answer_is_the_first_statement_and_nothing_is_searched_for(
    reply: str, statement: str
) -> None:
    assert first_statement(reply) == statement
    assert RECIPE.answer(reply, RECIPE.examples("test")[0]) == statement


def source(folder: Path, count: int = 40, **changes: Any) -> Path:
    """Write a folder of rows over many schemas, with one packed database."""
    folder.mkdir(parents=True)
    rows = []
    for number in range(count):
        schema = f'CREATE TABLE "T{number % 20}" ("Name Of" TEXT, "Age" REAL);'
        sql = f'SELECT "Age" FROM "T{number % 20}" WHERE "Name Of" = \'n{number}\''
        row = {"question": f"How old is n{number}?", "schema": schema, "sql": sql, "db_id": "all"}
        rows.append(row | changes)
    lines = [json.dumps(row) for row in rows]
    (folder / "train.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    dev = [json.dumps(row | {"question": f"{row['question']} Now?"}) for row in rows[:10]]
    (folder / "dev.jsonl").write_text("\n".join(dev))
    (folder / "databases").mkdir()
    database = sqlite3.connect(folder / "all.sqlite")
    for number in range(20):
        database.execute(f'CREATE TABLE "T{number}" ("Name Of" TEXT, "Age" REAL)')
        database.execute(f'INSERT INTO "T{number}" VALUES (?, ?)', (f"n{number}", number))
    database.commit()
    database.close()
    packed = gzip.compress((folder / "all.sqlite").read_bytes())
    (folder / "databases" / "all.sqlite.gz").write_bytes(packed)
    (folder / "all.sqlite").unlink()
    return folder


def recipe(tmp_path: Path, *data: str, **values: Any) -> Any:
    return override(RECIPE, {"data": data, "cache": str(tmp_path / "cache")} | values, "recipe")


def test_real_rows_are_shown_compact_and_answered_in_the_databases_names(tmp_path: Path) -> None:
    made = recipe(tmp_path, str(source(tmp_path / "rows")))
    example = made.examples("test")[3]
    assert example.prompt[0]["content"] == ("table t3: name_of text, age real\nHow old is n3? Now?")
    assert example.reference == "SELECT age FROM t3 WHERE name_of = ' n3'"
    answer = made.answer(example.reference + "; SELECT 1", example)
    assert answer == "SELECT Age FROM T3 WHERE \"Name Of\" = 'n3'"
    database = sqlite3.connect(f"file:{example.meta['database']}?mode=ro", uri=True)
    assert database.execute(answer).fetchall() == database.execute(example.meta["sql"]).fetchall()
    assert database.execute(answer).fetchall() == [(3.0,)]


def test_splits_hold_out_whole_schemas_and_do_not_change(tmp_path: Path) -> None:
    place = source(tmp_path / "rows")
    made = recipe(tmp_path, str(place), validation="0.2")
    train, checks = made.examples("train"), made.examples("validation")
    units = [{example.meta["unit"] for example in part} for part in (train, checks)]
    assert len(train) + len(checks) == 40
    assert len(checks) == 8
    assert not units[0] & units[1]
    assert list(made.examples("train")) == list(train)
    alone = recipe(tmp_path, str(place / "train.jsonl.gz"), validation="0.1")
    parts = [{e.meta["unit"] for e in alone.examples(s)} for s in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [16, 2, 2]
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
    parts_found = check(alone)
    assert sum(part.rows for part in parts_found.values()) == 40


def test_what_one_source_holds_out_no_other_trains_on(tmp_path: Path) -> None:
    one = source(tmp_path / "one", count=60)
    plain = [str(one / "train.jsonl.gz"), str(tmp_path / "copy.jsonl.gz")]
    text = gzip.decompress((one / "train.jsonl.gz").read_bytes()).decode()
    (tmp_path / "databases").symlink_to(one / "databases")
    lines = text.replace("How old is", "What age has").splitlines()[:30]
    Path(plain[1]).write_bytes(gzip.compress("\n".join(lines).encode()))
    made = recipe(tmp_path, *plain, validation="0.2")
    parts = [{e.meta["unit"] for e in made.examples(s)} for s in ("train", "validation", "test")]
    assert all(parts)
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]


def test_a_plain_file_is_asked_whole_by_eval(tmp_path: Path) -> None:
    place = source(tmp_path / "rows")
    made = recipe(tmp_path, str(place / "dev.jsonl"), whole="true")
    assert [len(made.examples(split)) for split in ("train", "test")] == [0, 10]


def test_what_is_odd_in_queries_and_databases_is_counted(tmp_path: Path) -> None:
    place = source(tmp_path / "rows", sql='SELECT "Age" FROM T3 WHERE "Name Of" = "n3"')
    file = place / "databases" / "all.sqlite"
    file.write_bytes(gzip.decompress((place / "databases" / "all.sqlite.gz").read_bytes()))
    made = recipe(tmp_path, str(place))
    assert [(group.kind.split(";")[0], group.count) for group in made.found().odd] == [
        ("quote text as names are quoted", 50)
    ]
    far = source(tmp_path / "far", sql="SELECT Age FROM T0 WHERE \"Name Of\" = 'n''o'")
    assert [(group.kind, group.count) for group in recipe(tmp_path, str(far)).found().odd] == [
        ("ask for a text that is not in the question", 50)
    ]
    assert made.examples("train")[0].reference.endswith("WHERE name_of = ' n3'")
    with closing(sqlite3.connect(file)) as database:
        database.execute("DELETE FROM T3")
        database.commit()
    assert [group.kind for group in recipe(tmp_path, str(place)).found().odd] == [
        "quote text as names are quoted; it is taught with apostrophes",
        "ask a table that is empty: any query that finds nothing is right",
    ]


def test_a_schema_may_stand_in_the_database_alone(tmp_path: Path) -> None:
    made = recipe(tmp_path, str(source(tmp_path / "rows", schema=None)))
    shown = made.examples("test")[0].prompt[0]["content"]
    assert shown.startswith("table t0: name_of text, age real\ntable t1: ")


def test_a_table_behind_a_comment_is_kept_where_rows_are_left_out(tmp_path: Path) -> None:
    """Else its queries would be refused for a table that nobody finds."""
    filled = "-- what it\n-- holds\nCREATE TABLE a (b INT); INSERT INTO a VALUES ('-- no; one'); "
    row = {"question": "How many?", "sql": "SELECT b FROM a, c"}
    row["schema"] = f"{filled}/* and */ CREATE TABLE c (d INT)"
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    made = recipe(tmp_path, str(tmp_path / "rows.jsonl"))
    (example,) = made.examples("train")
    assert example.meta["schema"] == "CREATE TABLE a (b INT); CREATE TABLE c (d INT)"


def test_tables_of_sqlite_itself_are_not_shown(tmp_path: Path) -> None:
    text = "CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, b TEXT)"
    assert "sqlite" not in names(text).schema
    with closing(sqlite3.connect(tmp_path / "a.sqlite")) as database:
        database.execute(text)
        database.execute("CREATE VIRTUAL TABLE c USING fts5(d)")
        database.commit()
    made = recipe(tmp_path, str(source(tmp_path / "rows")))
    shown = made.ask("How many?", tmp_path / "a.sqlite").prompt[0]["content"]
    assert shown.startswith("table a: id, b text\n")
    assert "sqlite_sequence" not in shown


T0 = 'CREATE TABLE "T0" ("Name Of" TEXT, "Age" REAL)'


def test_one_schema_is_divided_by_question(tmp_path: Path) -> None:
    place = source(
        tmp_path / "rows", schema=f"CREATE TABLE a (b TEXT); {T0}", sql='SELECT "Age" FROM "T0"'
    )
    made = recipe(tmp_path, str(place), validation="0.2")
    assert [len(made.examples(split)) for split in ("train", "validation")] == [32, 8]


def test_weights_repeat_or_thin_training_rows_alone(tmp_path: Path) -> None:
    place = source(tmp_path / "rows")
    whole = recipe(tmp_path, str(place))
    for weight, share in ((2, 2.0), (0.5, 0.5)):
        made = recipe(tmp_path, f"{place}@{weight}")
        assert len(made.examples("train")) == share * len(whole.examples("train"))
        assert list(made.examples("validation")) == list(whole.examples("validation"))
        assert made.examples("test") == whole.examples("test")


def test_rows_without_a_database_are_for_training_alone(tmp_path: Path) -> None:
    place = source(tmp_path / "rows", db_id=None)
    made = recipe(tmp_path, str(place))
    assert len(made.examples("train")) == 38
    assert made.examples("test") == []


def test_a_tested_question_is_never_trained_on(tmp_path: Path) -> None:
    place = source(tmp_path / "rows")
    rows = gzip.decompress((place / "train.jsonl.gz").read_bytes()).decode().splitlines()
    (place / "dev.jsonl").write_text("\n".join(rows[:5]))
    made = recipe(tmp_path, str(place))
    asked = {example.meta["question"] for example in made.examples("test")}
    trained = [*made.examples("train"), *made.examples("validation")]
    assert not asked & {example.meta["question"] for example in trained}
    assert len(trained) == 35


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema": "nonsense"}, "rows/dev.jsonl:1: 'schema' is not CREATE TABLE text"),
        ({"sql": "SELECT b FROM T0"}, "SQLite does not take 'sql': no such column: b"),
        ({"sql": "DROP TABLE T0"}, "SQLite does not take 'sql': it does more than read"),
        ({"schema": None, "db_id": None}, "rows/dev.jsonl:1: 'schema' is null; a row has the "),
        ({"sql": "SELECT Age FROM T0 WHERE Age = 'var1'"}, "asks for 'var1', which stands where"),
        ({"db_id": "../../etc/passwd"}, "'db_id' is no plain file name"),
        ({"db_id": "other"}, "rows/dev.jsonl:1: no database at .*other.sqlite or other.sqlite.gz"),
    ],
)
def test_bad_rows_are_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    made = recipe(tmp_path, str(source(tmp_path / "rows", **changes)))
    with pytest.raises(FtkitError, match=words):
        made.examples("test")


def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    place = source(tmp_path / "rows")
    (place / "databases" / "all.sqlite.gz").write_bytes(b"no gzip")
    with pytest.raises(FtkitError, match="is no whole gzip file"):
        recipe(tmp_path, str(place)).examples("test")
    assert not [path for path in (tmp_path / "cache" / "databases").rglob("*") if path.is_file()]


def test_notebooks_come_from_training_rows_alone_and_in_the_prose_form(tmp_path: Path) -> None:
    place = source(tmp_path / "rows")
    made = recipe(tmp_path, str(place), validation="0.2")
    documents = list(made.documents())
    whole = "\n".join(documents)
    for example in made.examples("train"):
        assert example.meta["question"] in whole
        prose = made.prose(example)
        assert any(
            prose.answer in document and document.startswith(prose.prompt.split("\n")[0])
            for document in documents
        )
    for example in [*made.examples("validation"), *made.examples("test")]:
        assert example.meta["question"] not in whole


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rows": "0"}, "'recipe.rows' takes 1 or more, not 0"),
        ({"validation": "1.5"}, "'recipe.validation' is a share of 0 to 1, not 1.5"),
    ],
)
def test_settings_that_make_no_recipe_are_refused(values: dict[str, str], words: str) -> None:
    with pytest.raises(FtkitError, match=words):
        override(load("recipes", "sql_qa"), values, "recipe")


def test_the_world_is_asked_in_its_own_words_and_every_reference_runs() -> None:
    for example in RECIPE.examples("test")[:40]:
        schema, _, question = example.prompt[0]["content"].rpartition("\n")
        assert question == example.meta["question"]
        assert schema == example.meta["shown"]
        database = sqlite3.connect(f"file:{example.meta['database']}?mode=ro", uri=True)
        database.execute(RECIPE.answer(example.reference, example)).fetchall()
        prose = RECIPE.prose(example)
        assert prose.prompt.startswith(schema)
        assert prose.stop not in prose.answer


def test_the_corpus_holds_the_prose_form() -> None:
    """A base asked in prose continues a text of the kind that it has met."""
    document = next(text for text in RECIPE.corpus() if "\ntable " in text or text[:6] == "table ")
    lines = document[document.index("table ") :].split("\n\n")
    assert lines[0].startswith("table ")
    remark, query = lines[1].split("\n")
    assert remark
    assert query.startswith("SELECT ")
