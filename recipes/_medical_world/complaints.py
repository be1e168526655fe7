"""Complaints in general words, for corpus and training rows: what is an emergency and what not.

They are said of anybody and beside any condition. Validation and test complain in the words of
their own conditions (conditions_*.toml), and no complaint here shares five words in a row with one
of those.
"""

import re
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

from .conditions import Condition

GENERAL = 0.7  # share of complaints to learn from that are in these words
NAMED = 0.35  # share of those that complain of a sign or a red flag by its name
MINE = (
    "I have {fact}",
    "I notice {fact}",
    "there is {fact}",
    "I came home with {fact}",
    "I woke up with {fact}",
    "it began with {fact}",
)
THEIRS = (
    "{s} has {fact}",
    "{s} complains of {fact}",
    "{s} woke up with {fact}",
    "{s} came home with {fact}",
    "I see that {s} has {fact}",
    "{s} says that {he} has {fact}",
)
# Signs that could be taken for a red flag, and what nobody complains of in these frames.
GRAVE = re.compile(
    "breath|chest|blood|vomit|sick|fit|jerk|confus|yellow|memory|dazed|spell|heart|gasp|jaw|arm"
    "|mostly|find|readings|relief|flatten"
)
DOING = re.compile(r"(?:being|not|\w+ing)\b")  # "being hard to wake", which nobody "has"
PRONOUNS = {
    ("he", "him", "his"): "father son husband brother uncle grandfather neighbour friend",
    ("she", "her", "her"): "mother daughter wife sister aunt grandmother neighbour friend",
}
PEOPLE = tuple((f"my {who}", said) for said, them in PRONOUNS.items() for who in them.split())


@cache
def families(urgent: bool) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """Return each family's complaints about oneself and about another person."""
    name = "alarms" if urgent else "milds"
    text = (Path(__file__).parent / f"{name}.toml").read_text(encoding="utf-8")
    return tuple(
        (tuple(found["mine"]), tuple(found["theirs"])) for found in tomllib.loads(text).values()
    )


def complaint(urgent: bool, among: Sequence[Condition], rng: Random) -> str:
    """Return a complaint.

    Args:
        urgent: whether it is an emergency.
        among: conditions whose signs or red flags may be complained of by name.
        rng: the source of choices.
    """
    own = rng.random() < 0.5
    who, (he, him, his) = rng.choice(PEOPLE)
    if rng.random() < NAMED:
        fact = rng.choice(_named(urgent, tuple(among)))
        # The same frames for both, so that only what is complained of tells them apart.
        frame = rng.choice(MINE if own else THEIRS)
        return frame.format(s=who, he=he, fact=fact)
    mine, theirs = rng.choice(families(urgent))
    return rng.choice(mine if own else theirs).format(s=who, he=he, him=him, his=his)


@cache
def _named(urgent: bool, among: tuple[Condition, ...]) -> tuple[str, ...]:
    """Return wordings of red flags, or of signs of which none could be mistaken for one."""
    found = (
        wording
        for condition in among
        if urgent or not condition.urgent
        for fact in (condition.flags if urgent else condition.signs)
        if urgent or not GRAVE.search(fact.line)
        for wording in fact.wordings
    )
    return tuple(wording for wording in found if not DOING.match(wording))
