"""The one-line-a-table form of a database schema that the chat prompt and the corpus share.

The bare form is what the corpus holds; types, keys and values of the rows are said where asked for.
"""

import re
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from ._sql_files import Values

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Words that SQLite does not take as a bare column or table name.
_RESERVED = frozenset(
    """
    add all alter and as between by case check collate column commit constraint create
    cross default deferrable delete distinct drop else escape except exists foreign from
    full group having if in index inner insert intersect into is isnull join left limit
    natural not notnull null on or order outer primary references right rollback select
    set table then to transaction union unique update using values when where
    """.split()  # noqa: SIM905 - a list of 60 strings would be a page
)
_TYPES = (
    ("int", ("INT",)),
    ("date", ("DATE", "TIME", "YEAR")),
    ("bool", ("BOOL", "BIT")),
    ("real", ("REAL", "DOUBLE", "FLOAT", "DECIMAL", "NUMERIC", "NUMBER")),
    ("text", ("CHAR", "TEXT", "CLOB", "STRING")),
)


@lru_cache(maxsize=65536)
def serialise(schema: str, types: bool = False, keys: bool = False, values: Values = ()) -> str:
    """Return CREATE TABLE text in a compact form, one line a table.

    Names that are no plain SQL names keep their quotes. Text that cannot be read as CREATE TABLE
    statements comes back as it is, on one line.

    Args:
        schema: CREATE TABLE statements divided by semicolons.
        types: say the type of every column, of keys and of what points to one too.
        keys: say which columns are the primary key.
        values: what some columns hold, as `_sql_files.values_of` gives it.

    Returns:
        One line a table, divided by newlines.

    >>> print(serialise('CREATE TABLE "crew" ("id" INTEGER PRIMARY KEY, "full name" TEXT,'
    ...                 ' ship_id INT, FOREIGN KEY (ship_id) REFERENCES ships (id));'))
    table crew: id, "full name" text, ship_id ON crew. ship_id = ships. id
    >>> held = (("crew", "name", ("'Ann'", "'Bo'")),)
    >>> serialise("CREATE TABLE crew (id INT PRIMARY KEY, name TEXT)", True, True, held)
    "table crew: id int primary key, name text ('Ann', 'Bo')"
    """
    try:
        statements = sqlglot.parse(schema, read="sqlite")
    except SqlglotError:
        return " ".join(schema.split())
    lines = [
        _table(statement.this, types, keys, values)
        for statement in statements
        if isinstance(statement, exp.Create) and isinstance(statement.this, exp.Schema)
    ]
    return "\n".join(lines) if lines else " ".join(schema.split())


def _table(schema: exp.Schema, types: bool, keys: bool, values: Values) -> str:
    columns = [p for p in schema.expressions if isinstance(p, exp.ColumnDef | exp.Identifier)]
    key = {name.lower() for part in schema.expressions for name in _key(part)}
    links: dict[str, str] = {}
    for part in schema.expressions:
        links |= _links(part)
    mine, here = _name(schema.this.name), schema.this.name.lower()
    held = {column: shown for table, column, shown in values if table == here}
    parts = []
    for column in columns:
        name, known = _name(column.name), column.name.lower()
        plain = known not in links and key != {known}
        words = [name, _type(column, types) if types or plain else ""]
        words += ["primary key"] if keys and known in key else []
        shown = held.get(known, ())
        if shown and (plain or shown[0].startswith("'")):  # numbers of a key say nothing
            words.append(f"({', '.join(shown)})")
        words += [f"ON {mine}. {name} = {links[known]}"] if known in links else []
        parts.append(" ".join(filter(None, words)))
    return f"table {mine}: {', '.join(parts)}"


def _key(part: exp.Expression) -> list[str]:
    if isinstance(part, exp.PrimaryKey):
        return [found.name for found in part.expressions]
    if isinstance(part, exp.ColumnDef) and part.find(exp.PrimaryKeyColumnConstraint):
        return [part.name]
    if isinstance(part, exp.Constraint):
        return [name for inner in part.expressions for name in _key(inner)]
    return []


def _links(part: exp.Expression) -> dict[str, str]:
    if isinstance(part, exp.Constraint):
        return {name: link for inner in part.expressions for name, link in _links(inner).items()}
    reference = part.find(exp.Reference)
    if reference is None:
        return {}
    names = (
        [part.name]
        if isinstance(part, exp.ColumnDef)
        else [found.name for found in part.expressions]
    )
    target = reference.this
    table = target.this if isinstance(target, exp.Schema) else target
    columns = [found.name for found in target.expressions] if isinstance(target, exp.Schema) else []
    return {
        name.lower(): ". ".join(
            [_name(table.name), *([_name(columns[i])] if i < len(columns) else [])]
        )
        for i, name in enumerate(names)
    }


def _name(name: str) -> str:
    if _PLAIN.fullmatch(name) and name.lower() not in _RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def _type(column: exp.ColumnDef | exp.Identifier, any_type: bool = False) -> str:
    """Name a column's type shortly; one of no known sort as it is declared, if it is wanted."""
    declared = column.args.get("kind")
    text = declared.sql().upper() if declared is not None else ""
    for short, marks in _TYPES:
        if any(mark in text for mark in marks):
            return short
    own = declared.sql("sqlite").lower() if declared is not None and any_type else ""
    return "".join(re.findall(r"^\w+", own))
