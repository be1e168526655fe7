"""Likelihoods of texts behind prompts: references, labels and candidates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ftkit.errors import FtkitError

from ..adapters._variant import Variant
from ._ask import Asked

Row = tuple[Sequence[int], Sequence[int]]


@dataclass(frozen=True)
class Scores:
    """Likelihoods by an item's place; what did not fit the context is missing."""

    nlls: dict[int, float]
    labels: dict[int, dict[str, float]]


def likelihoods(variant: Variant, rows: Sequence[Row]) -> list[float]:
    """Give `Variant.nll` of rows.

    Raises:
        FtkitError: where one is no number; statistics would leave it out as if nobody had asked.
    """
    return numbers(variant, variant.nll(rows))


def numbers(variant: Variant, nats: Sequence[float]) -> list[float]:
    """Refuse a model of which a likelihood is no number, or has no end."""
    if not all(map(math.isfinite, nats)):
        dtype = str(variant.model.dtype).removeprefix("torch.")
        raise FtkitError(
            f"{variant.folder} computes nan or infinity in {dtype}: its numbers are too large for "
            "this precision, or its weights are damaged; another --dtype tells"
        )
    return [*nats]


def scored(variant: Variant, items: Sequence[Asked]) -> Scores:
    """Score references and labels together: one prompt stands before all of an item's.

    Only items whose every row fits the context are scored.
    """
    rows: dict[tuple[int, int], Row] = {}
    for place, item in enumerate(items):
        if all(len(ids) <= variant.context for ids, _ in item.rows):
            rows |= {(place, number): row for number, row in enumerate(item.rows)}
    nats = dict(zip(rows, likelihoods(variant, list(rows.values())), strict=True))
    found = Scores({}, {})
    for place, item in enumerate(items):
        if (place, 0) in nats:
            found.nlls[place] = nats[place, 0]
            found.labels[place] = {
                label: nats[place, number] for number, label in enumerate(item.labels, 1)
            }
    return found
