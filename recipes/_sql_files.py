"""SQLite files of text-to-SQL data: found by name, unpacked, read without changing them, asked.

Nothing here runs a query of the data: SQLite compiles it (sqlite.org/lang_explain.html) under an
authorizer that admits reading alone (sqlite.org/c3ref/set_authorizer.html).
"""

import gzip
import hashlib
import os
import re
import shutil
import sqlite3
import zlib
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ftkit.errors import FtkitError
from ftkit.runs import whole

ENDINGS = (".sqlite", ".db", ".sqlite3")  # each also packed, .gz
LONGEST = 24  # characters of a value that is shown beside its column
SCANNED = 2000  # rows of a table that are looked at for values
# A value of a column, if it may be shown: a database may hold pictures and whole books.
SHORT = f"CASE WHEN typeof({{0}}) <> 'blob' AND length({{0}}) <= {LONGEST} THEN {{0}} END"
OPEN = 512  # databases and schemas that stay open for compiling, as many as a batch of items has
MEMORY = 64 * 2**20  # bytes of SQLite's heap: a short query may double itself without end
TABLES = (
    "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' "
    "ESCAPE '\\' AND sql NOT LIKE 'CREATE VIRTUAL %' ORDER BY rowid"
)
READING = {
    sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE,
}  # fmt: skip
CREATING = {
    sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_CREATE_INDEX, sqlite3.SQLITE_READ,
    sqlite3.SQLITE_REINDEX, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_TRANSACTION,
}  # fmt: skip
WRITING = {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE}  # as SQLite does in its own tables
LIMITS = {
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 200,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 250_000,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
}

# (table, column) in lower case -> values as SQL writes them
Values = tuple[tuple[str, str, tuple[str, ...]], ...]


def find_database(folder: Path, db_id: str, where: str, cache: Path) -> Path:
    """Find a database by its name; a packed one is unpacked once into the cache.

    Args:
        folder: holds db_id.sqlite, .db or .sqlite3, plain or with .gz, or the same in a folder
            db_id of its own, as Spider has them.
        db_id: the database's name, as a row gives it.
        where: the row, for messages.
        cache: a folder for unpacked files.

    Returns:
        A plain SQLite file.

    Raises:
        FtkitError: naming the row, for a name that is no plain file name or that has no file, and
            for a file that is no whole gzip.
    """
    if not re.fullmatch(r"\w[\w. -]*", db_id):
        raise FtkitError(f"{where}: 'db_id' is no plain file name: {db_id!r}")
    places = [home / f"{db_id}{ending}" for home in (folder, folder / db_id) for ending in ENDINGS]
    for place in places:
        if place.is_file():
            return place
        if (packed := place.with_name(f"{place.name}.gz")).is_file():
            return _unpacked(packed, cache)
    plain = places[0]
    others = " and ".join(ENDINGS[1:])
    raise FtkitError(f"{where}: no database at {plain} or {plain.name}.gz ({others} fit too)")


def _unpacked(packed: Path, cache: Path) -> Path:
    """Unpack a file, whole; a file that changes is unpacked anew."""
    facts = packed.stat()
    mark = f"{packed.resolve()} {facts.st_size} {facts.st_mtime_ns}"
    place = cache / hashlib.sha256(mark.encode()).hexdigest()[:16] / packed.stem
    if not place.is_file():
        try:
            with gzip.open(packed, "rb") as old, whole(place) as new:
                shutil.copyfileobj(old, new)
        except (gzip.BadGzipFile, EOFError, zlib.error) as problem:
            raise FtkitError(f"{packed} is no whole gzip file: {problem}") from None
    return place


def schema_of(database: Path) -> str:
    """Read the CREATE TABLE statements of a SQLite file, which nothing here can change.

    Args:
        database: a SQLite file.

    Returns:
        The statements, each with its semicolon; tables of SQLite itself and virtual ones are not
        among them.

    Raises:
        FtkitError: for a file that SQLite cannot read, or that holds no tables.
    """
    try:
        with closing(reading(database)) as opened:
            tables = [str(sql) for _, sql in opened.execute(TABLES)]
    except sqlite3.Error as problem:
        raise FtkitError(f"{database} cannot be read as a SQLite database: {problem}") from None
    if not tables:
        raise FtkitError(f"{database} holds no tables to ask about")
    return ";\n".join(tables) + ";"


def empty_tables(database: Path) -> frozenset[str]:
    """Name the tables of a SQLite file that hold no rows, in lower case.

    Raises:
        FtkitError: for a file that SQLite cannot read.
    """
    try:
        with closing(reading(database)) as opened:
            tables = [str(name) for name, _ in opened.execute(TABLES).fetchall()]
            held = {
                t: opened.execute(f"SELECT 1 FROM {quoted(t)} LIMIT 1").fetchone() for t in tables
            }
    except sqlite3.Error as problem:
        raise FtkitError(f"{database} cannot be read as a SQLite database: {problem}") from None
    return frozenset(table.lower() for table, row in held.items() if row is None)


def memory_of(schema: str) -> sqlite3.Connection:
    """Make an empty database in memory out of CREATE TABLE statements.

    Args:
        schema: text that may come from anywhere; it can create tables and nothing else.

    Raises:
        ValueError: when SQLite does not take it, or nothing else than tables is made.
    """
    memory = sqlite3.connect(":memory:", cached_statements=0)
    memory.set_authorizer(_creates)
    try:
        memory.executescript(schema)
    except sqlite3.Error as problem:
        memory.close()
        reason = str(problem)
        reason = "it does more than create tables" if reason == "not authorized" else reason
        raise ValueError(reason) from None
    memory.set_authorizer(None)
    return memory


