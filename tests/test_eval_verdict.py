"""The rules of a right answer, each with a pair that breaks it, and what counts as one spelling."""

import os
import sqlite3

import pytest

from ftkit.eval import _verdict
from ftkit.eval._instances import Instances
from ftkit.eval._normal import normal
from ftkit.eval._sql import Result, Sql
from ftkit.eval._verdict import Judge, compare, ordered


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("verdict") / "people.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            """CREATE TABLE person (id INTEGER, name TEXT, age INTEGER, town TEXT, height REAL);
            INSERT INTO person VALUES (1, 'Ann', 30, 'Oslo', 1.7), (2, 'Bob', 40, 'Rome', 1.8),
                (3, 'Cid', 30, 'Rome', 1.65), (4, 'Dan', 25, NULL, 1.9), (5, 'Eve', 25, '', 1.6);"""
        )
    connection.close()
    return path


@pytest.fixture(scope="module")
def judge():
    sql = Sql()
    yield Judge(sql, normal)
    sql.close()


GOLD = "SELECT name, age FROM person WHERE age < 35"
VERDICTS = [  # prediction, gold, reason
    (GOLD.lower(), GOLD, "right"),
    ("SELECT name AS n, age FROM person WHERE NOT age >= 35", GOLD, "right"),
    (GOLD + " ORDER BY name DESC", GOLD, "right"),
    ("SELECT name, age + 0.0 FROM person WHERE age < 35", GOLD, "right"),
    ("SELECT name, age || '' FROM person WHERE age < 35", GOLD, "wrong rows: other values"),
    (
        "SELECT age, name FROM person WHERE age < 35",
        GOLD,
        "wrong rows: the right ones with columns swapped",
    ),
    ("SELECT name FROM person WHERE age < 35", GOLD, "wrong rows: 1 columns instead of 2"),
    ("SELECT name, age FROM person", GOLD, "wrong rows: 5 rows instead of 4"),
    (
        "SELECT DISTINCT age FROM person",
        "SELECT age FROM person",
        "wrong rows: 3 rows instead of 5, duplicates aside the same",
    ),
    (GOLD, GOLD + " ORDER BY name DESC", "wrong rows: the right ones in another order"),
    (GOLD + " ORDER BY height", f"SELECT * FROM ({GOLD} ORDER BY name)", "right"),
    (
        "SELECT '' FROM person LIMIT 1",
        "SELECT NULL FROM person LIMIT 1",
        "wrong rows: other values",
    ),
    ("SELECT 'Ann' FROM person", 'SELECT "Ann" FROM person', "right"),  # SQLite reads "Ann" as text
    ("SELECT avg(height)", "SELECT 1", "error: no such column: height"),
    ("SELECT sum(height) / 5 FROM person", "SELECT avg(height) FROM person", "right"),
    ("SELECT 1.73 FROM person LIMIT 1", "SELECT avg(height) FROM person", "right"),
    ("SELECT 1.7301", "SELECT avg(height) FROM person", "wrong rows: other values"),
    ("SELECT 1000001", "SELECT 1000000", "wrong rows: other values"),
    ("DELETE FROM person", "SELECT age FROM person", "refused: DELETE"),
    (
        "SELECT age FROM person WHERE age > 99",
        "SELECT name FROM person WHERE name = 'Zoe'",
        "gold empty: so is the answer, by luck or not",
    ),
    (
        "select NAME from person where name='Zoe'",
        'SELECT name FROM person WHERE name = "Zoe"',
        "right",
    ),
    (
        "SELECT name FROM person",
        "SELECT name FROM person WHERE age > 99",
        "wrong rows: 5 rows instead of 0",
    ),
    ("SELECT 1", "SELECT shoe FROM person", "gold fails: error: no such column: shoe"),
    ("", GOLD, "error: no query"),
]


@pytest.mark.parametrize(("prediction", "gold", "reason"), VERDICTS)
def test_verdicts_have_their_reasons(judge, database, prediction, gold, reason):
    verdict = judge.verdict(prediction, gold, database)
    assert verdict.reason == reason
    assert verdict.right == (None if reason.startswith("gold fails") else reason == "right")


def test_whole_numbers_of_many_digits_meet_their_floats():
    gold = Result(((10_000_000_001, "b"), (10_000_000_002, "a")), 2)
    floats = Result(((10_000_000_002.0, "a"), (10_000_000_001.0, "b")), 2)
    assert compare(gold, floats, None) == compare(floats, gold, None) == ""
    turned = Result(gold.rows[::-1], 2)
    assert compare(gold, turned, None) == ""
    assert compare(gold, turned, (1, 2)) == "the right ones in another order"
    other = Result(((10_000_000_001, "b"), (10_000_000_003, "a")), 2)
    assert compare(gold, other, None) == "other values"


def test_columns_that_cannot_be_the_swapped_ones_are_not_tried(monkeypatch):
    asked, plain = [], _verdict._same_rows
    monkeypatch.setattr(_verdict, "_same_rows", lambda *sides: asked.append(1) or plain(*sides))
    gold = Result(tuple((n, n * n, -n, str(n), 0.5) for n in range(50)), 5)
    turned = Result(tuple(row[::-1] for row in gold.rows), 5)
    assert compare(gold, turned, None) == "the right ones with columns swapped"
    assert len(asked) == 2  # as they are, and turned round
    asked.clear()
    other = Result(((99, 0, 0, "0", 0.5), *gold.rows[1:]), 5)
    assert compare(gold, other, None) == "other values"
    assert len(asked) == 1


def test_a_query_runs_once_until_the_file_is_written_anew(judge, database, monkeypatch):
    """However often it is asked about, by which metric and with what other answers."""
    asked = []
    monkeypatch.setattr(judge.sql, "query", lambda *a, **k: asked.append(a) or Result(((7,),), 1))
    for said in ("SELECT 7", "SELECT 7", "SELECT 07"):
        assert judge.verdict(said, "SELECT 7 -- once", database).right
        assert judge.on_file(said, "SELECT 7 -- once", database).once
    assert len(asked) == 3
    os.utime(database, ns=(1, 1))
    assert judge.verdict("SELECT 7", "SELECT 7 -- once", database).right
    assert len(asked) == 5


def test_a_large_gold_result_is_not_kept_for_good(judge, database, monkeypatch):
    monkeypatch.setattr(_verdict, "KEPT", 5)
    ran = []
    ask = judge.sql.query
    monkeypatch.setattr(judge.sql, "query", lambda *a, **k: ran.append(a[1]) or ask(*a, **k))
    for gold, times in (
        ("VALUES (1), (2), (3), (4), (5)", 1),
        ("VALUES (1, 2), (3, 4), (5, 6)", 2),
    ):
        for said in ("SELECT 1", "SELECT 2"):
            assert not judge.on_file(said, gold, database).right
        assert ran.count(gold) == times


def test_another_file_of_the_same_name_and_time_is_another_file(tmp_path, monkeypatch):
    """As archives unpack them: of one time, into folders that one works in by turns."""
    sql = Sql()
    judge, gold = Judge(sql, normal, Instances(1, 0)), "SELECT a FROM t"
    for name, rows in (("one", "(1)"), ("two", "(2)"), ("two", "(1)" + ", (1)" * 2000)):
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / name)
        with sqlite3.connect("same.sqlite") as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS t (a)")
            connection.execute("DELETE FROM t")
            connection.execute(f"INSERT INTO t VALUES {rows}")
        connection.close()
        os.utime("same.sqlite", ns=(1, 1))
        found = judge.on_file("SELECT 1 FROM t", gold, "same.sqlite")
        assert found.once == (rows != "(2)"), rows
        assert len(judge.instances.of("same.sqlite", gold)) == 1
    assert len(judge.instances._tables) == 3
    sql.close()


@pytest.mark.parametrize(
    ("query", "order"),
    [
        ("SELECT a FROM t ORDER BY a", True),
        ("SELECT a FROM t order /* x */ by a LIMIT 1", True),
        ("SELECT a FROM t UNION SELECT b FROM u ORDER BY 1", True),
        ("WITH w AS (SELECT a FROM t ORDER BY a) SELECT a FROM w", False),
        ("SELECT a FROM t WHERE a IN (SELECT b FROM u ORDER BY b LIMIT 1)", False),
        ("SELECT a FROM t WHERE b = ' ORDER BY (' -- ORDER BY a", False),
        ('SELECT "ORDER BY", [ORDER BY] FROM t', False),
        ("SELECT rank() OVER (ORDER BY a) FROM t", False),
    ],
)
def test_order_counts_only_where_the_outermost_query_asks_for_it(query, order):
    assert ordered(query) is order


def test_noise_in_the_last_digit_does_not_scramble_rows():
    noisy = tuple((0.1 * number + 1e-16, str(number)) for number in range(9, -1, -1))
    exact = tuple((number / 10, str(number)) for number in range(10))
    assert compare(Result(exact, 2), Result(noisy, 2), None) == ""
    assert compare(Result(exact, 2), Result(noisy, 2), range(1, 11)) == (
        "the right ones in another order"
    )
    gold, found = ((0.3, "b"), (0.1 + 0.2, "a")), ((0.3, "a"), (0.1 + 0.2, "b"))
    assert compare(Result(gold, 2), Result(found, 2), None) == ""
    mixed = ((None,), ("",), (b"",), (0,), (0.5,))
    assert compare(Result(mixed, 1), Result(mixed[::-1], 1), None) == ""


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("select A.x from T as A", "SELECT x FROM t", True),
        ("SELECT x FROM t WHERE y != 1;", "SELECT x FROM t WHERE y <> 1", True),
        (
            "SELECT T1.x FROM a T1 JOIN b T2 ON T1.i = T2.i",
            "SELECT a.x FROM a INNER JOIN b ON a.i=b.i",
            True,
        ),
        ("SELECT count(*) AS n FROM t", "SELECT COUNT( * ) FROM t", True),
        ("SELECT x FROM t ORDER BY x ASC", "SELECT x FROM t ORDER BY x", True),
        ('SELECT "Name" FROM t', "SELECT name FROM t", True),
        ('SELECT "High points" FROM t', "SELECT `high points` FROM t", True),
        ("SELECT x FROM t WHERE y = 'Oslo'", "SELECT x FROM t WHERE y = 'oslo'", False),
        ("SELECT x FROM t ORDER BY x DESC", "SELECT x FROM t ORDER BY x", False),
        ("SELECT a.x FROM a JOIN b ON a.i = b.i", "SELECT b.x FROM a JOIN b ON a.i = b.i", False),
        (
            "SELECT a.x FROM t a JOIN t b ON a.i = b.j",
            "SELECT b.x FROM t a JOIN t b ON a.i = b.j",
            False,
        ),
        ("not  SQL 'Mixed Case'", "NOT sql 'Mixed Case'", True),
        ("(" * 3000, "(" * 3001, False),
    ],
)
def test_exact_match_ignores_spelling_alone(a, b, same):
    assert (normal(a) == normal(b)) is same


@pytest.mark.parametrize(
    "text", ["show the name.\nSELECT x", "alter reads out: 2000", "SELECT ((", ""]
)
def test_text_that_is_no_query_prints_no_warning(text, caplog, capfd):
    assert normal(text) == " ".join(text.lower().split())
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
