"""A query's rows for a person: the rows, and one sentence made of them by program, not by a model.

The sentence says what the rows say: it trusts the query, which the model may have got wrong.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

ROWS = 20  # of a query's result, at most
NAMED = 5  # values that a sentence lists
YES_OR_NO = re.compile(
    r"(is|are|was|were|do|does|did|has|have|had|can|could|will|would)\b", re.IGNORECASE
)
ANY = re.compile(
    r"((is|are|was|were) there (a|an|any)|(do|does|did|has|have) (\w+ have )?any)\b", re.IGNORECASE
)  # what a count answers with yes or no; "are there more than nine" it does not
AGGREGATES: dict[type[exp.Expr], str] = {
    exp.Count: "number", exp.Avg: "average", exp.Sum: "total", exp.Min: "lowest", exp.Max: "highest"
}  # fmt: skip
TRUTHS = (exp.Exists, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.In, exp.Not, exp.Is)
Row = Sequence[Any]


def table(rows: Sequence[Row]) -> str:
    """Lay rows out, one a line; of many the first ones.

    >>> print(table([(1, "a"), (2, None)]))
    1 | a
    2 | NULL
    """
    shown = [" | ".join(map(_value, row)) for row in rows[:ROWS]]
    more = len(rows) - len(shown)
    return "\n".join([*shown, f"({more:,} more)"] if more else shown) or "(no rows)"


def sentence(question: str, sql: str, rows: Sequence[Row], tied: bool = False) -> str:
    """Say in one sentence what the rows say.

    Args:
        question: what was asked; one that begins as "is" or "does" gets yes or no, if the query
            can say so.
        sql: the query.
        rows: what it gave.
        tied: whether rows that the query left out are as high or as low as the last one in it.

    >>> sentence("How many ships are there?", "SELECT COUNT(*) FROM ships", [(8,)])
    'The number is 8.'
    >>> sentence("Are there any ships?", "SELECT COUNT(*) FROM ships", [(8,)])
    'Yes: the number is 8.'
    """
    tree = _parsed(sql)
    if not rows:
        return "No row of the database fits."
    if len(rows) == 1:
        return _one(question, tree, rows[0]) + (" Others tie with it." if tied else "")
    many = f"There are {len(rows):,} rows"
    if len(rows[0]) == 1 and len(rows) <= NAMED:
        said = [_value(row[0]) for row in rows]
        shared = "It is a tie" if _extreme(tree) else "There are"
        many = f"{shared}{' of' * (shared != 'There are')} {len(rows)}: {_listed(said)}"
    elif len(rows) > ROWS:
        many += f"; the first {ROWS} are shown"
    return f"{many}." + (" Others tie with the last one." if tied else "")


def tie(sql: str) -> str | None:
    """Make the query that tells whether a LIMIT cut through equal rows, if there is such a LIMIT.

    Its last two rows end in equal values of the order then.

    >>> tie("SELECT name FROM ships ORDER BY age DESC LIMIT 1")
    'SELECT name, age FROM ships ORDER BY age DESC LIMIT 2'
    """
    tree = _parsed(sql)
    if not isinstance(tree, exp.Select) or tree.args.get("distinct") or tree.args.get("offset"):
        return None
    limit, order = tree.args.get("limit"), tree.args.get("order")
    if limit is None or order is None or not str(limit.expression).isdigit():
        return None
    said = {one.alias: one.this for one in tree.expressions if isinstance(one, exp.Alias)}
    keys = [  # a column with its table's name is no alias
        key.this if key.this.args.get("table") else said.get(key.this.name, key.this)
        for key in order.expressions
    ]
    if any(isinstance(key, exp.Literal) for key in keys):
        return None
    wider = tree.select(*(key.copy() for key in keys))
    return wider.limit(int(str(limit.expression)) + 1).sql("sqlite")


def is_tie(sql: str, rows: Sequence[Row]) -> bool:
    """Say whether the rows of `tie`'s query tell of a tie.

    Args:
        sql: the query that `tie` was made of.
        rows: what `tie`'s query gave.
    """
    tree = _parsed(sql)
    assert isinstance(tree, exp.Select)
    limit, keys = int(str(tree.args["limit"].expression)), len(tree.args["order"].expressions)
    return 0 < limit < len(rows) and rows[limit - 1][-keys:] == rows[limit][-keys:]


def told(question: str, sql: str, rows: Sequence[Row], ask: Callable[[str], Sequence[Row]]) -> str:
    """Lay out rows with the sentence below them.

    Args:
        question: what was asked.
        sql: the query.
        rows: what it gave.
        ask: runs another query; no rows where it cannot.
    """
    wider = tie(sql) if rows else None
    tied = wider is not None and is_tie(sql, ask(wider))
    return f"{table(rows)}\n{sentence(question, sql, rows, tied)}"


def _parsed(sql: str) -> exp.Expr | None:
    """Read a query; one that sqlglot cannot read is told of by its rows alone."""
    try:
        return sqlglot.parse_one(sql, read="sqlite")
    except (SqlglotError, RecursionError):
        return None


def _one(question: str, tree: exp.Expr | None, row: Row) -> str:
    """Tell of one row: a value, or each column with its value."""
    names = _names(tree, len(row))
    if len(row) == 1 and row[0] is None:
        return "The database holds no value for this."
    said = _listed([f"the {name} is {_value(v)}" for name, v in zip(names, row, strict=True)])
    only = _unaliased(tree.expressions[0]) if isinstance(tree, exp.Select) else None
    if len(row) == 1 and isinstance(only, TRUTHS) and YES_OR_NO.match(question.strip()):
        return "Yes." if row[0] else "No."
    counted = isinstance(only, exp.Count) and not _grouped(tree)
    if len(row) == 1 and counted and ANY.match(question.strip()):
        return f"{'Yes' if row[0] else 'No'}: {said}."
    return said[0].upper() + said[1:] + "."


def _grouped(tree: exp.Expr | None) -> bool:
    """Say whether a query counts in groups, so that a number is one group's."""
    return isinstance(tree, exp.Select) and tree.args.get("group") is not None


