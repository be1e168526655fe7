"""Documents become shards of tokens: read in one thread, encoded on all cores, memory bounded."""

import json
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ftkit.errors import FtkitError
from ftkit.runs import write_whole

from .corpus import Survey
from .shards import Writer, how_many, whole
from .tokenizer import Tokenizer
from .tokens import HELD, Corpus
from .words import Words, slices

GROUP = 2**20  # characters that are encoded at once
SLICE = 2**18  # a longer document is encoded in slices of about so many


@dataclass(frozen=True)
class Slice:
    """A training document or a stretch of one, and the shard that it goes to."""

    text: str
    shard: int
    first: bool
    last: bool


def build(
    documents: Iterable[str], found: Survey, tokenizer: Tokenizer, folder: Path, context: int
) -> Corpus:
    """Write the tokens of the training documents, and the others as validation.jsonl.

    Args:
        documents: the corpus.
        found: what the survey of the same documents found.
        tokenizer: whose ids to write; it frames the documents. One that was learned here is kept
            beside their ids.
        folder: appears whole at the end; a finished one is taken as it is.
        context: the least length, in tokens.

    Raises:
        FtkitError: when the training tokens do not fill one context, or the documents are not those
            that were surveyed.
    """
    corpus = Corpus.open(folder)
    if corpus is None:
        with whole(folder) as aside:
            _write(documents, found, tokenizer, aside)
            enough(Corpus.open(aside), context)
            if tokenizer.own:
                tokenizer.save(aside, context)
        corpus = Corpus.open(folder)
    return enough(corpus, context)


def enough(corpus: Corpus | None, context: int) -> Corpus:
    """Return the corpus if its tokens fill a row.

    Raises:
        FtkitError: when they do not.
    """
    assert corpus is not None
    if corpus.tokens <= context:
        raise FtkitError(
            f"the corpus has {corpus.tokens} tokens for training: it must have more than the "
            f"context, which is {context}; give more text or a smaller context"
        )
    return corpus


def _write(documents: Iterable[str], found: Survey, tokenizer: Tokenizer, folder: Path) -> None:
    shards = how_many(found.characters)
    dtype = "<u2" if tokenizer.size <= 2**16 else "<u4"
    writer = Writer(folder, shards, dtype)
    # Where another's tokenizer may be cut is not known: it gets the texts whole.
    words = Words(tokenizer.inner, dtype, cut=tokenizer.own)
    held: dict[str, None] = {}  # each once, in the order of the corpus
    opening, closing = map(words.packed, _frame(tokenizer))
    size = SLICE if tokenizer.own else sys.maxsize  # where another may be cut is not known
    for group in _ahead(_groups(_slices(documents, found, shards, size, held))):
        for part, ids in zip(group, words.encode([part.text for part in group]), strict=True):
            if part.first:
                writer.start(part.shard)
                writer.add(part.shard, opening)
            writer.add(part.shard, ids)
            if part.last:
                writer.add(part.shard, closing)
    # Escaped, so that no reader takes a line separator of Unicode for the end of a line.
    lines = (json.dumps({"text": text}) + "\n" for text in held)
    write_whole(folder / HELD, "".join(lines))
    writer.close()


def _frame(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Take the frame of a document apart: what stands before its ids, and behind."""
    inside = -1  # no id
    frame = tokenizer.framed([inside])
    place = frame.index(inside)
    return frame[:place], frame[place + 1 :]


def _slices(
    documents: Iterable[str], found: Survey, shards: int, size: int, held: dict[str, None]
) -> Iterator[Slice]:
    """Cut up training documents, and put the others aside."""
    for text, name in found.again(documents):
        if name in found.held:
            held[text] = None
            continue
        shard, parts = int.from_bytes(name) % shards, list(slices(text, size))
        for place, part in enumerate(parts):
            yield Slice(part, shard, place == 0, place == len(parts) - 1)


def _groups(parts: Iterable[Slice]) -> Iterator[list[Slice]]:
    """Gather what is encoded together, by its length: the memory of a group is bounded so."""
    group, size = list[Slice](), 0
    for part in parts:
        group.append(part)
        size += len(part.text)
        if size >= GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


def _ahead(groups: Iterator[list[Slice]]) -> Iterator[list[Slice]]:
    """Read the next group in another thread while this one is encoded."""

    def read() -> list[Slice]:
        return next(groups, [])

    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(read)
        while group := coming.result():
            coming = reader.submit(read)
            yield group
