"""Small letters for what a model reads and writes; a query's texts get their own letters back.

To a tokenizer "South Australia", "SOUTH AUSTRALIA" and "south australia" have no token in common,
so a model that is asked in one and must write another cannot copy. In small letters all are one
text. Which letters it has where the query is run, the database knows, or else the question.
"""

import os
import re
import sqlite3
from functools import lru_cache
from pathlib import Path

from ftkit.errors import FtkitError

from ._sql_compact import columns_of, text
from ._sql_files import OPEN, quoted, reading
from ._sql_spelling import TOKENS, unquoted

STEPS = 10_000_000  # of SQLite's, in which a text is looked for: some seconds


def small(sql: str) -> str:
    """Write a query's texts in small letters; keywords and names stay.

    >>> small("SELECT a FROM t WHERE b = 'South Australia'")
    "SELECT a FROM t WHERE b = 'south australia'"
    """
    return TOKENS.sub(
        lambda found: found.group().lower() if found.lastgroup == "text" else found.group(), sql
    )


def respelt(sql: str, question: str, schema: str, database: str = "") -> str:
    """Give a query's texts the letters of the column they are compared with, or of the question.

    Args:
        sql: a query with the database's names.
        question: in the user's letters.
        schema: CREATE TABLE statements, "" for none.
        database: the SQLite file, "" for none. Where a column holds a text in several spellings,
            the question's goes before the first.

    Raises:
        FtkitError: for a database that SQLite cannot read.

    >>> schema = "CREATE TABLE t (land TEXT)"
    >>> respelt("SELECT * FROM t WHERE land = 'south australia'", "Of South Australia?", schema)
    "SELECT * FROM t WHERE land = 'South Australia'"
    """
    homes, column = _homes(schema), ""

    def spelt(found: re.Match[str]) -> str:
        nonlocal column
        word = found.group()
        if found.lastgroup == "text" and word[0] == "'":
            inner = word[1:-1].replace("''", "'")
            told = _told(inner, question)
            places = homes.get(column, ()) if database else ()
            known = (_held(database, *place, inner, told) for place in places)
            return text(next(filter(None, known), told))
        if (name := unquoted(word).lower()) in homes:
            column = name
        return word

    return TOKENS.sub(spelt, sql)


def _homes(schema: str) -> dict[str, list[tuple[str, str]]]:
    """Say which tables have a column, by its name in small letters: table and column as spelt."""
    homes: dict[str, list[tuple[str, str]]] = {}
    for table, columns in (columns_of(schema) if schema else {}).items():
        for column in columns:
            homes.setdefault(column.lower(), []).append((table, column))
    return homes


def _told(inner: str, question: str) -> str:
    """Give a text, or what a pattern looks for, the letters it has in the question, if any."""
    asked, sought = question.lower(), inner.strip("%").lower()
    if not sought or len(asked) != len(question):  # a few letters are two when small
        return inner
    alone = rf"(?<!\w){re.escape(sought)}(?!\w)"
    found = re.search(alone, asked) or re.search(re.escape(sought), asked)
    return inner.lower().replace(sought, question[found.start() : found.end()]) if found else inner


def _held(database: str, table: str, column: str, inner: str, told: str) -> str | None:
    """Look a text up in a column, capitals aside.

    Returns:
        As the question has it if the column has it so, else as the column has it first.
    """
    file = Path(database)
    facts = file.stat()
    found = _spellings(file, table, column, inner, facts.st_mtime_ns, facts.st_size)
    return told if told in found else next(iter(found), None)


@lru_cache(maxsize=4096)
def _spellings(file: Path, table: str, column: str, inner: str, *facts: int) -> tuple[str, ...]:
    """Read how a column spells a text; nothing where the file takes too long to tell."""
    name = quoted(column)
    alike = f"typeof({name}) = 'text' AND small({name}) = ?"
    query = f"SELECT DISTINCT {name} FROM {quoted(table)} WHERE {alike}"
    try:
        found = _opened(file, os.getpid(), *facts).execute(query, (inner.lower(),)).fetchall()
    except sqlite3.OperationalError:  # interrupted, or a schema that is not the file's
        return ()
    except sqlite3.Error as problem:
        raise FtkitError(f"{file} cannot be read as a SQLite database: {problem}") from None
    return tuple(value for (value,) in found)


@lru_cache(maxsize=OPEN)
def _opened(file: Path, *_: int) -> sqlite3.Connection:
    """Open a file once for each process: one of 2,000 tables takes a fiftieth of a second."""
    opened = reading(file)
    opened.text_factory = lambda raw: raw.decode("utf-8", "replace")
    opened.create_function("small", 1, str.lower, deterministic=True)
    opened.set_progress_handler(lambda: 1, STEPS)
    return opened
