"""The tokens of a corpus: shards that are memory-mapped, the held-out text, batches by number."""

# B rows, T positions.

import bisect
import functools
import itertools
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ftkit.runs import write_whole

from .shards import facts, ids_file, starts_file

Ids = np.ndarray[Any, np.dtype[Any]]
Piece = tuple[int, int]  # where it begins among a shard's ids, and its length
HELD = "validation.jsonl"


@dataclass(frozen=True)
class Rows:
    """A batch: each position's label is the next id; -100 is no label."""

    ids_BT: Tensor
    labels_BT: Tensor
    tokens: int
    where: str = ""

    def to(self, device: torch.device) -> "Rows":
        """Return the batch on a device."""
        return replace(self, ids_BT=self.ids_BT.to(device), labels_BT=self.labels_BT.to(device))


@dataclass(frozen=True)
class Corpus:
    """The training tokens, memory-mapped, and the validation text.

    Args:
        folder: where `encode.build` wrote them.
        dtype: numpy's name of an id's type.
        shards: how many tokens each has for training.
    """

    folder: Path
    dtype: str
    shards: tuple[int, ...]

    @staticmethod
    def open(folder: Path) -> "Corpus | None":
        """Open a folder; None where it does not hold all that was written."""
        found = facts(folder)
        return Corpus(folder, found["dtype"], tuple(found["shards"])) if found else None

    @property
    def tokens(self) -> int:
        """How many there are for training."""
        return sum(self.shards)

    def ids(self, shard: int) -> Ids:
        """All ids of a shard in a row; on disk until they are looked at."""
        if not self.shards[shard]:
            return np.empty(0, self.dtype)
        return np.memmap(ids_file(self.folder, shard), dtype=self.dtype, mode="r")

    def starts(self, shard: int) -> Ids:
        """Where each document of a shard starts."""
        return np.fromfile(starts_file(self.folder, shard), dtype="<u8").astype(np.int64)

    def first(self, most: int) -> Ids:
        """Return ids from the beginning, shard after shard, up to so many."""
        found = list[Ids]()
        for shard in range(len(self.shards)):
            if most <= 0:
                break
            found.append(np.asarray(self.ids(shard)[:most]))
            most -= self.shards[shard]
        return np.concatenate(found)

    def held(self) -> list[str]:
        """Return the documents that were held out."""
        lines = (self.folder / HELD).read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["text"] for line in lines]

    def batch(self, number: int, rows: int, context: int, seed: int) -> Rows:
        """Return batch `number`, which depends on nothing but the arguments.

        An epoch holds every document once: shard after shard in a random order, see `pack`.

        Args:
            number: from 0.
            rows: rows in a batch.
            context: labels in a row.
            seed: of the order in each epoch.
        """
        windows: list[np.ndarray[Any, np.dtype[np.int64]]] = []
        for index in range(number * rows, (number + 1) * rows):
            shard, epoch, place = _place(self, context, seed, index)
            ids, packed = _packed(self, shard, context, seed, epoch)
            parts = [ids[first : first + length] for first, length in packed[place]]
            windows.append(np.concatenate(parts).astype(np.int64))
        ids_BT = torch.from_numpy(np.stack(windows))
        # In one piece, as practice has it: other strides would be compiled anew.
        inputs_BT, labels_BT = ids_BT[:, :-1].contiguous(), ids_BT[:, 1:].contiguous()
        return Rows(inputs_BT, labels_BT, rows * context, f"batch {number}")


def _place(corpus: Corpus, context: int, seed: int, index: int) -> tuple[int, int, int]:
    """Find the row `index` of all epochs: its shard, its epoch, its place in the shard."""
    epoch, place = divmod(index, sum(_rows(corpus, context)))
    order, ends = _order(corpus, context, seed, epoch)
    at = bisect.bisect_right(ends, place)
    return order[at], epoch, place - (ends[at - 1] if at else 0)


@functools.lru_cache(maxsize=2)
def _order(corpus: Corpus, context: int, seed: int, epoch: int) -> tuple[list[int], list[int]]:
    """Shuffle the shards of an epoch; with each, how many rows there are up to its end."""
    order = list(range(len(corpus.shards)))
    random.Random(f"{seed} {epoch} shards").shuffle(order)
    rows = _rows(corpus, context)
    return order, list(itertools.accumulate(rows[shard] for shard in order))


