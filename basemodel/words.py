"""Text to the bytes of its ids, many times faster: a word that came before is not encoded again.

A text is cut where no piece of the tokenizer's pattern spans, so that the ids of the parts, one
after the other, are the ids of the whole. The parts of prose are words with the space before them,
most of which came before; what did not is encoded on all cores.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np
from tokenizers import Tokenizer

ROOM = 2_000_000  # characters of words that are remembered: about 60 MB
# A space between two characters that are none begins a piece: only runs of letters and of marks
# may begin with one, and neither goes on behind one.
SPACE = re.compile(r"(?= (?<=\S )\S)")
# A line's end is the end of a piece, unless more space follows.
BORDER = re.compile(r"(?<=\n)(?=\S)|(?<=\S)(?= \S)")


class Words:
    """The ids of the words that came before.

    Args:
        inner: the library's tokenizer, whose ids they are.
        dtype: numpy's name of an id's type.
        cut: texts may be cut at single spaces; else each is encoded whole.
    """

    def __init__(self, inner: Tokenizer, dtype: str, *, cut: bool) -> None:
        self._inner, self._cut, self._dtype = inner, cut, dtype
        self._known: dict[str, bytes] = {}
        self._room = ROOM

    def encode(self, texts: Sequence[str]) -> list[bytes]:
        """Return the ids of each text, as bytes."""
        if self._room < 0:
            self._known.clear()
            self._room = ROOM
        parts = [SPACE.split(text) if self._cut else [text] for text in texts]
        new = list(set().union(*parts) - self._known.keys())
        self._room -= sum(map(len, new))
        # Without offsets, which nobody asks for here.
        rows = self._inner.encode_batch_fast(new, add_special_tokens=False)
        for word, row in zip(new, rows, strict=True):
            self._known[word] = self.packed(row.ids)
        return [b"".join(map(self._known.__getitem__, words)) for words in parts]

    def packed(self, ids: Sequence[int]) -> bytes:
        """Return ids as bytes."""
        return np.array(ids, self._dtype).tobytes()


def slices(text: str, size: int) -> Iterator[str]:
    r"""Cut a long text so that the ids of the parts are the ids of the whole.

    A text that has no such place, as one without line breaks and spaces, stays whole.

    Args:
        text: of any length.
        size: characters of a part, at least; a cut is made at the next place that can be one.

    >>> list(slices("one two\nthree", 4))
    ['one two\n', 'three']
    """
    start = 0
    while len(text) - start > size and (border := BORDER.search(text, start + size)):
        yield text[start : border.start()]
        start = border.start()
    yield text[start:]
