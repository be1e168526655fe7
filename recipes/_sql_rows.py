"""Real text-to-SQL data: rows of question, schema, query and database become examples."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ftkit.errors import FtkitError

from ._read import Row, rows, source, split_files, texts
from ._split import divide, weighted
from ._sql_compact import names
from ._sql_files import find_database

SHAPE = {"question": True, "schema": True, "sql": True, "db_id": False}
FEW = 10  # schemas; with fewer, what is held out is questions


@dataclass(frozen=True)
class Asked:
    """One row of a text-to-SQL file.

    Args:
        question: what is asked.
        schema: CREATE TABLE statements.
        sql: the reference query.
        db_id: the database's name; "" for none.
        folder: where the file lies, with `databases/` beside it.
        where: `file:line`.
    """

    question: str
    schema: str
    sql: str
    db_id: str
    folder: Path
    where: str


@lru_cache(maxsize=2)
def read(data: tuple[str, ...], validation: float, whole: bool = False) -> dict[str, list[Asked]]:
    """Read sources and divide them into `train`, `validation` and `test`.

    Args:
        data: `PATH[@WEIGHT]`; folders with train and dev files keep their own division, a plain
            file is divided by schema.
        validation: share of the schemas held out from training, and of a plain file for the test.
        whole: take all rows of plain files for the test.

    Raises:
        FtkitError: naming file, line and field of the first row that does not fit.
    """
    split: dict[str, list[Asked]] = {"train": [], "validation": [], "test": []}
    apart: dict[str, set[str]] = {"validation": set(), "test": set()}  # schemas held out of any
    for word in data:
        found = source(word)
        files = split_files(found.path)
        parts = {name: [_asked(row) for row in rows(path)] for name, path in files.items()}
        if "all" in parts:
            rest = parts.pop("all")
            parts["train"], parts["test"] = (
                ([], rest) if whole else divide_rows(rest, validation, "test")
            )
            apart["test"] |= _schemas_apart(parts["train"], parts["test"])
        train, checks = divide_rows(parts.get("train", []), validation, "validation")
        apart["validation"] |= _schemas_apart(train, checks)
        split["train"] += weighted(train, found.weight)
        split["validation"] += checks
        split["test"] += [asked for asked in parts.get("test", []) if asked.db_id]
    held_out = {(asked.question, asked.schema) for asked in split["test"]}
    for part in ("train", "validation"):  # a question that is tested is never trained on
        split[part] = [a for a in split[part] if (a.question, a.schema) not in held_out]
    # What one source holds out, another may hold too.
    split["validation"] = [a for a in split["validation"] if a.schema not in apart["test"]]
    kept_out = apart["test"] | apart["validation"]
    split["train"] = [a for a in split["train"] if a.schema not in kept_out]
    return split


def _schemas_apart(rest: Sequence[Asked], held: Sequence[Asked]) -> set[str]:
    """List the schemas that a division by schema holds out; none when it was by question."""
    schemas = {row.schema for row in held}
    return set() if schemas & {row.schema for row in rest} else schemas


def _asked(row: Row) -> Asked:
    """Check one row's fields and its schema."""
    fields = texts(row, SHAPE)
    try:
        names(fields["schema"])
    except ValueError as problem:
        raise FtkitError(
            f"{row.where}: 'schema' is not CREATE TABLE text that SQLite takes: {problem}"
        ) from None
    return Asked(**fields, folder=row.folder, where=row.where)


def divide_rows(asked: Sequence[Asked], share: float, name: str) -> tuple[list[Asked], list[Asked]]:
    """Hold out a share of the schemas, or of the questions where schemas are few."""
    few = len({row.schema for row in asked}) < FEW
    return divide(asked, [row.question if few else row.schema for row in asked], share, name)


def unpack(
    asked: Iterable[Asked], cache: Path, databases: str = ""
) -> dict[tuple[Path, str], Path]:
    """Find the databases of rows; packed ones are unpacked once into the cache.

    Args:
        asked: rows that name a database.
        cache: a folder for unpacked files.
        databases: the folder that holds the databases; "" for `databases/` beside the rows.

    Returns:
        (folder, db_id) -> SQLite file.

    Raises:
        FtkitError: naming the row whose database is not there or is not gzip.
    """
    found: dict[tuple[Path, str], Path] = {}
    for row in asked:
        if (row.folder, row.db_id) not in found:
            found[row.folder, row.db_id] = find_database(
                Path(databases) if databases else row.folder / "databases",
                row.db_id,
                row.where,
                cache,
            )
    return found
