"""One spelling for queries that differ in spelling alone, read with sqlglot in SQLite's dialect."""

import re
from collections import Counter
from functools import lru_cache

import sqlglot
from sqlglot import exp

LONGEST = 5_000  # characters; longer text is no query and is not parsed
COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Like, exp.In, exp.Between)
QUERY = re.compile(r"[\s(]*(select|with|values)\b", re.IGNORECASE)
QUOTED = re.compile(r"('(?:[^']|'')*')")


@lru_cache(maxsize=20_000)
def normal(sql: str) -> str:
    """Write a query in one way: keywords, case of names, quotes, aliases and spaces do not matter.

    Args:
        sql: any text; what is no query is only put in lower case outside quotes, spaces joined.

    Returns:
        A query to compare with others, not to run.

    >>> normal('select T1."Name" from Singer as T1 where T1.age != 3;')
    'SELECT name FROM singer WHERE age <> 3'
    """
    text = sql.strip().rstrip("; \n\t")
    try:
        known = len(text) <= LONGEST and QUERY.match(text)  # sqlglot warns of SHOW and the like
        tree = sqlglot.parse_one(text, read="sqlite") if known else None
        if tree is not None:
            _unquote(tree)
            _unalias(tree)
            return tree.sql(dialect="sqlite", comments=False)
    except (sqlglot.errors.SqlglotError, RecursionError, ValueError, KeyError, AttributeError):
        pass
    parts = QUOTED.split(" ".join(text.split()))
    return "".join(part if place % 2 else part.lower() for place, part in enumerate(parts))


def _unquote(tree: "exp.Expr") -> None:
    """Put names in lower case without quotes, text in single quotes, joins and orders in full.

    SQLite reads "x" as text where no column x is; beside a comparison with a column it nearly
    always is meant so.
    """
    for column in list(tree.find_all(exp.Column)):
        name = column.this
        beside = isinstance(column.parent, COMPARISONS) and column.parent.this is not column
        if beside and not column.table and isinstance(name, exp.Identifier) and name.quoted:
            column.replace(exp.Literal.string(name.name))
    for name in tree.find_all(exp.Identifier):
        name.set("this", name.name.lower())
        name.set("quoted", False)
    for join in tree.find_all(exp.Join):
        if join.kind == "INNER":
            join.set("kind", None)
    for key in tree.find_all(exp.Ordered):
        key.set("desc", bool(key.args.get("desc")))


def _unalias(tree: "exp.Expr") -> None:
    """Name tables by their own names, numbered where one occurs twice; drop idle column aliases."""
    tables = list(tree.find_all(exp.Table))
    given = [table.alias_or_name for table in tables]
    if len(set(given)) == len(given) and not tree.find(exp.CTE):
        times, seen = Counter(table.name for table in tables), Counter[str]()
        named = {}
        for table, alias in zip(tables, given, strict=True):
            seen[table.name] += 1
            single = times[table.name] == 1
            named[alias] = table.name if single else f"{table.name}_{seen[table.name]}"
            table.set(
                "alias", None if single else exp.TableAlias(this=exp.to_identifier(named[alias]))
            )
        for column in tree.find_all(exp.Column):
            if len(tables) == 1:
                column.set("table", None)
            elif column.table in named:
                column.set("table", exp.to_identifier(named[column.table]))
    used = {column.name for column in tree.find_all(exp.Column)}
    if isinstance(tree, exp.Select):
        for shown in list(tree.expressions):
            if isinstance(shown, exp.Alias) and shown.alias not in used:
                shown.replace(shown.this)
