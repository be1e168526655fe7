"""Rows that begin alike, as questions about one schema do: what they share is computed once.

A token's hidden states depend on nothing behind it, so one copy of a common beginning serves every
row that goes on from it, gradients included (as in arXiv:2410.20305 for pairs of answers).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ._flat import Flat

# Beginnings are compared at these lengths, in tokens; shorter ones save less than they cost.
LENGTHS = tuple(int(16 * 1.25**power) for power in range(40))


@dataclass(frozen=True)
class Alike:
    """Which rows begin alike.

    Args:
        kinds: the rows of each kind, and how many of them may stand side by side.
        kind: of each row its kind, -1 where it is like no other.
        shared: tokens that a row has in common with all of its kind, 0 where it is like no other.
        widest: tokens that rows side by side take at most.
    """

    kinds: tuple[tuple[tuple[int, ...], int], ...]
    kind: NDArray[np.int64]
    shared: NDArray[np.int64]
    widest: int

    @staticmethod
    def of(rows: Flat, most: int, room: int = 0) -> "Alike":
        """Find them.

        Args:
            rows: to look at.
            most: of them that may stand side by side; with one no row is like another.
            room: tokens that these may take, where others shall stand beside them.
        """
        kind, shared = np.full(len(rows), -1), np.zeros(len(rows), np.int64)
        finder, widest = _Finder(rows, most), 0
        kinds: list[tuple[tuple[int, ...], int]] = []
        for members in finder.best(range(len(rows)), 0)[1] if most > 1 else ():
            common = finder.common(members)
            own = int(rows.sizes[members].max()) - common
            fit = min(most, len(members), (room - common) // own)
            if common >= LENGTHS[0] and fit > 1:  # beginnings may have one checksum and differ
                kind[members], shared[members] = len(kinds), common
                kinds.append((tuple(members), fit))
                widest = max(widest, common + fit * own)
        return Alike(tuple(kinds), kind, shared, widest)

    def together(self, order: random.Random) -> list[list[int]]:
        """Put rows side by side that begin alike, others alone, all in a random order.

        Where more are alike than may stand together it is chance that divides them, each time anew.
        """
        sets = [[row] for row in np.flatnonzero(self.kind < 0).tolist()]
        for rows, most in self.kinds:
            members = list(rows)
            order.shuffle(members)
            count = -(-len(members) // most)
            sets += [members[first::count] for first in range(count)]
        order.shuffle(sets)
        return sets


@dataclass
class _Finder:
    """Compares the beginnings of rows, as far as nothing is learned of them."""

    rows: Flat
    most: int

    def best(self, members: Sequence[int], step: int) -> tuple[int, list[list[int]]]:
        """Divide rows that have LENGTHS[step - 1] tokens in common so that most is saved.

        Returns:
            Tokens saved, and the kinds.
        """
        parts: dict[int, list[int]] = {}
        length = LENGTHS[min(step, len(LENGTHS) - 1)]
        for row in members if step < len(LENGTHS) else ():
            ids, learned = self.rows.part(row)
            # The last token before the first that is learned foretells it, each row its own.
            if not learned[: length + 1].any():
                parts.setdefault(crc32(ids[:length].tobytes()), []).append(row)
        saved, kinds = 0, list[list[int]]()
        for part in parts.values():
            if len(part) > 1:
                more, found = self.best(part, step + 1)
                saved, kinds = saved + more, kinds + found
        sets = -(-len(members) // self.most)
        whole = LENGTHS[step - 1] * (len(members) - sets) if step else 0
        return (whole, [list(members)]) if whole > saved else (saved, kinds)

    def common(self, members: Sequence[int]) -> int:
        """Count the tokens that all of some rows begin with and that none of them learns."""
        (first, learned), *others = (self.rows.part(row) for row in members)
        length = int(learned.argmax()) - 1
        for ids, learned in others:
            length = min(length, int(learned.argmax()) - 1, len(ids))
            differs = ids[:length] != first[:length]
            length = int(differs.argmax()) if differs.any() else length
        return max(0, length)
