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
from ._ids import ID

# Beginnings are compared at these lengths, in tokens; shorter ones save less than they cost.
LENGTHS = tuple(int(16 * 1.25**power) for power in range(40))
KINDS = 8  # of beginnings in an update, at least: rows of one alone teach what is true of it alone


@dataclass(frozen=True)
class Alike:
    """Which rows begin alike.

    Args:
        kinds: the rows of each kind.
        kind: of each row its kind, -1 where it is like no other.
        shared: tokens that a row has in common with all of its kind, 0 where it is like no other.
        most: of each row how many of its kind may stand side by side, itself among them.
        sizes: tokens of each row.
        room: tokens that rows side by side may take.
    """

    kinds: tuple[tuple[int, ...], ...]
    kind: NDArray[np.int64]
    shared: NDArray[np.int64]
    most: NDArray[np.int64]
    sizes: NDArray[np.int64]
    room: int

    @staticmethod
    def of(rows: Flat, most: int, room: int = 0, update: int | None = None) -> "Alike":
        """Find them.

        Args:
            rows: to look at.
            most: of them that may stand side by side; with one no row is like another.
            room: tokens that these may take.
            update: rows of an update, in which there shall be KINDS; None where it is all the same.
        """
        kind, ones = np.full(len(rows), -1), np.ones(len(rows), np.int64)
        kinds, shared, fits, sizes = list[tuple[int, ...]](), 0 * ones, ones, rows.sizes
        finder = _Finder(rows, most, room)
        for members in finder.best(range(len(rows)), 0)[1] if most > 1 else ():
            common, fit = finder.common(members), most
            if update is not None:  # or as many as there would be by chance
                fit = min(most, max(update // KINDS, update * len(members) // len(rows)))
            few = np.sort(sizes[members])[:2].sum() - common > room
            if common < LENGTHS[0] or fit < 2 or few:  # the first: beginnings of one checksum
                continue
            kind[members], shared[members], fits[members] = len(kinds), common, fit
            kinds.append(tuple(members))
        return Alike(tuple(kinds), kind, shared, fits, sizes, room)

    @property
    def widest(self) -> int:
        """Tokens that rows side by side take at most."""
        return max(map(self._wide, self.kinds), default=0)

    def _wide(self, members: Sequence[int]) -> int:
        rows = np.array(members)
        shared, most = self.shared[rows[0]], self.most[rows[0]]
        largest = np.sort(self.sizes[rows] - shared)[-most:].sum() + shared
        return int(max(self.sizes[rows].max(), min(self.room, largest)))

    def together(self, order: random.Random) -> list[list[int]]:
        """Put rows side by side that begin alike, others alone, all in a random order.

        Where more are alike than may stand together it is chance that divides them, each time anew.
        """
        sets = [[row] for row in np.flatnonzero(self.kind < 0).tolist()]
        for members in map(list, self.kinds):
            order.shuffle(members)
            shared, most = int(self.shared[members[0]]), int(self.most[members[0]])
            each = -(-len(members) // -(-len(members) // most))  # three and three, not four and two
            size = self.room + 1
            for row in members:
                own = int(self.sizes[row]) - shared
                if size + own > self.room or len(sets[-1]) == each:
                    sets.append([])
                    size = shared
                sets[-1].append(row)
                size += own
        order.shuffle(sets)
        return sets


@dataclass
class _Finder:
    """Compares the beginnings of rows, as far as nothing is learned of them."""

    rows: Flat
    most: int
    room: int

    def best(self, members: Sequence[int], step: int) -> tuple[int, list[list[int]]]:
        """Divide rows that have LENGTHS[step - 1] tokens in common so that most is saved.

        Returns:
            Tokens saved, and the kinds.
        """
        parts: dict[int, list[int]] = {}
        if step < len(LENGTHS) and (length := LENGTHS[step]) < self.room:
            for row in members:
                # The last token before the first that is learned foretells it, each row its own.
                if self.rows.prompt(row) > length:
                    parts.setdefault(crc32(self.rows.beginning(row, length)), []).append(row)
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
        length = max(0, min(map(self.rows.prompt, members)) - 1)
        texts = [self.rows.beginning(row, length) for row in members]
        # The first and the last of the alphabet have in common what all have.
        first, last = (np.frombuffer(text, ID) for text in (min(texts), max(texts)))
        differs = first != last
        return int(differs.argmax()) if differs.any() else length
