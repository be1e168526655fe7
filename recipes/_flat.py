"""Rendered rows, and many of them laid end to end: five bytes for a token, not Python's forty."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from ._ids import ID

IGNORE = -100
T = TypeVar("T")


@dataclass(frozen=True)
class Rendered:
    """Token ids and labels of a dialogue: a label is the id at its place, or -100."""

    ids: list[int]
    labels: list[int]

    @property
    def supervised(self) -> int:
        """How many tokens have a label."""
        return sum(label != IGNORE for label in self.labels)


@dataclass(frozen=True)
class Packed:
    """A rendered row as bytes: four of each id, and one that says whether it is learned."""

    ids: bytes
    learned: bytes

    def __len__(self) -> int:
        """Count the tokens."""
        return len(self.learned)

    @property
    def supervised(self) -> int:
        """How many tokens have a label."""
        return self.learned.count(1)

    def open(self) -> Rendered:
        """Make lists of it."""
        ids = np.frombuffer(self.ids, ID)
        labels = np.where(np.frombuffer(self.learned, bool), ids, IGNORE)
        return Rendered(ids.tolist(), labels.tolist())


class Flat(Sequence[Rendered]):
    """Rendered rows in one piece of memory; each becomes a `Rendered` when it is asked for."""

    def __init__(self, rows: Iterable[Packed] = ()) -> None:
        self._ids, self._learned = bytearray(), bytearray()
        self._ends = np.zeros(1, np.int64)
        self._rows = 0
        for row in rows:
            self.append(row)

    @classmethod
    def of(cls, rows: Sequence[Rendered]) -> "Flat":
        """Lay rows end to end that may lie so already."""
        if isinstance(rows, Flat):
            return rows
        return cls(
            Packed(
                np.array(row.ids, ID).tobytes(),
                bytes(label != IGNORE for label in row.labels),
            )
            for row in rows
        )

    def append(self, row: Packed) -> None:
        """Lay one more row behind the others."""
        self._ids += row.ids
        self._learned += row.learned
        self._rows += 1
        if self._rows == len(self._ends):
            self._ends.resize(2 * len(self._ends), refcheck=False)
        self._ends[self._rows] = len(self._learned)

    def __len__(self) -> int:
        """Count the rows."""
        return self._rows

    @overload
    def __getitem__(self, place: int) -> Rendered: ...
    @overload
    def __getitem__(self, place: slice) -> list[Rendered]: ...
    def __getitem__(self, place: int | slice) -> Rendered | list[Rendered]:
        """Give a row, or a list of some."""
        if isinstance(place, slice):
            return [self[at] for at in range(*place.indices(self._rows))]
        if not -self._rows <= place < self._rows:
            raise IndexError(place)
        at = place % self._rows
        start, end = int(self._ends[at]), int(self._ends[at + 1])
        return Packed(bytes(self._ids[4 * start : 4 * end]), bytes(self._learned[start:end])).open()

    def part(self, place: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Give a row's ids, and which are learned, as arrays of their own."""
        start, end = int(self._ends[place]), int(self._ends[place + 1])
        return (
            np.frombuffer(self._ids[4 * start : 4 * end], ID),
            np.frombuffer(self._learned[start:end], bool),
        )

    def prompt(self, place: int) -> int:
        """Count a row's tokens before the first that is learned."""
        start, end = int(self._ends[place]), int(self._ends[place + 1])
        found = self._learned.find(1, start, end)
        return (end if found < 0 else found) - start

    def beginning(self, place: int, tokens: int) -> bytes:
        """Give the bytes of a row's first tokens."""
        start, end = int(self._ends[place]), int(self._ends[place + 1])
        return bytes(self._ids[4 * start : 4 * min(end, start + tokens)])

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Tokens of each row."""
        return np.diff(self._ends[: self._rows + 1])

    @property
    def digest(self) -> str:
        """Hash of all rows: their ids, what is learned of them, and where they end."""
        whole = hashlib.sha256(self._ids)
        whole.update(self._learned)
        whole.update(self._ends[: self._rows + 1].tobytes())
        return whole.hexdigest()

    @property
    def supervised(self) -> int:
        """Tokens that are learned, in all rows."""
        return self._learned.count(1)


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Take items a few at a time.

    >>> list(chunks("abc", 2))
    [['a', 'b'], ['c']]
    """
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
