"""Where packed examples lie in rows, read from their positions, and how attention takes them.

Positions say all: at 0 an example begins, and where they fall back to p > 0 one goes on from the
first p places of the last that began, which are computed once for both.
"""

# B rows, T positions
# N places of all rows, M places of examples side by side, R of them met before

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

STEP = 16  # lengths of examples are rounded up to these, or to an eighth, to be computed together


@dataclass(frozen=True)
class Beside:
    """Places of rows, side by side.

    Args:
        take_M: the place in the rows of each place side by side; any where no token lies.
        real_M1: whether a token lies there, for the first time.
        back_N: the place side by side of each place in the rows; any where no example lies.
        lone_N: the places where no example lies.
        again_R: the places side by side that hold a token of an earlier example once more.
    """

    take_M: Tensor
    real_M1: Tensor
    back_N: Tensor
    lone_N: Tensor
    again_R: Tensor

    @staticmethod
    def of(parts: Sequence[Sequence[Any]], size: int) -> "Beside":
        """Lay groups behind each other, of each its places, which of them are new, which are not.

        Args:
            parts: of each group.
            size: places of the rows.
        """
        columns = zip(*parts, strict=True) if parts else ([np.zeros((0, 1), int)] for _ in range(3))
        take_M, new_M, again_M = (np.concatenate([x.ravel() for x in each]) for each in columns)
        back_N = np.full(size, -1)
        back_N[take_M[new_M != 0]] = np.flatnonzero(new_M)
        return Beside(
            torch.from_numpy(take_M),
            torch.from_numpy(new_M[:, None] != 0),
            torch.from_numpy(back_N.clip(0)),
            torch.from_numpy(np.flatnonzero(back_N < 0)),
            torch.from_numpy(np.flatnonzero(again_M)),
        )


@dataclass(frozen=True)
class Examples:
    """Where packed examples lie, and how they lie side by side, those of about a length together.

    Args:
        queries: their own places.
        keys: what they may look at, the places first that an earlier example shares with them.
        groups: how many examples, of how many places, shared and own, in order.
        masks: what to add to the scores of a group; None where all before is seen.
        where_N: the places whose hidden states are asked for at the end; None for all.
    """

    queries: Beside
    keys: Beside
    groups: tuple[tuple[int, int, int], ...]
    masks: tuple[Tensor | None, ...]
    where_N: Tensor | None = None

    @staticmethod
    def of(positions_BT: Tensor, where_N: Tensor | None = None) -> "Examples":
        """Read them from positions.

        Args:
            positions_BT: 0 where an example begins and where none lies; where they fall back to
                more, one goes on from so many first places of the last that began at 0.
            where_N: as above.
        """
        positions_N = positions_BT.flatten().numpy()
        firsts = np.flatnonzero(np.diff(positions_N, prepend=0) != 1)
        sizes, shared = np.diff(firsts, append=len(positions_N)), positions_N[firsts]
        roots = np.maximum.accumulate(np.where(shared, 0, firsts))
        kept = sizes + shared > 1
        each = np.stack([firsts, sizes, shared, roots], 1)[kept]
        wide = np.stack([_rounded(each[:, 2]), _rounded(each[:, 1])], 1)
        queries, keys, groups, masks = [], [], [], list[Tensor | None]()
        for before, own in np.unique(wide, axis=0).tolist():
            first, size, begun, root = each[(wide == (before, own)).all(1)].T[..., None]
            at, back = np.arange(own), np.arange(before)
            real, seen = at < size, back < begun
            mine = (np.where(real, first + at, first), real, np.zeros_like(real))
            theirs = (np.where(seen, root + back, root), np.zeros_like(seen), seen)
            queries.append(mine)
            keys.append([np.concatenate(both, 1) for both in zip(theirs, mine, strict=True)])
            groups.append((len(first), before, own))
            masks.append(_mask(torch.from_numpy(seen), own) if before else None)
        beside = Beside.of(queries, len(positions_N))
        looked = Beside.of(keys, len(positions_N)) if shared.any() else beside
        return Examples(beside, looked, tuple(groups), tuple(masks), where_N)


def _rounded(sizes: Any) -> Any:
    """Round lengths up, so that few are different."""
    steps = np.maximum(STEP, 2 ** np.log2(np.maximum(sizes, 1)).astype(np.int64) // 8)
    return -(-sizes // steps) * steps


def _mask(seen_NS: Tensor, own: int) -> Tensor:
    """Let each example see what it shares, and its own places as far as it has come."""
    before_NTS = seen_NS[:, None].expand(-1, own, -1)
    own_NTT = torch.ones(own, own, dtype=torch.bool).tril().expand(len(seen_NS), -1, -1)
    seen_NTK = torch.cat([before_NTS, own_NTT], 2)
    return torch.zeros(seen_NTK.shape).masked_fill_(~seen_NTK, -torch.inf)[:, None]


class Spread(torch.autograd.Function):
    """Lay the places of rows side by side; what comes of a shared token's copies adds up."""

    @staticmethod
    def forward(ctx: Any, x_NC: Tensor, beside: Beside) -> Tensor:
        ctx.beside = beside
        return x_NC.index_select(0, beside.take_M)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (d_MC,), beside = grads, ctx.beside
        d_NC, again_R = _collected(d_MC, beside), beside.again_R
        if len(again_R):
            d_NC.index_add_(0, beside.take_M[again_R], d_MC[again_R])
        return d_NC, None


class Collect(torch.autograd.Function):
    """Put the places back into rows."""

    @staticmethod
    def forward(ctx: Any, x_MC: Tensor, beside: Beside) -> Tensor:
        ctx.beside = beside
        return _collected(x_MC, beside)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        beside = ctx.beside
        return grads[0].index_select(0, beside.take_M).mul_(beside.real_M1), None


def _collected(x_MC: Tensor, beside: Beside) -> Tensor:
    return x_MC.index_select(0, beside.back_N).index_fill_(0, beside.lone_N, 0)
