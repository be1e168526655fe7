"""Refilled databases: what they keep, wrong queries that they find out, right ones they spare."""

import contextlib
import gc
import itertools
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from ftkit.eval._instances import FILLED, Instances
from ftkit.eval._mentions import Constant, mentions
from ftkit.eval._normal import normal
from ftkit.eval._sql import Sql
from ftkit.eval._ties import ends, readings
from ftkit.eval._verdict import Judge

SCHEMA = """
CREATE TABLE ship (id INTEGER PRIMARY KEY, name TEXT, kind TEXT, tons INTEGER, built TEXT,
    speed REAL, note TEXT, steam INTEGER CHECK (steam IN (0, 1)), code TEXT UNIQUE NOT NULL);
CREATE TABLE crew (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, age INTEGER,
    ship_id INTEGER REFERENCES ship (id), chief INTEGER REFERENCES crew (id));
CREATE TABLE voyage (ship_id INTEGER REFERENCES ship, port TEXT, year INTEGER,
    PRIMARY KEY (ship_id, port));
CREATE TABLE port (town TEXT, country TEXT); CREATE TABLE bare (a INTEGER, b TEXT);
CREATE INDEX by_age ON crew (age); CREATE VIEW old AS SELECT * FROM crew WHERE age > 60;
INSERT INTO ship VALUES (1, 'Sea Rose', 'tug', 900, '1950-03-04', 12.5, NULL, 1, 'a1'),
    (2, 'Albatross', 'ferry', 2000, '1961-11-30', 18.25, 'fast', 0, 'b2'),
    (3, 'Kraken', 'liner', 3100, '1972-07-15', 21.0, NULL, 0, 'c3');
INSERT INTO crew VALUES (1, 'Ann', 31, 1, NULL), (2, 'Bob', 45, 2, 1), (3, 'Cid', 52, 3, 1);
INSERT INTO voyage VALUES (1, 'Oslo', 1990), (2, 'Rome', 1991), (3, 'Oslo', 1992);
INSERT INTO port VALUES ('Oslo', 'Norway'), ('Rome', 'Italy');
"""
TRAPS = {  # gold, and what returns the same rows on the file alone
    "WHERE lost": ("SELECT name FROM ship WHERE tons > 500", "SELECT name FROM ship"),
    "a condition lost": (
        "SELECT name FROM crew WHERE age > 40 AND name LIKE '%o%'",
        "SELECT name FROM crew WHERE name LIKE '%o%'",
    ),
    "OR for AND": (
        "SELECT name FROM ship WHERE kind = 'tug' AND tons = 900",
        "SELECT name FROM ship WHERE kind = 'tug' OR tons = 900",
    ),
    "the wrong join column": (
        "SELECT crew.name, ship.name FROM crew JOIN ship ON crew.ship_id = ship.id",
        "SELECT crew.name, ship.name FROM crew JOIN ship ON crew.id = ship.id",
    ),
    "the join lost": (
        "SELECT voyage.port FROM voyage JOIN port ON voyage.port = port.town",
        "SELECT port FROM voyage",
    ),
    "COUNT(*) for COUNT(DISTINCT)": (
        "SELECT count(DISTINCT name) FROM crew",
        "SELECT count(*) FROM crew",
    ),
    "LIMIT for the first keys": (
        "SELECT name FROM crew WHERE id IN (1, 2, 3)",
        "SELECT name FROM crew LIMIT 3",
    ),
    "what an empty table hides": ("SELECT a FROM bare WHERE a > 0", "SELECT a FROM bare"),
    "COUNT of what is NULL": ("SELECT count(note) FROM ship", "SELECT 1"),
    ">= for >": ("SELECT name FROM crew WHERE age > 40", "SELECT name FROM crew WHERE age >= 40"),
    "< for <=": (
        "SELECT name FROM ship WHERE tons <= 999",
        "SELECT name FROM ship WHERE tons < 999",
    ),
    "BETWEEN without its ends": (
        "SELECT port FROM voyage WHERE year BETWEEN 1989 AND 1993",
        "SELECT port FROM voyage WHERE year > 1989 AND year < 1993",
    ),
    "LIMIT for ties": (
        "SELECT name FROM crew WHERE age = (SELECT max(age) FROM crew)",
        "SELECT name FROM crew ORDER BY age DESC LIMIT 1",
    ),
    "DISTINCT lost": ("SELECT DISTINCT kind FROM ship", "SELECT kind FROM ship"),
    "DISTINCT too many": ("SELECT name FROM crew", "SELECT DISTINCT name FROM crew"),
    "AVG for MAX over one row": (
        "SELECT max(age) FROM crew WHERE name = 'Bob'",
        "SELECT avg(age) FROM crew WHERE name = 'Bob'",
    ),
    "the constant itself": ("SELECT count(*) FROM ship", "SELECT 3"),
    "the wrong constant": (
        "SELECT name FROM ship WHERE kind = 'barge'",
        "SELECT name FROM ship WHERE kind = 'canoe'",
    ),
    "unrelated, both empty": (
        "SELECT name FROM crew WHERE age > 90",
        "SELECT town FROM port WHERE country = 'Peru'",
    ),
    "a table that is empty": ("SELECT a FROM bare", "SELECT b FROM bare"),
    "UNION ALL": (
        "SELECT name FROM ship UNION SELECT name FROM crew",
        "SELECT name FROM ship UNION ALL SELECT name FROM crew",
    ),
    "order of another column": (
        "SELECT name FROM crew ORDER BY age",
        "SELECT name FROM crew ORDER BY name",
    ),
    "a group too few": (
        "SELECT kind, built, count(*) FROM ship GROUP BY kind, built",
        "SELECT kind, built, count(*) FROM ship GROUP BY kind",
    ),
    "equal to the average": (
        "SELECT name FROM crew WHERE age > (SELECT avg(age) FROM crew)",
        "SELECT name FROM crew WHERE age >= (SELECT avg(age) FROM crew)",
    ),
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("instances") / "fleet #1.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
    return path


@pytest.fixture(scope="module")
def sql():
    worker = Sql()
    yield worker
    worker.close()


def rows(path: Path, query: str) -> list[tuple]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("trap", TRAPS)
def test_a_wrong_query_that_agrees_by_luck_is_found_out(sql, fleet, trap, seed):
    gold, wrong = TRAPS[trap]
    alone = Judge(sql, normal).verdict(wrong, gold, fleet)
    assert alone.right or alone.reason.startswith("gold empty"), alone.reason
    verdict = Judge(sql, normal, Instances(4, seed)).verdict(wrong, gold, fleet)
    assert verdict.right is False
    assert verdict.reason.startswith("by luck: on other values ")
    assert verdict.once is not alone.reason.startswith("gold empty")


def test_a_gold_query_whose_ties_decide_its_rows_judges_nobody(sql, fleet):
    """One ship has steam on the file, many on the instances: any of them would do."""
    gold = "SELECT name FROM ship ORDER BY steam DESC LIMIT 1"
    same = gold.replace("DESC", "DESC, id DESC")
    assert Judge(sql, normal, Instances(4, 0)).verdict(same, gold, fleet).right


def dump(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as held:
        return list(held.iterdump())


def test_one_seed_gives_the_same_rows_and_another_does_not(fleet):
    gold = "SELECT name FROM crew WHERE age > 40"
    kept = [Instances(2, seed) for seed in (5, 5, 6)]
    one, same, other = ([dump(path) for path in made.of(fleet, gold)] for made in kept)
    assert one == same
    assert not set(map(tuple, one)) & set(map(tuple, other))
    assert one[0] != one[1]
    assert kept[0].of(fleet, gold) != kept[0].of(fleet, "SELECT name FROM crew WHERE age > 41")
    shutil.rmtree(kept[0].of(fleet, gold)[0].parent)  # as who tidies a temporary folder does
    assert [dump(path) for path in kept[0].of(fleet, gold)] == one


@pytest.mark.parametrize("seed", range(4))
def test_types_keys_checks_and_constants_are_kept(fleet, seed):
    before = fleet.read_bytes()
    gold = (
        "SELECT 1 FROM ship, crew WHERE kind = 'barge' AND tons >= 77 AND speed < 3.5"
        " AND crew.name LIKE 'x%z' AND built > \"1980-01-01\" AND age IN (17, 18)"
    )
    made = Instances(2, seed)
    for path in made.of(fleet, gold):
        assert rows(path, "PRAGMA foreign_key_check") == []
        assert rows(path, "PRAGMA integrity_check") == [("ok",)]
        for table in ("ship", "crew", "voyage", "port", "bare"):
            assert rows(path, f"SELECT count(*) FROM {table}")[0][0] >= 8, table
            schema = f"SELECT sql FROM sqlite_master WHERE name = '{table}'"
            assert rows(path, schema) == rows(fleet, schema)
        kinds = "SELECT DISTINCT {0} FROM ship"
        types = ", ".join(f"typeof({c})" for c in ("id", "name", "tons", "built", "speed", "steam"))
        assert rows(path, kinds.format(types)) == rows(fleet, kinds.format(types))
        assert rows(path, "SELECT count(*) FROM ship WHERE note IS NULL")[0][0]
        assert rows(path, "SELECT count(*) FROM ship WHERE date(built) IS NULL") == [(0,)]
        assert rows(path, "SELECT name FROM sqlite_master WHERE name IN ('by_age', 'old')")[1:]
        for test in ("kind = 'barge'", "tons = 77", "tons = 76", "speed = 3.5", "speed < 3.5"):
            assert rows(path, f"SELECT count(*) FROM ship WHERE {test}")[0][0], test
        assert rows(path, "SELECT count(*) FROM crew WHERE name LIKE 'x%z'")[0][0]
        assert {17, 18} <= {age for (age,) in rows(path, "SELECT age FROM crew")}
    assert fleet.read_bytes() == before
    folder = path.parent
    del made
    gc.collect()
    assert not folder.exists()


def test_joins_that_no_key_declares_find_partners(fleet):
    made = Instances(4, 0)
    gold = "SELECT 1 FROM crew JOIN ship ON crew.name = ship.name"
    assert rows(fleet, gold) == []
    assert all(rows(path, gold) for path in made.of(fleet, gold))


def test_a_query_is_read_for_constants_and_joins():
    schema = {"t": {"a", "b"}, "u": {"a", "c"}}
    told = mentions(
        'SELECT x.a FROM t AS x JOIN u ON x.a = u.a WHERE b = "Oslo" AND c BETWEEN -3 AND 4.5'
        " AND b LIKE '%x' AND b IN (SELECT c FROM u) AND count(*) > 7",
        schema,
    )
    assert set(told.constants) == {
        *((("t", "b"), Constant("Oslo")), (("u", "c"), Constant(-3)), (("u", "c"), Constant(4.5))),
        (("t", "b"), Constant("%x", pattern=True)),
    }
    assert set(told.joins) == {(("t", "a"), ("u", "a")), (("t", "b"), ("u", "c"))}
    shared = mentions("SELECT b FROM t JOIN u USING (a) UNION SELECT c FROM u", schema)
    assert set(shared.joins) == {(("t", "a"), ("u", "a")), (("t", "b"), ("u", "c"))}
    assert mentions("SELECT ((", schema) == mentions("", schema)


@pytest.mark.parametrize(
    ("gold", "high"),
    [
        ("SELECT a FROM t ORDER BY b", "SELECT a FROM t ORDER BY b, 1 DESC"),
        ("SELECT a, b FROM t LIMIT 3", "SELECT a, b FROM t ORDER BY 1 DESC, 2 DESC LIMIT 3"),
        (
            "SELECT a, b, COUNT(*) AS n FROM t GROUP BY a ORDER BY n LIMIT 1",
            "SELECT a, MAX(b), COUNT(*) AS n FROM t GROUP BY a"
            " ORDER BY n, 1 DESC, 2 DESC, 3 DESC LIMIT 1",
        ),
        (
            "SELECT a FROM t WHERE b = (SELECT c FROM u ORDER BY d LIMIT 1)",
            "SELECT a FROM t WHERE b = (SELECT c FROM u ORDER BY d, 1 DESC LIMIT 1)",
        ),
        ("SELECT LOWER(a), SUM(b) FROM t GROUP BY LOWER(a)", None),
    ],
)
def test_ties_are_broken_both_ways(gold, high):
    columns = gold.partition("FROM")[0].count(",") + 1
    low = high and high.replace("DESC", "ASC").replace("MAX", "MIN")
    assert readings(gold, columns) == (low or gold, high or gold)


def test_what_is_chance_for_good_has_no_readings():
    for gold in (
        "SELECT group_concat(a) FROM t",
        "SELECT lag(a) OVER (ORDER BY b) FROM t",
        "SELECT ((",
    ):
        assert readings(gold, 1) is None
    assert ends("abc", "bca") == (3,)
    assert ends("abc", "abd") == (1, 2)


def test_of_very_many_tables_an_instance_has_those_that_the_query_needs(tmp_path):
    path = tmp_path / "many.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "BEGIN; CREATE TABLE parent (id INTEGER PRIMARY KEY);"
            + "".join(f"CREATE TABLE t{n} (a INTEGER, b TEXT);" for n in range(2000))
            + "CREATE TABLE child (id INTEGER PRIMARY KEY, of INTEGER REFERENCES parent (id));"
            "CREATE TABLE heir (of INTEGER REFERENCES child (id));"
            "CREATE TABLE seen (c TEXT); CREATE VIEW shown AS SELECT c FROM seen; COMMIT;"
        )
    instances = Instances(2, 0)

    def held(gold: str) -> set[str]:
        made = instances.of(path, gold)
        assert len(made) == 2
        listed = rows(made[0], "SELECT name FROM sqlite_master WHERE type = 'table'")
        return {name for (name,) in listed if rows(made[0], f"SELECT 1 FROM {name}")}

    for table in ("parent", "child", "heir"):  # what keys tie to the query's tables, far ones too
        tied = {"parent", "child", "heir", "seen"}
        assert held(f"SELECT * FROM {table}") == {*(f"t{n}" for n in range(FILLED - 4)), *tied}
    assert "seen" in held("SELECT c FROM shown")
    assert "t1999" in held("SELECT a FROM T1999")
    assert len(held(" JOIN ".join(f"t{n}" for n in range(50)))) >= 50


def test_a_verdict_does_not_hang_on_how_fast_the_machine_is(sql, tmp_path, monkeypatch):
    """A limit by the clock left instances out where it was slow, and what they would have told."""
    path, names = tmp_path / "wide.sqlite", [f"c{n}" for n in range(900)]
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE wide ({', '.join(names)})")
        connection.execute(f"INSERT INTO wide VALUES ({', '.join(map(str, range(900)))})")
    gold, lucky = "SELECT c1 FROM wide WHERE c2 = 2", "SELECT c1 FROM wide"
    hours = itertools.count(step=3600)
    for name in ("monotonic", "perf_counter", "process_time", "thread_time", "time"):
        monkeypatch.setattr(time, name, lambda: float(next(hours)))
    instances = Instances(4, 0)
    assert len(instances.of(path, gold)) == 4
    monkeypatch.undo()
    said = {
        Judge(sql, normal, of).verdict(lucky, gold, path) for of in (instances, Instances(4, 0))
    }
    assert [one.reason.partition(":")[0] for one in said] == ["by luck"]
