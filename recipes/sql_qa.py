"""Questions to a database, answered by a query: the embedded world, or real text-to-SQL data."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from sqlglot.errors import SqlglotError

from ftkit.errors import FtkitError

from . import _sql_world
from ._limits import Allows, Limits
from ._read import Row
from ._recipe import Example, Prose, Recipe, Split
from ._sql_compact import compact, names, restore, shorten
from ._sql_files import Values, find_database, schema_of, values_of
from ._sql_grammar import grammar
from ._sql_letters import respelt, small, small_names
from ._sql_rows import asked
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
        types: show the type of every column; without it keys go without.
        keys: show which columns are primary keys.
        values: show so many of a column's values, read from the database.
        uncased: show schemas and questions in small letters and teach texts of queries so; before a
            query is run, its texts get the letters that the database, else the question, has.
        databases: folder of the rows' databases; "" for `databases/` beside the rows.
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
    uncased: bool = False
    databases: str = ""
    metrics: ClassVar[tuple[str, ...]] = (
        *("execution_accuracy", "execution_on_file", "execution_lenient", "execution_guided"),
        *("valid_sql", "exact_match", "format_failure", "calibration"),
    )
    fields: ClassVar[tuple[str, ...]] = ("question", "schema", "sql")
    queries: ClassVar[bool] = True
    strict: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse settings that make no recipe."""
        super().__post_init__()
        if self.values < 0:
            raise FtkitError(f"'recipe.values' takes 0 or more, not {self.values}")

    def examples(self, split: Split) -> Sequence[Example]:
        """Give a split; schemas of the embedded world never lie in two of them."""
        found = super().examples(split)
        return [self.placed(row) for row in found] if self.data and split == "test" else found

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
        return Prose(f"{example.meta['shown']}\n\n{_question(example)}\n", example.reference, "\n")

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
            facts = {"question": text, "schema": "", "compact": False, "uncased": self.uncased}
            return Example(super().ask(text.lower() if self.uncased else text).messages, facts)
        schema = schema_of(database)
        held = values_of(database, self.values) if self.values else ()
        try:
            shown = self._shown(schema, held, compact=bool(self.data))
        except ValueError as problem:
            raise FtkitError(f"{database} has a schema that cannot be asked: {problem}") from None
        facts = {"schema": schema, "compact": bool(self.data), "database": str(database)}
        return self._example(shown, text, "", "chat", **facts)

    def _shown(self, schema: str, held: Values, compact: bool) -> str:
        """Lay a schema out as the settings say, with the database's names or with short ones."""
        if self.uncased:
            held = tuple(
                (t, c, tuple(dict.fromkeys(v.lower() for v in seen))) for t, c, seen in held
            )
        if not compact:
            return serialise(schema, self.types, self.keys, held)
        known = names(schema)
        return serialise(known.schema, self.types, self.keys, shorten(held, known))

    def answer(self, reply: str, example: Example) -> str:
        """Take the first statement; the database's own names are put back, and letters."""
        statement, meta = first_statement(reply), example.meta
        compact = meta["compact"]
        sql = restore(statement, names(meta["schema"])) if compact else close(statement)
        if not meta.get("uncased"):
            return sql
        return respelt(sql, meta["question"], meta["schema"], meta.get("database", ""))

    def grammar(self, example: Example, limits: Limits) -> Allows | None:
        """Let queries have only names of the schema and, if texts are limited, the question's."""
        schema = example.meta["schema"]
        if not limits or not schema:
            return None
        if example.meta["compact"]:
            schema = names(schema).schema
        schema = small_names(schema) if self.uncased else schema
        return grammar(schema, example.meta["question"] if limits == "texts" else None)

    def _example(
        self, shown: str, question: str, answer: str, where: str, **meta: object
    ) -> Example:
        """Lay a question out as a dialogue: the schema's lines, then the question."""
        question = " ".join(question.split())
        asked = question
        if self.uncased:
            shown, asked, answer = small_names(shown), question.lower(), small(answer)
        messages = (
            {"role": "user", "content": f"{shown}\n{asked}"},
            {"role": "assistant", "content": answer},
        )
        facts = {"question": question, "shown": shown, "uncased": self.uncased}
        return Example(messages, facts | meta, where)

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
            self._example(
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

    def take(self, row: Row, test: bool = False) -> list[Example]:
        """Take a question with its schema and query, in the compact form."""
        found = asked(row, self.databases, self.cached / "databases")
        held = values_of(found.database, self.values) if found.database and self.values else ()
        facts = {
            "schema": found.schema,
            "db_id": found.db_id,
            "home": str(found.home),
            "unit": found.schema,
            "sql": found.sql,
            "asked": found.database is not None,
            "compact": True,
        }
        shown = self._shown(found.schema, held, compact=True)
        query = compact(found.sql, names(found.schema))
        return [self._example(shown, found.question, query, row.where, **facts)]

    def beside(self) -> tuple[Path, ...]:
        """Name the folders of databases."""
        if self.databases:
            return (Path(self.databases),)
        return tuple(dict.fromkeys(folder / "databases" for folder in self.folders()))

    def placed(self, example: Example) -> Example:
        """Say where the database of a row lies, and what its query uses."""
        meta = example.meta
        cache = self.cached / "databases"
        file = find_database(Path(meta["home"]), meta["db_id"], example.where, cache)
        return replace(
            example, meta=meta | {"database": str(file), "features": _features(meta["sql"])}
        )


def _features(sql: str) -> tuple[str, ...]:
    """Find what a reference uses; one that cannot be read is left to the judge."""
    try:
        return _sql_world.features(sql)
    except SqlglotError:
        return ()


def notebook(examples: Sequence[Example]) -> str:
    """Write rows over one schema as a document for pretraining, in the corpus's form.

    Args:
        examples: of rows with equal schemas.
    """
    schema = serialise(names(examples[0].meta["schema"]).schema)
    lines = [small_names(schema) if examples[0].meta["uncased"] else schema]
    lines += [f"\n{_question(example)}\n{example.reference}" for example in examples]
    return "\n".join(lines) + "\n"


def _question(example: Example) -> str:
    """Take the question out of a prompt, where it is the last line."""
    return example.prompt[-1]["content"].rpartition("\n")[2]


@lru_cache(maxsize=1)
def _made_by() -> str:
    """Hash the world's generator, so that databases of an older one are not taken for its own."""
    folder = Path(_sql_world.__file__).parent
    files: Iterable[Path] = sorted(p for p in folder.iterdir() if p.suffix in (".py", ".toml"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


RECIPE = SqlQa()
