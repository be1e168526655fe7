"""Refilled databases where it is hard to refill: dates, long numbers, circles of keys, failures."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from ftkit.eval import _instances, _schema
from ftkit.eval._instances import Instances
from ftkit.eval._mentions import Constant, mentions
from ftkit.eval._normal import normal
from ftkit.eval._sql import Sql
from ftkit.eval._verdict import Judge

SCHEMA = """
CREATE TABLE visit (id INTEGER PRIMARY KEY, at DATE, who TEXT, code INTEGER);
INSERT INTO visit VALUES (1, '2014-03-04', 'a', 5), (2, '2014-05-06', 'b', 6),
    (3, '2015-01-02', 'c', 7), (4, '2016-11-12', 'd', 8);
CREATE TABLE worker (id INTEGER PRIMARY KEY, name TEXT, team INTEGER REFERENCES team (id));
CREATE TABLE team (id INTEGER PRIMARY KEY, title TEXT, head INTEGER REFERENCES worker (id));
INSERT INTO team VALUES (1, 'x', 1), (2, 'y', 2);
INSERT INTO worker VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', NULL);
"""
YEARS = (  # each says the same as the others
    "SELECT who FROM visit WHERE strftime('%Y', at) = '2014'",
    "SELECT who FROM visit WHERE substr(at, 1, 4) = '2014'",
    "SELECT who FROM visit WHERE at LIKE '2014%'",
    "SELECT who FROM visit WHERE at BETWEEN '2014-01-01' AND '2014-12-31'",
    "SELECT who FROM visit WHERE CAST(strftime('%Y', at) AS INTEGER) = 2014",
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "d.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
    return path


def rows(path: Path, query: str) -> list[tuple]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_a_year_that_a_function_finds_is_put_in_as_a_date(file):
    sql = Sql()
    judge = Judge(sql, normal, Instances(4, 0))
    for gold in YEARS:
        for query in YEARS:
            assert judge.verdict(query, gold, file).reason == "right", (query, gold)
        for wrong in (">=", "<="):
            reason = judge.verdict(YEARS[0].replace("=", wrong), gold, file).reason
            assert reason.startswith(("wrong rows", "by luck")), (wrong, gold)
        for path in judge.instances.of(file, gold):
            assert rows(path, "SELECT count(*) FROM visit WHERE date(at) IS NULL") == [(0,)]
    sql.close()


def test_long_numbers_are_kept_to_the_last_digit(file):
    gold = "SELECT who FROM visit WHERE code = 1029384756102938475"
    made = Instances(2, 0)
    assert len(made.of(file, gold)) == 2
    assert all(rows(path, gold) for path in made.of(file, gold))
    schema = {"visit": {"code"}}
    told = mentions("SELECT 1 FROM visit WHERE code > -9007199254740993 OR code < 1e30", schema)
    assert [constant for _, constant in told.constants] == [
        Constant(-9007199254740993),
        Constant(1e30),
    ]
    assert len(made.of(file, "SELECT who FROM visit WHERE code < 1e30")) == 2


def test_constants_are_found_beside_tables_that_a_query_makes():
    gold = "SELECT a FROM (SELECT a FROM t) x JOIN (SELECT a FROM t) y USING (a) WHERE a = 'q'"
    assert mentions(gold, {"t": {"a"}}).constants == ((("", "a"), Constant("q")),)


@pytest.mark.parametrize("seed", range(3))
def test_tables_that_refer_to_each_other_in_a_circle_are_filled(file, seed):
    made = Instances(4, seed)
    for path in made.of(file, "SELECT name FROM worker"):
        assert rows(path, "PRAGMA foreign_key_check") == []
        assert rows(path, "SELECT count(*) FROM worker")[0][0] >= 20
        assert rows(path, "SELECT count(*) FROM team")[0][0] >= 20
        assert rows(path, "SELECT count(*) FROM worker WHERE team IS NULL")[0][0]
        assert len(rows(path, "SELECT DISTINCT team FROM worker")) > 3


def test_a_query_that_asks_for_the_day_is_judged_on_instances(file):
    sql = Sql()
    judge = Judge(sql, normal, Instances(4, 0))
    gold = "SELECT who FROM visit WHERE code < 9 AND at < CURRENT_DATE"
    verdict = judge.verdict("SELECT who FROM visit WHERE at < CURRENT_DATE", gold, file)
    assert verdict.reason.startswith("by luck")
    assert judge.verdict(gold.replace("CURRENT_DATE", "date('now')"), gold, file).right
    sql.close()


def test_what_failed_once_is_not_tried_again_and_leaves_no_file_in_the_way(file, monkeypatch):
    made, plain, tried = Instances(2, 0), _instances.fill, []

    def failing(*given: object) -> None:
        tried.append(1)
        plain(*given)
        if len(tried) == 2:
            raise sqlite3.OperationalError("interrupted")

    monkeypatch.setattr(_instances, "fill", failing)
    assert made.of(file, "SELECT who FROM visit") == []
    assert made.of(file, "SELECT who FROM visit") == []
    assert len(tried) == 2
    assert len(made.of(file, "SELECT who FROM visit WHERE code = 3")) == 2


def test_the_work_on_a_database_is_bounded(file, monkeypatch):
    monkeypatch.setattr(_schema, "WORK", 1_000)
    count = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT {}) SELECT max(x)"
    count += " FROM n"
    with contextlib.closing(_schema.opened(f"file:{file}")) as connection:
        assert connection.execute(count.format(5_000)).fetchall() == [(5_000,)]
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            connection.execute(count.format(10**8)).fetchall()


def test_text_that_is_no_utf_8_is_refilled_too(file):
    """Files from elsewhere hold Latin-1; Spider's do."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.executescript("INSERT INTO visit VALUES (5, '', CAST(x'e941' AS TEXT), 9)")
    made = Instances(4, 0)
    paths = made.of(file, "SELECT who FROM visit")
    assert [len(rows(path, "SELECT who FROM visit")) >= 8 for path in paths] == [True] * 4