def _names(tree: exp.Expr | None, count: int) -> list[str]:
    """Name the columns of a result as its query does."""
    parts = tree.expressions if isinstance(tree, exp.Select) else []
    if len(parts) != count or any(part.find(exp.Star) and part.is_star for part in parts):
        return ["answer"] if count == 1 else [f"value {n}" for n in range(1, count + 1)]
    return [_name(part) for part in parts]


def _name(part: exp.Expr) -> str:
    """Name a column in words: its alias, what it adds up, or its own name."""
    if isinstance(part, exp.Alias):
        return part.alias.replace("_", " ")
    kind = AGGREGATES.get(type(part))
    column = part.this if kind else part
    if isinstance(column, exp.Column):
        own = column.name.replace("_", " ")
        return f"{kind} {own}" if kind and kind != "number" else kind or own
    return kind or "answer"


def _unaliased(part: exp.Expr) -> exp.Expr:
    return part.this if isinstance(part, exp.Alias | exp.Paren) else part


def _extreme(tree: exp.Expr | None) -> bool:
    """Say whether a query asks for the rows with the highest or lowest value."""
    if not isinstance(tree, exp.Select):
        return False
    where = tree.args.get("where")
    return where is not None and any(
        isinstance(side, exp.Subquery) and side.find(exp.Max, exp.Min)
        for test in where.find_all(exp.EQ)
        for side in (test.left, test.right)
    )


def _listed(words: Sequence[str]) -> str:
    """Join words as a sentence does."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _value(value: Any) -> str:
    """Write a value as a person reads it, on one line."""
    if isinstance(value, float):
        return f"{value:.15g}"  # the last of 17 digits is noise: 0.30000000000000004
    return "NULL" if value is None else " ".join(str(value).splitlines())
