"""Is a query right? It is when its rows are the gold query's, by rules stated here once.

Rows are multisets: a lost duplicate is wrong. Their order counts only where the outermost gold
query has ORDER BY, and rows that tie in it may come in any order. The order of columns counts,
their names do not. Numbers agree within a part in a million, 3 is 3.0 but not '3', NULL is not ''.
A query must agree on the file and on every refilled instance of it on which the gold query says
what it wants (_ties.py). Where both are empty on the file, that proves nothing: an instance must
show rows, or the query be the same after normalisation. A gold query that fails judges nobody: the
item is left out for all. Traps of other scorers: arXiv:2010.02840 (Spider's test suites),
arXiv:2305.03111 (BIRD).
"""

import contextlib
import itertools
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ._instances import Instances
from ._sql import Result, Sql, Value
from ._ties import ends, readings

TOLERANCE = 1e-6
EXACT = 10**10  # whole numbers below have no more digits than those that floats are ordered by
NOTHING = "gold empty: so is the answer, by luck or not"
KEPT = 10_000  # values of a gold query's result, above which it is run again rather than remembered
GOLD_SECONDS = 10.0  # the gold query is trusted to end, not to be quick
TOKEN = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*` | \[[^\]]*\]  # quoted
      | --[^\n]* | /\*.*?\*/ | [()] | \w+""",
    re.VERBOSE | re.DOTALL,
)
Row = tuple[Value, ...]
Contents = tuple[str, int, int]


@dataclass(frozen=True)
class Verdict:
    """Whether a query is right, and why not.

    Attributes:
        right: None where the gold query itself fails, so that nothing can be said.
        reason: `right`, or `wrong rows: …`, `by luck: …` (right on the file, wrong on other
            values), `error: …`, `timeout: …`, `refused: …`, `gold empty: …`, `gold fails: …`.
        once: the same by the file alone, as other scorers have it; two empty results agree there
            only where the queries are the same.
        empty: whether the gold query gives no rows on the file.
    """

    right: bool | None
    reason: str
    once: bool | None = None
    empty: bool = False


class Judge:
    """Compares queries by what they return; nothing that was judged is judged again.

    Args:
        sql: the worker that runs the queries.
        normal: gives a query in one spelling, for empty results.
        instances: makes further instances of a database; without it the file alone decides.
    """

    def __init__(
        self, sql: Sql, normal: Callable[[str], str], instances: Instances | None = None
    ) -> None:
        self.sql, self.normal, self.instances = sql, normal, instances
        self._golds: dict[tuple[Contents, str], Result] = {}
        self._alone: set[tuple[Contents, str]] = set()
        self._verdicts: dict[tuple[str, Contents, str, bool], Verdict] = {}

    def verdict(self, prediction: str, gold: str, database: str | Path) -> Verdict:
        """Judge one predicted query, on the instances too.

        Args:
            prediction: any text.
            gold: the reference query.
            database: the SQLite file both are run on.

        Raises:
            ValueError: when the database cannot be opened.
        """
        return self._judged(prediction, gold, database, alone=False)

    def on_file(self, prediction: str, gold: str, database: str | Path) -> Verdict:
        """Judge one predicted query by the file alone."""
        return self._judged(prediction, gold, database, alone=True)

    def by_file_alone(self, gold: str, database: str | Path) -> bool:
        """Say whether an answer was taken as right with no instance that could tell otherwise."""
        return (_contents(database), gold) in self._alone

    def _judged(self, prediction: str, gold: str, database: str | Path, alone: bool) -> Verdict:
        """Judge, or remember what was said."""
        key = (prediction, _contents(database), gold, alone)
        if key not in self._verdicts:
            judge = self._by_file if alone else self._by_all
            self._verdicts[key] = judge(prediction, gold, database)
        return self._verdicts[key]

    def _by_file(self, prediction: str, gold: str, database: str | Path) -> Verdict:
        """Compare on the file; two empty results agree only where the queries are the same."""
        wanted = self._gold(gold, database)
        if wanted.failure:
            return Verdict(None, f"gold fails: {wanted.failure}")
        found = self.sql.query(database, prediction)
        empty = not wanted.rows
        if found.failure:
            return Verdict(False, found.failure, False, empty)
        difference = self._difference(wanted, found, gold, database)
        if difference:
            return Verdict(False, f"wrong rows: {difference}", False, empty)
        if empty and self.normal(prediction) != self.normal(gold):
            return Verdict(False, NOTHING, False, empty)
        return Verdict(True, "right", True, empty)

    def _by_all(self, prediction: str, gold: str, database: str | Path) -> Verdict:
        """Compare on the instances what agrees on the file."""
        first = self.on_file(prediction, gold, database)
        agrees = first.once or first.reason == NOTHING
        # Whether "x" is a column or text is the schema's to say, which a spelling does not know.
        plain = prediction == gold or '"' not in prediction + gold
        if not agrees or (plain and self.normal(prediction) == self.normal(gold)):
            return first
        shown, difference = self._elsewhere(prediction, gold, database)
        if difference:
            return replace(first, right=False, reason=f"by luck: on other values {difference}")
        return replace(first, right=True, reason="right") if shown else first

    def _elsewhere(self, prediction: str, gold: str, database: str | Path) -> tuple[bool, str]:
        """Compare on the instances: whether one of them showed rows, and the first difference."""
        shown, told = False, False
        for instance in self.instances.of(database, gold) if self.instances else ():
            wanted = self._gold(gold, instance)
            if wanted.failure or self._runs_of_ties(gold, instance) is None:
                continue
            told = True
            found = self.sql.query(instance, prediction)
            difference = found.failure or self._difference(wanted, found, gold, instance)
            if difference:
                return True, difference
            shown = shown or bool(wanted.rows)
        if not told:
            self._alone.add((_contents(database), gold))
        return shown, ""

    def _difference(self, wanted: Result, found: Result, gold: str, database: str | Path) -> str:
        """Compare two results; rows that tie in the gold query's order may change places."""
        runs: Sequence[int] | None = None
        if ordered(gold) and found.rows != wanted.rows:
            runs = self._runs_of_ties(gold, database) or range(1, len(wanted.rows) + 1)
        return compare(wanted, found, runs)

    def _gold(self, gold: str, database: str | Path) -> Result:
        """Run a gold query, or remember what it gave."""
        key = (_contents(database), gold)
        if (kept := self._golds.get(key)) is not None:
            return kept
        found = self.sql.query(database, gold, seconds=GOLD_SECONDS)
        if len(found.rows) * found.columns <= KEPT:
            self._golds[key] = found
        return found

    def _runs_of_ties(self, gold: str, database: str | Path) -> tuple[int, ...] | None:
        """Say where each run of rows that tie ends; None where ties decide which rows there are."""
        wanted = self._gold(gold, database)
        both = readings(gold, wanted.columns)
        if both is None:
            return None
        low, high = (self._gold(reading, database) for reading in both)
        if low.failure or high.failure or len(low.rows) != len(high.rows):
            return None
        runs = ends(low.rows, high.rows)
        settled = len(low.rows) in (0, *runs[-1:]) and _same_runs(low.rows, wanted.rows, runs)
        return runs if settled else None


def _contents(database: str | Path) -> Contents:
    """Name what a file holds now, as the worker does: by its place, its size and its time."""
    with contextlib.suppress(OSError):
        facts = os.stat(database)
        return os.path.abspath(database), facts.st_mtime_ns, facts.st_size
    return str(database), 0, 0


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


def compare(gold: Result, found: Result, runs: Sequence[int] | None) -> str:
    """Say how a result differs from the gold one; "" where it does not.

    Args:
        gold: what is wanted.
        found: what came.
        runs: where each run of rows ends that may change places; None where all may.
    """
    if found.columns != gold.columns:
        return f"{found.columns} columns instead of {gold.columns}"
    if len(found.rows) != len(gold.rows):
        kept = Counter(found.rows).keys() == Counter(gold.rows).keys()
        hint = ", duplicates aside the same" if kept else ""
        return f"{len(found.rows)} rows instead of {len(gold.rows)}{hint}"
    if found.rows == gold.rows or all(map(_same, gold.rows, found.rows)):
        return ""
    if _same_rows(gold.rows, found.rows):
        kept = runs is None or _same_runs(gold.rows, found.rows, runs)
        return "" if kept else "the right ones in another order"
    return "the right ones with columns swapped" if _swapped(gold, found) else "other values"


def _same_runs(gold: tuple[Row, ...], found: tuple[Row, ...], runs: Sequence[int]) -> bool:
    """Compare run by run, within each as multisets."""
    return len(gold) == len(found) and all(
        _same_rows(gold[start:end], found[start:end])
        for start, end in zip((0, *runs), runs, strict=False)
    )


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


def _key(row: Row) -> tuple[list[tuple[int, Any]], Row]:
    """Order rows of mixed types; the last digits of a number decide last."""
    return [_rough(value) for value in row], row


def _rough(value: Value) -> tuple[int, Any]:
    """Order values by type, then numbers by their first digits, which two results share."""
    if value is None:
        return 0, 0
    if isinstance(value, int | float):
        exact = isinstance(value, int) and abs(value) < EXACT
        return 1, value if exact else float(f"{value:.10g}")
    return (2, value) if isinstance(value, str) else (3, value)


def _swapped(gold: Result, found: Result) -> bool:
    """Look for an order of the columns in which the rows agree (small results only)."""
    if not 2 <= gold.columns <= 5 or len(gold.rows) > 1_000:
        return False
    wanted, given = (
        [sorted(zip(column), key=_key) for column in zip(*side.rows, strict=True)]
        for side in (gold, found)
    )
    fits = [[all(map(_same, a, b)) for b in given] for a in wanted]
    return any(
        _same_rows(gold.rows, tuple(tuple(row[place] for place in order) for row in found.rows))
        for order in itertools.permutations(range(gold.columns))
        if all(fits[place][other] for place, other in enumerate(order))  # most fall here, unsorted
    )
