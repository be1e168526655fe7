"""Plain text beside the notebooks: what things are, how columns are named, diaries, small talk."""

import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

from .databases import pool, value
from .domains import SPLITS, Column, Entity, entities, plural
from .names import compound
from .schemas import article

SENTENCES = 5  # in a passage, about


@cache
def _everything() -> tuple[Entity, ...]:
    return tuple(entity for split in SPLITS for entity in entities(split))


@cache
def choices() -> tuple[str, ...]:
    """Return the words that list columns may hold, those of no notebook three times."""
    return tuple(
        word
        for split in SPLITS
        for entity in entities(split)
        for column in entity.columns
        for word in column.choices * (1 if split == "train" else 3)
    )


@cache
def lines() -> dict[str, tuple[str, ...]]:
    """Return the sections of prose.toml."""
    text = (Path(__file__).parent / "prose.toml").read_text(encoding="utf-8")
    return {section: tuple(found["lines"]) for section, found in tomllib.loads(text).items()}


def passage(rng: Random) -> str:
    """Return one document of plain text."""
    kinds: tuple[Callable[[Random], str], ...] = (
        _thing, _thing, _names, _names, _names, _copies, _copies, _clauses, _diary, _talk,
        _requests,
    )  # fmt: skip
    return rng.choice(kinds)(rng)


def _thing(rng: Random) -> str:
    """Tell what two or three things are and what is written down about them."""
    return "\n\n".join(_about(rng.choice(_everything()), rng) for _ in range(rng.randint(2, 3)))


def _about(entity: Entity, rng: Random) -> str:
    said = [f"{article(entity.one).capitalize()} {entity.one} is {entity.about}."]
    for column in rng.sample(entity.columns, min(len(entity.columns), rng.randint(2, 4))):
        phrase = rng.choice(column.phrases)
        slots = {
            "one": entity.one,
            "many": entity.many,
            "phrase": phrase,
            "phrases": plural(phrase),
        }
        slots["v"], slots["w"] = _two(column, rng)
        section = (
            "list"
            if column.kind == "list"
            else "number"
            if column.kind in ("int", "real")
            else "other"
        )
        said.append(rng.choice(lines()[f"about_{section}"]).format_map(slots))
    for parent in entity.parents:
        said.append(
            rng.choice(lines()["about_parent"]).format(
                one=entity.one, many=entity.many, parent=parent
            )
        )
    return " ".join(_start(sentence) for sentence in said)


def _two(column: Column, rng: Random) -> tuple[str, str]:
    """Return two values, different ones where the column has them."""
    if column.kind == "list":
        one, two = rng.sample(column.choices, 2)
        return one, two
    return str(value(column, rng)), str(value(column, rng))


def _names(rng: Random) -> str:
    """Tell how phrases become the names of columns and tables, over all words of the lexicon."""
    if rng.random() < 0.4:
        pairs = [compound(rng) for _ in range(rng.randint(8, 16))]
        head = rng.choice(lines()["glossary"])
        shape = rng.choice(
            (
                "{phrase} : {name}",
                "{name} means {phrase}",
                "{phrase} -> {name}",
                "the {phrases} : {name}",
                "one {phrase}, two {phrases} : {names}",
                "{name}_id = {names}. id",
            )
        )
        return "\n".join([head, *(shape.format_map(pair) for pair in pairs)])
    said = []
    for _ in range(rng.randint(5, 9)):
        pair = compound(rng) | {"v": rng.choice(choices()), "w": rng.choice(choices())}
        said.append(rng.choice(lines()["names"]).format_map(pair))
    return " ".join(_start(sentence) for sentence in said)


def _copies(rng: Random) -> str:
    """Tell how lists are read out and written down again: what comes twice teaches to copy."""
    said = []
    for _ in range(rng.randint(4, 7)):
        reader, writer = rng.sample(pool("first"), 2)
        things = ", ".join(_listed(rng) for _ in range(rng.randint(3, 8)))
        line = rng.choice(lines()["copies"])
        said.append(line.format(reader=reader, writer=writer, things=things))
    return "\n".join(said)


def _listed(rng: Random) -> str:
    """Return something that can stand in a list: a name, a phrase, a word, a number."""
    pair = compound(rng)
    number = str(rng.randint(2, 9999))
    return rng.choice((pair["name"], pair["name"], pair["names"], pair["phrase"], number))


def _clauses(rng: Random) -> str:
    """Tell what clauses of a query do."""
    return " ".join(_fill(line, rng) for line in rng.sample(lines()["clauses"], SENTENCES))


def _diary(rng: Random) -> str:
    """Write a page of a diary."""
    return "\n".join(_fill(line, rng) for line in rng.sample(lines()["diary"], SENTENCES + 1))


def _talk(rng: Random) -> str:
    """Retell a short talk between two people."""
    one, two = rng.sample(pool("first"), 2)
    said = rng.sample(lines()["talk"], SENTENCES + 1)
    return " ".join(_fill(line, rng, {"one": one, "two": two}) for line in said)


def _requests(rng: Random) -> str:
    """Tell what people ask of each other."""
    return " ".join(_fill(line, rng) for line in rng.sample(lines()["request"], SENTENCES))


def _fill(line: str, rng: Random, more: dict[str, str] | None = None) -> str:
    thing = rng.choice(_everything())
    slots = {
        "first": rng.choice(pool("first")),
        "last": rng.choice(pool("last")),
        "city": rng.choice(pool("city")),
        "country": rng.choice(pool("country")),
        "n": str(rng.randint(2, 90)),
        "thing": thing.one,
        "a": article(thing.one),
        "things": thing.many,
        "is": thing.about,
        "word": rng.choice(choices()),
        "title": f"{rng.choice(pool('adjective'))} {rng.choice(pool('noun'))}",
        "place": f"{rng.choice(pool('place'))} {rng.choice(pool('ground'))}",
        "firm": f"{rng.choice(pool('firm'))} {rng.choice(pool('suffix'))}",
        "pet": rng.choice(pool("pet")),
        "date": f"{rng.randint(2015, 2023)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}",
        "col": rng.choice(("price", "age", "weight", "salary", "rating", "height", "distance")),
    }
    return _start(line.format_map(slots | (more or {})))


def _start(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
