"""Puts questions and answers in words; wording.toml keeps some wordings to the test."""

import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

from .conditions import Condition


@cache
def sections() -> dict[str, dict[str, tuple[str, ...]]]:
    """Return wording.toml."""
    text = (Path(__file__).parent / "wording.toml").read_text(encoding="utf-8")
    return {
        section: {share: tuple(lines) for share, lines in found.items()}
        for section, found in tomllib.loads(text).items()
    }


def choices(section: str, split: str) -> tuple[str, ...]:
    """Return the lines that a split may use; validation is worded as training is."""
    found = sections()[section]
    own = split if split in found else "train"
    return found.get("both", ()) + found.get(own, ())


def question(section: str, split: str, rng: Random, **slots: str) -> str:
    """Put a question in words."""
    line = rng.choice(choices(section, split))
    words = line.format(**slots, **{name.capitalize(): capital(s) for name, s in slots.items()})
    return ". ".join(capital(part) for part in words.split(". "))


def answer(section: str, condition: Condition | None = None) -> str:
    """Put an answer in words: key facts in their usual wording and order."""
    urgent = section == "care" and condition is not None and condition.urgent
    (line,) = sections()["care_urgent" if urgent else section]["answer"]
    if condition is None or "{" not in line:
        return line
    facts = [fact.name for fact in condition.care]
    if section not in ("advice", "always"):
        facts = [fact.name for fact in condition.facts(section)]
    said = " ".join(facts) if section == "who" else listed(facts)
    slots = {"who": condition.who.name, "when": condition.when.name}
    return line.format(x=condition.name, X=capital(condition.name), facts=said, **slots)


def listed(words: Sequence[str]) -> str:
    """Join words as a sentence does.

    >>> listed(["rest", "tea", "a dark room"])
    'rest, tea and a dark room'
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def capital(text: str) -> str:
    """Write the first letter large.

    >>> capital("type 2 diabetes")
    'Type 2 diabetes'
    """
    return text[:1].upper() + text[1:]
