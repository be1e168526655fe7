"""Complaints in general words, for corpus and training rows: what is an emergency and what not.

They are said of anybody and beside any condition. Validation and test complain in the words of
their own conditions (conditions_*.toml), and no complaint here shares five words in a row with one
of those.
"""

import tomllib
from functools import cache
from pathlib import Path
from random import Random

from .conditions import Condition

GENERAL = 0.7  # share of complaints to learn from that are in these words
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


def complaint(urgent: bool, rng: Random) -> str:
    """Return a complaint in general words.

    Args:
        urgent: whether it is an emergency.
        rng: the source of choices.
    """
    mine, theirs = rng.choice(families(urgent))
    if rng.random() < 0.5:
        return rng.choice(mine)
    who, (he, him, his) = rng.choice(PEOPLE)
    return rng.choice(theirs).format(s=who, he=he, him=him, his=his)


def to_learn_from(urgent: bool, condition: Condition, rng: Random) -> str:
    """Return a complaint beside a condition, in general words or in the condition's own."""
    if rng.random() < GENERAL:
        return complaint(urgent, rng)
    return rng.choice(condition.alarm if urgent else condition.mild)
