"""The mix: how often each kind of ask is drawn, and how long its query may be."""

import re
from collections.abc import Callable
from random import Random

from .asks import (
    aggregating,
    counting,
    counting_nested,
    distinct,
    grouping,
    having,
    listing,
    listing_nested,
    listing_ordered,
    most_common,
    top,
)
from .joins import joined_list, joined_number, joined_top, joined_twice, sets
from .parts import Ask, Nothing
from .scene import Scene

KINDS: tuple[tuple[Callable[[Scene], Ask], float], ...] = (
    (listing, 12),
    (listing_nested, 9),
    (listing_ordered, 6),
    (counting, 6),
    (counting_nested, 4),
    (aggregating, 6),
    (distinct, 6),
    (lambda scene: grouping(scene, 0), 10),
    (lambda scene: having(scene, 0), 5),
    (lambda scene: most_common(scene, 0), 5),
    (top, 8),
    (joined_list, 20),
    (joined_number, 6),
    (joined_top, 5),
    (lambda scene: grouping(scene, 1), 8),
    (lambda scene: having(scene, 1), 5),
    (lambda scene: most_common(scene, 1), 5),
    (joined_twice, 3),
    (sets, 7),
)
LONGEST = 58  # words, numbers and marks of a query: about as many tokens
_PIECES = re.compile(r"[A-Za-z]+|\d+|[^\sA-Za-z\d]+")
_CUMULATIVE = tuple(sum(weight for _, weight in KINDS[: i + 1]) for i in range(len(KINDS)))


def draw(scene: Scene, rng: Random) -> Ask:
    """Draw one ask that the schema allows."""
    while True:
        ((kind, _),) = rng.choices(KINDS, cum_weights=_CUMULATIVE)
        try:
            ask = kind(scene)
        except Nothing:
            continue
        if len(_PIECES.findall(ask.sql)) <= LONGEST:
            return ask
