"""Items: questions with gold SQL over filled databases, each checked by running it."""

import math
import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import count as endless
from itertools import islice
from pathlib import Path
from random import Random

import sqlglot
from sqlglot import exp

from .._in_order import in_order
from .._sql_files import Values, literals
from . import mix, schemas
from .databases import Rows, Samples, fill, load, write
from .domains import domains
from .parts import Ask, where
from .scene import Scene
from .schemas import Schema
from .wording import question, remark

SCHEMAS = {
    "train": 3000,
    "validation": 40,
    "test": 72,
}  # databases of a split; items are dealt to them in turn
INVENTED = {"train": 0.65, "validation": 0.0, "test": 0.0}  # share of made-up names
AT_ONCE = 100  # databases that a process asks at a time
QUESTIONS = 20  # to a database, where items are drawn without end
PATIENCE = 1000  # asks in turn without a new item, after which a database is asked no more
EMPTY = 0.15  # share of asks with an empty answer that are kept

FEATURES: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("join", (exp.Join,)),
    ("set", (exp.SetOperation,)),
    ("group", (exp.Group,)),
    ("having", (exp.Having,)),
    ("order", (exp.Order,)),
    ("limit", (exp.Limit,)),
    ("distinct", (exp.Distinct,)),
    ("aggregate", (exp.AggFunc,)),
    ("filter", (exp.Where,)),
    ("like", (exp.Like,)),
    ("between", (exp.Between,)),
)


@dataclass(frozen=True)
class Item:
    """One question to one database.

    Attributes:
        question: what the user asks in chat.
        schema: the CREATE TABLE text of the database.
        shown: its one-line-a-table form, as `recipes._sql_schema.serialise` gives it.
        sql: the gold query.
        db_id: the database's name, unique over splits and seeds.
        features: what the gold query uses, see `features`.
        remark: the same ask in the wording of the corpus.
        intent: what sort of ask it is, a section of heads.toml.
    """

    question: str
    schema: str
    shown: str
    sql: str
    db_id: str
    features: tuple[str, ...]
    remark: str
    intent: str


