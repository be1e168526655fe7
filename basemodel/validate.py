"""Validation: nats per token and bits per byte of documents that training has never seen."""

# B rows, T positions.

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .device import Device
from .tokenizer import BOS, END, PAD, Tokenizer
from .tokens import Rows

Loss = Callable[[torch.nn.Module, Rows], Tensor]


class Held:
    """Held-out documents, tokenised and cut into rows of one context.

    Each document counts its text and the <|end|> that closes it; <|bos|> is only read.
    """

    def __init__(self, texts: Sequence[str], tokenizer: Tokenizer, context: int, rows: int) -> None:
        bos, end, pad = (tokenizer.id(token) for token in (BOS, END, PAD))
        self.bytes = sum(len(text.encode()) for text in texts)
        ids = [token for row in tokenizer.encode_many(texts) for token in (bos, *row, end)]
        labels = [-100 if token == bos else token for token in ids[1:]]
        self.tokens = sum(label >= 0 for label in labels)
        spare = -len(labels) % context
        ids_NT = torch.tensor(ids[:-1] + [pad] * spare).view(-1, context)
        labels_NT = torch.tensor(labels + [-100] * spare).view(-1, context)
        self._batches = [
            Rows(ids_NT[first : first + rows], labels_BT, int((labels_BT >= 0).sum()))
            for first in range(0, len(ids_NT), rows)
            for labels_BT in [labels_NT[first : first + rows]]
        ]

    @torch.no_grad()
    def check(self, model: torch.nn.Module, loss: Loss, device: Device) -> dict[str, float]:
        """Return `nats` per token and `bits_per_byte` of the text."""
        total = 0.0
        for batch in self._batches:
            with device.autocast():
                total += loss(model, batch.to(device.torch_device)).item()
        return {
            "nats": total / self.tokens,
            "bits_per_byte": total / math.log(2) / self.bytes,
        }