def test_what_a_schema_computes_cannot_take_all_memory(file):
    with contextlib.closing(_schema.opened(f"file:{file}")) as connection:
        assert connection.execute("SELECT length(zeroblob(1000000))").fetchall() == [(10**6,)]
        with pytest.raises(sqlite3.DataError, match="too big"):
            connection.execute("SELECT length(hex(zeroblob(10000000)))").fetchall()


def test_what_cannot_be_copied_has_no_instances(tmp_path):
    (tmp_path / "none.sqlite").write_text("no database, but longer than its header " * 9)
    assert Instances(2, 0).of(tmp_path / "none.sqlite", "SELECT 1") == []
    with contextlib.closing(sqlite3.connect(tmp_path / "odd.sqlite")) as connection:
        connection.executescript(
            """CREATE TABLE "a ""b" ("x y" TEXT, g AS (length("x y")), FOREIGN KEY ("x y")
                REFERENCES gone (z)); CREATE VIEW v AS SELECT * FROM missing;
            CREATE TRIGGER t AFTER INSERT ON "a ""b" BEGIN DELETE FROM "a ""b"; END;
            INSERT INTO "a ""b" VALUES (char(55296)); CREATE TABLE c (n INTEGER PRIMARY KEY);
            INSERT INTO c VALUES (9223372036854775807), (-9223372036854775808);
            CREATE TABLE d (blob BLOB, number REAL); INSERT INTO d VALUES (x'00', 9e999);"""
        )
    made = Instances(3, 0)
    for path in made.of(tmp_path / "odd.sqlite", 'SELECT "x y" FROM "a ""b"'):
        assert rows(path, 'SELECT count(*) FROM "a ""b"')[0][0] >= 8
        assert rows(path, "SELECT count(*) FROM c")[0][0] >= 8
