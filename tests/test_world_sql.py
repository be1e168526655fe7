"""The embedded SQL world: no leak between splits, gold with one answer, and the mix."""

import gzip
import hashlib
import json
import os
import re
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from ftkit.recipes._sql_schema import serialise
from ftkit.recipes._sql_world import Item, corpus, databases, features, items
from ftkit.recipes._sql_world.domains import (
    SPLITS,
    domains,
    entities,
    held_out_columns,
    own_phrases,
)
from ftkit.recipes._sql_world.mix import LONGEST
from ftkit.recipes._sql_world.schemas import article, draw

CHARACTERS = 8_500_000
RESERVED = re.compile(r"<\|[a-z0-9_]+\|>")
TABLE = re.compile(r"^table (\S+): (.+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def documents() -> list[str]:
    return list(corpus(0, CHARACTERS))


@pytest.fixture(scope="module")
def train() -> list[Item]:
    return list(items("train", 0, 4000))


@pytest.fixture(scope="module")
def test() -> list[Item]:
    return list(items("test", 0, 600))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return databases("test", 0, tmp_path_factory.mktemp("databases"))


def tables(text: str) -> set[tuple[str, frozenset[str]]]:
    """Return the name and the column set of every table line in a text."""
    return {
        (name, frozenset(column.split(" ")[0] for column in columns.split(", ")))
        for name, columns in TABLE.findall(text)
    }


def table_sets(texts: list[str]) -> set[frozenset[str]]:
    return {frozenset(name for name, _ in tables(text)) for text in texts}


def run(path: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def test_the_same_seed_gives_the_same_world(tmp_path: Path) -> None:
    assert items("validation", 3, 80) == items("validation", 3, 80)
    assert items("validation", 3, 40) == items("validation", 3, 80)[:40]
    assert items("validation", 3, 40) != items("validation", 4, 40)
    assert list(corpus(3, 50_000)) == list(corpus(3, 50_000))
    one, two = (databases("validation", 3, tmp_path / name) for name in ("one", "two"))
    assert all(path.read_bytes() == two[name].read_bytes() for name, path in one.items())


def test_domains_have_one_split_and_each_held_out_table_a_column_of_its_own() -> None:
    names = [domain.name for split in SPLITS for domain in domains(split)]
    assert len(names) == len(set(names)) >= 40
    assert len(domains("test")) >= 8
    nouns = {split: {n for e in entities(split) for n in (e.one, e.many)} for split in SPLITS}
    for split in ("validation", "test"):
        assert not nouns[split] & nouns["train"]
        for entity in entities(split):
            assert any(c.phrases[0] in own_phrases(split) for c in entity.columns[1:]), entity.one
    assert not nouns["validation"] & nouns["test"]


@pytest.mark.parametrize("held_out", ["validation", "test"])
def test_nothing_of_a_held_out_schema_is_in_the_corpus_or_in_tuning_rows(
    documents: list[str], train: list[Item], held_out: str
) -> None:
    corpus_text = "\n".join(documents)
    rows_text = "\n".join(
        f"{serialise(item.schema)}\n{item.question}\n{item.sql}" for item in train
    )
    asked = items(held_out, 0, 600)
    held = asked + items(held_out, 1, 600)
    schemas = sorted({serialise(item.schema) for item in held})
    held_tables = {table for schema in schemas for table in tables(schema)}
    for text, seen in (
        (corpus_text, [TABLE.findall(d) and d for d in documents]),
        (rows_text, sorted({serialise(item.schema) for item in train})),
    ):
        read = {name for name, _ in tables(text)} | set(re.findall(r"(?:FROM|JOIN) (\w+)", text))
        assert len(read) > 500, "tables are found"
        assert not {name for name, _ in held_tables} & read
        columns = {column for _, table in tables(text) for column in table}
        assert not held_out_columns() & columns
        assert not {columns for _, columns in held_tables} & {
            columns for _, columns in tables(text)
        }
        assert not table_sets(schemas) & table_sets([x for x in seen if x])
        assert not [item.question for item in asked if item.question in text]


def test_splits_share_no_question_schema_or_database(train: list[Item], test: list[Item]) -> None:
    validation = items("validation", 0, 300)
    for one, two in ((train, test), (train, validation), (validation, test)):
        for what in ("question", "schema", "db_id"):
            assert not {getattr(i, what) for i in one} & {getattr(i, what) for i in two}


def test_every_gold_query_runs_read_only_and_few_answers_are_empty(
    test: list[Item], filled: dict[str, Path]
) -> None:
    answers = [run(filled[item.db_id], item.sql) for item in test]
    empty = sum(not answer for answer in answers) / len(answers)
    assert empty <= 0.05
    assert len({item.db_id for item in test}) >= 40


def test_gold_has_the_rows_that_were_checked(test: list[Item], filled: dict[str, Path]) -> None:
    """A superlative with a tie, or an order with equal keys, would have several right answers."""
    for item in test:
        match = re.search(r"(SELECT .*) ORDER BY ([\w.]+)( DESC)? LIMIT (\d+)$", item.sql)
        if match and "GROUP" not in item.sql:
            key, limit = match[2], int(match[4])
            source = re.sub(r"^SELECT .*? FROM", f"SELECT {key} FROM", match[1])
            keys = run(
                filled[item.db_id], f"{source} ORDER BY {key}{match[3] or ''} LIMIT {limit + 1}"
            )
            assert len(set(keys)) == len(keys) == limit + 1, item.sql


def test_another_question_rarely_has_the_same_answer(
    test: list[Item], filled: dict[str, Path]
) -> None:
    answers = [
        (item.db_id, str(sorted(map(str, run(filled[item.db_id], item.sql))))) for item in test
    ]
    same = sum(count - 1 for count in Counter(answers).values())
    assert same / len(test) <= 0.03


def test_other_rows_can_fill_the_same_tables(tmp_path: Path, filled: dict[str, Path]) -> None:
    again = databases("test", 0, tmp_path, filling=1)
    assert again.keys() == filled.keys()
    first = next(iter(again))
    (schema,) = {item.schema for item in items("test", 0, 100) if item.db_id == first}
    table = serialise(schema).split(":")[0].removeprefix("table ")
    count = f"SELECT * FROM {table}"
    assert run(again[first], count) != run(filled[first], count)


@pytest.mark.parametrize(("split", "count"), [("train", 4000), ("validation", 400), ("test", 600)])
def test_three_in_ten_items_join_or_nest_and_every_feature_occurs(split: str, count: int) -> None:
    found = items(split, 0, count)
    shares = Counter(name for item in found for name in item.features)
    assert sum(bool({"join", "nesting"} & set(item.features)) for item in found) / count >= 0.3
    for name in ("join", "nesting", "group", "having", "order", "limit", "distinct", "aggregate"):
        assert shares[name] / count >= 0.012, name
    for name in ("filter", "like", "between", "set"):
        assert shares[name] / count >= 0.005, name


def test_features_are_those_that_sqlglot_reads(test: list[Item]) -> None:
    assert all(item.features == features(item.sql) for item in test)
    assert features("SELECT a FROM t EXCEPT SELECT a FROM u") == ("set",)
    assert features("SELECT a FROM t WHERE b IN (SELECT c FROM u)") == ("nesting", "filter")
    assert features("SELECT count(*) FROM t") == ("aggregate",)


def test_features_read_spider() -> None:
    """The shares beside Spider's, where the data lies: joins or nesting within 15 points."""
    here = Path(__file__).parents[1]
    data = Path(os.environ.get("FTKIT_SHARED_DATA", here.parent / "shared" / "data"))
    path = data / "sql_qa" / "spider" / "dev.jsonl.gz"
    if not path.exists():
        pytest.skip("Spider is not here")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    spider = [features(row["sql"]) for row in rows]
    share = sum(bool({"join", "nesting"} & set(found)) for found in spider) / len(spider)
    ours = [item.features for item in items("test", 0, 600)]
    assert abs(share - sum(bool({"join", "nesting"} & set(f)) for f in ours) / 600) < 0.15
    assert all(serialise(row["schema"]).startswith("table ") for row in rows)


def test_questions_are_many_and_worded_in_many_ways(train: list[Item]) -> None:
    assert len({(item.db_id, item.question) for item in train}) == len(train)
    openings = Counter(" ".join(item.question.split()[:2]) for item in train)
    assert len(openings) >= 100
    assert max(openings.values()) / len(train) < 0.12
    assert all(item.question[-1] in ".?" and "{" not in item.question for item in train)
    same = sum(item.question == item.remark for item in train) / len(train)
    assert 0.01 < same < 0.15, "remarks overlap with questions and are not the same"


def test_queries_and_documents_are_short(train: list[Item], documents: list[str]) -> None:
    pieces = [len(re.findall(r"[A-Za-z]+|\d+|[^\sA-Za-z\d]+", item.sql)) for item in train]
    assert max(pieces) <= LONGEST
    assert sorted(pieces)[len(pieces) // 2] <= 25
    assert max(map(len, documents)) <= 2000


def test_every_word_of_a_test_question_stands_in_the_corpus(
    documents: list[str], test: list[Item]
) -> None:
    word = re.compile(r"[A-Za-z]+")
    known = {found.lower() for found in word.findall("\n".join(documents))}
    for item in test:
        text = re.sub(
            r"'[^']*'", "", item.question
        )  # quoted text may be the first letters of a name
        shown = set(word.findall(f"{text} {serialise(item.schema)}"))
        assert not {found for found in shown if len(found) > 3 and found.lower() not in known}


def test_the_corpus_is_prose_and_two_thirds_of_it_are_notebooks(documents: list[str]) -> None:
    text = "\n".join(documents)
    assert CHARACTERS <= len(text) < CHARACTERS * 1.01
    assert not RESERVED.search(text)
    assert not re.search(r"^(User|Assistant|Question|Answer):", text, re.MULTILINE)
    notebooks = [document for document in documents if TABLE.search(document)]
    assert 0.6 < sum(map(len, notebooks)) / len(text) < 0.75
    assert len({frozenset(tables(document)) for document in notebooks}) > 0.9 * len(notebooks)


def test_schemas_are_created_by_sqlite_and_serialised_as_the_notebooks_show_them() -> None:
    from random import Random

    rng = Random(5)
    for split in SPLITS:
        for domain in domains(split):
            schema = draw(domain, split, rng)
            assert serialise(schema.ddl) == schema.compact
            connection = sqlite3.connect(":memory:")
            connection.executescript(schema.ddl)
            connection.close()


@pytest.mark.parametrize(
    ("schema", "line"),
    [
        (
            'CREATE TABLE "Air Port" ("Code" VARCHAR(3), "City Name" TEXT, PRIMARY KEY ("Code"));',
            'table "Air Port": Code, "City Name" text',
        ),
        (
            "CREATE TABLE t (a INT, b BIGINT, c DECIMAL(6,2), d, PRIMARY KEY (a, b));",
            "table t: a int, b int, c real, d",
        ),
        ('CREATE TABLE "order" ("group" BOOL)', 'table "order": "group" bool'),
        (
            "CREATE TABLE a (id INT PRIMARY KEY); CREATE TABLE b (x INT REFERENCES a(id), y DATE)",
            "table a: id\ntable b: x ON b. x = a. id, y date",
        ),
        (
            "CREATE TABLE b (x INT, CONSTRAINT k FOREIGN KEY (x) REFERENCES a (id))",
            "table b: x ON b. x = a. id",
        ),
        ("CREATE TABLE b (x INT, FOREIGN KEY (x) REFERENCES a)", "table b: x ON b. x = a"),
        ("not a\nschema (", "not a schema ("),
        ("", ""),
    ],
)
def test_serialise_reads_any_create_table(schema: str, line: str) -> None:
    assert serialise(schema) == line


def test_articles() -> None:
    words = ("age", "hour", "unit", "house")
    assert [article(word) for word in words] == ["an", "an", "a", "a"]


@pytest.mark.parametrize(
    ("seed", "mark"), [(0, "f55e45753f18b1cd"), (1, "bc42dedaf8789f19"), (2, "14f4f71e4b60fc75")]
)
def test_what_is_asked_of_held_out_schemas_is_frozen(seed: int, mark: str) -> None:
    """Whatever else changes in the world, results stay comparable: these are the same 500 items."""
    asked = items("test", seed, 500)
    text = "\n".join(f"{i.db_id}\t{i.schema}\t{i.question}\t{i.sql}" for i in asked)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == mark
