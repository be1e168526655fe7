"""Signs that a text-to-SQL set lost names of columns, and its queries take some that do not fit.

One or two rows of a hundred show one in sets that lost none.
"""

import re
from collections.abc import Iterable
from itertools import pairwise

from ._sql_compact import CALLS, KEYWORDS, Names
from ._sql_spelling import split, unquoted

NUMBERED = re.compile(r"(.+)_[2-9]")
PIECE = re.compile(r"[^\W_]+")  # of a name or a question
SHORT = 3  # letters of a name that a question may hold by chance


def misnamed(question: str, sql: str, known: Names) -> bool:
    """Tell whether a column seems to bear another's name.

    Either the query takes one of two columns of a table, NAME and NAME_2 to NAME_9, or the question
    names none that it selects and does name one of its tables' that it leaves alone.

    Args:
        question: what is asked.
        sql: a query that SQLite takes.
        known: the schema's names.

    >>> from ._sql_compact import names
    >>> known = names("CREATE TABLE t (label, date, date_2, place, round)")
    >>> misnamed("Which label was in Peru?", "SELECT label FROM t WHERE date = 'peru'", known)
    True
    >>> misnamed("Which round was in Peru?", "SELECT label FROM t WHERE place = 'peru'", known)
    True
    """
    words = _meant(sql)
    tables = [
        frozenset(map(str.lower, columns))
        for table, columns in known.tables.items()
        if table.lower() in words
    ]
    if any(set(words) & twins for twins in _twins(tables)):
        return True
    columns, asked = frozenset[str]().union(*tables), set(PIECE.findall(question.lower()))
    named = {name for name in columns if (parts := set(PIECE.findall(name))) and parts <= asked}
    selected = columns & set(words[: words.index("FROM")] if "FROM" in words else words)
    passed = [name for name in named - set(words) if len(name) > SHORT]
    return bool(passed and selected and not named & selected)


def _meant(sql: str) -> list[str]:
    """List the tables and columns that a query may name, in small letters, and its keywords."""
    found = []
    for (kind, word), (_, after) in pairwise([*split(sql), ("", "")]):
        low = unquoted(word).lower()
        if kind == "word" and (low in KEYWORDS or (after == "(" and low in CALLS)):
            found.append(low.upper())
        elif kind in ("word", "quoted"):
            found.append(low)
    return found


def _twins(tables: Iterable[frozenset[str]]) -> Iterable[set[str]]:
    """Find columns of one table that differ in a number behind one of them alone."""
    for columns in tables:
        for name in columns:
            if (twin := NUMBERED.fullmatch(name)) and twin[1] in columns:
                yield {name, twin[1]}
