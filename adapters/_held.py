"""What a batch remembers while it answers: beginnings, prompts and answers, each laid on its own.

Rows of like length lie together, so that a step reads hardly any pad; answers have none. What a
row attends to in each place comes together as if it had been one softmax (arXiv:2402.05099).
"""

# B rows, D width, G heads of keys, M heads of queries that share one of keys, K places, W width of
# a head

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ._common import Common, Found, added, attended, together
from ._memory import Memory, Room

FEW = 64  # rows: parts that have no more together are read as one, though it gains some pads


@dataclass(frozen=True)
class Part:
    """Prompts of like length.

    Args:
        layers: keys and values of each layer, B x G x K x W.
        mask_BK: which places are text; these are on the right.
    """

    layers: Sequence[tuple[Tensor, Tensor]]
    mask_BK: Tensor

    @cached_property
    def added_BK(self) -> Tensor | None:
        """What is added to scores."""
        return added(self.mask_BK)

    @staticmethod
    def of(memory: Memory) -> "Part":
        """Take prompts as they were read."""
        layers = [(keys.contiguous(), values.contiguous()) for keys, values in memory.layers]
        return Part(layers, memory.mask_BK)

    def keep(self, rows_B: Tensor) -> "Part":
        """Take some rows, and drop the pads that all of them have on the left."""
        mask_BK = self.mask_BK[rows_B]
        first = int(mask_BK.int().argmax(1).min())
        layers = [
            (keys[rows_B, :, first:], values[rows_B, :, first:]) for keys, values in self.layers
        ]
        return Part(layers, mask_BK[:, first:])

    def beside(self, other: "Part") -> "Part":
        """Lay other prompts below these."""
        wide = max(self.mask_BK.shape[1], other.mask_BK.shape[1])

        def laid(one: Tensor, two: Tensor) -> Tensor:
            return torch.cat([F.pad(x, (0, 0, wide - x.shape[2], 0)) for x in (one, two)])

        layers = [
            (laid(*keys), laid(*values))
            for keys, values in (
                zip(*both, strict=True) for both in zip(self.layers, other.layers, strict=True)
            )
        ]
        masks = [F.pad(part.mask_BK, (wide - part.mask_BK.shape[1], 0)) for part in (self, other)]
        return Part(layers, torch.cat(masks))


@dataclass(frozen=True)
class Held:
    """A batch that answers.

    Args:
        parts: prompts, or what is left of them behind their beginnings.
        common: the beginnings.
        answers: a layer each; they grow with every step.
        lane_B: where each row of the batch lies, counted through the parts.
        next_B: the position of the next token in each lane.
    """

    parts: Sequence[Part]
    common: Common | None
    answers: Sequence[Room]
    lane_B: Tensor
    next_B: Tensor

    @staticmethod
    def of(memories: Sequence[Memory], lane_B: Tensor, common: Common | None, room: int) -> "Held":
        """Take prompts as they were read.

        Args:
            memories: without what stands before them in `common`.
            lane_B: where each row of the batch lies, counted through these.
            common: seats for the lanes.
            room: how many tokens may follow at most.
        """
        parts = [Part.of(memory) for memory in memories]
        answers = []
        for keys_BGKW, _ in parts[0].layers:
            shape = len(lane_B), keys_BGKW.shape[1], room, keys_BGKW.shape[3]
            answers.append(Room(keys_BGKW.new_empty(shape), keys_BGKW.new_empty(shape), room))
        next_B = torch.cat([memory.next_B for memory in memories])
        return Held(parts, common, answers, lane_B, next_B)

    def attend(self, number: int, q_BGMW: Tensor, k_BG1W: Tensor, v_BG1W: Tensor) -> Tensor:
        """Remember a token in each lane, and attend to all that it sees.

        Args:
            number: of the layer.
            q_BGMW: one query of each head.
            k_BG1W: its key.
            v_BG1W: its value.

        Returns:
            B x G x M x W.
        """
        q_BGMW = q_BGMW * q_BGMW.shape[3] ** -0.5
        found = attended(q_BGMW, *self.answers[number].update(k_BG1W, v_BG1W), None)
        queries = torch.split(q_BGMW, [len(part.mask_BK) for part in self.parts])
        own = [
            attended(q, *part.layers[number], part.added_BK)
            for part, q in zip(self.parts, queries, strict=True)
        ]
        found = together(found, Found(*(torch.cat(side) for side in zip(*own, strict=True))))
        if self.common is not None:
            found = together(found, self.common.attend(number, q_BGMW))
        return found.values_BGMW

    def keep(self, rows_B: Tensor) -> "Held":
        """Take some rows, each where it lies."""
        lanes_B, order_B = self.lane_B[rows_B].sort()
        parts, first = list[Part](), 0
        for part in self.parts:
            own_B = lanes_B[(lanes_B >= first) & (lanes_B < first + len(part.mask_BK))] - first
            first += len(part.mask_BK)
            if len(own_B):
                kept = part.keep(own_B)
                few = parts and len(parts[-1].mask_BK) + len(own_B) <= FEW
                parts.append(parts.pop().beside(kept) if few else kept)
        answers = []
        for layer in self.answers:
            keys_BGKW, values_BGKW = layer.keys[lanes_B], layer.values[lanes_B]
            answers.append(Room(keys_BGKW, values_BGKW, layer.keys.shape[2] - layer.used))
        common = self.common and self.common.keep(lanes_B)
        return replace(
            self, parts=parts, common=common, answers=answers, lane_B=order_B.argsort(),
            next_B=self.next_B[lanes_B],
        )  # fmt: skip


class Reading(NamedTuple):
    """A prompt that was read: where it is remembered, and what the last layer gave at its end."""

    memory: Memory
    row: int
    last_D: Tensor
