"""The SQLite worker against hostile queries on real files, and the rules of a right answer."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ftkit.eval._sql import FUNCTIONS, Sql, _Guard

LIMIT = 0.3
LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT "
# One SQLite instruction that compares 2e11 bytes: no progress handler is called inside it.
STUCK = "SELECT instr(printf('%.*c', 900000, 'a'), printf('%.*c', 450000, 'a') || 'b')"


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A file whose name needs quoting, with numbers, text, NULL, a blob and broken UTF-8."""
    path = tmp_path_factory.mktemp("sql") / "a b?#%é.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(
        """CREATE TABLE person (id INTEGER, name TEXT, age INTEGER, town TEXT, height REAL);
        INSERT INTO person VALUES (1, 'Ann', 30, 'Oslo', 1.7), (2, 'Bob', 40, 'Rome', 1.8),
            (3, 'Cid', 30, 'Rome', 1.65), (4, 'Dan', 25, NULL, 1.9), (5, 'Eve', 25, '', 1.6);
        CREATE TABLE odd (value); INSERT INTO odd VALUES (x'00ff'), (CAST(x'ff41' AS TEXT));"""
    )
    connection.commit()
    connection.close()
    return path


@pytest.fixture(scope="module")
def sql():
    worker = Sql(LIMIT)
    yield worker
    worker.close()


def test_every_value_comes_back_as_it_is(sql, database):
    rows = sql.query(database, "SELECT 1, 2.5, 'é', NULL, value, 9e999 FROM odd").rows
    assert rows[0] == (1, 2.5, "é", None, b"\x00\xff", float("inf"))
    assert rows[1][4] == "\udcffA"


REFUSED = {
    "DROP TABLE person": "refused: DROP",
    "-- why not\nDELETE FROM person": "refused: DELETE",
    "/* */ INSERT INTO person VALUES (9, 'X', 1, 'Y', 1.0)": "refused: INSERT",
    "UPDATE person SET age = 0": "refused: UPDATE",
    "CREATE TABLE more (a)": "refused: CREATE",
    "CREATE TEMP TABLE more (a)": "refused: CREATE",
    "ATTACH 'other.sqlite' AS other": "refused: ATTACH",
    "VACUUM INTO 'copy.sqlite'": "refused: VACUUM",
    "PRAGMA query_only = OFF": "refused: PRAGMA",
    "BEGIN": "refused: BEGIN",
    "SELECT * FROM pragma_table_info('person')": "refused: not a plain query",
    "WITH a AS (SELECT 1) DELETE FROM person": "refused: not a plain query",
    "SELECT load_extension('evil')": "refused: function load_extension",
    "SELECT length(hex(zeroblob(400000000)))": "refused: function zeroblob",
    "SELECT zeroblob(1000000000)": "refused: function zeroblob",
    "SELECT random()": "refused: function random",
    "SELECT 1; DROP TABLE person": "refused: more than one statement",
    "SELECT a.id FROM person a, person b, person c, person d, person e, person f, person g": (
        "refused: more than 50000 rows"
    ),
    "SELECT printf('%.900000c', 'x') FROM person a, person b": "refused: more than 16 MiB of rows",
    "SELECT replace(printf('%.900000c', 'x'), 'x', 'aa')": "error: string or blob too big",
    "SELECT " + "(" * 300 + "1" + ")" * 300: "error: parser stack overflow",
    "": "error: no query",
    " ;": "error: no query",
    "-- nothing": "error: no query",
    "SELECT": "error: incomplete input",
    "SELECT ?": "error: too many SQL variables",
    "SELECT name FROM persons": "error: no such table: persons",
    "SELECT 'a\0b'": "error: the query contains a null character",
}


@pytest.mark.parametrize("query", REFUSED)
def test_hostile_and_broken_queries_are_named_and_change_nothing(sql, database, query):
    before = database.read_bytes()
    assert sql.query(database, query).failure == REFUSED[query]
    assert database.read_bytes() == before
    assert [file.name for file in database.parent.iterdir()] == [database.name]


@pytest.mark.parametrize(
    "query",
    [
        ENDLESS + "count(*) FROM n",
        ENDLESS + "x FROM n ORDER BY -x",
        ENDLESS + "group_concat(x) FROM n LIMIT 30000000",
        "SELECT count(*) FROM " + ", ".join(f"person p{number}" for number in range(16)),
        STUCK,
    ],
)
def test_what_does_not_end_is_stopped_within_a_fifth_of_a_second(sql, database, query):
    times = []
    while not times or (min(times) >= LIMIT + 0.2 and len(times) < 5):
        sql.query(database, "SELECT 1")
        started = time.monotonic()
        result = sql.query(database, query)
        times.append(time.monotonic() - started)
        assert result.failure == "timeout: over 0.3 s"
        assert sql.query(database, "SELECT 1").rows == ((1,),)
    if os.getloadavg()[0] < 2 * os.cpu_count():  # a busier machine proves nothing about time
        assert LIMIT <= min(times) < LIMIT + 0.2


@LINUX
def test_a_busy_machine_does_not_make_a_query_late(database):
    """A stopped worker gets no processor; when it goes on, its answer still counts."""
    worker = Sql(LIMIT)
    worker.query(database, "SELECT 1")
    pid = worker._process.pid
    os.kill(pid, signal.SIGSTOP)
    threading.Timer(3 * LIMIT, os.kill, (pid, signal.SIGCONT)).start()
    assert worker.query(database, "SELECT count(*) FROM person").rows == ((5,),)
    worker.close()


