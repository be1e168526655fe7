"""Reviews, positive or negative as a whole: clauses of both kinds in a frame that decides."""

import random
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from ftkit.config import read_toml

from ._sample import Sample

LABELS = ("positive", "negative")
START = re.compile(r"(?:^|(?<=[.!?] ))[a-z]")


def sentiment(split: str, seed: int, count: int) -> list[Sample]:
    """Draw reviews, half of them positive.

    Args:
        split: whose domains and verdicts are used; no other split has them.
        seed: of the draw.
        count: how many.
    """
    draw = random.Random(f"{split} {seed}")
    found = dict[str, Sample]()
    while len(found) < count:
        made = _review(draw, split, LABELS[len(found) % 2])
        found.setdefault(made.request, made)
    return list(found.values())


def _review(draw: random.Random, split: str, label: str) -> Sample:
    """Draw a kind of frame, a frame, and what it says of one domain."""
    pieces, other = _pieces(), LABELS[label == "positive"]
    domain, said = draw.choice(sorted(pieces[split]["of"].items()))
    first, second, third = draw.sample(range(len(said[label])), 3)
    kind = draw.choice(sorted(pieces["frames"]))
    text = draw.choice(pieces["frames"][kind]).format(
        l=said[label][first],
        m=said[label][second],
        o=said[other][third],
        v=draw.choice(pieces[split][label]),
    )
    text = START.sub(lambda letter: letter.group().upper(), text)
    return Sample(f"Is this review positive or negative?\n{text}", label, domain, (label, kind))


def clauses(split: str) -> Iterator[str]:
    """Yield every clause and verdict that a split's reviews are made of."""
    pieces = _pieces()[split]
    for label in LABELS:
        yield from pieces[label]
        for said in pieces["of"].values():
            yield from said[label]


@lru_cache(maxsize=1)
def _pieces() -> dict[str, Any]:
    return read_toml(Path(__file__).with_name("sentiment.toml"))
