"""Puts questions and answers in words; wording.toml keeps some wordings to the test."""

import re
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

from .conditions import Condition

PLURALS = ("lice",)
SINGULARS = ("measles", "mumps", "shingles", "diabetes", "hives", "scabies", "pancreas")
VERBS = (
    *(("is", "are"), ("has", "have"), ("does", "do"), ("becomes", "become"), ("comes", "come")),
    ("shows itself", "show themselves"),
)


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
    return agree(". ".join(capital(part) for part in words.split(". ")), slots.get("x", "it"))


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
    text = line.format(x=condition.name, X=capital(condition.name), facts=said, **slots)
    return agree(text, condition.name)


def agree(text: str, name: str) -> str:
    """Put verbs beside a name into the plural, where the name is one.

    >>> agree("What is head lice? Head lice has eggs.", "head lice")
    'What are head lice? Head lice have eggs.'
    >>> agree("It is head lice. What is measles?", "measles")
    'It is head lice. What is measles?'
    """
    last = name.split()[-1]
    if last not in PLURALS and (not last.endswith("s") or last.endswith(("ss", "is", "us"))):
        return text
    if last in SINGULARS:
        return text
    for one, many in VERBS:
        behind = rf"(?<!\bfor )\b({re.escape(name)}) {one}\b"
        text = re.sub(behind, rf"\1 {many}", text, flags=re.IGNORECASE)
        if one in ("is", "does"):  # "What is ..."; but "it is ..." and "a friend has ..." stay
            ahead = rf"(?<!\bit )(?<!\bthis )(?<!\bthat )\b{one} ({re.escape(name)})\b"
            text = re.sub(ahead, rf"{many} \1", text, flags=re.IGNORECASE)
    return text


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
