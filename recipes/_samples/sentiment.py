"""Reviews, positive or negative as a whole: clauses of both kinds in a frame that decides."""

import random
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from ftkit.config import read_toml

from .._split import digest
from ._sample import Sample

LABELS = ("positive", "negative")
# How often each kind of frame comes: words must speak for their label more often than against it,
# or a small model finds nothing to begin with.
OFTEN = {"plain": 5, "contrast": 3, "negation": 2}
TESTS, CHECKS = 0.15, 0.1  # shares of a scene's clauses that are kept for test and validation
IDLE = 1000  # reviews in turn that came before, after which there are no more
START = re.compile(r"(?:^|(?<=[.!?] ))[a-z]")


def sentiment(split: str, seed: int, count: int) -> list[Sample]:
    """Draw reviews, half of them positive; no clause lies in two splits, though its words do.

    Args:
        split: whose clauses are used.
        seed: of the draw.
        count: how many at most; clauses make only so many.
    """
    draw = random.Random(f"{split} {seed}")
    found, idle = dict[str, Sample](), 0
    while len(found) < count and idle < IDLE:
        made = _review(draw, split, LABELS[len(found) % 2])
        idle = idle + 1 if made.request in found else 0
        found.setdefault(made.request, made)
    return list(found.values())


def _review(draw: random.Random, split: str, label: str) -> Sample:
    """Draw a kind of frame, a frame, and what it says of things in one scene."""
    other = LABELS[label == "positive"]
    scene = draw.choice(sorted(_pieces()["scenes"]))
    said, against, verdicts = (
        clauses(split, *which) for which in ((scene, label), (scene, other), ("", label))
    )
    first, second = draw.sample(said, 2)
    (kind,) = draw.choices(list(OFTEN), list(OFTEN.values()))
    text = draw.choice(_pieces()["frames"][kind]).format(
        l=first, m=second, o=draw.choice(against), v=draw.choice(verdicts)
    )
    text = START.sub(lambda letter: letter.group().upper(), text)
    return Sample(f"Is this review positive or negative?\n{text}", label, text, (label, kind))


@lru_cache(maxsize=128)
def clauses(split: str, scene: str, label: str) -> tuple[str, ...]:
    """List the clauses that a split may use.

    Args:
        split: to which a clause is dealt for good.
        scene: whose things are judged; "" for the verdicts.
        label: of the clauses.
    """
    pieces = _pieces()
    about = pieces["scenes"][scene] if scene else pieces["verdicts"]
    made = [
        f"{thing} {says}"
        for kind, things in about.items()
        for thing in things
        for says in pieces["says"][kind][label]
    ]
    made.sort(key=digest)
    test = max(2, round(TESTS * len(made)))
    checks = test + max(2, round(CHECKS * len(made)))
    parts = {"test": made[:test], "validation": made[test:checks], "train": made[checks:]}
    return tuple(parts[split])


@lru_cache(maxsize=1)
def _pieces() -> dict[str, Any]:
    return read_toml(Path(__file__).with_name("sentiment.toml"))
