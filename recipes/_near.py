"""Rows that nearly repeat a question of the test: most runs of three words are the same.

Two hashes of a question's runs of words find what may be near (Broder 1997, resemblance); the
words themselves then decide.
"""

import re
from array import array
from collections import defaultdict
from collections.abc import Callable
from zlib import crc32

import numpy as np
import numpy.typing as npt

from ._recipe import Example

WORD = re.compile(r"\w+")
LEAST = 6  # words of a question; shorter ones are like others by chance
ALIKE = 0.8  # share of runs in common, of those of both
TRIED = 20  # test questions that one row is held against
# Bytes with those of ASCII that are in no word as spaces: faster than to find words.
SPACED = bytes(byte if byte > 127 or chr(byte).isalnum() else 32 for byte in range(256))
ODD_ONE, ODD_TWO = 0x9E3779B1, 0x85EBCA77  # so that the order of words counts


def near_marks(text: str) -> tuple[int, int]:
    """Hash a question so that equal hashes are likely for two that are near; (0, 0) if short."""
    words = text.lower().encode().translate(SPACED).split()
    if len(words) < LEAST:
        return 0, 0
    marks = list(map(crc32, words))
    runs = [
        (one + two * ODD_ONE + three * ODD_TWO) & 0xFFFFFFFF
        for one, two, three in zip(marks, marks[1:], marks[2:], strict=False)
    ]
    return min(runs), max(runs)


def asked_words(example: Example) -> str:
    """Give the words in which an example asks, without what stands around them."""
    known = example.meta.get("question")
    if isinstance(known, str):
        return known
    return "\n".join(m["content"] for m in example.messages if m["role"] == "user")


def near(
    example: Callable[[int], Example],
    marks: "tuple[array[int], array[int]]",
    test: npt.NDArray[np.int64],
    rest: npt.NDArray[np.int64],
) -> list[tuple[int, int]]:
    """Find rows that nearly repeat a test question about the same schema or without one.

    Args:
        example: gives one by its number.
        marks: of each, what `near_marks` gives.
        test: numbers of the test rows.
        rest: numbers of the rows that are held against them.

    Returns:
        Pairs of a row and the test row that it is near to.
    """
    known: dict[tuple[int, int], list[int]] = defaultdict(list)
    likely = np.zeros(len(rest), np.bool_)
    for which, hashes in enumerate(np.array(mark, np.uint32) for mark in marks):
        for number in test:
            if hashes[number]:
                known[which, int(hashes[number])].append(int(number))
        likely |= (hashes[rest] > 0) & np.isin(hashes[rest], hashes[test])
    found = []
    runs: dict[int, tuple[frozenset[str], str]] = {}
    for number in rest[likely].tolist():
        tried = [t for which in (0, 1) for t in known[which, marks[which][number]]]
        mine = _runs(example(number))
        for other in dict.fromkeys(tried[:TRIED]):
            if other not in runs:
                runs[other] = _runs(example(other))
            if mine[1] == runs[other][1] and _alike(mine[0], runs[other][0]) >= ALIKE:
                found.append((number, other))
                break
    return found


def _runs(example: Example) -> tuple[frozenset[str], str]:
    """Take a question's runs of words, and the schema it is put to."""
    words = WORD.findall(asked_words(example).lower())
    runs = zip(words, words[1:], words[2:], strict=False)
    return frozenset(map(" ".join, runs)), str(example.meta.get("schema", ""))


def _alike(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard's index."""
    return len(one & other) / max(1, len(one | other))
