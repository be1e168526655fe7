"""Schemas: a few tables drawn from one domain, with names, styles and columns by the seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random

from . import names
from .domains import (
    Column,
    Domain,
    Entity,
    held_out_columns,
    held_out_tables,
    identifier,
    is_plural,
    own_phrases,
    plural,
    words,
)

TYPES = {
    "text": "TEXT",
    "list": "TEXT",
    "int": "INTEGER",
    "real": "REAL",
    "date": "DATE",
    "year": "INTEGER",
}
TABLE_MODIFIERS = (
    "local",
    "former",
    "regional",
    "private",
    "public",
    "foreign",
    "new",
    "old",
    "small",
    "guest",
)
COLUMN_MODIFIERS = (
    "current",
    "planned",
    "previous",
    "official",
    "usual",
    "expected",
    "final",
    "reported",
)
TABLE_COUNTS = (1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 4)


@dataclass(frozen=True)
class Field:
    """A column of a table: its SQL name, the words people use for it, and what it holds."""

    name: str
    words: str
    column: Column

    @cached_property
    def many(self) -> str:
        """Return the plural of the words."""
        return plural(self.words)

    @cached_property
    def grammar(self) -> dict[str, str]:
        """Return what agrees with the words in a sentence: verb endings and the article."""
        if is_plural(self.words):
            return {"is": "are", "was": "were", "s": "", "es": "", "a": ""}
        return {"is": "is", "was": "was", "s": "s", "es": "es", "a": f"{article(self.words)} "}


@dataclass(frozen=True)
class Link:
    """A foreign key: the column that holds it and the table it points to."""

    name: str
    table: "Table"

    def condition(self, owner: "Table") -> str:
        """Return what joins the two tables, spelt as queries are taught."""
        return f"{owner.name}. {self.name} = {self.table.name}. {self.table.key}"


@dataclass(frozen=True, eq=False)
class Table:
    """A table: SQL name, noun, plural, key, fields, foreign keys, the field that names a row."""

    name: str
    one: str
    many: str
    key: str
    fields: tuple[Field, ...]
    links: tuple[Link, ...]
    label: Field | None

    @property
    def columns(self) -> list[str]:
        """Return the names of all columns, in the order of the table."""
        return [self.key, *(field.name for field in self.fields), *(k.name for k in self.links)]

    @property
    def compact(self) -> str:
        """Return the line that `recipes._sql_schema.serialise` makes of the CREATE TABLE text."""
        names = {
            "text": "text",
            "list": "text",
            "int": "int",
            "real": "real",
            "date": "date",
            "year": "int",
        }
        parts = [self.key, *(f"{field.name} {names[field.column.kind]}" for field in self.fields)]
        parts += [f"{link.name} ON {link.condition(self)}" for link in self.links]
        return f"table {self.name}: {', '.join(parts)}"

    @property
    def create(self) -> str:
        """Return the CREATE TABLE statement."""
        parts = [f"{self.key} INTEGER PRIMARY KEY"]
        parts += [f"{field.name} {TYPES[field.column.kind]}" for field in self.fields]
        parts += [f"{link.name} INTEGER" for link in self.links]
        parts += [
            f"FOREIGN KEY ({k.name}) REFERENCES {k.table.name} ({k.table.key})" for k in self.links
        ]
        return f"CREATE TABLE {self.name} ({', '.join(parts)});"


@dataclass(frozen=True, eq=False)
class Schema:
    """The tables of one database, those pointed to before those that point."""

    domain: str
    tables: tuple[Table, ...]

    @property
    def ddl(self) -> str:
        """Return the CREATE TABLE text."""
        return "\n".join(table.create for table in self.tables)

    @property
    def compact(self) -> str:
        """Return the one-line-a-table form."""
        return "\n".join(table.compact for table in self.tables)


def article(phrase: str) -> str:
    """Return "a" or "an", by the first letters."""
    soft = phrase.startswith(("un", "ul", "hour")) and not phrase.startswith("uni")
    return "an" if phrase[0] in "aeio" or soft else "a"


def draw(domain: Domain, split: str, rng: Random, invented: float = 0.0) -> Schema:
    """Draw a schema of one to four connected tables.

    Args:
        domain: where the entities come from.
        split: the domain's split; each table shows a column that only this split uses.
        rng: the source of all choices.
        invented: share of tables and columns under a made-up name. A model that meets the same
            names again and again learns them by heart and never learns to read the schema.
    """
    chosen = _connected(domain.entities, rng.choice(TABLE_COUNTS), rng)
    nouns = {noun for entity in domain.entities for noun in (entity.one, entity.many)}
    tables: dict[str, Table] = {}
    for entity in chosen:
        tables[entity.one] = _table(entity, tables, own_phrases(split), rng, invented, nouns)
    return Schema(domain.name, tuple(tables.values()))


def _connected(entities: Sequence[Entity], count: int, rng: Random) -> list[Entity]:
    chosen = [rng.choice(entities)]
    while len(chosen) < count:
        near = [
            e for e in entities if e not in chosen and any(_joined(e, other) for other in chosen)
        ]
        if not near:
            break
        chosen.append(rng.choice(near))
    return [entity for entity in entities if entity in chosen]


def _joined(one: Entity, other: Entity) -> bool:
    return one.one in other.parents or other.one in one.parents


def _table(
    entity: Entity,
    tables: dict[str, Table],
    own: frozenset[str],
    rng: Random,
    invented: float,
    nouns: set[str],
) -> Table:
    one, many = entity.one, entity.many
    if rng.random() < invented:
        one = names.invented(one, nouns, held_out_tables(), rng)
        while plural(one) == one or plural(one) in nouns:
            one = names.invented(one, nouns, held_out_tables(), rng)
        many = plural(one)
    elif rng.random() < (0.04 if " " in one else 0.1):
        modifier = rng.choice(TABLE_MODIFIERS)
        one, many = f"{modifier} {one}", f"{modifier} {many}"
    nouns |= {one, many}
    links = tuple(
        Link(f"{identifier(tables[parent].one)}_id", tables[parent])
        for parent in entity.parents
        if parent in tables
    )
    columns = _columns(entity, rng.randint(2, 5 - len(links)), own, rng)
    fields = _fields(columns, rng, invented)
    label = fields[0] if columns[0] is entity.columns[0] and not columns[0].gaps else None
    if rng.random() < 0.3:
        fields = rng.sample(fields, len(fields))
    return Table(identifier(many), one, many, "id", tuple(fields), links, label)


def _columns(entity: Entity, count: int, own: frozenset[str], rng: Random) -> list[Column]:
    first, rest = entity.columns[0], list(entity.columns[1:])
    picked = rng.sample(rest, min(count, len(rest)))
    if rng.random() < 0.9:
        picked = [first, *picked[: max(1, count - 1)]]
    marks = [c for c in rest if c.phrases[0] in own and c not in picked[:-1]]
    if marks and not any(column.phrases[0] in own for column in picked):
        picked[-1] = rng.choice(marks)
    return picked


def _fields(columns: list[Column], rng: Random, invented: float) -> list[Field]:
    fields: list[Field] = []
    taken: set[str] = set()
    known = {phrase for column in columns for phrase in column.phrases}
    for place, column in enumerate(columns):
        plain = [phrase for phrase in column.phrases if " of " not in phrase]
        name = plain[0] if rng.random() < 0.8 else rng.choice(plain)
        said = rng.choice(column.phrases) if rng.random() < 0.35 else name
        if rng.random() < invented:
            name = said = names.invented(plain[0], taken | known, held_out_columns(), rng)
        elif place and rng.random() < (0.06 if " " in name else 0.1):
            modifier = rng.choice(COLUMN_MODIFIERS)
            name, said = f"{modifier} {name}", f"{modifier} {said}"
        if said in taken or name in taken:
            name = said = plain[0]
        taken |= {name, said}
        fields.append(Field(identifier(name), said, column))
    return fields


def adjectives(table: Table, field: Field) -> tuple[str, str, str, str] | None:
    """Return the comparing words of a field (above, below, most, least), if its alone."""
    compare = words()["compare"]
    mine = compare.get(field.words.split()[-1])
    others = [
        f for f in table.fields if f is not field and compare.get(f.words.split()[-1]) == mine
    ]
    if mine is None or others:
        return None
    above, below, most, least = mine.split(", ")
    return above, below, most, least
