"""Prompts that begin alike: how much of each is read once for all that share it (arXiv:2312.07104).

Rows in alphabetical order form a tree of beginnings. Of all ways to cut it into groups the one that
saves the most tokens is taken; what the groups' beginnings share in turn is for the next call.
"""

from collections.abc import Sequence
from itertools import pairwise

WORTH = 256  # tokens: to save fewer does not pay for one more call of a model
Group = tuple[int, int, int]  # its rows from one place to before another, and the shared length


def shared(rows: Sequence[Sequence[int]]) -> list[int]:
    """Say how many tokens of each row to read beforehand, with the rows that begin alike.

    Args:
        rows: token ids; at least the last of each is left to read.

    Returns:
        A length for each row; all are 0 where little would be saved.

    >>> schema = list(range(300))
    >>> shared([[*schema, 7, 8], [1], [*schema, 9], schema[:60]])
    [300, 0, 300, 58]
    """
    order = sorted(range(len(rows)), key=lambda row: [*rows[row]])
    alike = [_common(rows[a], rows[b]) for a, b in pairwise(order)]
    saved, groups = _grouped(alike, 0, len(rows))
    sizes = [0] * len(rows)
    if saved < WORTH:
        return sizes
    for low, high, size in groups:
        for place in order[low:high]:
            sizes[place] = size
    # A row of its own is cut where its rest is as long as others' rests: those are read together.
    rest = max(len(row) - size for row, size in zip(rows, sizes, strict=True) if size)
    return [size or max(0, len(row) - rest) for row, size in zip(rows, sizes, strict=True)]


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Count the tokens that two rows begin with, the last of either left out."""
    most = min(len(one), len(other)) - 1
    return next((n for n in range(most) if one[n] != other[n]), max(0, most))


def _grouped(alike: Sequence[int], low: int, high: int) -> tuple[int, list[Group]]:
    """Take rows as one group, or cut them where neighbours share least: whichever saves more."""
    if high - low == 1:
        return 0, [(low, high, 0)]
    size = min(alike[low : high - 1], default=0)
    cuts = [low, *(n + 1 for n in range(low, high - 1) if alike[n] == size), high]
    parts = [_grouped(alike, *ends) for ends in pairwise(cuts)]
    saved = sum(each for each, _ in parts)
    whole = size * (high - low - 1)
    if whole >= saved:
        return whole, [(low, high, size)]
    return saved, [group for _, groups in parts for group in groups]
