"""Packing: examples laid into rows best-fit, each with its slots and positions from 0.

Best-fit decreasing leaves little room unused (arXiv:2404.10830); the order of examples and rows
comes from the seed and the epoch, so a batch is a pure function of its number.
"""

# B rows, T positions, N labelled places

import bisect
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ._alike import Alike
from ._flat import Flat, Rendered

CHUNK = 2048  # sets of examples that are fitted together; a chunk's rows hold no other
STEP = 64  # widths of rows are multiples of it
WIDER = 8  # steps by which rows are widened at most
FULL = 0.96  # of a row's places in the examples that are tried: fuller rows are not looked for


@dataclass(frozen=True)
class Batch:
    """Packed rows.

    Args:
        ids_BT: token ids, the pad in slots and where nothing lies.
        positions_BT: from 0 at the first slot or token of each example, or from where it goes on
            from the beginning of an earlier one; 0 where nothing lies, for a row may be wider than
            the model has positions.
        slots_BT: number of the virtual token in each slot, -1 elsewhere; None without slots.
        where_N: the places, in flattened rows, whose next token has a label.
        targets_N: those next tokens.
        where: the examples' places in their files, for messages.
    """

    ids_BT: Tensor
    positions_BT: Tensor
    slots_BT: Tensor | None
    where_N: Tensor
    targets_N: Tensor
    where: str = ""

    @property
    def tokens(self) -> int:
        """How many tokens have a label."""
        return len(self.targets_N)

    def to(self, device: torch.device) -> "Batch":
        """Bring the tensors to a device."""
        slots_BT = None if self.slots_BT is None else self.slots_BT.to(device)
        return Batch(
            self.ids_BT.to(device),
            self.positions_BT.to(device),
            slots_BT,
            self.where_N.to(device),
            self.targets_N.to(device),
            self.where,
        )


def fit_rows(sizes: Sequence[int], length: int) -> list[list[int]]:
    """Divide items among rows, the largest first, each into the fullest row that still takes it.

    Args:
        sizes: tokens of each item, at most `length`.
        length: tokens of a row.

    Returns:
        The items of each row, as numbers into `sizes`.

    >>> fit_rows([5, 3, 6, 2, 4], 10)
    [[2, 4], [0, 1, 3]]
    """
    room: list[tuple[int, int]] = []  # (room left, row), sorted
    rows: list[list[int]] = []
    for item in sorted(range(len(sizes)), key=lambda item: -sizes[item]):
        assert 0 < sizes[item] <= length, (sizes[item], length)
        place = bisect.bisect_left(room, (sizes[item], -1))
        if place < len(room):
            left, row = room.pop(place)
        else:
            left, row = length, len(rows)
            rows.append([])
        rows[row].append(item)
        bisect.insort(room, (left - sizes[item], row))
    return rows


