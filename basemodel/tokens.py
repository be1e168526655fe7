"""The tokens of a corpus: a memory-mapped file, the held-out text, batches by their number."""

# B rows, T positions.

import bisect
import functools
import json
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ftkit.errors import FtkitError
from ftkit.runs import write_whole

from .corpus import Survey
from .tokenizer import Tokenizer

Piece = tuple[int, int]  # where it begins among the ids, and its length
FACTS, TRAIN, HELD = "facts.json", "train.bin", "validation.jsonl"


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
        folder: where `build` wrote them.
        tokens: how many there are for training.
        dtype: numpy's name of an id's type.
        bos: the id that opens a document.
    """

    folder: Path
    tokens: int
    dtype: str
    bos: int

    @functools.cached_property
    def ids(self) -> "np.memmap[Any, np.dtype[Any]]":
        """All training ids in a row."""
        return np.memmap(self.folder / TRAIN, dtype=self.dtype, mode="r")

    def held(self) -> list[str]:
        """Return the documents that were held out."""
        lines = (self.folder / HELD).read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["text"] for line in lines]

    def batch(self, number: int, rows: int, context: int, seed: int) -> Rows:
        """Return batch `number`, which depends on nothing but the arguments.

        An epoch holds every document once; see `pack`.

        Args:
            number: from 0.
            rows: rows in a batch.
            context: labels in a row.
            seed: of the order in each epoch.
        """
        size = len(_epoch(self, context, seed, 0))
        windows: list[np.ndarray[Any, np.dtype[np.int64]]] = []
        for index in range(number * rows, (number + 1) * rows):
            epoch, place = divmod(index, size)
            row = _epoch(self, context, seed, epoch)[place % size]
            parts = [self.ids[first : first + length] for first, length in row]
            windows.append(np.concatenate(parts).astype(np.int64))
        ids_BT = torch.from_numpy(np.stack(windows))
        return Rows(ids_BT[:, :-1], ids_BT[:, 1:], rows * context, f"batch {number}")


@functools.lru_cache(maxsize=2)
def _epoch(corpus: Corpus, context: int, seed: int, epoch: int) -> list[list[Piece]]:
    starts = np.flatnonzero(np.asarray(corpus.ids) == corpus.bos).tolist()
    pieces = [
        (first, min(end - first, context + 1))
        for start, end in zip(starts, [*starts[1:], corpus.tokens], strict=True)
        for first in range(start, end, context + 1)
    ]
    return pack(pieces, context + 1, random.Random(f"{seed} {epoch}"))


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
    lengths = sorted(by_length)
    ordered = sorted(pieces, key=lambda piece: (piece[1], piece[0]))
    end = max(first + length for first, length in pieces)
    rows: list[list[Piece]] = []
    while lengths:
        row, room = list[Piece](), size
        while (place := bisect.bisect_right(lengths, room) - 1) >= 0:
            length = lengths[place]
            row.append(by_length[length].pop())
            room -= length
            if not by_length[length]:
                del lengths[place]
        if room:
            longer = bisect.bisect(ordered, room, key=lambda piece: piece[1])
            first, _ = ordered[draw.randrange(longer if longer < len(ordered) else 0, len(ordered))]
            row.append((min(first, end - room), room))
        rows.append(row)
    draw.shuffle(rows)
    return rows


def build(
    documents: Iterable[str], found: Survey, tokenizer: Tokenizer, folder: Path, context: int
) -> Corpus:
    """Write the tokens of the training documents, and the others as validation.jsonl.

    A document is opened by <|bos|> and closed by <|end|>.

    Args:
        documents: the corpus.
        found: what the survey of the same documents found.
        tokenizer: whose ids to write.
        folder: for the files; a finished one is taken as it is.
        context: the least length, in tokens.

    Raises:
        FtkitError: when the training tokens do not fill one context.
    """
    if (folder / FACTS).is_file():
        return Corpus(folder, **json.loads((folder / FACTS).read_text(encoding="utf-8")))
    folder.mkdir(parents=True, exist_ok=True)
    dtype = "<u2" if tokenizer.size <= 2**16 else "<u4"
    tokens = 0
    held: dict[str, None] = {}  # each once, in the order of the corpus
    with (folder / TRAIN).open("wb") as file:
        for texts in _groups(documents, found, held):
            for ids in tokenizer.encode_many(texts):
                row = np.array(tokenizer.framed(ids), dtype=dtype)
                tokens += len(row)
                file.write(row.tobytes())
        file.flush()
        os.fsync(file.fileno())  # before the facts say that it is whole
    if tokens <= context:
        raise FtkitError(
            f"the corpus has {tokens} tokens for training: it must have more than the context, "
            f"which is {context}; give more text or a smaller context"
        )
    # Escaped, so that no reader takes a line separator of Unicode for the end of a line.
    lines = (json.dumps({"text": text}) + "\n" for text in held)
    write_whole(folder / HELD, "".join(lines))
    write_whole(
        folder / FACTS, json.dumps({"tokens": tokens, "dtype": dtype, "bos": tokenizer.opening})
    )
    return Corpus(folder, tokens, dtype, tokenizer.opening)


def _groups(documents: Iterable[str], found: Survey, held: dict[str, None]) -> Iterator[list[str]]:
    """Gather training documents to encode together, and put the others aside."""
    group: list[str] = []
    for text in documents:
        if not found.trains(text):
            held[text] = None
            continue
        group.append(text)
        if len(group) == 1024:
            yield group
            group = []
    yield group
