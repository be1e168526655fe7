"""How rows are laid out for training: how wide, how many an update, which share a beginning."""

import random
from collections.abc import Sequence

import torch

from ..adapters._forward import APART, Forward, causal, keeps_apart, windowed
from ._alike import Alike
from ._check import Encoded
from ._flat import Flat
from ._pack import Packer, row_width

ROW = 128  # tokens of a packed row at least: narrower ones waste more in gaps than attention saves
MASKED = ("sdpa", "eager")  # attentions of transformers that take a mask as it is
ENOUGH = 32  # labels, the last ones, by which a trial is judged


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
        sharing: most rows that share a beginning; fewer where an update would hold few of them.
        seed: of the order.
    """
    method, train = forward.method, parts[0]
    slots = method.virtual_tokens
    packable = method.packable and keeps_apart(forward, [item.ids for item in train.items[:2]])
    whole = int(train.items.sizes.sum()) + slots * len(train.items)
    update = max(1, round(batch * len(train.items) / whole))
    most = sharing if packable and takes_masks(forward) else 1
    longest = slots + max(part.part.longest for part in parts)
    room = min(batch // 2, 2 * longest) - slots  # behind a mask, wide rows cost the square
    alike = [Alike.of(part.items, most, room, update) for part in parts]
    trials = zip(parts, alike, strict=True)
    if not all(keeps_together(forward, part.items, kinds, pad) for part, kinds in trials):
        alike = [Alike.of(part.items, 1) for part in parts]
    sizes = _sizes(train.items, alike[0], slots)
    longest = max(longest, *(slots + each.widest for each in alike))
    # As many examples in an update as there would be of whole ones, if not to the row.
    places = int(batch * sum(sizes) / whole) if alike[0].kinds else batch
    width = row_width(sizes, max(ROW, longest), places if packable else 0)
    rows = round(places / width) if alike[0].kinds else places // width
    first, second = (
        Packer(
            part.items,
            width,
            max(1, rows),
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


def _sum(items: Flat, rows: Sequence[int]) -> int:
    return int(items.sizes[list(rows)].sum())


def takes_masks(forward: Forward) -> bool:
    """Say whether a model's attention, of which no layer has a window, takes a mask as it is."""
    config = causal(forward.model).config
    return not windowed(config) and config._attn_implementation in MASKED


@torch.no_grad()
def keeps_together(forward: Forward, items: Flat, alike: Alike, pad: int) -> bool:
    """Try whether a row that goes on from another's beginning is read as it is alone.

    Not every family takes the mask that says so, or the positions.

    Args:
        forward: the model with its method.
        items: rows.
        alike: which of them begin alike; without any there is nothing to try.
        pad: the id for places that hold no token.
    """
    if not alike.kinds:
        return True
    inner = causal(forward.model)
    row = max(
        alike.together(random.Random(0)), key=lambda rows: len(rows) > 1 and _sum(items, rows)
    )
    slots, training = forward.method.virtual_tokens, inner.training
    packer = Packer(items, _sum(items, row) + slots, 1, slots=slots, pad=pad, alike=alike)
    forward.model.eval()
    found = []
    for each in (row, row[-1:]):
        batch = packer.collate([each]).to(inner.device)
        ends_N = batch.where_N[-ENOUGH:]
        found.append(forward.logits(batch.ids_BT, batch.positions_BT, batch.slots_BT, ends_N))
    forward.model.train(training)
    size = min(map(len, found))
    together, own = (each[-size:] for each in found)
    return bool((together - own).abs().max() <= APART * own.abs().max())
