"""The lexicon: what the world knows of each condition, and which conditions a split may ask about.

It is read from the conditions_*.toml files beside this one. `signs`, `care` (self-care) and `flags`
(red flags: reasons to call the emergency number) are key facts, `wording | other wording`; `what`
lists two wordings of one fact; `who` to see and `when` are facts too. `alarm` holds complaints that
show a red flag, `mild` their benign twins, of which an emergency by itself has none. `source` is
the kind of source such facts stand in.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

SHARES = {"train": 0.6, "validation": 0.1, "test": 0.3}
ASPECTS = ("what", "signs", "care", "flags", "who")


@dataclass(frozen=True)
class Fact:
    """One key fact, in one or more wordings, the usual one first."""

    wordings: tuple[str, ...]

    @property
    def name(self) -> str:
        """The usual wording."""
        return self.wordings[0]

    @property
    def line(self) -> str:
        """All wordings, as graders read them."""
        return " | ".join(self.wordings)


@dataclass(frozen=True)
class Condition:
    """What the world knows of one condition; `name` stands as it does behind "I have"."""

    key: str
    name: str
    also: tuple[str, ...]
    field: str
    what: Fact
    signs: tuple[Fact, ...]
    care: tuple[Fact, ...]
    flags: tuple[Fact, ...]
    who: Fact
    when: Fact
    alarm: tuple[str, ...]
    mild: tuple[str, ...]
    source: str

    @property
    def urgent(self) -> bool:
        """Whether it is an emergency by itself, so that no question about one's own is harmless."""
        return self.who.name == "emergency services"

    @property
    def aspects(self) -> tuple[str, ...]:
        """What can be asked of it; an emergency by itself needs no further flags."""
        return tuple(aspect for aspect in ASPECTS if not (self.urgent and aspect == "flags"))

    def facts(self, aspect: str) -> tuple[Fact, ...]:
        """List the key facts of an aspect, one of ASPECTS, or of "advice": care and whom to see."""
        if aspect == "advice":
            return (*self.care, self.who, self.when)
        if aspect == "signs" and self.urgent:  # its red flags are its signs
            return (*self.flags, *self.signs)
        if aspect == "what":
            return (self.what,)
        if aspect == "who":
            return (self.who, self.when)
        found: tuple[Fact, ...] = getattr(self, aspect)
        return found


@cache
def everything() -> tuple[Condition, ...]:
    """Read all conditions, in the order of their keys."""
    tables: dict[str, dict[str, Any]] = {}
    for path in sorted(Path(__file__).parent.glob("conditions_*.toml")):
        tables |= tomllib.loads(path.read_text(encoding="utf-8"))
    return tuple(_condition(key, table) for key, table in sorted(tables.items()))


@cache
def conditions(split: str, seed: int) -> tuple[Condition, ...]:
    """Return the conditions that a split asks about; every seed deals them anew.

    Args:
        split: "train", "validation" or "test".
        seed: the world's seed.
    """
    dealt = list(everything())
    Random(f"conditions {seed}").shuffle(dealt)
    first = 0
    for name, share in SHARES.items():
        end = len(dealt) if name == "test" else first + round(share * len(dealt))
        if name == split:
            return tuple(dealt[first:end])
        first = end
    raise KeyError(split)


@cache
def names(key: str) -> str:
    """Return all names of a condition, parted by `|`: an answer may use another than the question.

    Args:
        key: of the condition.
    """
    (found,) = (condition for condition in everything() if condition.key == key)
    return "|".join((found.name, *found.also))


@cache
def vocabulary() -> str:
    """List every fact that a text can mention, a line each; equal wordings are one fact."""
    known: dict[str, set[str]] = {}
    for condition in everything():
        for aspect in ASPECTS:
            for fact in condition.facts(aspect):
                merged = set(fact.wordings).union(*(known.get(w, ()) for w in fact.wordings))
                known |= dict.fromkeys(merged, merged)
    return "\n".join(sorted({" | ".join(sorted(wordings)) for wordings in known.values()}))


def _condition(key: str, table: dict[str, Any]) -> Condition:
    return Condition(
        key=key,
        name=table["name"],
        also=tuple(table["also"]),
        field=table["field"],
        what=Fact(tuple(table["what"])),
        signs=tuple(map(_fact, table["signs"])),
        care=tuple(map(_fact, table["care"])),
        flags=tuple(map(_fact, table["flags"])),
        who=Fact((table["who"],)),
        when=Fact((table["when"],)),
        alarm=tuple(table["alarm"]),
        mild=tuple(table["mild"]),
        source=table["source"],
    )


def _fact(words: str) -> Fact:
    return Fact(tuple(wording.strip() for wording in words.split("|")))
