"""How hard a query is by the rules that Spider publishes (Yu et al. 2018), and its clauses.

Three counts decide: clauses (where, group, order, limit, each further table, each "or" and "like"),
queries within the query, and what comes in numbers (aggregates, columns, conditions, groups). Only
the first SELECT is counted. Spider's own program counts a NOT among aggregates, and each AND and OR
of HAVING; so does this one, or the levels would not be comparable.
"""

from collections.abc import Iterator

import sqlglot
from sqlglot import exp

LEVELS = ("easy", "medium", "hard", "extra hard")
NEGATED = (exp.In, exp.Like, exp.Between)
CLAUSES: tuple[tuple[str, tuple[type[exp.Expr], ...]], ...] = (
    ("join", (exp.Join,)),
    ("where", (exp.Where,)),
    ("group by", (exp.Group,)),
    ("having", (exp.Having,)),
    ("order by", (exp.Order,)),
    ("limit", (exp.Limit,)),
    ("distinct", (exp.Distinct,)),
    ("set operation", (exp.SetOperation,)),
    ("aggregate", (exp.AggFunc,)),
    ("like", (exp.Like,)),
    ("between", (exp.Between,)),
)


def hardness(sql: str) -> str:
    """Return one of LEVELS.

    Args:
        sql: a query in SQLite's dialect.

    Raises:
        sqlglot.errors.SqlglotError: when it cannot be read.

    >>> hardness("SELECT name FROM t WHERE age > 3"), hardness("SELECT a, b FROM t ORDER BY c")
    ('easy', 'medium')
    """
    tree = sqlglot.parse_one(sql, read="sqlite")
    whole = tree
    while isinstance(tree, exp.SetOperation | exp.Subquery):
        tree = tree.this
    clauses, nested, several = _clauses(tree), _nested(tree), _several(tree)
    nested += isinstance(whole, exp.SetOperation)
    if clauses <= 1 and not several and not nested:
        return "easy"
    if not nested and ((several <= 2 and clauses <= 1) or (clauses <= 2 and several < 2)):
        return "medium"
    if not nested and ((several > 2 and clauses <= 2) or (clauses == 3 and several <= 2)):
        return "hard"
    return "hard" if clauses <= 1 and not several and nested <= 1 else "extra hard"


def clauses(sql: str) -> tuple[str, ...]:
    """Return which clauses a query uses, in a fixed order.

    Args:
        sql: a query in SQLite's dialect.

    Raises:
        sqlglot.errors.SqlglotError: when it cannot be read.

    >>> clauses("SELECT name FROM t WHERE age > (SELECT avg(age) FROM t)")
    ('subquery', 'where', 'aggregate')
    """
    tree = sqlglot.parse_one(sql, read="sqlite")
    branches = 1 + sum(1 for _ in tree.find_all(exp.SetOperation))
    inner = sum(1 for _ in tree.find_all(exp.Select)) > branches
    named = [name for name, kinds in CLAUSES if tree.find(*kinds) is not None]
    return (("subquery",) if inner else ()) + tuple(named)


def parts(sql: str) -> tuple[str, tuple[str, ...]]:
    """Return hardness and clauses of a gold query, "" and none for what cannot be read."""
    try:
        return hardness(sql), clauses(sql)
    except (sqlglot.errors.SqlglotError, RecursionError):
        return "", ()


def _clauses(tree: exp.Expr) -> int:
    """Count clauses, further tables, "or" and "like"."""
    clauses = sum(tree.args.get(name) is not None for name in ("where", "group", "order", "limit"))
    tests = [test for place in _places(tree) for test in _tests(place)]
    likes = sum(isinstance(_plain(test), exp.Like) for test in tests)
    ors = sum(_connectors(place, exp.Or) for place in _places(tree))
    return clauses + len(tree.args.get("joins") or ()) + ors + likes


def _nested(tree: exp.Expr) -> int:
    """Count the queries that conditions compare with."""
    tests = [test for place in _places(tree) for test in _tests(place)]
    found = [inner for test in tests for inner in test.find_all(exp.Select)]
    return sum(
        inner.find_ancestor(exp.Select) is tree and inner.arg_key != "expression"
        for inner in found  # the second side of a set is no further one
    )


def _several(tree: exp.Expr) -> int:
    """Count which of aggregates, columns, conditions and groups come in numbers."""
    where, having = _place(tree, "where"), _place(tree, "having")
    order, group = tree.args.get("order"), tree.args.get("group")
    tests = list(_tests(where)) if where is not None else []
    aggregates = sum(column.find(exp.AggFunc) is not None for column in tree.expressions)
    aggregates += sum(isinstance(test, exp.Not) and _negated(test) for test in tests)
    for key in order.expressions if order else ():
        aggregates += len(list(key.find_all(exp.AggFunc)))
    if having is not None:
        aggregates += _connectors(having, exp.Or, exp.And)
    groups = len(group.expressions) if group else 0
    return sum(n > 1 for n in (aggregates, len(tree.expressions), len(tests), groups))


def _place(tree: exp.Expr, name: str) -> exp.Expr | None:
    """Return the condition of a clause."""
    clause = tree.args.get(name)
    found: exp.Expr | None = clause.this if clause is not None else None
    return found


def _places(tree: exp.Expr) -> Iterator[exp.Expr]:
    """Yield the conditions of a query: of its joins, WHERE and HAVING."""
    for join in tree.args.get("joins") or ():
        if (on := join.args.get("on")) is not None:
            yield on
    for name in ("where", "having"):
        if (found := _place(tree, name)) is not None:
            yield found


def _tests(place: exp.Expr) -> Iterator[exp.Expr]:
    """Yield the single conditions of a condition."""
    if isinstance(place, exp.And | exp.Or):
        yield from _tests(place.left)
        yield from _tests(place.right)
    elif isinstance(place, exp.Paren):
        yield from _tests(place.this)
    else:
        yield place


def _connectors(place: exp.Expr, *kinds: type[exp.Expr]) -> int:
    """Count the ANDs or ORs between conditions, those of inner queries not among them."""
    if isinstance(place, exp.Paren):
        return _connectors(place.this, *kinds)
    if not isinstance(place, exp.And | exp.Or):
        return 0
    return (
        isinstance(place, kinds)
        + _connectors(place.left, *kinds)
        + _connectors(place.right, *kinds)
    )


def _plain(test: exp.Expr) -> exp.Expr:
    return test.this if isinstance(test, exp.Not) else test


def _negated(test: exp.Expr) -> bool:
    """Say whether a NOT stands before IN, LIKE or BETWEEN."""
    return isinstance(test.this, NEGATED)
