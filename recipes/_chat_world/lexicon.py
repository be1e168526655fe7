"""The lexicon: pools of single words, each word dealt to one split for good."""

import tomllib
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
SPLITS = tuple(SHARES)
LEAST = 4  # so that a small pool still has rivals in each split
PARTS = {"loud": "words", "women": "names", "men": "names"}  # pools inside another pool
COMMON = ("days",)  # too few to be dealt
PROPER = ("names", "women", "men", "towns", "pets")  # pools written with a capital
KEPT = ("days", "numbers")  # pools in which no strange word stands
# Pools whose words stand in for others; the pool of plain words oftener.
STRANGERS = ("names", "pets", "towns", "foods", "activities", "jobs", "colours", "words", "words")
SYLLABLES = (
    "b br d dr f g gl h j k kr l m n p pl r s st t tr v w z",
    "a al an ar e el en er i in is o ol on or u un us",
)
NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven")


@cache
def book(name: str) -> dict[str, Any]:
    """Return one of the TOML files beside this one."""
    text = (Path(__file__).parent / f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@cache
def pools() -> dict[str, tuple[str, ...]]:
    """Return all pools: name -> words, numbers among them as digits."""
    found = {name: tuple(str(text).split()) for name, text in book("words").items()}
    found["names"] = found["women"] + found["men"]
    # Counting stays below twenty, so a lucky number is never a number of a count.
    found["numbers"] = tuple(str(number) for number in range(21, 100))
    return found


@cache
def members(name: str, split: str) -> frozenset[str]:
    """Return the words of `share` as a set."""
    return frozenset(share(name, split))


@cache
def share(name: str, split: str) -> tuple[str, ...]:
    """Return the words of a pool that a split may use; the corpus may use all.

    >>> set(share("names", "train")) & set(share("names", "test"))
    set()
    """
    if split == "corpus" or name in COMMON:
        return pools()[name]
    if name in PARTS:
        return tuple(w for w in share(PARTS[name], split) if w in pools()[name])
    dealt = list(pools()[name])
    Random(f"deal {name}").shuffle(dealt)
    held = {s: max(LEAST, round(SHARES[s] * len(dealt))) for s in ("validation", "test")}
    first, second = held["validation"], held["validation"] + held["test"]
    parts = {"validation": dealt[:first], "test": dealt[first:second], "train": dealt[second:]}
    return tuple(parts[split])


def strange(pool: str, split: str, rng: Random) -> str:
    """Return a word that does not belong in a pool: one of another pool, or a made-up one.

    Who has only met a pool's words answers by habit; with these, only looking back gets it right.

    Args:
        pool: in whose place the word stands, which decides on its capital.
        split: whose words may be taken from other pools.
        rng: the source of choices.
    """
    if rng.random() < 0.5:
        others = [name for name in STRANGERS if name != PARTS.get(pool, pool)]
        word = rng.choice(share(rng.choice(others), split)).lower()
    else:
        word = _made_up(rng)
    return word.capitalize() if pool in PROPER else word


def _made_up(rng: Random) -> str:
    """Return a word of two or three syllables that is in no pool."""
    while True:
        count = rng.choice((2, 2, 3))
        word = "".join(rng.choice(part.split()) for _ in range(count) for part in SYLLABLES)
        if word not in _known():
            return word


@cache
def _known() -> frozenset[str]:
    return frozenset(word.lower() for pool in pools().values() for word in pool)
