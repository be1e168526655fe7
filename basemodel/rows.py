"""A prompt and its answer while it grows: its window, and the tokens that it may go on with."""

# B rows of a batch, V vocabulary.

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .sampling import Sampling

# Whether some ids may begin an answer, or be the whole of one.
Allowed = Callable[[Sequence[int], bool], bool]
DRAWN = 8  # tokens that are chosen in turn until one may follow; then all are looked at
FORCED = 16  # times that this is done for an answer, which then goes on freely


@dataclass
class Row:
    """A prompt and its answer so far.

    Args:
        ids: both together, without the stop token.
        most: how many tokens they may have.
        draw: where its samples come from.
        end: how many they may have before the window moves.
        begun: how many of the ids are the prompt.
        allowed: what its answer may be; None for anything.
        forced: how often all tokens were looked at for one that may follow.
        stopped: whether a stop token came.
        nats: negative log-likelihood of the answer so far, where it is asked for.
    """

    ids: list[int]
    most: int
    draw: torch.Generator
    begun: int
    allowed: Allowed | None = None
    forced: int = 0
    end: int = 0
    stopped: bool = False
    nats: float = 0.0

    @property
    def going(self) -> bool:
        """Whether its window has room for a token that is wanted."""
        return not self.stopped and len(self.ids) < self.end

    @property
    def done(self) -> bool:
        """Whether nothing is left to add."""
        return self.stopped or len(self.ids) >= self.most

    def takes(self, token: int, stop: Collection[int]) -> bool:
        """Whether its answer may go on with a token, or end by one."""
        if self.allowed is None:
            return True
        answer = self.ids[self.begun :]
        ends = token in stop
        return self.allowed(answer if ends else [*answer, token], ends)


def start_of(length: int, context: int) -> int:
    """Say where the window of so many tokens starts: the least half contexts that leave room.

    >>> [start_of(length, 48) for length in (1, 47, 48, 71, 72, 100)]
    [0, 0, 24, 24, 48, 72]
    """
    half = max(1, context // 2)
    return half * max(0, (length - context) // half + 1)


def chosen(
    rows: Sequence[Row],
    logits_BV: Tensor,
    seen_BV: Tensor | None,
    stop: Collection[int],
    sampling: Sampling,
) -> Tensor:
    """Pick the next token of each row, among those with which its answer may go on.

    An answer behind which nothing may follow, or that is not at all like what may, goes on freely.
    """
    draws = [row.draw if row.going else None for row in rows]
    next_B = sampling.choose(logits_BV, seen_BV, draws)
    bound = [place for place, row in enumerate(rows) if row.going and row.allowed is not None]
    left_BV = logits_BV.clone() if bound else logits_BV
    first_B = next_B.clone()
    for _ in range(DRAWN):
        bound = [place for place in bound if not rows[place].takes(int(next_B[place]), stop)]
        if not bound:
            return next_B
        left_BV[bound, next_B[bound]] = -torch.inf
        seen = None if seen_BV is None else seen_BV[bound]
        next_B[bound] = sampling.choose(left_BV[bound], seen, [draws[place] for place in bound])
    for place in bound:
        row, left_1V = rows[place], left_BV[place : place + 1]
        row.forced += 1
        likely = left_1V[0].isfinite().nonzero()[:, 0].tolist() if row.forced <= FORCED else []
        barred = [token for token in likely if not row.takes(token, stop)]
        if len(barred) == len(likely):
            row.allowed, next_B[place] = None, first_B[place]
            continue
        left_1V[0, barred] = -torch.inf
        seen_1V = None if seen_BV is None else seen_BV[place : place + 1]
        next_B[place] = sampling.choose(left_1V, seen_1V, [draws[place]])[0]
    return next_B
