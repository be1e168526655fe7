"""What a gold query mentions: constants beside the columns they are compared with, and joins."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import sqlglot
from sqlglot import exp

COMPARISONS = (
    *(exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is),
    *(exp.Like, exp.Glob, exp.In, exp.Between),
)
Place = tuple[str, str]  # table and column in lower case; the table "" where nobody knows


@dataclass(frozen=True)
class Constant:
    """A value that a query compares a column with.

    Attributes:
        value: as the query writes it.
        pattern: whether it is LIKE's, with % and _.
    """

    value: int | float | str
    pattern: bool = False


@dataclass(frozen=True)
class Mentions:
    """What a query says of the data.

    Attributes:
        constants: pairs of a place and a constant.
        joins: pairs of places whose values the query sets equal.
    """

    constants: tuple[tuple[Place, Constant], ...] = ()
    joins: tuple[tuple[Place, Place], ...] = ()


def mentions(gold: str, schema: Mapping[str, Collection[str]]) -> Mentions:
    """Read a query's constants and joins.

    Args:
        gold: the query; one that cannot be read mentions nothing.
        schema: the columns of each table, all names in lower case.
    """
    try:
        tree = sqlglot.parse_one(gold, read="sqlite")
        constants = [
            (_place(column, schema), constant)
            for test in tree.find_all(*COMPARISONS)
            for column, constant in _compared(test, schema)
        ]
        joins = [
            (a, b)
            for left, right in _joined(tree)
            if (a := _place(left, schema))[0] and (b := _place(right, schema))[0] and a != b
        ]
        joins += _shared(tree, schema)
    except (sqlglot.errors.SqlglotError, RecursionError, ValueError, AttributeError):
        return Mentions()
    return Mentions(tuple(dict.fromkeys(constants)), tuple(dict.fromkeys(joins)))


def _compared(
    test: exp.Expr, schema: Mapping[str, Collection[str]]
) -> Iterator[tuple[exp.Column, Constant]]:
    """Pair the columns of a comparison with its constants."""
    columns: list[exp.Column] = []
    values: list[exp.Column | exp.Literal] = []
    for node in test.walk(prune=lambda node: isinstance(node, exp.Query)):
        if isinstance(node, exp.Column):
            known = any(node.name.lower() in have for have in schema.values())
            if node.this.quoted and not node.table and not known:
                values.append(node)  # SQLite reads "x" as text where no column x is
            else:
                columns.append(node)
        elif isinstance(node, exp.Literal):
            values.append(node)
    for node in values:
        value = _number(node) if isinstance(node, exp.Literal) and not node.is_string else node.name
        for column in columns:
            yield column, Constant(value, isinstance(test, exp.Like))


def _number(node: exp.Literal) -> int | float:
    """Read a number with its sign."""
    value = float(node.name)
    if value.is_integer() and abs(value) < 2**63:
        value = int(node.name) if node.name.isdecimal() else int(value)
    return -value if isinstance(node.parent, exp.Neg) else value


def _joined(tree: exp.Expr) -> Iterator[tuple[exp.Expr, exp.Expr]]:
    """Yield the pairs of columns that a query sets equal."""
    for test in tree.find_all(exp.EQ):
        yield test.this, test.expression
    for member in tree.find_all(exp.In):
        if (inner := member.args.get("query")) is not None and inner.this.selects:
            yield member.this, inner.this.selects[0]
    for both in tree.find_all(exp.SetOperation):
        yield from zip(both.this.selects, both.expression.selects, strict=False)


def _shared(tree: exp.Expr, schema: Mapping[str, Collection[str]]) -> Iterator[tuple[Place, Place]]:
    """Yield the pairs of columns that USING sets equal."""
    for select in tree.find_all(exp.Select):
        for join in select.args.get("joins") or ():
            for name in (key.name.lower() for key in join.args.get("using") or ()):
                tables = [table.name.lower() for table in _tables(select)]
                places = [(t, name) for t in tables if name in schema.get(t, ())]
                yield from ((places[0], other) for other in places[1:])


def _place(column: exp.Expr, schema: Mapping[str, Collection[str]]) -> Place:
    """Find a column's table by the nearest query that reads from it."""
    if not isinstance(column, exp.Column):
        return "", ""
    name, scope = column.name.lower(), column.find_ancestor(exp.Select)
    while scope is not None:
        for table in _tables(scope):
            has = name in schema.get(table.name.lower(), ())
            named = not column.table or table.alias_or_name.lower() == column.table.lower()
            if has and named:
                return table.name.lower(), name
        scope = scope.find_ancestor(exp.Select)
    return "", name


def _tables(select: exp.Expr) -> list[exp.Table]:
    """List the tables that a query itself reads from."""
    source = select.args.get("from_") or select.args.get("from")
    parts = [source, *(select.args.get("joins") or ())]
    return [part.this for part in parts if part is not None and isinstance(part.this, exp.Table)]
