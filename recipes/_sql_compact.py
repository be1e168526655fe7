"""A compact, invertible form of real-world SQL: plain lower-case names in place of wild ones.

Real schemas hold names such as "Pick #" and table_1_16575609_3. A small model spends its tokens on
quotes, case and digits that say nothing. It is shown and taught short names instead; the names that
the database knows are put back before a query is run or compared.
"""

import re
import sqlite3
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from ._sql_files import Values, memory_of
from ._sql_spelling import FUNCTIONS, close, join, split, spread, unquoted

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
OPAQUE = re.compile(r"table(_[0-9]+)+", re.IGNORECASE)  # table_1_16575609_3 says nothing
# Words of SQL that cannot stand bare for a name; they are written in capitals.
KEYWORDS = frozenset(
    """all and as asc between by case cast collate cross desc distinct else end escape except exists
    false from full glob group having in inner intersect into is isnull join left like limit
    natural not notnull null offset on or order outer over partition right select table then true
    union unique using values when where with""".split()  # noqa: SIM905
)
# More words that SQLite may misread when they stand bare for a name.
RESERVED = KEYWORDS | frozenset(
    """add alter check column commit constraint create current_date current_time current_timestamp
    default deferrable delete drop foreign if index insert nothing primary references returning
    rollback set to transaction update window""".split()  # noqa: SIM905
)
CALLS = FUNCTIONS | KEYWORDS


@dataclass(frozen=True)
class Names:
    """The names of one schema, both ways.

    Args:
        schema: CREATE TABLE text with the short names.
        short: a name as the database has it, in lower case, to its short form.
        full: a short name to the name as the database has it.
        tables: each table's columns, as the schema spells them.
    """

    schema: str
    short: dict[str, str]
    full: dict[str, str]
    tables: dict[str, frozenset[str]]


@lru_cache(maxsize=65536)
def names(schema: str) -> Names:
    """Find short names for a schema; equal schemas give equal names.

    Args:
        schema: CREATE TABLE statements.

    Raises:
        ValueError: when SQLite does not take the text as CREATE TABLE statements.

    >>> names('CREATE TABLE "table_1_23_4" ("Pick #" REAL, "CFL Team" TEXT)').schema
    'CREATE TABLE t (pick REAL, cfl_team TEXT)'
    """
    tables = _tables(schema)
    short: dict[str, str] = {}
    full: dict[str, str] = {}
    for table, columns, *_ in tables:
        for name in (table, *(column for column, _ in columns)):
            if name.lower() not in short:
                made = _free(
                    "t" if OPAQUE.fullmatch(name) and name == table else _plain(name), full
                )
                short[name.lower()], full[made] = made, name
    lines = []
    for table, columns, key, links in tables:
        parts = [f"{_quote(short[c.lower()])} {kind}".rstrip() for c, kind in columns]
        if len(key) > 1:
            parts.append(f"PRIMARY KEY ({', '.join(_quote(short[c.lower()]) for c in key)})")
        parts += [
            f"FOREIGN KEY ({_quote(short[mine.lower()])}) REFERENCES "
            f"{_quote(short.get(other.lower(), other))}"
            + (f" ({_quote(short.get(theirs.lower(), theirs))})" if theirs else "")
            for mine, other, theirs in links
        ]
        lines.append(f"CREATE TABLE {_quote(short[table.lower()])} ({', '.join(parts)})")
    held = {table.name: frozenset(column for column, _ in table.columns) for table in tables}
    return Names("; ".join(lines), short, full, held)


def compact(sql: str, known: Names) -> str:
    """Write a query with short names, capital keywords, apostrophes around text, and spread out.

    Args:
        sql: a query over the schema.
        known: the schema's names.

    >>> known = names('CREATE TABLE "table_1_23_4" ("Pick #" REAL, "Year" TEXT)')
    >>> compact('select count("Pick #") from table_1_23_4 where year = "x";', known)
    "SELECT COUNT( pick) FROM t WHERE year = ' x'"
    """
    words: list[str] = []
    found = split(sql)
    for place, (kind, word) in enumerate(found):
        after = found[place + 1][1] if place + 1 < len(found) else ""
        inner = unquoted(word)
        name = known.short.get(inner.lower())
        if kind == "quoted":
            words.append(_quote(name) if name else literal(inner) if word[0] == '"' else word)
        elif kind == "word" and word.lower() in (CALLS if after == "(" else KEYWORDS):
            words.append(word.upper())
        elif kind == "word":
            words.append(_quote(name) if name else word.lower())
        else:
            words.append(word)
    return spread(join(words), texts=True)


