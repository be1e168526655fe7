"""The parts of an ask: columns, conditions and sources over a schema, with canonical SQL."""

from dataclasses import dataclass, field

from .databases import Value
from .schemas import Field, Link, Table

AGGREGATES = ("AVG", "SUM", "MIN", "MAX")


@dataclass(frozen=True)
class Col:
    """A column as a query sees it: its field, its SQL and, in joins, the other table it is of."""

    field: Field
    sql: str
    owner: Table | None = None

    @property
    def words(self) -> str:
        """Return the words for it, with the owner in front: "airline country"."""
        return self._with_owner(self.field.words)

    @property
    def many(self) -> str:
        """Return the words in the plural."""
        return self._with_owner(self.field.many)

    def _with_owner(self, words: str) -> str:
        if self.owner is None:
            return words
        if set(words.split()) & set(self.owner.one.split()):  # no "bee hive hive code"
            return f"{words} of the {self.owner.one}"
        return f"{self.owner.one} {words}"


@dataclass(frozen=True)
class Condition:
    """One condition: SQL, the section of clauses.toml that words it, and what the wording needs."""

    sql: str
    kind: str
    col: Col | None = None
    v: Value = None
    w: Value = None
    table: Table | None = None
    inner: "Condition | None" = None
    more: str = ""


@dataclass(frozen=True)
class Ask:
    """One question to a database, before it is put in words.

    Attributes:
        head: the section of heads.toml that words it.
        sql: the canonical query.
        table: the table asked about.
        cols: the columns asked for.
        tests: its conditions (one or two; "and"/"or" in `glue`).
        x, g: the measured and the grouping column.
        more: further words by slot.
        order: the section of clauses.toml that words the order, and its column.
        keys: a query whose first `limit` + 1 values must differ, or the order leaves a choice.
        empty: a query that must find nothing, else the question has two readings.
    """

    head: str
    sql: str
    table: Table
    cols: tuple[Col, ...] = ()
    tests: tuple[Condition, ...] = ()
    glue: str = "and"
    x: Col | None = None
    g: Col | None = None
    more: dict[str, str] = field(default_factory=dict)
    order: tuple[str, Col] | None = None
    keys: str = ""
    limit: int = 0
    empty: str = ""


@dataclass(frozen=True)
class Source:
    """The tables a query reads: one, or one and those its foreign keys lead to."""

    table: Table
    hops: tuple[Link, ...] = ()

    @property
    def sql(self) -> str:
        """Return the FROM clause without the keyword."""
        text, here = self.table.name, self.table
        for hop in self.hops:
            there = hop.table.name
            text += f" JOIN {there} ON {here.name}.{hop.name} = {there}.{hop.table.key}"
            here = hop.table
        return text

    @property
    def parent(self) -> Table:
        """Return the last table."""
        return self.hops[-1].table if self.hops else self.table

    def own(self, found: Field) -> Col:
        """Return a column of the first table."""
        return Col(found, f"{self.table.name}.{found.name}" if self.hops else found.name)

    def far(self, found: Field) -> Col:
        """Return a column of the last table."""
        return Col(found, f"{self.parent.name}.{found.name}", self.parent)


class Nothing(Exception):
    """This schema cannot be asked that."""


def quote(v: Value) -> str:
    """Return a value as SQL."""
    return f"'{v}'" if isinstance(v, str) else str(v)


def where(tests: tuple[Condition, ...], glue: str) -> str:
    """Return the WHERE clause with a space in front, or nothing."""
    return " WHERE " + f" {glue.upper()} ".join(test.sql for test in tests) if tests else ""
