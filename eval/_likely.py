"""Likelihoods of texts behind prompts: references, labels, candidates and the replies."""

from collections.abc import Sequence

from ..adapters._variant import Variant
from ..basemodel.generate import Generated
from ._ask import Asked

SCORED = 16  # references at a time on a CPU, whose caches more would overflow (twice as slow at 64)
Row = tuple[Sequence[int], Sequence[int]]


def scored(
    variant: Variant, items: Sequence[Asked]
) -> tuple[dict[int, float], dict[int, dict[str, float]]]:
    """Score the references and labels of the items whose every row fits the context, by place."""
    rows = [(place, row) for place, item in enumerate(items) for row in item.rows]
    long = {place for place, (ids, _) in rows if len(ids) > variant.context}
    fit = [place for place in range(len(items)) if place not in long]
    found = iter(likelihoods(variant, [row for place, row in rows if place not in long]))
    nlls, labels = dict[int, float](), dict[int, dict[str, float]]()
    for place in fit:
        nlls[place] = next(found)
        labels[place] = {label: next(found) for label in items[place].labels}
    return nlls, labels


def said(
    variant: Variant, items: Sequence[Asked], replies: Sequence[Generated], nlls: dict[int, float]
) -> dict[int, float]:
    """Score the replies to items that have no labels; one that is the reference is scored."""
    pairs = enumerate(zip(items, replies, strict=True))
    given = {place: reply.ids for place, (item, reply) in pairs if reply.ids and not item.labels}
    same = {place for place, ids in given.items() if ids == items[place].target and place in nlls}
    rest = [place for place in given if place not in same]
    found = likelihoods(variant, [items[place].behind(given[place]) for place in rest])
    return {place: nlls[place] for place in same} | dict(zip(rest, found, strict=True))


def likelihoods(variant: Variant, rows: Sequence[Row]) -> list[float]:
    """Sum each row's negative log-likelihood in nats, in pieces that suit the device.

    Args:
        variant: what reads.
        rows: ids and labels; see `Variant.nll`.
    """
    size = SCORED if variant.decoder.device.type == "cpu" else len(rows)
    order = sorted(range(len(rows)), key=lambda place: len(rows[place][0]))
    found: dict[int, float] = {}
    for first in range(0, len(rows), max(1, size)):
        places = order[first : first + size]
        nats = variant.nll([rows[place] for place in places])
        found |= dict(zip(places, nats, strict=True))
    return [found[place] for place in range(len(rows))]
