"""The lexicon: which things the world knows, in which split, and what their columns hold.

It is read from the .toml files beside this one. An entity has a sentence that says what it `is`,
the entities it belongs to (`of`) and its columns (`has`): `phrase / other phrase?: kind`, where `?`
marks a column with gaps and the kind is a range (`5-90`, `5-90/10` in tens, `1.0-5.0` with
decimals), a list of words, or the name of a value maker; without one it is the phrase's last word.
The first column names a row. Splits are by domain and do not depend on any seed.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

SPLITS = {
    "train": ("train_a", "train_b", "train_c"),
    "validation": ("validation",),
    "test": ("test",),
}
MAKERS = (
    *("person", "city", "country", "title", "firm", "place", "code", "pet", "dish", "product"),
    *("drug", "phone", "email", "date", "year"),
)
SINGULAR_IN_S = {"species", "status", "series", "address"}


@dataclass(frozen=True)
class Column:
    """One column of an entity: its phrases and what it holds.

    Attributes:
        phrases: what people call it, the usual one first; all without "of" may name it in SQL.
        kind: "text", "list", "int", "real", "date" or "year".
        maker: the value maker for kind "text", else "".
        choices: the words of kind "list".
        span: smallest value, largest value and step of a number.
        gaps: whether some rows have no value.
    """

    phrases: tuple[str, ...]
    kind: str
    maker: str = ""
    choices: tuple[str, ...] = ()
    span: tuple[float, float, float] = (0, 0, 1)
    gaps: bool = False


@dataclass(frozen=True)
class Entity:
    """A kind of thing that has its own table: its noun, plural, description, owners and columns."""

    one: str
    many: str
    about: str
    parents: tuple[str, ...]
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Domain:
    """A few entities that belong together."""

    name: str
    entities: tuple[Entity, ...]


def plural(phrase: str) -> str:
    """Return the plural of a phrase; the head of "date of arrival" is its first word.

    >>> plural("home city"), plural("date of birth"), plural("goals"), plural("dish")
    ('home cities', 'dates of birth', 'goals', 'dishes')
    """
    if " of " in phrase:
        head, rest = phrase.split(" of ", 1)
        return f"{plural(head)} of {rest}"
    if is_plural(phrase) or phrase.split()[-1] in SINGULAR_IN_S:
        return phrase
    if phrase.endswith("y") and phrase[-2] not in "aeiou":
        return phrase[:-1] + "ies"
    return phrase + ("es" if phrase.endswith(("s", "x", "ch", "sh")) else "s")


def is_plural(phrase: str) -> bool:
    """Tell whether a phrase takes a plural verb, by the ending of its head word.

    >>> is_plural("flight hours"), is_plural("status"), is_plural("number of beds")
    (True, False, False)
    """
    head = phrase.split(" of ")[0].split()[-1]
    return head.endswith("s") and not head.endswith(("ss", "us")) and head not in SINGULAR_IN_S


def identifier(phrase: str) -> str:
    """Return the phrase as a plain SQL name: "home city" becomes home_city."""
    return phrase.replace(" ", "_")


@cache
def words() -> dict[str, dict[str, str]]:
    """Return the tables of words.toml: value pools, comparing words and synonyms."""
    tables: dict[str, dict[str, str]] = _read("words")
    return tables


@cache
def domains(split: str) -> tuple[Domain, ...]:
    """Return the domains of a split, "train", "validation" or "test", as the files order them."""
    return tuple(
        Domain(name, tuple(_entity(key, text) for key, text in entities.items()))
        for file in SPLITS[split]
        for name, entities in _read(file).items()
    )


@cache
def own_phrases(split: str) -> frozenset[str]:
    """Return the column phrases that only this split uses; each of its tables shows one."""
    others = {phrase for other in SPLITS if other != split for phrase in _phrases(other)}
    return frozenset(phrase for phrase in _phrases(split) if phrase not in others)


@cache
def held_out_tables() -> frozenset[str]:
    """Return the names that only tables of held-out schemas have; elsewhere they may be columns."""
    held_out = [entity for split in ("validation", "test") for entity in entities(split)]
    return frozenset(identifier(noun) for e in held_out for noun in (e.one, e.many))


@cache
def held_out_columns() -> frozenset[str]:
    """Return the names that only columns of held-out schemas have; elsewhere they may be tables."""
    phrases = own_phrases("validation") | own_phrases("test")
    return frozenset(map(identifier, phrases))


def entities(split: str) -> Iterator[Entity]:
    """Yield every entity of a split."""
    return (entity for domain in domains(split) for entity in domain.entities)


def _phrases(split: str) -> Iterator[str]:
    return (
        phrase
        for entity in entities(split)
        for column in entity.columns
        for phrase in column.phrases
    )


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((Path(__file__).parent / f"{name}.toml").read_text(encoding="utf-8"))


def _entity(key: str, text: dict[str, str]) -> Entity:
    one = key.replace("_", " ")
    parents = tuple(text["of"].split(", ")) if "of" in text else ()
    columns = tuple(_column(part) for part in text["has"].split("; "))
    return Entity(one, text.get("plural", plural(one)), text["is"], parents, columns)


def _column(text: str) -> Column:
    name, _, kind = text.partition(": ")
    gaps = name.endswith("?")
    phrases = tuple(name.rstrip("?").split(" / "))
    kind = kind or phrases[0].split()[-1]
    swap = words()["synonyms"].get(phrases[0].split()[-1])
    if swap and len(phrases) == 1:
        phrases += (" ".join([*phrases[0].split()[:-1], swap]),)
    if kind in ("date", "year"):
        return Column(phrases, kind, gaps=gaps)
    if kind in MAKERS:
        return Column(phrases, "text", maker=kind, gaps=gaps)
    number = re.fullmatch(r"([\d.]+)-([\d.]+)(?:/(\d+))?", kind)
    if number is None:
        return Column(phrases, "list", choices=tuple(kind.split(", ")), gaps=gaps)
    low, high, step = number.groups()
    real = "." in low
    return Column(
        phrases,
        "real" if real else "int",
        span=(float(low), float(high), float(step or 1)),
        gaps=gaps,
    )
