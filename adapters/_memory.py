"""What a decoder remembers of a batch: keys and values, laid so that a step copies none of them."""

# B rows, T new positions, K places, H key heads, D width of a head

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

STEP_ROOM = 32  # places that a cache gains when it is full


class Room(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values of one layer in a buffer with room to grow.

    Args:
        keys_BHKD: what is there already; None for nothing.
        values_BHKD: the same.
        room: how many of their last places are free.
        text_BT: which of the tokens to come are no pads, where they come over what is there.
    """

    keys: Tensor
    values: Tensor

    def __init__(
        self,
        keys_BHKD: Tensor | None = None,
        values_BHKD: Tensor | None = None,
        room: int = 0,
        text_BT: Tensor | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.used, self.text_BT = 0, text_BT
        if keys_BHKD is not None and values_BHKD is not None:
            self.lazy_initialization(keys_BHKD, values_BHKD)
            self.keys, self.values = keys_BHKD, values_BHKD
            self.used = keys_BHKD.shape[2] - room

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append keys and values; return all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        self.keys = self._append(self.keys, key_states)
        self.values = self._append(self.values, value_states)
        self.used += key_states.shape[2]
        return self.keys[:, :, : self.used], self.values[:, :, : self.used]

    def _append(self, old: Tensor, new: Tensor) -> Tensor:
        needed = self.used + new.shape[2]
        if needed > old.shape[2]:
            grown = new.new_empty(*new.shape[:2], needed + STEP_ROOM, new.shape[3])
            grown[:, :, : self.used] = old[:, :, : self.used]
            old = grown
        if self.text_BT is not None:  # under the pads of what is new lies what is kept
            text_B1T1 = self.text_BT[:, None, :, None]
            new = torch.where(text_B1T1, new, old[:, :, self.used : needed])
        old[:, :, self.used : needed] = new
        return old

    def get_seq_length(self) -> int:
        """Say how many places are filled."""
        return self.used


@dataclass
class Memory:
    """A batch as far as it was read.

    Args:
        cache: transformers', of `Room` layers where the decoder makes masks itself.
        mask_BK: which places are text.
        next_B: the position of each row's next token.
    """

    cache: Any
    mask_BK: Tensor
    next_B: Tensor

    def seen(self, length: int) -> Tensor:
        """Say which places each of the last ones sees, B x T x K: those before it that are no pads.

        A pad sees itself: a row that sees nothing would be NaN.
        """
        if length == 1:
            return F.pad(self.mask_BK[:, :-1], (0, 1), value=True)[:, None]
        places = self.mask_BK.shape[1]
        causal_TK = self.mask_BK.new_ones(length, places).tril(places - length)
        return (self.mask_BK[:, None, :] & causal_TK) | causal_TK.triu(places - length)

    def before(self, rows_B: Tensor, text_BT: Tensor) -> "Memory":
        """Lay rows, any of them several times, before what is to be read behind them.

        Each row's text ends where its new text begins, under pads of the new: all is in one piece.

        Args:
            rows_B: the row that stands before each new one.
            text_BT: which of the new tokens are no pads; these are on the left.
        """
        end, rest_B = self.mask_BK.shape[1], text_BT.sum(1)
        first_B = torch.where(self.mask_BK.any(1), self.mask_BK.int().argmax(1), end)[rows_B]
        width = max(int((end - first_B + rest_B).max()), text_BT.shape[1])
        places_BK = torch.arange(end - width, end, device=rows_B.device) + rest_B[:, None]
        there_BK, places_BK = (places_BK >= 0) & (places_BK < end), places_BK.clamp(0, end - 1)
        mask_BK = self.mask_BK[rows_B[:, None], places_BK] & there_BK
        cache, room = DynamicCache(), text_BT.shape[1]
        for layer in self.cache.layers:
            keys_BHKD, values_BHKD = (
                kept[rows_B[:, None], :, places_BK].transpose(1, 2)
                for kept in (layer.keys, layer.values)
            )
            cache.layers.append(Room(keys_BHKD, values_BHKD, room, text_BT))
        mask_BK[:, -room:] |= text_BT
        return Memory(cache, mask_BK, self.next_B[rows_B])

    @property
    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of each layer."""
        return [
            (layer.keys[:, :, : layer.used], layer.values[:, :, : layer.used])
            for layer in self.cache.layers
        ]

    def last(self, text_BT: Tensor) -> "Memory":
        """Leave out all but the last places; which of these are text is given."""
        cache, count = DynamicCache(), text_BT.shape[1]
        for layer in self.cache.layers:
            own = slice(layer.used - count, layer.used)
            cache.layers.append(Room(layer.keys[:, :, own], layer.values[:, :, own]))
        return Memory(cache, text_BT, self.next_B)

    def keep(self, rows_B: Tensor) -> "Memory":
        """Take some rows, and drop the pads that all of them have on the left."""
        mask_BK, cache = self.mask_BK[rows_B], DynamicCache()
        first = int(mask_BK.int().argmax(1).min())
        for layer in self.cache.layers:
            room = layer.keys.shape[2] - layer.used
            kept = (layer.keys[rows_B, :, first:], layer.values[rows_B, :, first:])
            cache.layers.append(Room(*kept, room))
        return Memory(cache, mask_BK[:, first:], self.next_B[rows_B])

    def of_family(self, rows_B: Tensor) -> "Memory":
        """Take some rows of a family's own cache, which may be of any kind."""
        self.cache.batch_select_indices(rows_B)
        return Memory(self.cache, self.mask_BK[rows_B], self.next_B[rows_B])


def joined(parts: Sequence[Memory], rows: Sequence[Tensor], room: int) -> Memory:
    """Lay batches into one, each row's text at the right.

    Args:
        parts: the batches.
        rows: which rows of the whole each batch has.
        room: places to leave for what follows.
    """
    count, width = sum(map(len, rows)), max(part.mask_BK.shape[1] for part in parts)

    def laid(old: Sequence[Tensor], more: int) -> Tensor:
        """Move one kind of B x H x K x D."""
        new_BHKD = old[0].new_zeros(count, old[0].shape[1], width + more, old[0].shape[3])
        for old_BHKD, rows_B in zip(old, rows, strict=True):
            new_BHKD[rows_B, :, width - old_BHKD.shape[2] : width] = old_BHKD
        return new_BHKD

    cache = DynamicCache()
    for layers in zip(*(part.cache.layers for part in parts), strict=True):
        keys_BHKD = laid([layer.keys[:, :, : layer.used] for layer in layers], room)
        values_BHKD = laid([layer.values[:, :, : layer.used] for layer in layers], room)
        cache.layers.append(Room(keys_BHKD, values_BHKD, room))
    mask_BHKD = laid([part.mask_BK[:, None, :, None] for part in parts], 0)
    next_B = parts[0].next_B.new_empty(count)
    next_B[torch.cat([*rows])] = torch.cat([part.next_B for part in parts])
    return Memory(cache, mask_BHKD[:, 0, :, 0], next_B)
