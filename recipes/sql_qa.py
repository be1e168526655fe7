"""Questions to a database, answered by a query: the embedded world, or real text-to-SQL data."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from sqlglot.errors import SqlglotError

from ftkit.errors import FtkitError

from . import _sql_world
from ._recipe import Example, Prose, Recipe, Split
from ._sql_compact import compact, names, restore, shorten
from ._sql_files import Values, schema_of, values_of
from ._sql_rows import Asked, read, unpack
from ._sql_schema import serialise
from ._sql_spelling import close, first_statement, settled, spread


@dataclass(frozen=True)
class SqlQa(Recipe):
    """Teach a base to answer a question to a schema with a query.

    Args:
        rows: training questions of the embedded world.
        tests: test questions of the embedded world.
        characters: size of the embedded pretraining corpus.
        types: show the type of every column; without it keys go without.
        keys: show which columns are primary keys.
        values: show so many of a column's values, read from the database.
        databases: folder of the rows' databases; "" for `databases/` beside the rows.
        cache: folder for unpacked databases; "" for ftkit's folder in the user's cache.
    """

    length: int = 512
    epochs: float = 1.0
    max_new_tokens: int = 64
    rows: int = 12000
    tests: int = 500
    characters: int = 8_500_000
    types: bool = False
    keys: bool = False
    values: int = 0
    databases: str = ""
    cache: str = ""
    metrics: ClassVar[tuple[str, ...]] = ("execution_accuracy", "valid_sql", "exact_match")
    fields: ClassVar[tuple[str, ...]] = ("question", "schema", "sql")
    queries: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse settings that make no recipe."""
        super().__post_init__()
        if self.values < 0:
            raise FtkitError(f"'recipe.values' takes 0 or more, not {self.values}")

    def examples(self, split: Split) -> list[Example]:
        """Give a split; schemas of the embedded world never lie in two of them."""
        return self._data(split) if self.data else self._world(split)

    def generate(self, seed: int, folder: Path) -> Iterator[dict[str, Any]]:
        """Yield rows of the embedded world's training domains, each database written when drawn."""
        for item in _sql_world.drawn(seed, folder):
            names_of = ("question", "schema", "sql", "db_id")
            yield {name: getattr(item, name) for name in names_of}

    def corpus(self) -> Iterator[str]:
        """Yield the embedded corpus: notebooks and other plain text, never the chat form."""
        yield from _sql_world.corpus(self.world_seed, self.characters)

    def prose(self, example: Example) -> Prose:
        """Ask as the corpus does: a notebook's schema, the question, and then the query."""
        schema, question = example.meta["shown"], example.meta["question"]
        return Prose(f"{schema}\n\n{question}\n", example.reference, "\n")

    def documents(self) -> Iterator[str]:
        """Yield training rows as notebooks, several questions to a schema."""
        yield from notebooks(self.data, self.validation) if self.data else super().documents()

    def ask(self, text: str, database: Path | None = None) -> Example:
        """Lay the database's schema before a question; without one the text stands as it is."""
        if database is None:
            return Example(super().ask(text).messages, {"schema": "", "compact": False})
        schema = schema_of(database)
        held = values_of(database, self.values) if self.values else ()
        try:
            shown = self._shown(schema, held, compact=bool(self.data))
        except ValueError as problem:
            raise FtkitError(f"{database} has a schema that cannot be asked: {problem}") from None
        facts = {"schema": schema, "compact": bool(self.data), "database": str(database)}
        return _example(shown, text, "", "chat", **facts)

    def _shown(self, schema: str, held: Values, compact: bool) -> str:
        """Lay a schema out as the settings say, with the database's names or with short ones."""
        if not compact:
            return serialise(schema, self.types, self.keys, held)
        known = names(schema)
        return serialise(known.schema, self.types, self.keys, shorten(held, known))

    def answer(self, reply: str, example: Example) -> str:
        """Take the first statement; the database's own names are put back."""
        statement = first_statement(reply)
        if example.meta["compact"]:
            return restore(statement, names(example.meta["schema"]))
        return close(statement)

    def so_far(self, reply: str, example: Example) -> str:
        """Show a query up to the words that may still become others."""
        return self.answer(settled(reply), example)

    def _world(self, split: Split) -> list[Example]:
        """Draw from the embedded world."""
        checks = max(50, round(self.validation * self.rows))
        count = {"train": self.rows, "validation": checks, "test": self.tests}[split]
        items = _sql_world.items(split, self.world_seed, count)
        files: dict[str, Path] = {}
        if split == "test":
            place = self._cache() / f"sql_world-{_made_by()}" / f"{split}-{self.world_seed}"
            files = _sql_world.databases(split, self.world_seed, place)
        return [
            _example(
                self._shown(item.schema, _sql_world.held(item.db_id, self.values), compact=False)
                if self.types or self.keys or self.values
                else item.shown,
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

    def _data(self, split: Split) -> list[Example]:
        """Read the rows of the sources, in the compact form."""
        asked = read(self.data, self.validation, self.whole)[split]
        if not asked and split == "validation":  # only training asks for these
            raise FtkitError(
                f"--data {' '.join(self.data)}: too few rows to keep some apart for validation; "
                "three with different questions are the least"
            )
        needed = [row for row in asked if row.db_id] if split == "test" or self.values else []
        files = unpack(needed, self._cache() / "databases", self.databases)
        held = {
            place: values_of(file, self.values) if self.values else ()
            for place, file in files.items()
        }
        return [
            _example(
                self._shown(row.schema, held.get((row.folder, row.db_id), ()), compact=True),
                row.question,
                compact(row.sql, names(row.schema)),
                row.where,
                schema=row.schema,
                db_id=row.db_id,
                database=str(files.get((row.folder, row.db_id), "")),
                features=_features(row.sql) if split == "test" else (),
                unit=row.schema,
                sql=row.sql,
                compact=True,
            )
            for row in asked
        ]

    def _cache(self) -> Path:
        """Say where databases are kept between runs."""
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(self.cache) if self.cache else Path(home) / "ftkit"


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


def notebook(asked: Sequence[Asked]) -> str:
    """Write rows over one schema as a document for pretraining, in the corpus's form.

    Args:
        asked: rows with equal schemas.
    """
    known = names(asked[0].schema)
    lines = [serialise(known.schema)]
    lines += [f"\n{' '.join(row.question.split())}\n{compact(row.sql, known)}" for row in asked]
    return "\n".join(lines) + "\n"


def notebooks(data: tuple[str, ...], validation: float = 0.05, most: int = 6) -> Iterator[str]:
    """Turn the training rows of real data into documents; validation and test rows stay out.

    Args:
        data: sources as for `--data`.
        validation: the share that the recipe holds out.
        most: questions of a document.
    """
    by_schema: dict[str, list[Asked]] = {}
    for row in read(data, validation)["train"]:
        by_schema.setdefault(row.schema, []).append(row)
    for rows in by_schema.values():
        for first in range(0, len(rows), most):
            yield notebook(rows[first : first + most])


@lru_cache(maxsize=1)
def _made_by() -> str:
    """Hash the world's generator, so that databases of an older one are not taken for its own."""
    folder = Path(_sql_world.__file__).parent
    files: Iterable[Path] = sorted(p for p in folder.iterdir() if p.suffix in (".py", ".toml"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


RECIPE = SqlQa()
