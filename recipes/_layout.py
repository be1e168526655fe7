"""How rows are laid out for training: how wide, how many an update, which share a beginning."""

import random
from collections.abc import Sequence

import torch

from ..adapters._forward import APART, Forward, causal, keeps_apart, windowed
from ._alike import Alike
from ._check import Encoded
from ._flat import Flat
from ._pack import STEP, Packer, row_width

ROW = 128  # tokens of a packed row at least: narrower ones waste more in gaps than attention saves
KINDS = 8  # of beginnings that an update has room for: one alone would teach what is true of it
MASKED = ("sdpa", "eager")  # attentions of transformers that take a mask as it is


def packers(
    parts: Sequence[Encoded],
    forward: Forward,
    pad: int,
    *,
    batch: int,
    accumulate: int,
    sharing: int,
    seed: int,
) -> tuple[Packer, Packer]:
    """Lay the rows of both splits out, just as wide as they need: attention costs the square.

    Args:
        parts: what is trained on, and what is held out.
        forward: the model with its method.
        pad: the id for places that hold no token.
        batch: tokens of an update, slots included, shared ones counted for every row.
        accumulate: micro-batches of an update.
        sharing: most rows that share a beginning; fewer where an update has no room for KINDS.
        seed: of the order.
    """
    method, train = forward.method, parts[0]
    slots = method.virtual_tokens
    packable = method.packable and keeps_apart(forward, [item.ids for item in train.items[:2]])
    # Two kinds at least in an update: rows of one alone would say what is true of it alone.
    most, room = sharing if packable else 1, batch // KINDS - slots
    alike = [Alike.of(part.items, most, room) for part in parts]
    if not keeps_together(forward, train.items, alike[0], pad):
        alike = [Alike.of(part.items, 1) for part in parts]
    sizes = _sizes(train.items, alike[0], slots)
    whole = int(train.items.sizes.sum()) + slots * len(train.items)
    places = -(-batch * sum(sizes) // whole // STEP) * STEP if alike[0].kinds else batch
    longest = slots + max(*(part.part.longest for part in parts), *(each.widest for each in alike))
    width = row_width(sizes, max(ROW, longest), places if packable else 0)
    first, second = (
        Packer(
            part.items,
            width,
            max(1, places // width),
            parts=cut,
            slots=slots,
            pad=pad,
            seed=seed,
            packable=packable,
            alike=kinds,
            where=part.where,
        )
        for part, kinds, cut in zip(parts, alike, (accumulate, 1), strict=True)
    )
    return first, second


def _sizes(items: Flat, alike: Alike, slots: int) -> list[int]:
    """Count the places of rows that stand side by side."""
    sizes, shared = (items.sizes + slots).tolist(), (alike.shared + slots).tolist()
    return [
        sum(sizes[row] for row in rows) - (len(rows) - 1) * shared[rows[0]]
        for rows in alike.together(random.Random(0))
    ]


@torch.no_grad()
def keeps_together(forward: Forward, items: Flat, alike: Alike, pad: int) -> bool:
    """Try whether a row that goes on from another's beginning is read as it is alone.

    Not every family takes a mask that says so, or the positions.

    Args:
        forward: the model with its method.
        items: rows.
        alike: which of them begin alike; without any there is nothing to try.
        pad: the id for places that hold no token.
    """
    if not alike.kinds:
        return True
    inner = causal(forward.model)
    if windowed(inner.config) or inner.config._attn_implementation not in MASKED:
        return False
    pair = alike.kinds[0][0][:2]
    slots, training = forward.method.virtual_tokens, inner.training
    packer = Packer(items, int(items.sizes.max()) * 2 + slots, 1, slots=slots, pad=pad, alike=alike)
    forward.model.eval()
    both, alone = (packer.collate([rows]).to(inner.device) for rows in (pair, pair[1:]))
    together, own = (
        forward.logits(each.ids_BT, each.positions_BT, each.slots_BT, each.where_N)
        for each in (both, alone)
    )
    forward.model.train(training)
    return bool((together[-len(own) :] - own).abs().max() <= APART * own.abs().max())