@lru_cache(maxsize=8)
def items(split: str, seed: int, count: int) -> tuple[Item, ...]:
    """Return the first `count` items of a split, dealt to its databases in turn.

    Args:
        split: "train", "validation" or "test".
        seed: the world's seed.
        count: how many; a smaller count gives a prefix of a larger one.
    """
    number = min(SCHEMAS[split], count)
    parts = [range(number)[first : first + AT_ONCE] for first in range(0, number, AT_ONCE)]
    work = partial(_part, split, seed, count)
    dealt = [found for _, part in in_order(work, parts) for found in part]
    return tuple(dealt[i % number][i // number] for i in range(count))


def _part(split: str, seed: int, count: int, indices: Sequence[int]) -> list[list[Item]]:
    """Return the items of some databases among the first `count` of their split."""
    number = SCHEMAS[split]
    return [_asked(split, seed, index, -(-(count - index) // number)) for index in indices]


def databases(split: str, seed: int, folder: Path, filling: int = 0) -> dict[str, Path]:
    """Write the filled databases of a split into a folder, those that are absent.

    Args:
        split: "train", "validation" or "test".
        seed: the world's seed.
        folder: where the files lie or go.
        filling: 0 for the rows that the questions were drawn from, else other rows.

    Returns:
        db_id -> SQLite file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for index in range(SCHEMAS[split]):
        name, schema = schema_at(split, seed, index)
        path = folder / (f"{name}.sqlite" if filling == 0 else f"{name}-{filling}.sqlite")
        if not path.exists():
            write(schema, _rows(split, seed, index, filling), path)
        found[name] = path
    return found


def drawn(seed: int, folder: Path) -> Iterator[Item]:
    """Yield items of the training domains without end, QUESTIONS to a database.

    The first items of a database are those of `items`.

    Args:
        seed: the world's seed.
        folder: where the databases go, each when its first item is drawn.
    """
    for index in endless():
        name, schema = schema_at("train", seed, index)
        rows = _rows("train", seed, index, 0)
        write(schema, rows, folder / f"{name}.sqlite")
        yield from _asked("train", seed, index, QUESTIONS, patience=PATIENCE)


@lru_cache(maxsize=4096)  # items are dealt to their databases in turn
def held(db_id: str, count: int) -> Values:
    """Return a few values of each column, as `recipes._sql_files.values_of` reads them.

    Args:
        db_id: as an item gives it.
        count: values of a column, at most.
    """
    *_, split, seed, index = db_id.split("_")
    schema = schema_at(split, int(seed), int(index))[1]
    rows = _rows(split, int(seed), int(index), 0)
    return tuple(
        (table.name, name, literals(column, count))
        for table in schema.tables
        for name, column in zip(table.columns, zip(*rows[table.name], strict=True), strict=True)
    )


@lru_cache(maxsize=4096)
def features(sql: str) -> tuple[str, ...]:
    """Return what a query uses, read with sqlglot, in a fixed order.

    >>> features("SELECT name FROM t WHERE age > (SELECT AVG(age) FROM t)")
    ('nesting', 'aggregate', 'filter')
    """
    tree = sqlglot.parse_one(sql, read="sqlite")
    nodes = list(tree.walk())
    selects, sets = (
        sum(isinstance(n, kind) for n in nodes) for kind in (exp.Select, exp.SetOperation)
    )
    found = ["nesting"] if selects > 1 + sets else []
    used = (name for name, kinds in FEATURES if any(isinstance(node, kinds) for node in nodes))
    return (*found, *used)


def shape(sql: str) -> str:
    """Return our canonical SQL with all names and all values alike; its features stay the same."""
    return re.sub(r"[a-z_]+", "x", re.sub(r"\b[\d.]+\b", "1", re.sub(r"'[^']*'", "1", sql)))


@lru_cache(maxsize=1024)
def schema_at(split: str, seed: int, index: int) -> tuple[str, Schema]:
    """Return the name and the schema of one database of a split."""
    rng = Random(f"schema {split} {seed} {index}")
    found = domains(split)
    schema = schemas.draw(found[index % len(found)], split, rng, INVENTED[split])
    return f"{schema.domain}_{split}_{seed}_{index}", schema


def _rows(split: str, seed: int, index: int, filling: int) -> Rows:
    return fill(schema_at(split, seed, index)[1], Random(f"rows {split} {seed} {index} {filling}"))


def _asked(split: str, seed: int, index: int, count: int, patience: float = math.inf) -> list[Item]:
    """Return items over one database; no question and no query comes twice."""
    name, schema = schema_at(split, seed, index)
    rows = _rows(split, seed, index, 0)
    connection = sqlite3.connect(":memory:")
    load(schema, rows, connection)
    try:
        rng = Random(f"items {split} {seed} {index}")
        return list(islice(_draw(name, schema, rows, connection, rng, patience), count))
    finally:
        connection.close()


def _draw(
    name: str,
    schema: Schema,
    rows: Rows,
    connection: sqlite3.Connection,
    rng: Random,
    patience: float,
) -> Iterator[Item]:
    scene = Scene(schema, Samples(rows, rng), rng)
    seen: set[str] = set()
    idle = 0
    while idle < patience:
        idle += 1
        ask = mix.draw(scene, rng)
        if ask.sql in seen or not _clear(ask, connection, rng):
            continue
        asked, noted = question(ask, rng), remark(ask, rng)
        if asked in seen:
            continue
        seen |= {ask.sql, asked}
        idle = 0
        used = features(shape(ask.sql))
        yield Item(asked, schema.ddl, schema.compact, ask.sql, name, used, noted, ask.head)


def _others(ask: Ask) -> Iterator[str]:
    """Yield simpler or neighbouring queries; where one gives the same answer, luck would score."""
    if ask.head in ("union", "intersect", "except"):  # neither side alone may do
        yield from ask.sql.split(f" {ask.head.upper()} ")
        return
    clause = where(ask.tests, ask.glue)
    if clause:
        yield ask.sql.replace(clause, "", 1)
    if len(ask.tests) == 2:
        yield from (ask.sql.replace(clause, where((test,), ""), 1) for test in ask.tests)
    if ask.head == "having":
        yield ask.sql.partition(" HAVING ")[0]
    if "DISTINCT " in ask.sql:
        yield ask.sql.replace("DISTINCT ", "", 1)
    if "agg" in ask.more:
        call = ask.more["agg"]
        yield ask.sql.replace(call, "MIN" if call == "MAX" else "MAX", 1)


def _clear(ask: Ask, connection: sqlite3.Connection, rng: Random) -> bool:
    """Tell whether the data leaves the ask one answer, and (mostly) one that is not empty."""
    answer = connection.execute(ask.sql).fetchall()
    if not answer or answer in ([(0,)], [(None,)], [(None, None)]):
        return rng.random() < EMPTY and not ask.keys
    if ask.empty and connection.execute(ask.empty).fetchone():
        return False
    if any(connection.execute(other).fetchall() == answer for other in _others(ask)):
        return False
    if ask.keys:
        keys = connection.execute(ask.keys).fetchall()
        keys = keys[: ask.limit + 1] if ask.limit else keys
        return len(set(keys)) == len(keys) > max(ask.limit, 1)
    return True
