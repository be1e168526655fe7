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
