"""Draws over one schema: columns, conditions with values of the data, the tables of a query."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from .databases import Samples, Value
from .parts import Col, Condition, Nothing, Source, quote
from .schemas import Field, Link, Schema, Table


@dataclass(frozen=True)
class Scene:
    """A schema, values to quote and a source of choices: draws columns, conditions and sources."""

    schema: Schema
    samples: Samples
    rng: Random

    def pick(self, found: list[Field]) -> Field:
        """Return one of the fields, or give up."""
        if not found:
            raise Nothing
        return self.rng.choice(found)

    def fields(self, table: Table, *kinds: str, gaps: bool = True) -> list[Field]:
        """Return the fields of these kinds (all, when none is given)."""
        return [
            f
            for f in table.fields
            if (not kinds or f.column.kind in kinds) and (gaps or not f.column.gaps)
        ]

    def measured(self, table: Table) -> Field:
        """Return a number column without gaps."""
        return self.pick(self.fields(table, "int", "real", gaps=False))

    def grouping(self, table: Table) -> Field:
        """Return a column whose values repeat: a list, a city, a country."""
        found = [f for f in self.fields(table, "list", "text", gaps=False) if f is not table.label]
        return self.pick(
            [f for f in found if f.column.kind == "list" or f.column.maker in ("city", "country")]
        )

    def source(self, hops: int = 0) -> Source:
        """Return a table, or a chain of tables along foreign keys."""
        table = self.rng.choice(self.schema.tables)
        links: list[Link] = []
        here = table
        for _ in range(hops):
            if not here.links:
                raise Nothing
            links.append(self.rng.choice(here.links))
            here = links[-1].table
        return Source(table, tuple(links))

    def child(self, table: Table) -> tuple[Table, Link]:
        """Return a table that points to this one, with its foreign key."""
        found = [(t, link) for t in self.schema.tables for link in t.links if link.table is table]
        if not found:
            raise Nothing
        return self.rng.choice(found)

    def test(
        self, table: Table, make: Callable[[Field], Col], without: tuple[Field, ...] = ()
    ) -> Condition:
        """Return a condition on one column of a table."""
        found = self.pick([f for f in table.fields if f not in without])
        col, kind = make(found), found.column.kind
        known = self.samples.of(table, found.name)
        if not known:
            raise Nothing
        if found.column.gaps and self.rng.random() < 0.6:
            absent = self.rng.random() < 0.65
            return Condition(
                f"{col.sql} IS {'' if absent else 'NOT '}NULL", "null" if absent else "notnull", col
            )
        if kind in ("int", "real", "date", "year"):
            return self._compare(col, kind, known)
        return self._match(table, col, found, known)

    def _compare(self, col: Col, kind: str, known: list[Value]) -> Condition:
        inner = sorted({v for v in known if v is not None}, key=lambda v: (v,))
        if len(inner) < 3:
            raise Nothing
        v = self.rng.choice(inner[1:-1])
        roll = self.rng.random()
        if roll < 0.15:
            low, high = sorted(self.rng.sample(range(len(inner)), 2))
            sql = f"{col.sql} BETWEEN {quote(inner[low])} AND {quote(inner[high])}"
            return Condition(sql, "between", col, inner[low], inner[high])
        if kind in ("date", "year"):
            word, sign = ("after", ">") if roll < 0.6 else ("before", "<")
        else:
            word, sign = self.rng.choice(
                (("gt", ">"), ("gt", ">"), ("lt", "<"), ("lt", "<"), ("ge", ">="), ("le", "<="))
            )
        return Condition(f"{col.sql} {sign} {quote(v)}", word, col, v)

    def _match(self, table: Table, col: Col, found: Field, known: list[Value]) -> Condition:
        v = str(self.rng.choice(known))
        roll = self.rng.random()
        if found.column.kind == "text" and found.column.maker not in (
            "city",
            "country",
            "code",
            "phone",
            "email",
        ):
            if roll < 0.3:
                part = v[: self.rng.choice((1, 1, 2, 3))]
                return Condition(f"{col.sql} LIKE '{part}%'", "prefix", col, part)
            if roll < 0.42:
                part = self.rng.choice(v.split())
                return Condition(f"{col.sql} LIKE '%{part}%'", "contains", col, part)
        elif roll < 0.18:
            others = [x for x in dict.fromkeys(known) if x != v]
            if others:
                w = str(self.rng.choice(others))
                return Condition(f"{col.sql} IN ({quote(v)}, {quote(w)})", "either", col, v, w)
        if 0.42 < roll < 0.52 and not found.column.gaps:
            return Condition(f"{col.sql} <> {quote(v)}", "ne", col, v)
        return Condition(f"{col.sql} = {quote(v)}", "eq", col, v)

    def nested(self, table: Table) -> Condition:
        """Return a condition with a subquery, on a table that stands alone in its query."""
        roll = self.rng.random()
        if roll < 0.34:
            return self._by_child(table, self.rng.random() < 0.5)
        x = self.measured(table)
        col = Col(x, x.name)
        if roll < 0.66:
            word, sign = self.rng.choice((("above_average", ">"), ("below_average", "<")))
            return Condition(
                f"{x.name} {sign} (SELECT AVG({x.name}) FROM {table.name})", word, col, table=table
            )
        if roll < 0.83 or table.label is None or table.label is x:
            call, most = self.rng.choice((("MAX", "highest"), ("MIN", "lowest")))
            return Condition(
                f"{x.name} = (SELECT {call}({x.name}) FROM {table.name})",
                "is_most",
                col,
                table=table,
                more=most,
            )
        label = table.label
        v = self.rng.choice(self.samples.of(table, label.name))
        higher, sign = self.rng.choice((("higher", ">"), ("lower", "<")))
        sql = f"{x.name} {sign} (SELECT {x.name} FROM {table.name} WHERE {label.name} = {quote(v)})"
        return Condition(sql, "more_than_row", col, v, label.words, table=table, more=higher)

    def _by_child(self, table: Table, without: bool) -> Condition:
        child, link = self.child(table)
        if without:
            sql = f"{table.key} NOT IN (SELECT {link.name} FROM {child.name})"
            return Condition(sql, "childless", table=child)
        inner = self.test(child, lambda f: Col(f, f.name)) if self.rng.random() < 0.75 else None
        where = f" WHERE {inner.sql}" if inner else ""
        sql = f"{table.key} IN (SELECT {link.name} FROM {child.name}{where})"
        return Condition(sql, "has_child", table=child, inner=inner)

    def by_parent(self, source: Source) -> Condition:
        """Return a condition on the parent of a joined source."""
        parent = source.parent
        if len(source.hops) == 1 and parent.label is not None and self.rng.random() < 0.4:
            v = self.rng.choice(self.samples.of(parent, parent.label.name))
            sql = f"{parent.name}.{parent.label.name} = {quote(v)}"
            return Condition(sql, "parent_label", v=v, table=parent)
        test = self.test(parent, source.far)
        if len(source.hops) == 2 or self.rng.random() < 0.4 or test.col is None:
            return test
        return Condition(
            test.sql,
            "parent",
            table=parent,
            inner=replace(test, col=Col(test.col.field, test.col.sql)),
        )

    def some(
        self, table: Table, make: Callable[[Field], Col], chances: tuple[float, float]
    ) -> tuple[tuple[Condition, ...], str]:
        """Return no, one or two conditions and what joins them, by the chances of 1 and 2."""
        roll = self.rng.random()
        if roll < chances[1] and len(table.fields) > 1:
            one = self.test(table, make)
            without = (one.col.field,) if one.col else ()
            return (
                one,
                self.test(table, make, without),
            ), "and" if self.rng.random() < 0.65 else "or"
        return ((self.test(table, make),) if roll < sum(chances) else ()), "and"