def test_each_wall_holds_alone(database):
    guard = _Guard(str(database))
    guard.connection.set_authorizer(None)
    assert guard.connection.execute("PRAGMA query_only").fetchone() == (1,)
    assert guard.run("DELETE FROM person", 1, 9)["failure"] == (
        "error: attempt to write a readonly database"
    )
    guard.connection.execute("PRAGMA query_only = OFF")
    assert guard.run("DELETE FROM person", 1, 9)["failure"] == (
        "error: attempt to write a readonly database"
    )
    assert guard.run("ATTACH 'other.sqlite' AS b", 1, 9)["failure"] == (
        "error: too many attached databases - max 0"
    )
    # The worker's own clock, without the parent's: most late queries do not cost a worker.
    assert guard.run(ENDLESS + "count(*) FROM n LIMIT 1", 0.1, 9)["failure"] == (
        "timeout: over 0.1 s"
    )
    guard.connection.close()


def test_memory_is_bounded(database):
    worker = Sql(20.0, rows=10)
    result = worker.query(
        database,
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 1000)"
        " SELECT x FROM n ORDER BY printf('%.*c', 900000, 'a') || x",
    )
    assert result.failure == "error: out of memory"
    assert worker.query(database, "SELECT count(*) FROM person").rows == ((5,),)
    worker.close()


@LINUX
def test_the_worker_is_light_and_outlives_ctrl_c_but_not_its_parent(database):
    code = (
        "import signal, sys, time; from ftkit.eval._sql import Sql; sql = Sql();"
        "signal.signal(signal.SIGINT, signal.default_int_handler);"  # a background job's is ignored
        f"sql.query({str(database)!r}, 'SELECT 1');"
        "print(sql._process.pid, *[m for m in sys.modules if m == 'torch'], flush=True);"
        f"input(); sql.query({str(database)!r}, 'SELECT 1'); print(sql._process.pid, flush=True);"
        "time.sleep(60)"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    parent = subprocess.Popen([sys.executable, "-c", code], text=True, **pipes)
    pid = int(parent.stdout.readline())  # and no torch behind it
    os.kill(pid, signal.SIGINT)
    parent.stdin.write("go on\n")
    parent.stdin.flush()
    assert parent.stdout.readline() == f"{pid}\n", "the next query has the same worker"
    parent.kill()
    parent.communicate()
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if "State:\tZ" in Path(f"/proc/{pid}/status").read_text():
            return
        time.sleep(0.05)
    pytest.fail("the worker outlived its parent")


def test_a_database_that_is_none_is_the_callers_mistake(sql, tmp_path):
    with pytest.raises(
        ValueError, match=r"no\.sqlite cannot be opened as a SQLite database: No such"
    ):
        sql.query(tmp_path / "no.sqlite", "SELECT 1")
    (tmp_path / "text.sqlite").write_text("no database, but longer than its header " * 9)
    with pytest.raises(ValueError, match="file is not a database"):
        sql.query(tmp_path / "text.sqlite", "SELECT 1")
    assert not (tmp_path / "no.sqlite").exists()


def test_a_file_written_anew_is_opened_anew(sql, tmp_path):
    for number in (1, 2):
        aside = tmp_path / "new"
        with sqlite3.connect(aside) as connection:
            connection.execute("CREATE TABLE t AS SELECT ? AS a", [number])
        connection.close()
        aside.rename(tmp_path / "t.sqlite")
        os.utime(tmp_path / "t.sqlite", ns=(number, number))
        assert sql.query(tmp_path / "t.sqlite", "SELECT a FROM t").rows == ((number,),)


def test_rows_that_lie_beside_a_file_are_not_forgotten_in_silence(sql, tmp_path):
    """An immutable file is read without the log of WAL mode, where new rows lie at first."""
    writer = sqlite3.connect(tmp_path / "t.sqlite", isolation_level=None)
    writer.execute("PRAGMA journal_mode=WAL").fetchall()
    writer.execute("CREATE TABLE t AS SELECT 1 AS a")
    with pytest.raises(ValueError, match=r"cannot be opened .* lies in the -wal beside it"):
        sql.query(tmp_path / "t.sqlite", "SELECT a FROM t")
    writer.close()
    assert sql.query(tmp_path / "t.sqlite", "SELECT a FROM t").rows == ((1,),)


def test_the_allowed_functions_cannot_reach_out_of_the_query():
    allowed = set(FUNCTIONS.split())
    for name in ("load_extension", "zeroblob", "randomblob", "readfile", "writefile", "edit"):
        assert name not in allowed
    assert not [name for name in allowed if name.startswith(("fts", "sqlite", "json"))]


def test_spider_functions_are_all_allowed(sql, database):
    query = (
        "SELECT count(*), max(age), min(age), sum(age), avg(age), abs(-1), round(1.25, 1),"
        " upper('a'), lower('A'), length('abc'), substr('abc', 2), strftime('%Y', '2001-02-03'),"
        " ifnull(NULL, 1), coalesce(NULL, 2), 'abc' LIKE 'A%',"
        " CAST('3' AS INTEGER), CASE WHEN 1 THEN 2 END,"
        " row_number() OVER () FROM person"
    )
    assert not sql.query(database, query).failure


def test_protocol_is_plain_json_lines(database):
    path = Path(sys.modules["ftkit.eval._sql"].__file__)
    request = {"database": str(database), "sql": "SELECT 1", "seconds": 1, "rows": 9}
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(path)],
        input=json.dumps(request) + "\n",
        capture_output=True,
        text=True,
        timeout=30,
    )
    ready, reply = map(json.loads, done.stdout.splitlines())
    assert ready == {"ready": True}
    assert reply == {"columns": 1, "rows": [[1]]}
    assert done.stderr == ""
