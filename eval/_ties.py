"""What a query leaves open: rows that tie in its order or at its limit, values that no group fixes.

A gold query is run in two further readings that break every tie upwards and downwards. Where both
give the same rows, the query says what it wants; where they do not, its answer is chance and can
judge nobody. Rows that only change places between the two may come in any order.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from functools import lru_cache

import sqlglot
from sqlglot import exp

# What depends on the order of rows that tie, in ways that no sorting of the result settles.
OPEN = (
    *(exp.RowNumber, exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue, exp.NthValue, exp.Ntile),
    *(exp.GroupConcat, exp.Rand, exp.CurrentTime, exp.CurrentTimestamp),
)


@lru_cache(maxsize=4096)
def readings(gold: str, columns: int) -> tuple[str, str] | None:
    """Write a query twice: ties broken upwards, and downwards.

    Args:
        gold: the query.
        columns: how many columns its result has.

    Returns:
        Both, or None where the query cannot be read or depends on chance for good.

    >>> readings("SELECT a FROM t ORDER BY b LIMIT 1", 1)[1]
    'SELECT a FROM t ORDER BY b, 1 DESC LIMIT 1'
    """
    try:
        tree = sqlglot.parse_one(gold.strip().rstrip("; \n\t"), read="sqlite")
        if tree is None or tree.find(*OPEN):
            return None
        return _broken(tree.copy(), columns, down=False), _broken(tree, columns, down=True)
    except (sqlglot.errors.SqlglotError, RecursionError, ValueError, AttributeError):
        return None


def ends(low: Sequence[Hashable], high: Sequence[Hashable]) -> tuple[int, ...]:
    """Cut the rows of both readings into runs of ties: where each run ends.

    >>> ends("abcd", "bacd")
    (2, 3, 4)
    """
    found, unpaired = [], Counter[Hashable]()
    for place, (a, b) in enumerate(zip(low, high, strict=True), 1):
        for row, step in ((a, 1), (b, -1)):
            unpaired[row] += step
            if not unpaired[row]:
                del unpaired[row]
        if not unpaired:
            found.append(place)
    return tuple(found)


def _broken(tree: exp.Expr, columns: int, down: bool) -> str:
    """Break the ties of a query and of the queries within it."""
    for query in list(tree.find_all(exp.Select, exp.SetOperation)):
        if isinstance(query, exp.Select):
            _fix_bare(query, exp.Max if down else exp.Min)
        if query.args.get("limit") or (query is tree and query.args.get("order")):
            shown = query.selects
            starred = any(part.is_star for part in shown)
            count = columns if query is tree else 1 if starred else len(shown)
            _add_keys(query, count, down)
    return tree.sql(dialect="sqlite", comments=False)


def _add_keys(query: exp.Expr, count: int, down: bool) -> None:
    """Sort by every shown column behind the query's own keys."""
    words = ", ".join(f"{place} {'DESC' if down else 'ASC'}" for place in range(1, count + 1))
    added = sqlglot.parse_one(f"SELECT 1 ORDER BY {words}", read="sqlite").args["order"]
    if (order := query.args.get("order")) is None:
        query.set("order", added)
    else:
        order.set("expressions", [*order.expressions, *added.expressions])


def _fix_bare(select: exp.Select, kind: type[exp.Expr]) -> None:
    """Put the least or greatest value in place of a column that its group does not fix."""
    group, having, order = (select.args.get(name) for name in ("group", "having", "order"))
    if group is None and not any(part.find(exp.AggFunc) for part in select.selects):
        return
    places = [*select.selects, *(order.expressions if order else ()), *([having] if having else ())]
    fixed = {_plain(key) for key in (group.expressions if group else ())}
    for place in [int(key) for key in fixed if key.isdigit()]:
        if place <= len(select.selects):
            fixed.add(_plain(select.selects[place - 1].unalias()))
    fixed |= {part.alias.lower() for part in select.selects if isinstance(part, exp.Alias)}
    if any(part.is_star for part in select.selects):
        raise ValueError("a star in a group")
    for place in places:
        _fix(place, fixed, kind)


def _fix(node: exp.Expr, fixed: set[str], kind: type[exp.Expr]) -> None:
    """Look through an expression; what is aggregated or a query of its own is left alone."""
    if isinstance(node, exp.AggFunc | exp.Query) or _plain(node) in fixed:
        return
    if isinstance(node, exp.Column):
        node.replace(kind(this=node.copy()))
        return
    for inner in list(node.iter_expressions()):
        _fix(inner, fixed, kind)


def _plain(node: exp.Expr) -> str:
    """Name a column without its table, anything else by its text."""
    return node.name.lower() if isinstance(node, exp.Column) else node.sql().lower()
