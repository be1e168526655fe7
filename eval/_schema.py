"""The tables of a SQLite file as further instances need them: columns with values, and keys."""

import contextlib
import itertools
import re
import sqlite3
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

Value = int | float | str | bytes | None

SAMPLED = 300  # rows of a table that are looked at
LONGEST = 500  # characters of a value that is kept
FEW = 3  # different texts that make a flag
WORK = 100_000  # thousands of SQLite's instructions that reading or filling one file may take
BYTES = 16 * 2**20  # of one value; what a schema computes could take all memory
DATE = re.compile(r"(\d{4})-\d\d-\d\d(.*)", re.DOTALL)
PREPARED = ("trusted_schema=OFF", "page_size=1024", "journal_mode=OFF", "synchronous=OFF")


@dataclass(frozen=True)
class Column:
    """A column as the original file has it: some of its values, NULL among them or not."""

    name: str
    kind: str
    values: tuple[Value, ...]
    nulls: bool
    key: bool  # declared to hold every value once

    @cached_property
    def closed(self) -> bool:
        """Whether it holds the same few values again and again, as flags do: no others then."""
        few = set(self.values)
        text = any(isinstance(value, str) for value in few)
        return few <= {0, 1} if not text else len(few) <= FEW and 2 * len(few) <= len(self.values)

    @cached_property
    def whole(self) -> bool:
        """Whether it holds whole numbers alone."""
        return bool(self.values) and all(isinstance(value, int) for value in self.values)

    @cached_property
    def dated(self) -> bool:
        """Whether most of its values are dates."""
        dates = sum(isinstance(v, str) and DATE.fullmatch(v) is not None for v in self.values)
        return 2 * dates > len(self.values)

    @cached_property
    def span(self) -> tuple[float, float]:
        """The least and the greatest of its numbers."""
        numbers = [value for value in self.values if isinstance(value, int | float)]
        return min(numbers, default=0), max(numbers, default=0)


@dataclass(frozen=True)
class Link:
    """Columns that take their values together out of another table's rows."""

    columns: tuple[str, ...]
    table: str
    sources: tuple[str, ...]
    share: float = 1.0


@dataclass(frozen=True)
class Table:
    """A table: how it is created, its columns and its foreign keys."""

    name: str
    sql: str
    columns: tuple[Column, ...]
    links: tuple[Link, ...]

    @cached_property
    def names(self) -> frozenset[str]:
        """The columns' names in lower case."""
        return frozenset(column.name.lower() for column in self.columns)


def opened(uri: str) -> sqlite3.Connection:
    """Open a file for a bounded amount of work; what its schema computes can do no harm."""
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")  # can be written back
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, BYTES)
    for setting in PREPARED:
        connection.execute(f"PRAGMA {setting}").fetchall()
    # Instructions are counted, not seconds, or a verdict would hang on how fast a machine is.
    done = itertools.count()
    connection.set_progress_handler(lambda: next(done) > WORK, 1_000)
    return connection


def quoted(name: str) -> str:
    """Quote a name."""
    return '"' + name.replace('"', '""') + '"'


def read(path: Path) -> tuple[list[Table], list[str]]:
    """Read the tables of a file, and how its indexes and views are created."""
    with contextlib.closing(
        opened(f"file:{urllib.parse.quote(str(path))}?mode=ro&immutable=1")
    ) as connection:
        listed = connection.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"
            " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND sql NOT LIKE 'CREATE VIRTUAL%'"
        ).fetchall()
        tables = [_table(connection, name, sql) for kind, name, sql in listed if kind == "table"]
    return tables, [sql for kind, _, sql in listed if kind in ("index", "view")]


def _table(connection: sqlite3.Connection, name: str, sql: str) -> Table:
    """Read one table and a sample of its rows."""
    facts = connection.execute(f"PRAGMA table_xinfo({quoted(name)})").fetchall()
    facts = [fact for fact in facts if not fact[6]]  # generated columns fill themselves
    keys = [[fact[1] for fact in facts if fact[5]]]
    for index in connection.execute(f"PRAGMA index_list({quoted(name)})").fetchall():
        if index[2] and not index[4]:
            inside = connection.execute(f"PRAGMA index_info({quoted(index[1])})").fetchall()
            keys.append([part[2] for part in inside])
    single = {key[0] for key in keys if len(key) == 1}
    shown = ", ".join(
        f"CASE WHEN typeof({c}) IN ('text', 'blob') THEN substr({c}, 1, {LONGEST}) ELSE {c} END"
        for c in (quoted(fact[1]) for fact in facts)
    )
    rows = connection.execute(f"SELECT {shown} FROM {quoted(name)} LIMIT {SAMPLED}").fetchall()
    columns = tuple(
        Column(
            fact[1],
            fact[2].upper(),
            tuple(row[place] for row in rows if row[place] is not None),
            any(row[place] is None for row in rows),
            fact[1] in single,
        )
        for place, fact in enumerate(facts)
    )
    return Table(name, sql, columns, tuple(_foreign(connection, name)))


def _foreign(connection: sqlite3.Connection, name: str) -> Iterator[Link]:
    """Read the foreign keys of a table; one without columns means the other's primary key."""
    found: dict[int, list[tuple[str, str, str | None]]] = {}
    for fact in connection.execute(f"PRAGMA foreign_key_list({quoted(name)})").fetchall():
        found.setdefault(fact[0], []).append((fact[2], fact[3], fact[4]))
    for parts in found.values():
        table = parts[0][0]
        facts = connection.execute(f"PRAGMA table_info({quoted(table)})").fetchall()
        primary = [f[1] for f in sorted(facts, key=lambda f: f[5]) if f[5]]
        there = {fact[1].lower() for fact in facts}
        sources = [to or key for (_, _, to), key in zip(parts, primary or [""], strict=False)]
        sources = [to or "" for _, _, to in parts] if all(p[2] for p in parts) else sources
        if len(sources) == len(parts) and all(source.lower() in there for source in sources):
            yield Link(tuple(part[1] for part in parts), table, tuple(sources))
