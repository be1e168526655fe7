"""Queries nobody trusts, run in a warm SQLite process that can only read and can be killed.

The file is both sides: imported it is the parent's `Sql`, run as a script it is the worker. It
imports nothing of ftkit, so that `evaluate.load` can copy it beside a metric and the worker starts
in milliseconds. Three walls: a read-only immutable file, an authorizer that admits SELECT, READ,
RECURSIVE and the functions below (sqlite.org/c3ref/set_authorizer), and limits on time, memory,
rows and lengths (sqlite.org/limits.html). A progress handler alone does not stop one long
instruction (`length(hex(zeroblob(4e8)))`), so the parent kills what outlives its time.
"""

import contextlib
import json
import math
import os
import queue
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.parse
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

Value = int | float | str | bytes | None

GRACE = 0.05  # seconds the parent waits behind the worker's own limit before it kills
STARVED = 0.5  # share of its time that a worker must have had of a processor to be out of time
PATIENCE = 20  # times the limit, after which a starved worker is killed too
MEMORY = 256 * 2**20  # bytes of SQLite's heap; sorting happens there too, never in files
RESULT = 16 * 2**20  # bytes of one result, roughly
OPEN = 128  # databases a worker holds open
PAGES = 512 * 2**10  # bytes of a database's pages that it keeps; the system keeps the rest
LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 1_000_000,  # bytes of a string, blob or row
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 200,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 50,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 250_000,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1_000,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
FUNCTIONS = """abs avg ceil ceiling char coalesce concat concat_ws count cume_dist current_date
    current_time current_timestamp date datetime degrees dense_rank exp first_value floor format
    glob group_concat hex ifnull iif instr julianday lag last_value lead length like likelihood
    likely ln log log10 log2 lower ltrim max min mod nth_value ntile nullif octet_length
    percent_rank pi pow power printf quote radians rank replace round row_number rtrim sign
    sqrt strftime string_agg substr substring sum time timediff total trim trunc typeof unicode
    unixepoch unlikely upper"""
ADMITTED = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE)
READING = ("SELECT", "WITH", "VALUES")


@dataclass(frozen=True)
class Result:
    """What a query gave: its rows, or why there are none.

    Attributes:
        rows: the rows in the order SQLite gave them; empty after a failure.
        columns: how many columns a row has.
        failure: "" or `error: …`, `refused: …`, `timeout: …`.
    """

    rows: tuple[tuple[Value, ...], ...] = ()
    columns: int = 0
    failure: str = ""


