"""Is a query right? It is when its rows are the gold query's, by rules stated here once.

Rows are multisets: a lost duplicate is wrong. Their order counts only where the outermost gold
query has ORDER BY. The order of columns counts, their names do not. Numbers agree within a part in
a million, 3 is 3.0 but not '3', NULL is not ''. Where the gold result is empty an empty answer
proves nothing and only the same query (after normalisation) is right. A gold query that fails
judges nobody: the item is left out for all. Traps of other scorers: arXiv:2010.02840 (Spider's
test suites), arXiv:2305.03111 (BIRD).
"""

import itertools
import math
import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._sql import Result, Sql, Value

TOLERANCE = 1e-6
GOLD_SECONDS = 10.0  # the gold query is trusted to end, not to be quick
TOKEN = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*` | \[[^\]]*\]  # quoted
      | --[^\n]* | /\*.*?\*/ | [()] | \w+""",
    re.VERBOSE | re.DOTALL,
)
Row = tuple[Value, ...]


@dataclass(frozen=True)
class Verdict:
    """Whether a query is right, and why not.

    Attributes:
        right: None where the gold query itself fails, so that nothing can be said.
        reason: `right`, or `wrong rows: …`, `error: …`, `timeout: …`, `refused: …`,
            `gold empty: …`, `gold fails: …`.
    """

    right: bool | None
    reason: str


class Judge:
    """Compares queries by what they return; each gold query runs once.

    Args:
        sql: the worker that runs the queries.
        normal: gives a query in one spelling, for empty results.
    """

    def __init__(self, sql: Sql, normal: Callable[[str], str]) -> None:
        self.sql, self.normal = sql, normal
        self._golds: dict[tuple[str, int, str], Result] = {}

    def verdict(self, prediction: str, gold: str, database: str | Path) -> Verdict:
        """Judge one predicted query.

        Args:
            prediction: any text.
            gold: the reference query.
            database: the SQLite file both are run on.

        Raises:
            ValueError: when the database cannot be opened.
        """
        wanted = self._gold(gold, database)
        if wanted.failure:
            return Verdict(None, f"gold fails: {wanted.failure}")
        found = self.sql.query(database, prediction)
        if found.failure:
            return Verdict(False, found.failure)
        if not wanted.rows and not found.rows:
            same = self.normal(prediction) == self.normal(gold)
            return Verdict(
                same, "right" if same else "gold empty: so is the answer, by luck or not"
            )
        difference = compare(wanted, found, ordered(gold))
        return Verdict(not difference, f"wrong rows: {difference}" if difference else "right")

    def _gold(self, gold: str, database: str | Path) -> Result:
        """Run a gold query, or remember what it gave."""
        changed = os.stat(database).st_mtime_ns if os.path.exists(database) else 0
        key = (str(database), changed, gold)
        if key not in self._golds:
            self._golds[key] = self.sql.query(database, gold, seconds=GOLD_SECONDS)
        return self._golds[key]


def ordered(gold: str) -> bool:
    """Say whether the outermost query has ORDER BY; one in brackets is a subquery's.

    >>> ordered("SELECT a FROM t ORDER BY a"), ordered("SELECT a FROM (SELECT a FROM t ORDER BY a)")
    (True, False)
    """
    depth, before = 0, ""
    for token in TOKEN.findall(gold):
        if token.startswith(("--", "/*")):
            continue
        depth += (token == "(") - (token == ")")
        if depth == 0 and before == "ORDER" and token.upper() == "BY":
            return True
        before = token.upper()
    return False


def compare(gold: Result, found: Result, in_order: bool) -> str:
    """Say how a result differs from the gold one; "" where it does not."""
    if found.columns != gold.columns:
        return f"{found.columns} columns instead of {gold.columns}"
    if len(found.rows) != len(gold.rows):
        kept = Counter(found.rows).keys() == Counter(gold.rows).keys()
        hint = ", duplicates aside the same" if kept else ""
        return f"{len(found.rows)} rows instead of {len(gold.rows)}{hint}"
    if found.rows == gold.rows or all(map(_same, gold.rows, found.rows)):
        return ""
    if _same_rows(gold.rows, found.rows):
        return "the right ones in another order" if in_order else ""
    return "the right ones with columns swapped" if _swapped(gold, found) else "other values"


def _same_rows(gold: tuple[Row, ...], found: tuple[Row, ...]) -> bool:
    """Compare as multisets, numbers within the tolerance."""
    return all(map(_same, sorted(gold, key=_key), sorted(found, key=_key)))


def _same(a: Row, b: Row) -> bool:
    """Compare two rows of equal length value by value."""
    return a == b or all(map(_close, a, b))


def _close(a: Value, b: Value) -> bool:
    """Compare two values: numbers with each other, anything else with its own type alone."""
    if isinstance(a, int | float) and isinstance(b, int | float):
        if isinstance(a, int) and isinstance(b, int):
            return a == b
        return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE**2)
    return type(a) is type(b) and a == b


def _key(row: Row) -> list[tuple[int, Any]]:
    """Order rows of mixed types; the last digits of a float do not decide."""
    return [
        (0, 0)
        if value is None
        else (1, float(f"{value:.10g}"))
        if isinstance(value, float)
        else (1, value)
        if isinstance(value, int)
        else (2, value)
        if isinstance(value, str)
        else (3, value)
        for value in row
    ]


def _swapped(gold: Result, found: Result) -> bool:
    """Look for an order of the columns in which the rows agree (small results only)."""
    if not 2 <= gold.columns <= 5 or len(gold.rows) > 1_000:
        return False
    orders = itertools.permutations(range(gold.columns))
    return any(
        _same_rows(gold.rows, tuple(tuple(row[place] for place in order) for row in found.rows))
        for order in orders
    )