def row_width(sizes: Sequence[int], least: int, most: int = 4096) -> int:
    """Choose how wide packed rows are: the narrowest that are nearly full, and fill an update.

    An example of 100 tokens leaves a fifth of a row of 128 empty, five nearly fill one of 512. And
    one row of 320 leaves a third of an update of 512 unused: it is widened to all, if that fills.

    Args:
        sizes: tokens of each example, slots included, in any order.
        least: tokens that a row has at least.
        most: tokens of an update, which a row is widened to at most.

    Returns:
        A multiple of STEP; where none of the widths is nearly full, the fullest.

    >>> row_width([100] * 50, 128), row_width([125] * 50, 128)
    (512, 128)
    >>> row_width([300, 50, 50, 50, 50] * 9, 128, 512), row_width([310] * 50, 128, 512)
    (512, 320)
    """
    first = -(-max(least, *sizes) // STEP) * STEP
    widths = range(first, max(first, min(most, first + WIDER * STEP)) + 1, STEP)
    some = sizes[:: -(-len(sizes) // CHUNK)]
    best, fullest = first, 0.0
    for width in widths:
        full = _fullness(some, width)
        if full > fullest:
            best, fullest = width, full
        if fullest >= FULL:
            break
    whole = most // max(1, most // best) // STEP * STEP
    return whole if whole > best and _fullness(some, whole) >= min(FULL, fullest) else best


def _fullness(sizes: Sequence[int], width: int) -> float:
    """Measure which share of rows of a width examples fill."""
    return sum(sizes) / (width * len(fit_rows(sizes, width)))


class Packer:
    """The batches of a training, by number.

    Args:
        items: rendered examples.
        length: tokens of a row, slots included.
        batch: rows of an update.
        parts: micro-batches that an update is cut into; numbers count these.
        slots: label-free places before each example.
        pad: the id for places that hold no token.
        seed: of the order.
        packable: put several examples into a row; else each has a row of its own.
        alike: which examples begin alike: side by side, each but the first goes on from where it
            differs, at the position that it has there. None leaves all whole.
        where: gives an example's place in its file.
    """

    def __init__(
        self,
        items: Sequence[Rendered],
        length: int,
        batch: int,
        *,
        parts: int = 1,
        slots: int = 0,
        pad: int = 0,
        seed: int = 0,
        packable: bool = True,
        alike: Alike | None = None,
        where: Callable[[int], str] | None = None,
    ) -> None:
        self.items, self.length, self.batch, self.parts = Flat.of(items), length, batch, parts
        self._sizes: list[int] = (self.items.sizes + slots).tolist()
        self.slots, self.pad, self.seed, self.packable = slots, pad, seed, packable
        self.alike = alike if alike and packable else Alike.of(self.items, 1)
        self.where = where
        self._firsts = [0]  # the number of each epoch's first update, as far as they are known
        self._epoch: tuple[int, list[list[int]]] = (-1, [])

    def __call__(self, number: int) -> Batch:
        """Make a micro-batch; equal numbers give equal ones, and its parts make up the update."""
        update, part = divmod(number, self.parts)
        while self._firsts[-1] <= update:
            rows = self.rows(len(self._firsts) - 1)
            self._firsts.append(self._firsts[-1] + -(-len(rows) // self.batch))
        epoch = bisect.bisect_right(self._firsts, update) - 1
        first = (update - self._firsts[epoch]) * self.batch
        rows = self.rows(epoch)[first : first + self.batch]
        return self.collate(rows[part :: self.parts])

    @property
    def updates(self) -> int:
        """Updates of the first epoch; others differ by a few at most."""
        return -(-len(self.rows(0)) // self.batch)

    @property
    def efficiency(self) -> float:
        """Share of the first epoch's places that hold a token or a slot."""
        rows = self.rows(0)
        used = sum(map(self._size, rows))
        if self.packable:
            return used / max(1, self.length * len(rows))
        groups = [rows[first : first + self.batch] for first in range(0, len(rows), self.batch)]
        return used / max(1, sum(len(group) * max(map(self._size, group)) for group in groups))

    @property
    def spared(self) -> float:
        """Share of the first epoch's tokens and slots that rows have from the one before them."""
        whole = sum(self._sizes)
        return 1 - sum(map(self._size, self.rows(0))) / whole if whole else 0.0

    def rows(self, epoch: int) -> list[list[int]]:
        """Divide an epoch's examples among rows."""
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._divide(random.Random(f"{self.seed} {epoch}")))
        return self._epoch[1]

    def _divide(self, order: random.Random) -> list[list[int]]:
        sets = self.alike.together(order)
        rows: list[list[int]] = []
        for first in range(0, len(sets), CHUNK):
            chunk = sets[first : first + CHUNK]
            if self.packable:
                fits = fit_rows(list(map(self._size, chunk)), self.length)
                fitted = [[item for place in row for item in chunk[place]] for row in fits]
            else:  # neighbours of like length make narrow batches
                fitted = sorted(chunk, key=self._size)
            groups = [fitted[at : at + self.batch] for at in range(0, len(fitted), self.batch)]
            if self.packable:
                order.shuffle(fitted)
                rows += fitted
            else:
                order.shuffle(groups)
                rows += [row for group in groups for row in group]
        return rows

    def _size(self, row: Sequence[int]) -> int:
        """Count the places that examples take side by side."""
        return sum(map(self._sizes.__getitem__, row)) - sum(self._begun(row))

    def _begun(self, row: Sequence[int]) -> Iterator[int]:
        """Say of each example of a row how many of its places are those of the one before."""
        before, side = -1, 0
        for item in row:
            kind, most = self.alike.kind[item], self.alike.most[item]
            side = side + 1 if kind == before >= 0 and side < most else 1
            yield self.slots + int(self.alike.shared[item]) if side > 1 else 0
            before = kind

    def collate(self, rows: Sequence[Sequence[int]]) -> Batch:
        """Lay rows of examples into tensors: as wide as a row, or unpacked, as the longest."""
        # Packed rows are full but for a few places. One width for all keeps the allocator from
        # piling up blocks of slightly different sizes, which cost half a gigabyte in 150 steps.
        widest = max((self._size(row) for row in rows), default=1)
        wide = self.length if self.packable else widest
        rows = rows or [[]]  # an update's last parts may be empty
        ids_BT = np.full((len(rows), wide), self.pad, np.int64)
        positions_BT, slots_BT = np.zeros_like(ids_BT), np.full_like(ids_BT, -1)
        learned_BT = np.zeros(ids_BT.shape, bool)
        for row, items in enumerate(rows):
            start = 0
            for item, begun in zip(items, self._begun(items), strict=True):
                ids_T, learned_T = self.items.part(item)
                own = slice(max(0, begun - self.slots), None)
                first = start if begun else start + self.slots
                end = start + self._sizes[item] - begun
                ids_BT[row, first:end], learned_BT[row, first:end] = ids_T[own], learned_T[own]
                # Nothing stands before the first token of all, which could foretell it.
                learned_BT[row, start] &= self.slots > 0 or begun > 0
                positions_BT[row, start:end] = np.arange(begun, self._sizes[item])
                slots_BT[row, start:first] = np.arange(first - start)
                start = end
        labelled_N = torch.from_numpy(learned_BT.reshape(-1).nonzero()[0])
        ids = torch.from_numpy(ids_BT)
        return Batch(
            ids,
            torch.from_numpy(positions_BT),
            torch.from_numpy(slots_BT) if self.slots else None,
            labelled_N - 1,
            ids.flatten()[labelled_N],
            self._named([item for items in rows for item in items]),
        )

    def _named(self, items: Sequence[int]) -> str:
        """Say where examples stand, the first of them by name."""
        if self.where is None:
            return ""
        return ", ".join(map(self.where, items[:8])) + (" ..." if len(items) > 8 else "")
