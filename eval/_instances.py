"""Further instances of a database: tables refilled, so that wrong queries agree no more by luck.

An instance keeps what the schema says (types, keys, checks, which columns hold NULL) and what the
gold query mentions (its constants, values just beside them, columns that it joins); all else is
drawn anew, after the test suites of arXiv:2010.02840. One seed always gives the same rows. Of a
file of very many tables an instance has those that the query needs, and some others.
"""

import contextlib
import shutil
import sqlite3
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from random import Random

from ._draw import drawn
from ._mentions import Constant, Mentions, mentions
from ._schema import Column, Link, Table, opened, quoted, read

PARENTS, CHILDREN = (10, 22), (24, 48)  # rows of a table without and with foreign keys
WITNESSES = 0.25  # share of rows in which every mentioned column holds a constant
FILLED = 40  # tables above which an instance leaves out those that the query has nothing to do with
SOFT = 0.8  # share of values that a join which no key declares takes from the other side


class Instances:
    """Makes refilled databases in a folder of its own, which goes when this object goes.

    Args:
        count: instances of each database and gold query.
        seed: of all that is drawn.
    """

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self._folder: Path | None = None
        self._tables: dict[tuple[str, int, int], tuple[list[Table], list[str]]] = {}
        self._made: dict[tuple[tuple[str, int, int], Mentions, tuple[str, ...]], list[Path]] = {}

    def of(self, database: str | Path, gold: str) -> list[Path]:
        """Give the instances for a gold query; none where the database cannot be copied.

        Args:
            database: the original SQLite file; it is read, never changed.
            gold: the query whose constants and joins are kept.
        """
        path = Path(database).resolve()
        facts = path.stat()
        known = (str(path), facts.st_mtime_ns, facts.st_size)
        try:
            if known not in self._tables:
                self._tables[known] = read(path)
            tables, others = self._tables[known]
            tables = needed(gold, tables, others)
            told = mentions(gold, {t.name.lower(): t.names for t in tables})
            key = known, told, tuple(table.name for table in tables)
            if key not in self._made:
                self._made[key] = []  # what fails is not tried again, nor its name taken
                self._made[key] = [
                    self._make(self._place(number), number, tables, others, told)
                    for number in range(self.count)
                ]
            for number, made in enumerate(self._made[key]):
                if not made.exists():  # somebody tidied up the temporary folder
                    self._make(made, number, tables, others, told)
            return self._made[key]
        except (sqlite3.Error, OverflowError):
            return []

    def _place(self, number: int) -> Path:
        """Name the file of a new instance."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="ftkit-instances-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder / f"{len(self._made)}-{number}.sqlite"

    def _make(
        self,
        path: Path,
        number: int,
        tables: Sequence[Table],
        others: Sequence[str],
        told: Mentions,
    ) -> Path:
        """Write one instance."""
        path.parent.mkdir(exist_ok=True)
        with contextlib.closing(opened(f"file:{path}")) as connection:
            random = Random(f"instance {self.seed} {number}")
            fill(connection, tables, others, told, number % 2 == 1, random)
        return path


def needed(gold: str, tables: Sequence[Table], others: Sequence[str]) -> list[Table]:
    """Choose the tables of an instance, in the order of the file; of a few tables all.

    Args:
        gold: the query; what it or a view names is taken, and what a foreign key ties to that.
        tables: of the original.
        others: statements that create indexes and views.
    """
    if len(tables) <= FILLED:
        return list(tables)
    text = " ".join([gold, *(sql for sql in others if sql.startswith("CREATE VIEW"))]).lower()
    chosen = {name for table in tables if (name := table.name.lower()) in text}
    ties = {(t.name.lower(), link.table.lower()) for t in tables for link in t.links}
    ties |= {(parent, child) for child, parent in ties}
    while more := {there for here, there in ties if here in chosen} - chosen:
        chosen |= more
    free = [name for table in tables if (name := table.name.lower()) not in chosen]
    chosen |= set(free[: max(0, FILLED - len(chosen))])
    return [table for table in tables if table.name.lower() in chosen]


def fill(
    connection: sqlite3.Connection,
    tables: Sequence[Table],
    others: Sequence[str],
    told: Mentions,
    few: bool,
    random: Random,
) -> None:
    """Create the tables in a new file and fill them, those that others refer to first.

    Args:
        connection: to an empty database.
        tables: of the original.
        others: statements that create indexes and views.
        told: what the gold query mentions.
        few: whether values come again and again.
        random: decides every value.
    """
    connection.execute("BEGIN")
    links = {table.name.lower(): _links(table, tables, told) for table in tables}
    waiting, done, early = list(tables), set[str](), list[Table]()
    for table in tables:
        connection.execute(table.sql)
    while waiting:
        free = [t for t in waiting if _needs(links[t.name.lower()], t) <= done]
        table = (free or waiting)[0]
        waiting.remove(table)
        early += [] if free else [table]  # tables refer to each other in a circle
        _rows(connection, table, links[table.name.lower()], told, few, random)
        done.add(table.name.lower())
    for table in early:
        _link(connection, table, random)
    for sql in others:
        with contextlib.suppress(sqlite3.Error):  # an index that the new rows break
            connection.execute(sql)
    there = {table.name for table in tables}
    with contextlib.suppress(sqlite3.Error):  # a foreign key to what is no key
        while loose := [
            (name, row)
            for name, row, parent, _ in connection.execute("PRAGMA foreign_key_check").fetchall()
            if parent in there and row is not None
        ]:
            for name, row in loose:
                connection.execute(f"DELETE FROM {quoted(name)} WHERE rowid = ?", [row])
    connection.execute("COMMIT")


def _link(connection: sqlite3.Connection, table: Table, random: Random) -> None:
    """Point the foreign keys of a table at others that were filled after it."""
    name = quoted(table.name)
    for link in table.links:
        keys, sources = (list(map(quoted, names)) for names in (link.columns, link.sources))
        query = f"SELECT {', '.join(sources)} FROM {quoted(link.table)}"
        rows = [row for row in connection.execute(query).fetchall() if None not in row]
        held = " AND ".join(f"{key} IS NOT NULL" for key in keys)
        change = f"UPDATE OR IGNORE {name} SET {', '.join(f'{key} = ?' for key in keys)}"
        with contextlib.suppress(sqlite3.Error, IndexError):  # no rowid; nothing to point at
            for places in connection.execute(f"SELECT rowid FROM {name} WHERE {held}").fetchall():
                row = rows[int(len(rows) * random.random() ** 2)]
                connection.execute(f"{change} WHERE rowid = ?", [*row, *places])


def _needs(links: Sequence[Link], table: Table) -> set[str]:
    """List the tables whose rows must be there first."""
    return {link.table.lower() for link in links} - {table.name.lower()}


def _links(table: Table, tables: Sequence[Table], told: Mentions) -> list[Link]:
    """Join foreign keys and the joins of the query that no key declares."""
    links = list(table.links)
    named = {t.name.lower(): t for t in tables}
    order = list(named)
    for pair in told.joins:
        (child, column), (parent, source) = sorted(
            pair, key=lambda place: (_is_key(named[place[0]], place[1]), -order.index(place[0]))
        )
        declared = any(
            place[1] in {name.lower() for link in named[place[0]].links for name in link.columns}
            for place in pair
        )
        if child == table.name.lower() and child != parent and not declared:
            links.append(Link((column,), named[parent].name, (source,), SOFT))
    return links


def _is_key(table: Table, column: str) -> bool:
    return any(c.key for c in table.columns if c.name.lower() == column)


def _rows(
    connection: sqlite3.Connection,
    table: Table,
    links: Sequence[Link],
    told: Mentions,
    few: bool,
    random: Random,
) -> None:
    """Draw the rows of one table; what breaks a rule of its own is left out."""
    count = random.randint(*(CHILDREN if links else PARENTS))
    marked = [number < WITNESSES * count for number in range(count)]
    cells = {
        c.name.lower(): drawn(c, _wanted(table, c, told), marked, few, random)
        for c in table.columns
    }
    for link in links:
        mine = [name.lower() for name in link.columns]
        if link.table.lower() == table.name.lower():
            rows = list(zip(*(cells[name.lower()] for name in link.sources), strict=True))
        else:
            names = ", ".join(map(quoted, link.sources))
            rows = connection.execute(f"SELECT {names} FROM {quoted(link.table)}").fetchall()
        rows = [row for row in rows if None not in row]
        for place in range(count) if rows else ():
            if random.random() < link.share and None not in [cells[name][place] for name in mine]:
                # Some have many, others none; and not the same ones where no constant is met.
                far = int(len(rows) * random.random() ** 2)
                row = rows[far if marked[place] else -1 - far]
                for name, value in zip(mine, row, strict=True):
                    cells[name][place] = value
    names = ", ".join(quoted(column.name) for column in table.columns)
    marks = ", ".join("?" * len(table.columns))
    connection.executemany(
        f"INSERT OR IGNORE INTO {quoted(table.name)} ({names}) VALUES ({marks})",
        zip(*cells.values(), strict=True),
    )


def _wanted(table: Table, column: Column, told: Mentions) -> list[Constant]:
    """List the constants that the query compares a column with."""
    places = [(table.name.lower(), column.name.lower()), ("", column.name.lower())]
    return [constant for place, constant in told.constants if place in places]