@functools.lru_cache(maxsize=2)
def _rows(corpus: Corpus, context: int) -> tuple[int, ...]:
    """Count the rows that each shard is packed into, once for a context: a file keeps them."""
    note = corpus.folder / f"rows-{context}.json"
    if not note.is_file():
        counts = [_count(corpus, shard, context + 1) for shard in range(len(corpus.shards))]
        write_whole(note, json.dumps(counts))
    return tuple(json.loads(note.read_text(encoding="utf-8")))


def _count(corpus: Corpus, shard: int, size: int) -> int:
    lengths = np.diff(corpus.starts(shard), append=corpus.shards[shard])
    counts = np.bincount(lengths % size, minlength=size + 1)
    counts[0], counts[size] = 0, (lengths // size).sum()
    kinds = np.flatnonzero(counts).tolist()
    return sum(1 for _ in _shapes({length: int(counts[length]) for length in kinds}, size))


@functools.lru_cache(maxsize=2)
def _packed(
    corpus: Corpus, shard: int, context: int, seed: int, epoch: int
) -> tuple[Ids, list[list[Piece]]]:
    """Pack one shard for one epoch: all of a corpus that is in memory."""
    starts = corpus.starts(shard).tolist()
    pieces = [
        (first, min(end - first, context + 1))
        for start, end in zip(starts, [*starts[1:], corpus.shards[shard]], strict=True)
        for first in range(start, end, context + 1)
    ]
    draw = random.Random(f"{seed} {epoch} {shard}" if shard else f"{seed} {epoch}")
    return corpus.ids(shard), pack(pieces, context + 1, draw)


def pack(pieces: Sequence[Piece], size: int, draw: random.Random) -> list[list[Piece]]:
    """Lay pieces into rows so that a document is whole and begins what it stands in.

    Cutting rows from one long stream would tear every second document apart, and what stands
    behind the tear is learned without what it refers to. Here each row takes the longest piece that
    still fits, until none does; the rest is filled with the beginning of some longer piece, which
    is read twice then.

    Args:
        pieces: where each begins, and its length, at most `size`.
        size: what a row holds.
        draw: of the order.

    Returns:
        Rows in a random order; each sums up to `size`, and each piece is in one of them whole.

    >>> pack([(0, 3), (3, 5), (8, 2)], 5, random.Random(0))
    [[(3, 5)], [(0, 3), (8, 2)]]
    """
    by_length: dict[int, list[Piece]] = {}
    for piece in draw.sample(pieces, len(pieces)):
        by_length.setdefault(piece[1], []).append(piece)
    counts = {length: len(same) for length, same in by_length.items()}
    ordered = sorted(pieces, key=lambda piece: (piece[1], piece[0]))
    end = max(first + length for first, length in pieces)
    rows: list[list[Piece]] = []
    for shape in _shapes(counts, size):
        row = [by_length[length].pop() for length in shape]
        room = size - sum(shape)
        while room > end:  # the shard is shorter than a row
            row.append((0, end))
            room -= end
        if room:
            longer = bisect.bisect(ordered, room, key=lambda piece: piece[1])
            first, _ = ordered[draw.randrange(longer if longer < len(ordered) else 0, len(ordered))]
            row.append((min(first, end - room), room))
        rows.append(row)
    draw.shuffle(rows)
    return rows


def _shapes(counts: Mapping[int, int], size: int) -> Iterator[list[int]]:
    """Say what lengths stand in each row; how many of each there are settles it.

    >>> list(_shapes({3: 1, 5: 1, 2: 2}, 5))
    [[5], [3, 2], [2]]
    """
    left, lengths = dict(counts), sorted(counts)
    while lengths:
        shape, room = list[int](), size
        while (place := bisect.bisect_right(lengths, room) - 1) >= 0:
            length = lengths[place]
            shape.append(length)
            room -= length
            left[length] -= 1
            if not left[length]:
                del lengths[place]
        yield shape
