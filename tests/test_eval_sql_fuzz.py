"""Random queries through the SQL scorer: none crashes it, writes, or keeps it waiting."""

import contextlib
import sqlite3
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from ftkit.eval._instances import Instances
from ftkit.eval._normal import normal
from ftkit.eval._sql import FUNCTIONS, Sql
from ftkit.eval._verdict import Judge

LIMIT = 0.1
GOLDS = (
    "SELECT name FROM person WHERE age > 30 ORDER BY age LIMIT 3",
    "SELECT town, count(*) FROM person GROUP BY town HAVING count(*) > 1",
    "SELECT p.name FROM person p JOIN pet ON pet.owner = p.id WHERE pet.kind = 'cat'",
    "SELECT name FROM person WHERE id NOT IN (SELECT owner FROM pet) UNION SELECT kind FROM pet",
    "SELECT avg(height) FROM person WHERE town LIKE '%o%' AND age BETWEEN 20 AND 40",
)
HOSTILE = (
    *(
        "DROP TABLE person",
        "DELETE FROM pet",
        "UPDATE person SET age = 1",
        "VACUUM INTO 'x.sqlite'",
    ),
    *(
        "ATTACH 'x.sqlite' AS x",
        "PRAGMA journal_mode = WAL",
        "CREATE TABLE x (a)",
        "BEGIN EXCLUSIVE",
    ),
    *("SELECT load_extension('x')", "SELECT hex(zeroblob(900000000))", "EXPLAIN SELECT 1"),
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n",
    "SELECT instr(printf('%.*c', 900000, 'a'), printf('%.*c', 450000, 'a') || 'b')",
    "SELECT count(*) FROM person a, person b, person c, person d, person e, person f, person g",
)
TEXT = """
    SELECT FROM WHERE GROUP BY ORDER HAVING LIMIT OFFSET JOIN LEFT ON USING AS AND OR NOT IN LIKE
    BETWEEN IS NULL UNION ALL EXCEPT INTERSECT DISTINCT CASE WHEN THEN ELSE END WITH RECURSIVE
    VALUES EXISTS CAST OVER PARTITION DELETE INSERT UPDATE DROP ATTACH PRAGMA person pet id name age
    town height owner kind p * , ( ) = < > <= >= <> + - / % || ; . ' " ` [ ] -- /* */ ? ?1 :a @b 0 1
    -1 2.5 1e999 9223372036854775808 x'00' x'0 'cat' '%' \x00 \ud800 é 😀 0x1F NULL TRUE rowid
"""
WORDS = [*TEXT.split(), *FUNCTIONS.split()]


def drawn(random: Random) -> str:
    """Make a query: one that is fine or hostile with some words changed, or mere words."""
    kind = random.random()
    if kind < 0.02:
        return random.choice(HOSTILE)
    if kind < 0.2:
        return " ".join(random.choices(WORDS, k=random.randint(0, 25)))
    if kind < 0.25:
        return "".join(chr(random.randrange(1, 0xD000)) for _ in range(random.randint(1, 60)))
    words = random.choice(GOLDS if kind < 0.85 else HOSTILE).split()
    for _ in range(random.randint(0, 2)):
        place = random.randrange(len(words))
        change = random.randrange(4)
        if change == 0 and len(words) > 1:
            del words[place]
        elif change == 1:
            words.insert(place, random.choice(WORDS))
        elif change == 2:
            words[place] = random.choice(WORDS)
        else:
            words[place] = f"({words[place]})" if random.random() < 0.5 else words[place] * 2
    text = " ".join(words)
    return text if random.random() < 0.95 else text[: random.randint(0, len(text))]


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_random_queries_do_no_harm(count, tmp_path, monkeypatch):
    place, cwd = tmp_path / "data", tmp_path / "here"
    place.mkdir()
    cwd.mkdir()
    monkeypatch.chdir(cwd)
    with contextlib.closing(sqlite3.connect(place / "t.sqlite")) as connection:
        connection.executescript(
            """CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, age INTEGER, town TEXT,
                height REAL);
            CREATE TABLE pet (owner INTEGER REFERENCES person, kind TEXT);
            INSERT INTO person VALUES (1, 'Ann', 30, 'Oslo', 1.7), (2, 'Bob', 40, 'Rome', 1.8),
                (3, 'Cid', 35, 'Rome', 1.65), (4, 'Dan', 25, NULL, 1.9), (5, 'Eve', 51, '', 1.6);
            INSERT INTO pet VALUES (1, 'cat'), (3, 'dog');"""
        )
    random, sql = Random(7), Sql(LIMIT)
    judge, before, said = Judge(sql, normal, Instances(2, 7)), state(place), Counter()
    for _ in range(count):
        gold, query = random.choice(GOLDS), drawn(random)
        began = time.monotonic()
        verdict = judge.verdict(query, gold, place / "t.sqlite")
        # A busy machine lets a query wait; even then it is over long before the last limit.
        assert time.monotonic() - began < 25 * LIMIT + 5, query
        assert verdict.right in (True, False)
        said[verdict.reason.partition(":")[0]] += 1
    assert state(place) == before
    assert list(cwd.iterdir()) == []
    assert judge.verdict(GOLDS[0], GOLDS[0], place / "t.sqlite").right
    sql.close()
    assert {"right", "wrong rows", "error", "refused", "timeout"} <= set(said), said