class Sql:
    """A worker process for queries, started at the first one and again after each kill.

    Args:
        seconds: the time one query may take; it is over at most 0.2 s later.
        rows: the most rows a result may have.
    """

    def __init__(self, seconds: float = 1.0, rows: int = 50_000) -> None:
        self.seconds = seconds
        self.rows = rows
        self._process: subprocess.Popen[str] | None = None
        self._replies: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._kill: weakref.finalize[..., Any] | None = None

    def query(self, database: str | Path, sql: str, seconds: float | None = None) -> Result:
        """Run one query on a database file.

        Args:
            database: a SQLite file; nothing can write to it here.
            sql: any text.
            seconds: another limit than this object's own.

        Returns:
            Rows or the failure; a query of any kind never raises.

        Raises:
            ValueError: when the database itself cannot be opened.
        """
        seconds = seconds or self.seconds
        path = os.path.abspath(database)
        request = {"database": path, "sql": sql, "seconds": seconds, "rows": self.rows}
        try:
            reply = self._ask(json.dumps(request), seconds)
        except BaseException:
            self.close()  # an interrupted answer must not be read as the next one
            raise
        if reply is None:
            self.close()
            return Result(failure=f"timeout: over {seconds:g} s")
        if "database" in reply:
            why = reply["database"]
            raise ValueError(f"{database} cannot be opened as a SQLite database: {why}")
        if "failure" in reply:
            return Result(failure=reply["failure"])
        rows = tuple(tuple(map(_decoded, row)) for row in reply["rows"])
        return Result(rows, reply["columns"])

    def close(self) -> None:
        """End the worker; the next query starts a new one."""
        if self._kill is not None:
            self._kill()
        self._process = self._kill = None

    def _ask(self, line: str, seconds: float) -> dict[str, Any] | None:
        """Send a line and wait for the reply; None when time is over."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        began, used = time.monotonic(), _processor_seconds(self._process.pid)
        with contextlib.suppress(OSError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        while (passed := time.monotonic() - began) < PATIENCE * seconds + GRACE:
            try:
                reply = self._replies.get(timeout=max(GRACE, seconds + GRACE - passed))
            except queue.Empty:
                if _processor_seconds(self._process.pid) < used + STARVED * seconds:
                    continue  # a busy machine did not let the query run
                return None
            if reply:
                return json.loads(reply)  # type: ignore[no-any-return]
            self.close()
            return {"failure": "error: it ended the worker"}
        return None

    def _start(self) -> None:
        """Start a worker and wait until it is warm, so that no query pays for the start."""
        self.close()
        self._replies = queue.SimpleQueue()
        # -I -S: no site-packages, no user settings; the standard library is all it needs.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="ascii",
        )
        self._kill = weakref.finalize(self, _end, self._process)
        assert self._process.stdout is not None
        threading.Thread(
            target=_listen, args=(self._process.stdout, self._replies), daemon=True
        ).start()
        ready = self._replies.get(timeout=60)
        assert ready, "the SQLite worker did not start"


def _processor_seconds(pid: int) -> float:
    """Say how long a process has computed; endlessly where nobody knows, so that time decides."""
    try:
        facts = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(facts[11]) + int(facts[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return math.inf


def _end(process: subprocess.Popen[str]) -> None:
    """Kill a worker and take its pipes down."""
    process.kill()
    process.wait()
    with contextlib.suppress(OSError):
        assert process.stdin is not None
        process.stdin.close()


def _listen(stream: IO[str], replies: "queue.SimpleQueue[str]") -> None:
    """Hand each line of a worker on; an empty one says that it is gone."""
    with stream, contextlib.suppress(ValueError):
        for line in stream:
            replies.put(line)
    replies.put("")


def _decoded(value: Any) -> Value:
    """Take a value out of its JSON form; bytes travel as a one-element list of hex digits."""
    return bytes.fromhex(value[0]) if isinstance(value, list) else value


# What follows runs in the worker.


class _Guard:
    """One open database with its authorizer and clock."""

    def __init__(self, path: str) -> None:
        uri = f"file:{urllib.parse.quote(path)}?mode=ro&immutable=1"
        self.connection = sqlite3.connect(uri, uri=True, isolation_level=None)
        self.connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        settings = (f"hard_heap_limit={MEMORY}", f"cache_size=-{PAGES >> 10}", "query_only=ON")
        for setting in (*settings, "temp_store=MEMORY", "trusted_schema=OFF"):
            self.connection.execute(f"PRAGMA {setting}")
        self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        for limit, value in LIMITS.items():
            self.connection.setlimit(limit, value)
        self.functions = frozenset(FUNCTIONS.split())
        self.refused = ""
        self.end = self.least = 0.0
        self.connection.set_authorizer(self._authorize)
        self.connection.set_progress_handler(self._late, 1_000)

    def _late(self) -> bool:
        """Say whether a query's time is over; a busy machine's other work is not counted."""
        return time.monotonic() > self.end and time.process_time() > self.least

    def _authorize(self, action: int, first: str | None, second: str | None, *_: Any) -> int:
        """Admit reading; remember the first thing that was not."""
        if action in ADMITTED:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in self.functions:
            return sqlite3.SQLITE_OK
        named = f"function {second}" if action == sqlite3.SQLITE_FUNCTION else "not a plain query"
        self.refused = self.refused or named
        return sqlite3.SQLITE_DENY

    def run(self, sql: str, seconds: float, most: int) -> dict[str, Any]:
        """Run one query within its limits and describe what came of it."""
        self.refused, self.end = "", time.monotonic() + seconds
        self.least = time.process_time() + STARVED * seconds
        try:
            cursor = self.connection.execute(sql)
            if cursor.description is None:
                return {"failure": "error: no query"}
            rows, size = [], 0
            for row in cursor:
                rows.append([[value.hex()] if isinstance(value, bytes) else value for value in row])
                size += sum(len(v) if isinstance(v, str | bytes) else 8 for v in row)
                if len(rows) > most:
                    return {"failure": f"refused: more than {most} rows"}
                if size > RESULT:
                    return {"failure": f"refused: more than {RESULT >> 20} MiB of rows"}
            return {"columns": len(cursor.description), "rows": rows}
        except MemoryError:
            return {"failure": "error: out of memory"}
        except (sqlite3.Error, sqlite3.Warning, ValueError) as problem:
            return {"failure": self._named(sql, str(problem), seconds)}

    def _named(self, sql: str, problem: str, seconds: float) -> str:
        """Say in one line why a query failed."""
        if self.refused:
            bare = re.sub(r"--.*\n|/\*.*?\*/", " ", sql).upper()
            word = bare.strip().removeprefix("EXPLAIN").split(maxsplit=1)[0]
            named = self.refused if word in READING or not word.isalpha() else word
            return f"refused: {named}"
        if "one statement" in problem:
            return "refused: more than one statement"
        if problem == "interrupted":
            return f"timeout: over {seconds:g} s"
        return f"error: {problem}"


def _work() -> None:
    """Answer requests line by line until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    guards: dict[tuple[str, int, int], _Guard] = {}
    _reply({"ready": True})
    for request in map(json.loads, sys.stdin):
        path, seconds = request["database"], request["seconds"]
        if hasattr(signal, "setitimer"):  # should the parent be gone, a stuck worker ends itself
            signal.setitimer(signal.ITIMER_PROF, seconds + 20 * GRACE)
        try:
            facts = os.stat(path)
            if os.path.exists(f"{path}-wal") and os.path.getsize(f"{path}-wal"):
                raise sqlite3.OperationalError("what was written last lies in the -wal beside it")
            key = (path, facts.st_mtime_ns, facts.st_size)  # a file written anew is opened anew
            guard = guards.pop(key, None) or _Guard(path)
        except (OSError, sqlite3.Error) as problem:
            _reply({"database": getattr(problem, "strerror", None) or str(problem)})
            continue
        guards[key] = guard  # the latest stands last
        if len(guards) > OPEN:
            oldest = next(iter(guards))
            guards.pop(oldest).connection.close()
        reply = guard.run(request["sql"], seconds, request["rows"])
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_PROF, 0)
        _reply(reply)


def _reply(reply: dict[str, Any]) -> None:
    """Write one line and push it through the pipe."""
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _work()
