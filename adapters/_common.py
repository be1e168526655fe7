"""What rows of a batch begin with, attended to where it lies once (Hydragen, arXiv:2402.05099).

A row that reads all its keys for one query waits for memory. Here the queries of rows that begin
alike are one product, and what a row has of its own is attended to apart. Each part knows the sum
of its exponentials, so the two come together as if they had been one softmax.
"""

# B rows, C tables, G heads of keys, M heads of queries that share one of keys, Q queries of a
# table, S places, W width of a head

from collections.abc import Sequence
from dataclasses import dataclass

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

    def attend(
        self, number: int, q_BGMW: Tensor, keys_BGKW: Tensor, values_BGKW: Tensor, mask_BK: Tensor
    ) -> Tensor:
        """Attend to a row's beginning and to what is its own.

        Args:
            number: of the layer.
            q_BGMW: one query of each head.
            keys_BGKW: a row's own.
            values_BGKW: the same.
            mask_BK: what to add to their scores.

        Returns:
            B x G x M x W.
        """
        keys_CGSW, values_CGSW = self.layers[number]
        (tables, shared, _, wide), rows = keys_CGSW.shape, q_BGMW.shape[2]
        q_CGMW = q_BGMW.new_zeros(tables * self.seats, *q_BGMW.shape[1:])
        q_CGMW[self.seat_B] = q_BGMW
        q_CGQW = q_CGMW.view(tables, self.seats, shared, rows, wide).transpose(1, 2)
        found = _attended(q_CGQW.flatten(2, 3), keys_CGSW, values_CGSW, _added(self.mask_CS))
        own_BGMW, own_BGM1 = _attended(q_BGMW, keys_BGKW, values_BGKW, mask_BK)
        there_BGMW, there_BGM1 = (
            part.view(tables, shared, self.seats, rows, -1)
            .transpose(1, 2)
            .flatten(0, 1)[self.seat_B]
            for part in found
        )
        return torch.lerp(own_BGMW, there_BGMW, (there_BGM1 - own_BGM1).sigmoid_())


def _added(mask_CS: Tensor) -> Tensor:
    """Turn a mask into what is added to scores; a row of nothing else must not be NaN."""
    low = torch.finfo(torch.float32).min
    return torch.zeros(mask_CS.shape, device=mask_CS.device).masked_fill_(~mask_CS, low)


def _attended(
    q_BGQW: Tensor, keys_BGKW: Tensor, values_BGKW: Tensor, mask_BK: Tensor
) -> tuple[Tensor, Tensor]:
    """Attend; returns B x G x Q x W, and the logarithms of the sums of exponentials."""
    scores_BGQK = (q_BGQW * q_BGQW.shape[3] ** -0.5) @ keys_BGKW.transpose(2, 3)
    scores_BGQK += mask_BK[:, None, None]
    weights_BGQK = scores_BGQK.softmax(3)
    # The largest weight is e^0 over the sum. `exp` itself is slow where a mask makes it underflow.
    sums_BGQ1 = scores_BGQK.amax(3, True) - weights_BGQK.amax(3, True).log_()
    return weights_BGQK @ values_BGKW, sums_BGQ1
