"""Questions to a database, answered by a query: the embedded world, or real text-to-SQL data."""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from sqlglot.errors import SqlglotError

from ftkit.errors import FtkitError

from . import _sql_world
from ._read import Row
from ._recipe import Example, Prose, Recipe, Split
from ._sql_compact import compact, names, restore
from ._sql_rows import Asked, asked, known_database, unpack
from ._sql_schema import serialise
from ._sql_spelling import close, first_statement, settled, spread

NOTED = 6  # questions of a notebook


@dataclass(frozen=True)
class SqlQa(Recipe):
    """Teach a base to answer a question to a schema with a query.

    Args:
        rows: training questions of the embedded world.
        tests: test questions of the embedded world.
        characters: size of the embedded pretraining corpus.
    """

    length: int = 512
    epochs: float = 1.0
    max_new_tokens: int = 64
    rows: int = 12000
    tests: int = 500
    characters: int = 8_500_000
    metrics: ClassVar[tuple[str, ...]] = ("execution_accuracy", "valid_sql", "exact_match")
    fields: ClassVar[tuple[str, ...]] = ("question", "schema", "sql")
    databases: ClassVar[bool] = True
    strict: ClassVar[bool] = False

    def examples(self, split: Split) -> Sequence[Example]:
        """Give a split; schemas of the embedded world never lie in two of them."""
        found = super().examples(split)
        if not self.data or split != "test":
            return found
        files = unpack((_asked_of(example) for example in found), self.cached / "databases")
        return [
            replace(
                example,
                meta=example.meta
                | {
                    "database": str(files[_asked_of(example).folder, example.meta["db_id"]]),
                    "features": _features(example.meta["sql"]),
                },
            )
            for example in found
        ]

    def corpus(self) -> Iterator[str]:
        """Yield the embedded corpus: notebooks and other plain text, never the chat form."""
        yield from _sql_world.corpus(self.world_seed, self.characters)

    def prose(self, example: Example) -> Prose:
        """Ask as the corpus does: a notebook's schema, the question, and then the query."""
        schema, question = example.meta["shown"], example.meta["question"]
        return Prose(f"{schema}\n\n{question}\n", example.reference, "\n")

    def documents(self) -> Iterator[str]:
        """Yield training rows as notebooks, several questions to a schema."""
        if not self.data:
            yield from super().documents()
            return
        by_schema: dict[str, list[Example]] = {}
        for example in self.examples("train"):
            by_schema.setdefault(example.meta["schema"], []).append(example)
        for rows in by_schema.values():
            for first in range(0, len(rows), NOTED):
                yield notebook(rows[first : first + NOTED])

    def ask(self, text: str, database: Path | None = None) -> Example:
        """Lay the database's schema before a question; without one the text stands as it is."""
        if database is None:
            return Example(super().ask(text).messages, {"schema": "", "compact": False})
        schema = _schema(database)
        try:
            shown = names(schema).schema if self.data else schema
        except ValueError as problem:
            raise FtkitError(f"{database} has a schema that cannot be asked: {problem}") from None
        facts = {"schema": schema, "compact": bool(self.data), "database": str(database)}
        return _example(serialise(shown), text, "", "chat", **facts)

    def answer(self, reply: str, example: Example) -> str:
        """Take the first statement; the database's own names are put back."""
        statement = first_statement(reply)
        if example.meta["compact"]:
            return restore(statement, names(example.meta["schema"]))
        return close(statement)

    def so_far(self, reply: str, example: Example) -> str:
        """Show a query up to the words that may still become others."""
        return self.answer(settled(reply), example)

    def world(self, split: Split) -> list[Example]:
        """Draw from the embedded world."""
        checks = max(50, round(self.validation * self.rows))
        count = {"train": self.rows, "validation": checks, "test": self.tests}[split]
        items = _sql_world.items(split, self.world_seed, count)
        files: dict[str, Path] = {}
        if split == "test":
            place = self.cached / f"sql_world-{_made_by()}" / f"{split}-{self.world_seed}"
            files = _sql_world.databases(split, self.world_seed, place)
        return [
            _example(
                item.shown,
                item.question,
                spread(item.sql),
                f"world {split} {number}",
                schema=item.schema,
                db_id=item.db_id,
                database=str(files.get(item.db_id, "")),
                features=item.features,
                unit=item.db_id,
                sql=item.sql,
                compact=False,
            )
            for number, item in enumerate(items, 1)
        ]

    def take(self, row: Row, test: bool = False) -> list[Example]:
        """Take a question with its schema and query, in the compact form."""
        found = asked(row)
        there = known_database(found, row)
        known = names(found.schema)
        facts = {
            "schema": found.schema,
            "db_id": found.db_id,
            "folder": str(found.folder),
            "unit": found.schema,
            "sql": found.sql,
            "asked": there,
            "compact": True,
        }
        query = compact(found.sql, known)
        return [_example(serialise(known.schema), found.question, query, row.where, **facts)]


def _example(shown: str, question: str, answer: str, where: str, **meta: object) -> Example:
    """Lay a question out as a dialogue: the schema's lines, then the question."""
    question = " ".join(question.split())
    messages = (
        {"role": "user", "content": f"{shown}\n{question}"},
        {"role": "assistant", "content": answer},
    )
    return Example(messages, {"question": question, "shown": shown, **meta}, where)


def _features(sql: str) -> tuple[str, ...]:
    """Find what a reference uses; one that cannot be read is left to the judge."""
    try:
        return _sql_world.features(sql)
    except SqlglotError:
        return ()


def _schema(database: Path) -> str:
    """Read the CREATE TABLE statements of a SQLite file, which nothing here can change."""
    query = (
        "SELECT sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' "
        "ESCAPE '\\' AND sql NOT LIKE 'CREATE VIRTUAL %'"
    )
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as opened:
            tables = [str(sql) for (sql,) in opened.execute(query)]
    except sqlite3.Error as problem:
        raise FtkitError(f"{database} cannot be read as a SQLite database: {problem}") from None
    if not tables:
        raise FtkitError(f"{database} holds no tables to ask about")
    return ";\n".join(tables) + ";"


def notebook(examples: Sequence[Example]) -> str:
    """Write rows over one schema as a document for pretraining, in the corpus's form.

    Args:
        examples: of rows with equal schemas.
    """
    lines = [examples[0].meta["shown"]]
    lines += [f"\n{example.meta['question']}\n{example.reference}" for example in examples]
    return "\n".join(lines) + "\n"


def _asked_of(example: Example) -> Asked:
    """Take from an example where its database is looked for."""
    meta = example.meta
    place = Path(meta["folder"])
    return Asked(meta["question"], meta["schema"], meta["sql"], meta["db_id"], place, example.where)


@lru_cache(maxsize=1)
def _made_by() -> str:
    """Hash the world's generator, so that databases of an older one are not taken for its own."""
    folder = Path(_sql_world.__file__).parent
    files: Iterable[Path] = sorted(p for p in folder.iterdir() if p.suffix in (".py", ".toml"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


RECIPE = SqlQa()
