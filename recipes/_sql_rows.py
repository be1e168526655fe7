"""Real text-to-SQL data: a row's question, schema, query and database, each checked with SQLite."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ftkit.errors import FtkitError

from ..basemodel.record import BadRow
from ._read import Row
from ._shapes import words
from ._sql_compact import names, spelt_as_names
from ._sql_files import compiles, empty_tables, find_database, schema_of
from ._sql_misnamed import misnamed

WHAT_FITS = "a row has the texts question, schema, sql, and perhaps db_id"
CREATE = re.compile(r"CREATE\s+(TEMP\w*\s+)?TABLE\b", re.IGNORECASE)
BEFORE = re.compile(r"\A(\s|--[^\n]*\n|/\*.*?\*/)+", re.DOTALL)  # comments, before a statement
WORD = re.compile(r"\w+")
TEXT = re.compile("'((?:[^']|'')*)'")
UNFILLED = re.compile(r"var\d+|\w+_name\d+", re.IGNORECASE)  # of templates of questions


@dataclass(frozen=True)
class Asked:
    """What a row of text-to-SQL data holds.

    Args:
        question: what is asked.
        schema: CREATE TABLE statements; those of the database where the row has none.
        sql: the reference query.
        db_id: the database's name; "" for none.
        home: the folder in which databases are looked for.
        database: the SQLite file, if there is one.
    """

    question: str
    schema: str
    sql: str
    db_id: str
    home: Path
    database: Path | None


def asked(row: Row, databases: str, cache: Path) -> Asked:
    """Take a question, its schema and its query from a row, under any of their usual names.

    Args:
        row: whose `odd` is told what is worth a look.
        databases: the folder that holds the databases; "" for `databases/` beside the row's file.
        cache: a folder for unpacked files.

    Raises:
        BadRow: for a field that is missing or no text, a schema or a query that SQLite does not
            take, and a database that is not there.
    """
    question = words(row, "question", "sql_prompt", fits=WHAT_FITS)
    sql = words(row, "sql", "query", "answer", fits=WHAT_FITS)
    db_id = words(row, "db_id", needed=False)
    home = Path(databases) if databases else row.folder / "databases"
    if databases and not home.is_dir():
        raise FtkitError(f"'recipe.databases' is no folder: {databases}")
    database = _database(row, db_id, home, cache) if db_id else None
    own, empty = _held(row, database) if database else ("", frozenset[str]())
    told = words(row, "schema", "sql_context", "context", needed=not own, fits=WHAT_FITS)
    schema = _tables(told) if told else own
    try:
        names(schema)
        fault = compiles(sql, schema, database)
    except ValueError as problem:
        what = f"'schema' is not CREATE TABLE text that SQLite takes: {problem}"
        raise BadRow(row.where, "a schema that SQLite does not take", what) from None
    if fault is not None:
        what = f"SQLite does not take 'sql': {fault}"
        raise BadRow(row.where, "a query that SQLite does not take", what)
    _look_at(row, question, sql)
    if misnamed(question, sql, names(schema)):
        row.odd.append("take a column that seems to bear another's name")
    if spelt_as_names(sql, names(schema)):
        row.odd.append("quote text as names are quoted; it is taught with apostrophes")
    if empty & set(WORD.findall(sql.lower())):
        row.odd.append("ask a table that is empty: any query that finds nothing is right")
    return Asked(question, schema, sql, db_id, home, database)


def _look_at(row: Row, question: str, sql: str) -> None:
    """Hold the texts of a query against its question.

    Raises:
        BadRow: for a name that stands where a value should.
    """
    values = [text.replace("''", "'") for text in TEXT.findall(sql)]
    if empty := next((text for text in values if UNFILLED.fullmatch(text)), None):
        what = f"'sql' asks for {empty!r}, which stands where a value should"
        raise BadRow(row.where, "a value that was never filled in", what)
    words = question.lower()
    if any(text.strip("%").lower() not in words for text in values):
        row.odd.append("ask for a text that is not in the question")


def _database(row: Row, db_id: str, home: Path, cache: Path) -> Path | None:
    """Find a row's database; where there are none at all, the row can be learned from."""
    try:
        return _found(home, db_id, cache)
    except FtkitError as problem:
        if home.is_dir() or "plain file name" in str(problem):
            what = str(problem).removeprefix(": ")
            raise BadRow(row.where, "a database that is not there", what) from None
    row.odd.append("name a database, but there is no folder of databases: they cannot be asked")
    return None


@lru_cache(maxsize=1024)
def _found(home: Path, db_id: str, cache: Path) -> Path:
    return find_database(home, db_id, "", cache)


def _held(row: Row, database: Path) -> tuple[str, frozenset[str]]:
    """Read a database's schema and which of its tables are empty.

    Raises:
        BadRow: when SQLite cannot read it.
    """
    try:
        facts = database.stat()
        return _held_at(database, facts.st_size, facts.st_mtime_ns)
    except FtkitError as problem:
        raise BadRow(row.where, "a database that cannot be read", str(problem)) from None


@lru_cache(maxsize=1024)
def _held_at(database: Path, *_: int) -> tuple[str, frozenset[str]]:
    return schema_of(database), empty_tables(database)


def _tables(schema: str) -> str:
    """Leave out what fills the tables: some sets have it beside what makes them."""
    if "INSERT" not in schema.upper():
        return schema
    parts = [BEFORE.sub("", part).strip() for part in schema.split(";")]
    return "; ".join(part for part in parts if CREATE.match(part))
