"""Reference queries, run before anybody is asked them: which fail, and which find nothing."""

import time
from dataclasses import replace
from typing import Any

SECONDS = 60.0  # for all queries of a recipe; those behind are compiled alone, and that is said
FAILS = "have a query that fails when it is run"
SLOW = "have a query that is not done after a second, and was not waited for"
NOTHING = "have a query that finds nothing: any other that finds nothing is as right"
SPLITS = ("test", "validation", "train")  # what is asked first comes first


def run_queries(recipe: Any, found: Any, seconds: float = SECONDS) -> tuple[Any, str]:
    """Run each reference query on its database, and add what is odd to what reading met.

    Args:
        recipe: one that asks databases; of any other nothing is run.
        found: a `recipes._found.Found`; None where nothing was read.
        seconds: after which no other query is begun.

    Returns:
        What was met, and in words how many queries were run; "" for none.
    """
    if found is None or not recipe.queries:
        return found, ""
    from ..eval._sql import Sql
    from ..recipes._found import Group

    groups = {kind: Group(kind) for kind in (FAILS, SLOW, NOTHING)}
    tried: dict[tuple[str, str], tuple[str, str]] = {}
    left, end, worker = 0, time.monotonic() + seconds, Sql()
    try:
        for example in (each for split in SPLITS for each in recipe.examples(split)):
            if not example.meta["asked"]:
                continue
            key = (example.meta["db_id"], example.meta["sql"])
            if key not in tried and time.monotonic() > end:
                left += 1
                continue
            if key not in tried:
                placed = recipe.placed(example)
                result = worker.query(placed.meta["database"], example.meta["sql"])
                tried[key] = _met(result)
            kind, said = tried[key]
            if kind:
                groups[kind].add(example.where, said)
    finally:
        worker.close()
    odd = tuple(group for group in groups.values() if group.count)
    more = f"; the queries of {left:,} rows were not, after {seconds:.0f} s" if left else ""
    said = f"{len(tried):,} different queries were run on their databases{more}" if tried else ""
    return replace(found, odd=(*found.odd, *odd)), said


def _met(result: Any) -> tuple[str, str]:
    """Say what is odd with a query's result, in general and in its own words; "" for nothing."""
    if result.failure.startswith("timeout:"):  # as a gold query it has more time
        return SLOW, ""
    if result.failure:
        return FAILS, result.failure
    return ("", "") if result.rows else (NOTHING, "")