def spelt_as_names(sql: str, known: Names) -> bool:
    """Say whether a query quotes text as names are quoted, which SQLite takes for text if it must.

    >>> spelt_as_names('SELECT a FROM t WHERE a = "x"', names("CREATE TABLE t (a TEXT)"))
    True
    """
    return '"' in sql and any(
        kind == "quoted" and word[0] == '"' and unquoted(word).lower() not in known.short
        for kind, word in split(sql)
    )


def shorten(held: Values, known: Names) -> Values:
    """Put short names to the values of columns, and spell the values as answers spell them.

    Args:
        held: columns and what they hold, by the database's names.
        known: the schema's names.

    >>> known = names('CREATE TABLE "table_1_23_4" ("Home Land" TEXT)')
    >>> shorten((("table_1_23_4", "home land", ("'Peru'", "7")),), known)
    (('t', 'home_land', ("' Peru'", '7')),)
    """
    return tuple(
        (known.short[table], known.short[column], tuple(spread(v, texts=True) for v in values))
        for table, column, values in held
        if table in known.short and column in known.short
    )


def restore(sql: str, known: Names) -> str:
    r"""Put the database's names back into a query with short names.

    Args:
        sql: what `compact` or a model wrote.
        known: the schema's names.

    >>> known = names('CREATE TABLE "table_1_23_4" ("Pick #" REAL, "Year" TEXT)')
    >>> restore("SELECT COUNT(pick) FROM t WHERE year = 'x'", known)
    'SELECT COUNT("Pick #") FROM table_1_23_4 WHERE Year = \'x\''
    """
    words: list[str] = []
    found = split(close(sql, texts=True))
    for place, (kind, word) in enumerate(found):
        after = found[place + 1][1] if place + 1 < len(found) else ""
        call = after == "(" and word.lower() in FUNCTIONS
        inner = unquoted(word)
        name = known.full.get(inner.lower())
        bare = kind == "word" and not call and word.lower() not in KEYWORDS
        words.append(_quote(name) if name and (bare or kind == "quoted") else word)
    return join(words)


class _Table(NamedTuple):
    """One table: columns with types, the columns of its key, and links to others."""

    name: str
    columns: list[tuple[str, str]]
    key: list[str]
    links: list[tuple[str, str, str]]


def _tables(schema: str) -> list[_Table]:
    """Let SQLite itself read the schema: tables, columns with types, links between them."""
    memory = memory_of(schema)
    try:
        query = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid"
        tables = [name for (name,) in memory.execute(query) if not name.startswith("sqlite_")]
        found = []
        for table in tables:
            info = memory.execute("SELECT name, type, pk FROM pragma_table_info(?)", (table,))
            rows = list(info)
            key = [name for name, _, place in sorted(rows, key=itemgetter(2)) if place]
            alone = len(key) == 1
            columns = [(n, f"{t} PRIMARY KEY" if k and alone else t) for n, t, k in rows]
            keys = 'SELECT "from", "table", "to" FROM pragma_foreign_key_list(?) ORDER BY id, seq'
            links = [(a, b, c or "") for a, b, c in memory.execute(keys, (table,))]
            found.append(_Table(table, columns, key, links))
    except sqlite3.Error as problem:
        raise ValueError(str(problem)) from None
    finally:
        memory.close()
    if not found:
        raise ValueError("there is no CREATE TABLE in it")
    return found


def _plain(name: str) -> str:
    """Write a name in lower case, with underscores where letters and digits end."""
    return re.sub(r"[\W_]+", "_", name.lower()).strip("_") or "col"


def _free(name: str, taken: dict[str, str]) -> str:
    """Number a short name that another name has already."""
    number, made = 1, name
    while made in taken:
        number += 1
        made = f"{name}_{number}"
    return made


def _quote(name: str) -> str:
    """Quote a name unless it is plain and no keyword."""
    if PLAIN.fullmatch(name) and name.lower() not in RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def literal(inner: str) -> str:
    """Put apostrophes around a text."""
    return "'" + inner.replace("'", "''") + "'"
