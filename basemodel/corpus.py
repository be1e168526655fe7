"""The corpus: the documents of its sources, and which of them are held out."""

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path

from ftkit.errors import FtkitError

from .sources import Source

HELD_BYTES = 200_000  # the most text that is held out: enough for a validation loss
SAMPLE = 40_000_000  # characters from which a tokenizer is learned
# Each choice reads its own eight bytes of a document's hash, so that none depends on another.
HOLD, LEARN, WEIGH = slice(0, 8), slice(8, 16), slice(16, 24)
LAST = b"\xff" * 32  # no digest is behind it


class Documents:
    """The documents of sources, read anew in each iteration; see `sources`.

    A row {"text": ...} is a document; plain text is cut into documents of about 4,000 characters
    at paragraphs, so that some can be held out.

    Raises:
        FtkitError: while iterating, for a source without text, and for what is not UTF-8 or has no
            "text", naming file and line; at once, for what is missing.
    """

    def __init__(self, sources: Sequence[str | Path]) -> None:
        self.sources = [Source.read(str(word)) for word in sources]

    def __iter__(self) -> Iterator[str]:
        for source in self.sources:
            found = False
            for text in chain.from_iterable(source.places):
                if text.strip():
                    found = True
                    yield from repeat(text, _copies(text, source.weight))
            if not found:
                raise FtkitError(f"{source.name} is empty: there is no text in it")


def _copies(text: str, weight: float) -> int:
    """Say how often a document of a source is read; the fraction goes by its hash."""
    whole = int(weight)
    return whole if whole == weight else whole + (share(digest(text)[WEIGH]) < weight - whole)


@dataclass(frozen=True)
class Survey:
    """What a first reading of the documents found.

    Args:
        characters: how much text there is.
        held: digests of the documents to hold out.
        digest: of all documents in their order, hexadecimal.
        sampled: digest of the training document that a tokenizer always learns from.
    """

    characters: int
    held: frozenset[bytes]
    digest: str
    sampled: bytes

    def trains(self, text: str) -> bool:
        """Say whether a document is for training; copies of one share their fate."""
        return digest(text) not in self.held

    def again(self, documents: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Read the documents once more, each with its digest.

        Raises:
            FtkitError: at the end, when they are not those that were surveyed.
        """
        whole = hashlib.sha256()
        for text in documents:
            found = digest(text)
            whole.update(found)
            yield text, found
        if whole.hexdigest() != self.digest:
            raise FtkitError("the corpus changed while it was read: begin again")

    def sample(self, documents: Iterable[str]) -> Iterator[str]:
        """Yield the training documents from which a tokenizer is learned, up to SAMPLE characters.

        Raises:
            FtkitError: as `again`.
        """
        room = SAMPLE
        for text, found in self.again(documents):
            drawn = share(found[LEARN]) * self.characters <= SAMPLE or found == self.sampled
            if room and drawn and found not in self.held:
                yield text[:room]
                room -= min(room, len(text))


def survey(documents: Iterable[str], validation: float) -> Survey:
    """Choose the validation documents by their hash, so that order and additions move none.

    Args:
        documents: the corpus.
        validation: share of the documents, 0 to 1; at least one and at most 200 kB are held out. A
            larger document never is, unless there is no other.

    Raises:
        FtkitError: when there are fewer than two different documents.
    """
    characters, whole, first, least = 0, hashlib.sha256(), b"", _Least(HELD_BYTES)
    different = 0
    for text in documents:
        characters += len(text)
        data = text.encode()
        found = hashlib.sha256(data).digest()
        whole.update(found)
        least.add(found, len(data))
        if different < 2 and found != first:
            first, different = first or found, different + 1
    if different < 2:
        raise FtkitError(
            f"the corpus has {different} document: there must be two or more, since one is held "
            "out for validation"
        )
    smallest, *others = least.sorted()
    held = {smallest, *(each for each in others if share(each[HOLD]) < validation)}
    sampled = min({least.other, least.large, *others} - held, key=_learning)
    return Survey(characters, frozenset(held), whole.hexdigest(), sampled)


class _Least:
    """The smallest of some digests, as many as have documents that fit into a room together.

    A document that is larger than the room takes no part, unless all are: then `large` does, the
    smallest of their digests. Of the rest that is left out, `other` is the first to learn from.
    """

    def __init__(self, room: int) -> None:
        self._room = self._most = room
        self.other = self.large = LAST
        self._sizes: dict[bytes, int] = {}
        self._heap: list[tuple[int, bytes]] = []  # the largest digest first
        self._end = LAST  # the smallest that did not fit: what lies behind it is out

    def add(self, digest: bytes, size: int) -> None:
        if digest in self._sizes or digest == self.large:
            return
        if size > self._most:
            self._leave(max(self.large, digest))
            self.large = min(self.large, digest)
            return
        if digest >= self._end:
            self._leave(digest)
            return
        self._sizes[digest] = size
        heapq.heappush(self._heap, (-int.from_bytes(digest), digest))
        self._room -= size
        while self._room < 0:
            self._end = heapq.heappop(self._heap)[1]
            self._room += self._sizes.pop(self._end)
            self._leave(self._end)

    def _leave(self, digest: bytes) -> None:
        self.other = min(self.other, digest, key=_learning)

    def sorted(self) -> list[bytes]:
        return sorted(self._sizes) or [self.large]


def _learning(digest: bytes) -> bytes:
    return digest[LEARN]


def digest(text: str) -> bytes:
    """Hash a document."""
    return hashlib.sha256(text.encode()).digest()


def share(eight: bytes) -> float:
    """Read eight bytes of a hash as an even number from 0 to 1."""
    return int.from_bytes(eight) / 2**64
