"""Small letters for what a model reads and writes; a query's texts get their own letters back.

To a tokenizer "South Australia", "SOUTH AUSTRALIA" and "south australia" have no token in common,
so a model that is asked in one and must write another cannot copy. In small letters all are one
text. Which letters it has where the query is run, the column it is compared with knows, or else
the question. A text that is compared with no column (`strftime('%Y', born)`, `THEN 'Yes'`,
`lower(name) = 'peru'`, `GLOB 'P*'`) keeps its letters throughout: they may be its meaning.
"""

import os
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase

from ftkit.errors import FtkitError

from ._sql_compact import KEYWORDS, literal, names
from ._sql_files import quoted, reading
from ._sql_spelling import TOKENS, split, unquoted

STEPS = 10_000_000  # of SQLite's, in which a text is looked for: a second or some
OPEN = 8  # files that stay open: to open one of 2,000 tables takes a fiftieth of a second
SIGNS = frozenset("= == <> != < > <= >=".split())  # noqa: SIM905
COMPARING = frozenset("is not like in between".split())  # noqa: SIM905
MANY = ("in", "between")  # what more than one text may follow
PARTS = ("text", "number")
WITHIN = ("||", "+", "-", "*", "/", "%", "->", "->>")  # a text before them is only a part
ASCII = str.maketrans(ascii_uppercase, ascii_lowercase)

Column = tuple[str, str]  # a qualifier, "" for none, and a name, both in small letters


def small_names(schema: str) -> str:
    """Write a schema in small letters, as far as SQLite takes a name in any: it does in ASCII."""
    return schema.translate(ASCII)


def small(sql: str) -> str:
    """Write the texts that columns are compared with in small letters; all else stays.

    >>> small("SELECT CASE WHEN a = 'X' THEN 'Y' END FROM t WHERE b IN ('South Australia', 'Peru')")
    "SELECT CASE WHEN a = 'x' THEN 'Y' END FROM t WHERE b IN ('south australia', 'peru')"
    """
    return _rewritten(sql, lambda inner, _: inner.lower())


def respelt(sql: str, question: str, schema: str, database: str = "") -> str:
    """Give a query's texts the letters of the column they are compared with, or of the question.

    Args:
        sql: a query with the database's names.
        question: in the user's letters.
        schema: CREATE TABLE statements, "" for none.
        database: the SQLite file, "" for none. Where a column holds a text in several spellings,
            the question's goes before the first. Names are taken for the whole query: of several
            tables in it with such a column, the first that holds the text.

    Raises:
        FtkitError: for a database that SQLite cannot read.

    >>> schema = "CREATE TABLE t (land TEXT)"
    >>> respelt("SELECT * FROM t WHERE land = 'south australia'", "Of South Australia?", schema)
    "SELECT * FROM t WHERE land = 'South Australia'"
    """
    homes = _homes(sql, schema) if database else {}

    def letters(inner: str, column: Column) -> str:
        told = _told(inner, question)
        known = (_held(Path(database), *home, inner, told) for home in homes.get(column, ()))
        return next(filter(None, known), told)

    return _rewritten(sql, letters)


def _rewritten(sql: str, letters: Callable[[str, Column], str]) -> str:
    """Write the texts anew that columns are compared with."""
    parts, end = [], 0
    for found, column in _compared(sql):
        inner = found.group()[1:-1].replace("''", "'")
        parts += [sql[end : found.start()], literal(letters(inner, column))]
        end = found.end()
    return "".join([*parts, sql[end:]])


def _compared(sql: str) -> Iterator[tuple[re.Match[str], Column]]:
    """Find the texts that columns are compared with, and with which."""
    none = ("", "")
    column, linked, many, last, name = none, False, "", "", ""
    mixed = False  # the column is a part of what is compared
    tokens = [found for found in TOKENS.finditer(sql) if found.lastgroup != "comment"]
    for found, after in zip_longest(tokens, tokens[1:]):
        word, kind = found.group(), str(found.lastgroup)
        low = unquoted(word).lower()
        keyword = kind == "word" and low in KEYWORDS
        alone = after is None or after.group() not in WITHIN
        if kind == "text" and word[0] == "'" and linked and alone:
            yield found, column
        if kind in ("word", "quoted") and not keyword:
            column = none if mixed else (name if last == "." else "", low)
            name, linked, many = low, False, ""
        elif low in COMPARING or (kind == "sign" and word in SIGNS):
            linked, many = column != none, low if low in MANY else ""
        elif many == "between" and low == "and":
            many = ""
        elif word != "." and not (many and (kind in PARTS or word == "," or last == "in")):
            column, linked, many, mixed = none, False, "", kind == "sign" and word not in "(),"
        last = low


