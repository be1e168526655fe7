"""Values and filled SQLite databases: ties, gaps and skew, so that wrong queries rarely agree."""

import os
import sqlite3
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

from .domains import Column, words
from .schemas import Schema, Table

Value = str | int | float | None
Rows = dict[str, list[tuple[Value, ...]]]  # table name -> rows in the order of its columns


@cache
def pool(name: str) -> tuple[str, ...]:
    """Return the words of a value pool; a bar in words.toml divides first from second words."""
    return tuple(words()["values"][name].split())


@cache
def _halves(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    first, second = words()["values"][name].split(" | ")
    return tuple(first.split()), tuple(second.split())


def _pair(name: str, gap: str) -> Callable[[Random], str]:
    return lambda rng: gap.join(rng.choice(half) for half in _halves(name))


def _title(rng: Random) -> str:
    return f"{rng.choice(pool('adjective'))} {rng.choice(pool('noun'))}"


_MAKERS: dict[str, Callable[[Random], str]] = {
    "person": lambda rng: f"{rng.choice(pool('first'))} {rng.choice(pool('last'))}",
    "city": lambda rng: rng.choice(pool("city")),
    "country": lambda rng: rng.choice(pool("country")),
    "title": _title,
    "firm": lambda rng: f"{rng.choice(pool('firm'))} {rng.choice(pool('suffix'))}",
    "place": lambda rng: f"{rng.choice(pool('place'))} {rng.choice(pool('ground'))}",
    "code": lambda rng: f"{rng.choice('ABCDEFGHKLMNPRSTVX')}{rng.randint(10, 99)}",
    "pet": lambda rng: rng.choice(pool("pet")),
    "dish": _pair("dish", " "),
    "product": _pair("product", " "),
    "drug": _pair("drug", ""),
    "phone": lambda rng: f"555-{rng.randint(100, 999)}",
    "email": lambda rng: (
        f"{rng.choice(pool('first')).lower()}@{rng.choice(pool('firm')).lower()}.com"
    ),
}


def value(column: Column, rng: Random) -> str | int | float:
    """Draw one value of a column."""
    low, high, step = column.span
    if column.kind == "list":
        return column.choices[int(rng.random() ** 1.5 * len(column.choices))]
    if column.kind == "int":
        return int(low + step * rng.randint(0, int((high - low) / step)))
    if column.kind == "real":
        return round(rng.uniform(low, high), 1)
    if column.kind == "year":
        return rng.randint(1950, 2023)
    if column.kind == "date":
        return f"{rng.randint(2015, 2023)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    return _MAKERS[column.maker](rng)


def values(column: Column, count: int, unique: bool, rng: Random) -> list[Value]:
    """Draw a column of values.

    Args:
        column: what to draw.
        count: how many rows.
        unique: whether no value may come twice (as far as the pool goes).
        rng: the source of all choices.

    Returns:
        `count` values or, where the pool of a unique column is smaller, as many as there are.
    """
    if unique:
        found: dict[Value, None] = {}
        for _ in range(count * 30):
            found[value(column, rng)] = None
            if len(found) == count:
                break
        return list(found)
    few = rng.random() < 0.4  # a small pool makes ties
    drawn: list[Value] = [value(column, rng) for _ in range(max(4, count // 3) if few else count)]
    drawn = [rng.choice(drawn) for _ in range(count)] if few else drawn
    return [None if column.gaps and rng.random() < 0.2 else x for x in drawn]


def fill(schema: Schema, rng: Random) -> Rows:
    """Draw the rows of all tables: 10 to 40 each, keys skewed, some parents without children."""
    rows: Rows = {}
    for table in schema.tables:
        count = rng.randint(10, 40)
        if table.label is not None:
            label = values(table.label.column, count, True, rng)
            count = len(label)
        columns: list[list[Value]] = [list(range(1, count + 1))]
        for field in table.fields:
            unique = field is table.label
            columns.append(label if unique else values(field.column, count, False, rng))
        columns += [_keys(len(rows[link.table.name]), count, rng) for link in table.links]
        rows[table.name] = list(zip(*columns, strict=True))
    return rows


def _keys(parents: int, count: int, rng: Random) -> list[Value]:
    """Point at every parent if there are children enough and a coin says so, else at 7 in 10."""
    if rng.random() < 0.5 and count >= parents:
        sure = list(range(1, parents + 1))
        keys = sure + [1 + int(rng.random() ** 2 * parents) for _ in range(count - parents)]
        return list(rng.sample(keys, count))
    some = rng.sample(range(1, parents + 1), max(2, parents * 7 // 10))
    return [some[int(rng.random() ** 1.5 * len(some))] for _ in range(count)]


def load(schema: Schema, rows: Rows, connection: sqlite3.Connection) -> None:
    """Create and fill the tables of a schema."""
    connection.executescript(schema.ddl)
    for table in schema.tables:
        marks = ", ".join("?" * (1 + len(table.fields) + len(table.links)))
        connection.executemany(f"INSERT INTO {table.name} VALUES ({marks})", rows[table.name])
    connection.commit()


def write(schema: Schema, rows: Rows, path: Path) -> None:
    """Write a filled database file, whole: under another name first, then renamed."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    connection = sqlite3.connect(aside)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        load(schema, rows, connection)
    finally:
        connection.close()
    aside.replace(path)


class Samples:
    """The values of each column that conditions may quote, from rows or freshly made."""

    def __init__(self, rows: Rows | None, rng: Random) -> None:
        """Take the rows of a filled database, or None to make up values."""
        self.rows, self.rng = rows, rng
        self.cache: dict[tuple[str, str], list[Value]] = {}

    def of(self, table: Table, name: str) -> list[Value]:
        """Return the known values of a column, gaps left out."""
        key = (table.name, name)
        if key not in self.cache:
            place = next(i for i, field in enumerate(table.fields) if field.name == name)
            if self.rows is None:
                column = table.fields[place].column
                self.cache[key] = [value(column, self.rng) for _ in range(5)]
            else:
                self.cache[key] = [
                    row[1 + place] for row in self.rows[table.name] if row[1 + place] is not None
                ]
        return self.cache[key]
