"""Likelihoods of labelled tokens, where `light` reads: what rows begin with is read once.

Prompts that were answered within `TransformersDecoder.remembering` are not read again.
"""

# B rows, T places to read, L labelled ones, D width, N labelled tokens of a batch

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor
from torch.nn import functional as F

from ..basemodel.loss import nats_of_each
from ._decode import READ, New, TransformersDecoder
from ._held import Reading

IGNORED = -100  # the label of a token that is not asked about: PyTorch's cross entropy gives it 0
Row = tuple[Sequence[int], Sequence[int]]
Batch = tuple[list[int], Tensor]  # numbers of rows, and what the last layer gives for the places


def nats(decoder: TransformersDecoder, rows: Sequence[Row]) -> list[float]:
    """Sum the negative log-likelihood of each row's labelled tokens; see `Variant.nll`.

    Args:
        decoder: of a model that `light` reads.
        rows: pairs of token ids and labels.
    """
    light = decoder.light
    assert light is not None
    lowest = 0 if decoder.method.virtual_tokens else 1  # nothing stands before the first token
    firsts = [
        next((place for place in range(lowest, len(ids)) if labels[place] != IGNORED), len(ids))
        for ids, labels in rows
    ]
    found = [0.0] * len(rows)
    asked = {row: firsts[row] for row, (ids, _) in enumerate(rows) if firsts[row] < len(ids)}
    heads = {row: tuple(rows[row][0][:first]) for row, first in asked.items()}
    known = {row: read for row, head in heads.items() if (read := decoder.remembered(head))}
    others = [row for row in asked if row not in known]
    parts = _behind(decoder, rows, firsts, known), _read(decoder, rows, firsts, others)
    for batch, x_BLD in chain(*parts):
        ends = [torch.tensor(rows[row][1][firsts[row] :]) for row in batch]
        sizes = torch.tensor([len(labels_L) for labels_L in ends])
        asked_BL = torch.arange(x_BLD.shape[1]) >= x_BLD.shape[1] - sizes[:, None]
        nats_N = nats_of_each(light.logits, x_BLD[asked_BL], torch.cat(ends), light.vocabulary)
        each = torch.split(nats_N.double(), sizes.tolist())
        for row, nats_L in zip(batch, each, strict=True):
            found[row] = float(nats_L.sum())
    return found


def _read(
    decoder: TransformersDecoder, rows: Sequence[Row], firsts: Sequence[int], asked: Sequence[int]
) -> Iterator[Batch]:
    """Read rows that were not read before."""
    if not asked:
        return
    ids = [rows[row][0][:-1] for row in asked]
    # A first token is scored behind its row's own slots, so then nothing is read beforehand.
    apart = all(firsts[row] for row in asked)
    begun = decoder.begun([rows[row][0][: firsts[row] if apart else 0] for row in asked])
    for batch, new in decoder.batches(ids, begun):
        taken = [asked[number] for number in batch]
        most = max(len(rows[row][0]) - firsts[row] for row in taken)
        yield taken, decoder.hidden(new, most)


def _behind(
    decoder: TransformersDecoder,
    rows: Sequence[Row],
    firsts: Sequence[int],
    known: Mapping[int, Reading],
) -> Iterator[Batch]:
    """Read what follows prompts that were read."""
    together: dict[int, list[int]] = {}
    for row, before in known.items():
        together.setdefault(id(before.memory), []).append(row)
    for every in together.values():
        every.sort(key=lambda row: len(rows[row][0]) - firsts[row])
        for start in range(0, len(every), READ):
            batch = every[start : start + READ]
            rests = [rows[row][0][firsts[row] : -1] for row in batch]
            yield batch, _followed(decoder, [known[row] for row in batch], rests)


def _followed(
    decoder: TransformersDecoder, before: Sequence[Reading], rests: Sequence[Sequence[int]]
) -> Tensor:
    """Read what follows prompts that were read together; they stay as they are.

    Args:
        decoder: read the prompts.
        before: a prompt for each row.
        rests: the tokens behind them, which may be none.

    Returns:
        What the last layer gives for the last token of each prompt and for all behind it, at
        the right of B x L x D.
    """
    sizes_B = torch.tensor([len(rest) for rest in rests])
    last_BD, length = torch.stack([one.last_D for one in before]), int(sizes_B.max())
    x_BTD = last_BD[:, None, :].expand(-1, length, -1)
    if length:
        ids_BT, text_BT = decoder.padded(rests)
        memory = before[0].memory.keep(torch.tensor([one.row for one in before]))
        positions_BT = (memory.next_B[:, None] + text_BT.cumsum(1) - 1).clamp(min=0)
        memory.mask_BK = torch.cat([memory.mask_BK, text_BT], 1)
        inputs = decoder.method.inputs(decoder.model, ids_BT, None)
        x_BTD = decoder.hidden(New(inputs, positions_BT, text_BT, memory), length)
    x_BLD = F.pad(x_BTD, (0, 0, 1, 0))
    x_BLD[torch.arange(len(before)), length - sizes_B] = last_BD
    return x_BLD