def _homes(sql: str, schema: str) -> dict[Column, list[tuple[str, str]]]:
    """Say which columns of which tables, as spelt, a query's own words for columns stand for."""
    try:
        tables = {table.lower(): (table, held) for table, held in names(schema).tables.items()}
    except ValueError:  # what SQLite read once it may not make anew: a check by a function unknown
        return {}
    stands, table, part = {}, "", ""
    for kind, word in split(sql):
        low = unquoted(word).lower()
        if kind == "word" and low in KEYWORDS:
            table, part = (table, part) if low == "as" else ("", low)
        elif kind in ("word", "quoted") and part in ("from", "join"):
            if table or low in tables:  # another name for it, or a table
                stands[low] = table or low
                table = "" if table else low
        elif word == ",":
            table = ""
    homes: dict[Column, list[tuple[str, str]]] = {}
    for said, low in stands.items():
        spelt, columns = tables[low]
        for column in columns:
            homes[said, column.lower()] = [(spelt, column)]
            if (spelt, column) not in (alone := homes.setdefault(("", column.lower()), [])):
                alone.append((spelt, column))
    return homes


def _told(inner: str, question: str) -> str:
    """Give a text, or what a pattern looks for, the letters it has in the question, if any."""
    sought = re.escape(inner.strip("%"))
    alone = rf"(?<!\w){sought}(?!\w)"
    found = sought and (
        re.search(alone, question, re.IGNORECASE) or re.search(sought, question, re.IGNORECASE)
    )
    if not found:
        return inner
    start = len(inner) - len(inner.lstrip("%"))
    return inner[:start] + found.group() + inner[len(inner.rstrip("%")) :]


def _held(file: Path, table: str, column: str, inner: str, told: str) -> str | None:
    """Look a text up in a column, capitals aside.

    Returns:
        As the question has it if the column has it so, else as the column has it first.
    """
    written = file.with_name(f"{file.name}-wal")
    states = [each.stat() for each in (file, written) if each.is_file()]
    facts = [fact for state in states for fact in (state.st_mtime_ns, state.st_size)]
    found = _spellings(file, table, column, inner, *facts)
    return told if told in found else next(iter(found), None)


@lru_cache(maxsize=4096)
def _spellings(file: Path, table: str, column: str, inner: str, *facts: int) -> tuple[str, ...]:
    """Read how a column spells a text; nothing where the file takes too long to tell."""
    name = quoted(column)
    alike = f"{name} = ? COLLATE NOCASE" if inner.isascii() else f"small({name}) = ?"
    query = f"SELECT DISTINCT {name} FROM {quoted(table)} WHERE typeof({name}) = 'text' AND {alike}"
    try:
        opened = _opened(file, os.getpid(), threading.get_ident(), *facts)
        found = opened.execute(query, (inner.lower(),)).fetchall()
    except (sqlite3.OperationalError, UnicodeError):
        return ()  # it takes too long, the file has no such column after all, or no UTF-8
    except sqlite3.Error as problem:
        raise FtkitError(f"{file} cannot be read as a SQLite database: {problem}") from None
    return tuple(str(value) for (value,) in found)


@lru_cache(maxsize=OPEN)
def _opened(file: Path, *_: int) -> sqlite3.Connection:
    try:
        opened = reading(file)
    except sqlite3.Error as problem:
        raise FtkitError(f"{file} cannot be read as a SQLite database: {problem}") from None
    opened.create_function("small", 1, str.lower, deterministic=True)
    opened.set_progress_handler(lambda: 1, STEPS)
    return opened
