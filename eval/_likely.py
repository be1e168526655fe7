"""Likelihoods of texts behind prompts: references, labels and candidates."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..adapters._variant import Variant
from ._ask import Asked

Row = tuple[Sequence[int], Sequence[int]]


@dataclass(frozen=True)
class Scores:
    """Likelihoods by an item's place; what did not fit the context is missing."""

    nlls: dict[int, float]
    labels: dict[int, dict[str, float]]


def scored(variant: Variant, items: Sequence[Asked]) -> Scores:
    """Score references and labels together: one prompt stands before all of an item's.

    Only items whose every row fits the context are scored.
    """
    rows: dict[tuple[int, int], Row] = {}
    for place, item in enumerate(items):
        if all(len(ids) <= variant.context for ids, _ in item.rows):
            rows |= {(place, number): row for number, row in enumerate(item.rows)}
    nats = dict(zip(rows, variant.nll(list(rows.values())), strict=True))
    found = Scores({}, {})
    for place, item in enumerate(items):
        if (place, 0) in nats:
            found.nlls[place] = nats[place, 0]
            found.labels[place] = {
                label: nats[place, number] for number, label in enumerate(item.labels, 1)
            }
    return found