def values_of(database: Path, count: int) -> Values:
    """Read a few different values of each column, short ones, in the order of the rows.

    Args:
        database: a SQLite file, which nothing here can change.
        count: values of a column, at most.

    Raises:
        FtkitError: for a file that SQLite cannot read.
    """
    facts = database.stat()
    return _values(database, count, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=1024)
def _values(database: Path, count: int, *_: int) -> Values:
    """Read values; a file that changes is read anew."""
    found = []
    try:
        with closing(reading(database)) as opened:
            opened.text_factory = lambda raw: raw.decode("utf-8", "replace")
            for table, _ in opened.execute(TABLES).fetchall():
                made = opened.execute(f"SELECT * FROM {quoted(table)} LIMIT 0").description
                columns = [str(told[0]) for told in made]
                short = ", ".join(SHORT.format(quoted(column)) for column in columns)
                rows = opened.execute(f"SELECT {short} FROM {quoted(table)} LIMIT {SCANNED}")
                for column, held in zip(columns, zip(*rows, strict=True), strict=False):
                    found.append((table.lower(), column.lower(), literals(held, count)))
    except (sqlite3.Error, MemoryError) as problem:
        raise FtkitError(f"{database} cannot be read as a SQLite database: {problem}") from None
    return tuple(found)


def literals(held: tuple[Any, ...], count: int) -> tuple[str, ...]:
    r"""Write the first few different values of a column as SQL does; what is long is left out.

    No value can begin a line of its own: white space is one space, and what cannot be printed, or
    is no text and no number, is left out.

    >>> literals(("O'Neil", None, "a\ntable b: c", 3, "x" * 99, 3), 3)
    ("'O''Neil'", "'a table b: c'", '3')
    """
    found: dict[str, None] = {}
    for value in held:
        if len(found) == count:
            break
        if isinstance(value, int | float):
            found[str(value)] = None
        elif isinstance(value, str) and len(value) <= LONGEST:
            text = " ".join(value.split())
            if text and text.isprintable():
                found["'" + text.replace("'", "''") + "'"] = None
    return tuple(found)


def compiles(sql: str, schema: str, database: Path | None = None) -> str | None:
    """Say why SQLite does not take a query; nothing is run.

    Args:
        sql: any text.
        schema: CREATE TABLE statements, for a query without a database.
        database: the SQLite file that the query is for, if there is one.

    Returns:
        The reason in SQLite's words, or None for one query that compiles and only reads.

    Raises:
        FtkitError: when the database cannot be read.
        ValueError: when the schema is none.

    >>> compiles("SELECT a FROM t", "CREATE TABLE t (a)")
    >>> compiles("SELECT b FROM t", "CREATE TABLE t (a)")
    'no such column: b'
    >>> compiles("DROP TABLE t", "CREATE TABLE t (a)")
    'it does more than read'
    """
    # By the process too: SQLite's open files cannot be carried over into a forked one.
    if database is None:
        return _of_schema(schema, os.getpid()).fault(sql)
    facts = database.stat()
    return _of_file(database, facts.st_mtime_ns, facts.st_size, os.getpid()).fault(sql)


class _Compiler:
    """An open database that compiles queries."""

    def __init__(self, opened: sqlite3.Connection) -> None:
        for limit, most in LIMITS.items():
            opened.setlimit(limit, most)
        opened.execute(f"PRAGMA hard_heap_limit = {MEMORY}").close()
        _admit(opened, READING)
        self.opened = opened

    def __del__(self) -> None:
        self.opened.close()

    def fault(self, sql: str) -> str | None:
        """Say why a query does not compile."""
        try:
            self.opened.execute(f"EXPLAIN {sql}").close()
        except MemoryError:
            return "it is too large"
        except (sqlite3.Error, sqlite3.Warning, ValueError) as problem:
            reason = " ".join(str(problem).split())
            return "it does more than read" if reason == "not authorized" else reason
        return None


@lru_cache(maxsize=OPEN)
def _of_schema(schema: str, *_: int) -> _Compiler:
    return _Compiler(memory_of(schema))


@lru_cache(maxsize=OPEN)
def _of_file(database: Path, *_: int) -> _Compiler:
    try:
        opened = reading(database)
        opened.execute("SELECT count(*) FROM sqlite_master").close()
    except sqlite3.Error as problem:
        raise FtkitError(f"{database} cannot be read as a SQLite database: {problem}") from None
    return _Compiler(opened)


def reading(database: Path) -> sqlite3.Connection:
    """Open a file that nothing changes; one that somebody writes at this moment is read with them.

    An immutable file is read without locks and without files beside it, which a database in WAL
    mode would be given (sqlite.org/wal.html#read_only_databases).
    """
    place = database.resolve()
    written = place.with_name(f"{place.name}-wal")
    alone = not (written.is_file() and written.stat().st_size)
    uri = f"file:{quote(str(place))}?mode=ro{'&immutable=1' * alone}"
    return sqlite3.connect(uri, uri=True, cached_statements=0)


def _admit(opened: sqlite3.Connection, allowed: set[int]) -> None:
    opened.set_authorizer(
        lambda action, *_: sqlite3.SQLITE_OK if action in allowed else sqlite3.SQLITE_DENY
    )


def _creates(action: int, table: str | None, *_: object) -> int:
    """Admit what makes empty tables: no query, which may never end, and no rows of their own."""
    own = action in WRITING and str(table).startswith("sqlite_")
    return sqlite3.SQLITE_OK if own or action in CREATING else sqlite3.SQLITE_DENY


def quoted(name: str) -> str:
    """Put quotes around a name."""
    return '"' + name.replace('"', '""') + '"'
