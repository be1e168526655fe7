"""The tokens of a corpus: a memory-mapped file, the held-out text, batches by their number."""

# B rows, T positions.

import functools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ftkit.errors import FtkitError
from ftkit.runs import write_whole

from .corpus import Survey
from .tokenizer import BOS, END, Tokenizer

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
    """

    folder: Path
    tokens: int
    dtype: str

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

        Windows of a context each tile the tokens in a new random order, from a new random
        beginning, in every epoch.

        Args:
            number: from 0.
            rows: windows in a batch.
            context: labels in a window.
            seed: of order and beginnings.
        """
        count = max(1, (self.tokens - 1) // context - 1)
        windows: list[np.ndarray[Any, np.dtype[np.int64]]] = []
        for index in range(number * rows, (number + 1) * rows):
            epoch, place = divmod(index, count)
            order, begin = _epoch(seed, epoch, count, self.tokens - 1 - count * context)
            first = begin + int(order[place]) * context
            windows.append(self.ids[first : first + context + 1].astype(np.int64))
        ids_BT = torch.from_numpy(np.stack(windows))
        return Rows(ids_BT[:, :-1], ids_BT[:, 1:], rows * context, f"batch {number}")


@functools.lru_cache(maxsize=4)
def _epoch(seed: int, epoch: int, count: int, slack: int) -> tuple[Tensor, int]:
    draw = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    begin = int(torch.randint(slack + 1, (), generator=draw))
    return torch.randperm(count, generator=draw), begin


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
    bos, end, tokens = [tokenizer.id(BOS)], [tokenizer.id(END)], 0
    held: dict[str, None] = {}  # each once, in the order of the corpus
    with (folder / TRAIN).open("wb") as file:
        for texts in _groups(documents, found, held):
            for ids in tokenizer.encode_many(texts):
                row = np.array(bos + ids + end, dtype=dtype)
                tokens += len(row)
                file.write(row.tobytes())
    if tokens <= context:
        raise FtkitError(
            f"the corpus has {tokens} tokens for training: it must have more than the context, "
            f"which is {context}; give more text or a smaller context"
        )
    # Escaped, so that no reader takes a line separator of Unicode for the end of a line.
    lines = (json.dumps({"text": text}) + "\n" for text in held)
    write_whole(folder / HELD, "".join(lines))
    write_whole(folder / FACTS, json.dumps({"tokens": tokens, "dtype": dtype}))
    return Corpus(folder, tokens, dtype)


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
