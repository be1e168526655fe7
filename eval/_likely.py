"""Likelihoods of texts behind prompts: references, labels, candidates and the replies."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..adapters._variant import Variant
from ..basemodel.generate import Generated
from ._ask import Asked

SAID = -1  # numbers the row of a reply among an item's; the reference's is 0
Row = tuple[Sequence[int], Sequence[int]]


@dataclass(frozen=True)
class Scores:
    """Likelihoods by an item's place; what did not fit the context is missing."""

    nlls: dict[int, float]
    labels: dict[int, dict[str, float]]
    said: dict[int, float]


def scored(variant: Variant, items: Sequence[Asked], replies: Sequence[Generated]) -> Scores:
    """Score references, labels and replies together: one prompt stands before all of an item's.

    References and labels are for items whose every row fits the context, replies for those without
    labels; a reply that is the reference is not read again.
    """
    rows: dict[tuple[int, int], Row] = {}
    for place, (item, reply) in enumerate(zip(items, replies, strict=True)):
        own = item.rows
        if fits := all(len(ids) <= variant.context for ids, _ in own):
            rows |= {(place, number): row for number, row in enumerate(own)}
        if reply.ids and not item.labels and not (fits and reply.ids == item.target):
            rows[place, SAID] = item.behind(reply.ids)
    nats = dict(zip(rows, variant.nll(list(rows.values())), strict=True))
    found = Scores({}, {}, {})
    for place, (item, reply) in enumerate(zip(items, replies, strict=True)):
        if (place, 0) in nats:
            found.nlls[place] = nats[place, 0]
            found.labels[place] = {
                label: nats[place, number] for number, label in enumerate(item.labels, 1)
            }
        if reply.ids and not item.labels:
            found.said[place] = nats.get((place, SAID), nats.get((place, 0), 0.0))
    return found
