"""Requests for small Python functions, which do something with those of a list that pass a test."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ftkit.config import read_toml

from .._split import digest
from ._sample import Sample

TESTS, CHECKS = 15, 10  # of a hundred functions, so many are in the test and in validation


@dataclass(frozen=True)
class Function:
    """One function and an example to run it on.

    Args:
        name: as it is defined.
        does: what is done, by its name in code.toml.
        requests: what it is asked for with, in several wordings.
        code: that answers all of them.
        given: a list to call it with.
        holds: what of that list passes the function's test.
    """

    name: str
    does: str
    requests: tuple[str, ...]
    code: str
    given: tuple[Any, ...]
    holds: tuple[Any, ...]


def code(split: str, seed: int, count: int) -> list[Sample]:
    """Draw requests; all wordings of one function lie in one split.

    Args:
        split: of the functions.
        seed: of the order.
        count: how many at most; there are about 570 in all.
    """
    rows = [
        Sample(request, function.code, function.name, (function.does,))
        for function in functions()
        if _split(function.name) == split
        for request in function.requests
    ]
    random.Random(f"{split} {seed}").shuffle(rows)
    return rows[:count]


def _split(name: str) -> str:
    """Deal a function to a split for good."""
    place = digest(name) % 100
    return "test" if place < TESTS else "validation" if place < TESTS + CHECKS else "train"


def functions() -> Iterator[Function]:
    """Yield every function that the pieces make."""
    pieces = _pieces()
    for things in ("numbers", "words"):
        about = pieces[things]
        for does, how in (pieces["does"] | pieces[f"does_{things}"]).items():
            for which, what in about["which"].items():
                name = f"{does}_{which}"
                fill = {"c": what["words"], "t": what["test"], "x": about["x"], "xs": about["xs"]}
                head = f"{name}({about['xs']})"
                yield Function(
                    name,
                    does,
                    tuple(
                        f"Write a Python function {head} that {words.format(**fill)}."
                        for words in how["words"]
                    ),
                    f"def {head}:\n    {how['code'].format(**fill)}",
                    tuple(about["given"]),
                    tuple(what["holds"]),
                )


@lru_cache(maxsize=1)
def _pieces() -> dict[str, Any]:
    return read_toml(Path(__file__).with_name("code.toml"))
