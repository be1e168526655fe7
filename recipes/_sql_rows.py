"""Real text-to-SQL data: rows of question, schema, query and database become examples."""

import gzip
import hashlib
import os
import re
import shutil
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ftkit.errors import FtkitError

from ..basemodel.record import BadRow
from ._read import Row
from ._shapes import words
from ._sql_compact import names

WHAT_FITS = "a row has the texts question, schema, sql, and perhaps db_id"
CREATE = re.compile(r"CREATE\s+(TEMP\w*\s+)?TABLE\b", re.IGNORECASE)


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


def asked(row: Row) -> Asked:
    """Take a question, its schema and its query from a row, under any of their usual names.

    Raises:
        BadRow: for a field that is missing or no text, and a schema that SQLite does not take.
    """
    question = words(row, "question", "sql_prompt", fits=WHAT_FITS)
    schema = _tables(words(row, "schema", "sql_context", "context", fits=WHAT_FITS))
    sql = words(row, "sql", "query", "answer", fits=WHAT_FITS)
    try:
        names(schema)
    except ValueError as problem:
        what = f"'schema' is not CREATE TABLE text that SQLite takes: {problem}"
        raise BadRow(row.where, "a schema that SQLite does not take", what) from None
    return Asked(question, schema, sql, words(row, "db_id", needed=False), row.folder, row.where)


def known_database(asked: Asked, row: Row) -> bool:
    """Say whether a row's database is there to be asked.

    Raises:
        BadRow: for one that is not where others are, and for a name that is no file's.
    """
    if not asked.db_id:
        return False
    if not re.fullmatch(r"\w[\w.-]*", asked.db_id):
        what = f"'db_id' is no plain file name: {asked.db_id!r}"
        raise BadRow(asked.where, "'db_id' is no plain file name", what)
    plain = asked.folder / "databases" / f"{asked.db_id}.sqlite"
    if plain.is_file() or plain.with_name(f"{plain.name}.gz").is_file():
        return True
    if plain.parent.is_dir():
        what = f"no database at {plain} or {plain.name}.gz"
        raise BadRow(asked.where, "a database that is not there", what)
    row.odd.append("name a database, but there is no folder of databases: they cannot be asked")
    return False


def _tables(schema: str) -> str:
    """Leave out what fills the tables: some sets have it beside what makes them."""
    if "INSERT" not in schema.upper():
        return schema
    parts = [part.strip() for part in schema.split(";")]
    return "; ".join(part for part in parts if CREATE.match(part))


def unpack(asked: Iterable[Asked], cache: Path) -> dict[tuple[Path, str], Path]:
    """Find the databases of rows; packed ones are unpacked once into the cache.

    Args:
        asked: rows that name a database.
        cache: a folder for unpacked files.

    Returns:
        (folder, db_id) -> SQLite file.

    Raises:
        FtkitError: naming the row whose database is not there or is not gzip.
    """
    found: dict[tuple[Path, str], Path] = {}
    for row in asked:
        if (row.folder, row.db_id) not in found:
            found[row.folder, row.db_id] = _database(row, cache)
    return found


def _database(row: Asked, cache: Path) -> Path:
    if not re.fullmatch(r"\w[\w.-]*", row.db_id):
        raise FtkitError(f"{row.where}: 'db_id' is no plain file name: {row.db_id!r}")
    plain = row.folder / "databases" / f"{row.db_id}.sqlite"
    if plain.is_file():
        return plain
    packed = plain.with_name(plain.name + ".gz")
    if not packed.is_file():
        raise FtkitError(f"{row.where}: no database at {plain} or {packed.name}")
    facts = packed.stat()
    mark = f"{packed.resolve()} {facts.st_size} {facts.st_mtime_ns}"
    place = cache / hashlib.sha256(mark.encode()).hexdigest()[:16] / plain.name
    if not place.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = place.with_name(f".{os.getpid()}.tmp")
        try:
            with gzip.open(packed, "rb") as old, aside.open("wb") as new:
                shutil.copyfileobj(old, new)
        except (gzip.BadGzipFile, EOFError, zlib.error) as problem:
            aside.unlink()
            raise FtkitError(f"{packed} is no whole gzip file: {problem}") from None
        os.replace(aside, place)
    return place
