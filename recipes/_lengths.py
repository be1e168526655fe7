"""How long rows are: percentiles, and a histogram in about ten bars with a limit between two."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

BARS = 10
STEPS = (1, 2, 5, 10)  # round widths of a bar, times a power of ten


@dataclass(frozen=True)
class Bar:
    """Rows of `low` to `high` tokens (or characters), both included."""

    low: int
    high: int
    count: int


@dataclass(frozen=True)
class Lengths:
    """The lengths of rows, or of some taken evenly where there are too many to measure.

    Args:
        sizes: of the measured rows, sorted.
        rows: how many rows there are; more than `sizes` where only some were measured.
    """

    sizes: Sequence[int] = ()
    rows: int = 0

    @property
    def whole(self) -> bool:
        """Whether every row was measured."""
        return len(self.sizes) == self.rows

    def at(self, share: float) -> int:
        """Give the least length that this share of the rows does not exceed.

        >>> Lengths(range(1, 201), 200).at(0.95)
        190
        """
        return int(self.sizes[max(0, math.ceil(share * len(self.sizes)) - 1)]) if self.sizes else 0

    def over(self, limit: int) -> int:
        """Count the measured rows that are longer than a limit."""
        return len(self.sizes) - bisect_right(self.sizes, limit)

    def bars(self, limit: int | None = None) -> list[Bar]:
        """Divide the rows by length, evenly but for the limit and the longest percent.

        Args:
            limit: ends a bar, so that what fits and what does not are never in one.

        >>> [(bar.low, bar.high, bar.count) for bar in Lengths([3, 7, 8, 31], 4).bars(limit=8)]
        [(1, 5, 1), (6, 8, 2), (9, 15, 0), (16, 20, 0), (21, 25, 0), (26, 30, 0), (31, 35, 1)]
        """
        if not self.sizes:
            return []
        least, most = max(1, self.sizes[0]), self.at(0.99)
        step = _step(most - least + 1)
        first = (least - 1) // step
        ends = [step * bar for bar in range(first + 1, math.ceil(most / step) + 1)]
        if limit is not None and limit < self.sizes[-1]:
            # An end of a bar gives way to the limit where both would stand close together.
            ends = sorted({limit, *(e for e in ends if e == ends[-1] or abs(e - limit) > step / 2)})
        found, low, below = [], first * step + 1, 0
        for end in ends:
            upto = len(self.sizes) - self.over(end)
            found.append(Bar(low, end, upto - below))
            low, below = end + 1, upto
        rest = len(self.sizes) - below
        return [*found, Bar(low, self.sizes[-1], rest)] if rest else found


def _step(reach: int) -> int:
    """Find the round width at which about ten bars reach so far."""
    least = max(1, math.ceil(reach / BARS))
    power = int(10 ** int(math.log10(least)))
    return next(step * power for step in STEPS if step * power >= least)
