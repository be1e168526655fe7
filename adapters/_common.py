"""What rows of a batch begin with, attended to where it lies once (Hydragen, arXiv:2402.05099).

A row that reads all its keys for one query waits for memory. Here the queries of rows that begin
alike are one product, and what a row has of its own is attended to apart. Each part knows the sum
of its exponentials, so the two come together as if they had been one softmax.
"""

# B rows, C tables, G heads of keys, M heads of queries that share one of keys, Q queries of a
# table, S places, W width of a head

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

SEATS = 8  # rows at a table, at most: few are alike enough to fill more


@dataclass(frozen=True)
class Common:
    """Beginnings, each laid once for a table of rows.

    Args:
        layers: keys and values of each layer, C x G x S x W.
        mask_CS: which places are text; a beginning may be empty.
        seat_B: the seat of each row, counted through the tables.
        seats: of a table.
    """

    layers: Sequence[tuple[Tensor, Tensor]]
    mask_CS: Tensor
    seat_B: Tensor
    seats: int

    @cached_property
    def added_CS(self) -> Tensor | None:
        """What is added to scores."""
        return added(self.mask_CS)

    @staticmethod
    def of(layers: Sequence[tuple[Tensor, Tensor]], mask_CS: Tensor, own_B: Tensor) -> "Common":
        """Seat rows.

        Args:
            layers: keys and values of some beginnings in each layer.
            mask_CS: which of their places are text.
            own_B: which of them stands before each row.
        """
        rows_C = own_B.bincount(minlength=len(mask_CS))
        seats = min(SEATS, int(rows_C.max()))
        tables_C = -(-rows_C // seats)
        seat_B, order_B = torch.empty_like(own_B), own_B.argsort(stable=True)
        before_C = (tables_C.cumsum(0) - tables_C) * seats - (rows_C.cumsum(0) - rows_C)
        seat_B[order_B] = torch.arange(len(own_B), device=own_B.device) + before_C[own_B[order_B]]
        take_C = torch.arange(len(mask_CS), device=own_B.device).repeat_interleave(tables_C)
        taken = [(keys[take_C], values[take_C]) for keys, values in layers]
        return Common(taken, mask_CS[take_C], seat_B, seats)

    def keep(self, rows_B: Tensor) -> "Common":
        """Take some rows; a table without any is cleared away."""
        return Common.of(self.layers, self.mask_CS, (self.seat_B // self.seats)[rows_B])

    def attend(self, number: int, q_BGMW: Tensor) -> "Found":
        """Attend to what stands before each row.

        Args:
            number: of the layer.
            q_BGMW: one query of each head, scaled.
        """
        keys_CGSW, values_CGSW = self.layers[number]
        (tables, shared, _, wide), rows = keys_CGSW.shape, q_BGMW.shape[2]
        q_CGMW = q_BGMW.new_zeros(tables * self.seats, *q_BGMW.shape[1:])
        q_CGMW[self.seat_B] = q_BGMW
        q_CGQW = q_CGMW.view(tables, self.seats, shared, rows, wide).transpose(1, 2)
        found = attended(q_CGQW.flatten(2, 3), keys_CGSW, values_CGSW, self.added_CS)
        return Found(*(self._left(part, shared, rows) for part in found))

    def _left(self, part_CGQ: Tensor, shared: int, rows: int) -> Tensor:
        """Give each row what was found at its seat, of any trailing shape."""
        part_CGQM = part_CGQ.view(len(self.mask_CS), shared, self.seats, rows, -1)
        return part_CGQM.transpose(1, 2).flatten(0, 1)[self.seat_B]


class Found(NamedTuple):
    """What queries found in one place, and the logarithms of their sums of exponentials."""

    values_BGMW: Tensor
    sums_BGM1: Tensor


def added(mask_BK: Tensor) -> Tensor | None:
    """Turn a mask into what is added to scores; None where nothing is hidden."""
    if bool(mask_BK.all()):
        return None
    low = torch.finfo(torch.float32).min  # a beginning may be empty, and infinities would be NaN
    return torch.zeros(mask_BK.shape).masked_fill_(~mask_BK, low)


def attended(
    q_BGQW: Tensor, keys_BGKW: Tensor, values_BGKW: Tensor, added_BK: Tensor | None
) -> Found:
    """Attend in one place.

    Args:
        q_BGQW: scaled queries.
        keys_BGKW: what they are compared with.
        values_BGKW: what they take.
        added_BK: what is added to their scores, if anything.
    """
    scores_BGQK = q_BGQW @ keys_BGKW.transpose(2, 3)
    if added_BK is not None:
        scores_BGQK += added_BK[:, None, None]
    weights_BGQK = scores_BGQK.softmax(3)
    # The largest weight is e^0 over the sum. `exp` itself is slow where a mask makes it underflow.
    sums_BGQ1 = scores_BGQK.amax(3, True) - weights_BGQK.amax(3, True).log_()
    return Found(weights_BGQK @ values_BGKW, sums_BGQ1)


def together(one: Found, other: Found) -> Found:
    """Put together what queries found in two places."""
    share_BGM1 = (other.sums_BGM1 - one.sums_BGM1).sigmoid_()
    values_BGMW = torch.lerp(one.values_BGMW, other.values_BGMW, share_BGM1)
    return Found(values_BGMW, torch.logaddexp(one.sums_BGM1, other.sums_BGM1))
