"""Validation: nats per token and bits per byte of documents that training has never seen."""

# B rows, T positions.

import math
from collections.abc import Sequence

import torch

from .bigram import Bigram
from .device import Device
from .model import GPT
from .tokenizer import Tokenizer
from .tokens import Rows


class Held:
    """Held-out documents, each read by itself; longer ones than the context in several rows.

    A document counts its text and the token that closes it; the one that opens it is only read.
    """

    def __init__(self, texts: Sequence[str], tokenizer: Tokenizer, context: int, rows: int) -> None:
        frame = tokenizer.frame
        first = frame.closing if frame.opening is None else frame.opening
        self.bytes = sum(len(text.encode()) for text in texts)
        documents = [[first, *ids, frame.closing] for ids in tokenizer.encode_many(texts)]
        self.tokens = sum(len(ids) - 1 for ids in documents)
        pieces = [
            ids[place : place + context + 1]
            for ids in documents
            for place in range(0, len(ids) - 1, context)
        ]
        pieces.sort(key=len)
        self._batches = [
            _padded(pieces[place : place + rows], frame.pad)
            for place in range(0, len(pieces), rows)
        ]

    @torch.no_grad()
    def check(self, gpt: GPT, device: Device) -> dict[str, float]:
        """Return `nats` per token and `bits_per_byte` of the text."""
        total, training = 0.0, gpt.training
        gpt.eval()
        for batch in self._batches:
            with device.autocast():
                here = batch.to(device.torch_device)
                total += gpt.nats(here.ids_BT, here.labels_BT).item()
        gpt.train(training)
        return self._said(total)

    def bigram(self, counted: Bigram) -> dict[str, float]:
        """Return the same of a bigram model: what there is to beat."""
        return self._said(counted.nats((batch.ids_BT, batch.labels_BT) for batch in self._batches))

    def _said(self, total: float) -> dict[str, float]:
        return {
            "nats": total / self.tokens,
            "bits_per_byte": total / math.log(2) / self.bytes,
        }


def _padded(pieces: Sequence[Sequence[int]], pad: int) -> Rows:
    longest = max(map(len, pieces))
    ids_BT = torch.tensor([[*piece, *[pad] * (longest - len(piece))] for piece in pieces])
    labels_BT = ids_BT[:, 1:].clone()
    for row, piece in enumerate(pieces):
        labels_BT[row, len(piece) - 1 :] = -100
    return Rows(ids_BT[:, :-1], labels_BT, sum(map(len, pieces)) - len(pieces))
