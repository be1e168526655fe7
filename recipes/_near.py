"""Rows that nearly repeat a question of the test: most of their runs of three words are the same.

Runs that many questions of the test share, such as an instruction before each, say nothing and are
not counted (after the overlap by which GPT-3's training text was cleaned, arXiv:2005.14165).
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import numpy as np
import numpy.typing as npt

from ._recipe import Example
from ._split import among

LEAST = 4  # runs that say something; with fewer, questions are like others by chance
ALIKE = 0.8  # share of runs in common, of those of both
COMMON = 0.02  # share of the test's questions, from which on a run is common,
OFTEN = 20  # and the least number of them
TRIED = 20  # test questions that one row is held against, those with most runs in common first
AT_ONCE = 2**20  # runs that are looked at together: rows may be long
# Bytes with those of ASCII that are in no word as spaces: faster than to find words.
SPACED = bytes(byte if byte > 127 or chr(byte).isalnum() else 32 for byte in range(256))
Numbers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint32]
Mask = npt.NDArray[np.bool_]


def asked_words(example: Example) -> str:
    """Give the words in which an example asks, without what stands around them."""
    known = example.meta.get("question")
    if isinstance(known, str):
        return known
    return "\n".join(m["content"] for m in example.messages if m["role"] == "user")


def marks_of(text: str) -> list[int]:
    """Hash each word, whatever its case and the signs beside it.

    >>> len(marks_of("What is it?")), marks_of("what IS: it") == marks_of("What is it")
    (3, True)
    """
    return list(map(crc32, text.lower().encode().translate(SPACED).split()))


def runs_of(marks: "array[int]", sizes: "array[int]") -> tuple[Hashes, Numbers]:
    """Hash each run of three words.

    Args:
        marks: the words of all rows, end to end.
        sizes: how many each row has.

    Returns:
        The runs of all rows, end to end, and how many each has.
    """
    one, count = np.array(marks, np.uint32), np.array(sizes, np.int64)
    # So that the order of words counts; the last two words of a row begin no run.
    runs = one[:-2] + 3 * one[1:-1] + 7 * one[2:]
    last = np.repeat(np.cumsum(count), count) - np.arange(len(one)) <= 2
    return runs[~last[: len(runs)]], np.maximum(count - 2, 0)


class Runs:
    """The runs of every row's question, in a file.

    Args:
        file: to write, which `near` reads again.
    """

    def __init__(self, file: Path) -> None:
        self.path = file
        self._file = file.open("wb")
        self._ends, self._place = [np.zeros(1, np.int64)], 0

    def add(self, runs: Hashes, sizes: Numbers) -> None:
        """Write the runs of the next rows; see `runs_of`."""
        self._file.write(runs.tobytes())
        self._ends.append(self._place + np.cumsum(sizes))
        self._place += len(runs)

    def __enter__(self) -> "Runs":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self) -> tuple[Hashes, Numbers]:
        """Give all runs, and where each row's begin and end."""
        held = np.memmap(self.path, np.uint32, "r") if self._place else np.empty(0, np.uint32)
        return held, np.concatenate(self._ends)


def near(
    runs: Runs, test: Numbers, rest: Numbers, example: Callable[[int], Example]
) -> Iterator[tuple[int, int]]:
    """Find rows that nearly repeat a test question about the same schema or without one.

    Args:
        runs: of all rows.
        test: numbers of the test rows.
        rest: numbers of the rows that are held against them.
        example: gives one by its number.

    Yields:
        A row and the test row that it is near to.
    """
    if not len(test) or not len(rest):
        return
    held, ends = runs.read()
    known = _Known(held, ends, test)
    before = np.cumsum(ends[rest + 1] - ends[rest]) // AT_ONCE
    for some in np.split(rest, np.flatnonzero(np.diff(before)) + 1):
        for number in known.likely(held, ends, some).tolist():
            mine = set(held[ends[number] : ends[number + 1]].tolist()) - known.common
            for other in known.closest(mine):
                theirs = set(held[ends[other] : ends[other + 1]].tolist()) - known.common
                alike = len(mine & theirs) / len(mine | theirs)
                if alike >= ALIKE and _schema(example(number)) == _schema(example(other)):
                    yield number, other
                    break


class _Known:
    """Which runs say something, and which test questions have them."""

    def __init__(self, held: Hashes, ends: Numbers, test: Numbers) -> None:
        flat, self.rows = _flat(held, ends, test)
        found, counts = np.unique(flat, return_counts=True)
        often = counts > max(OFTEN, COMMON * len(test))
        self.common = set(found[often].tolist())
        self._common = found[often]
        order = np.argsort(flat, kind="stable")
        self.runs, self.rows = flat[order], test[self.rows[order]]
        kept = ~among(self.runs, self._common)
        self.runs, self.rows = self.runs[kept], self.rows[kept]

    def likely(self, held: Hashes, ends: Numbers, rows: Numbers) -> Numbers:
        """Choose rows most of whose runs are in the test; no other can be near to a question."""
        flat, owner = _flat(held, ends, rows)
        own = np.bincount(owner[~among(flat, self._common)], minlength=len(rows))
        hits = np.bincount(owner[among(flat, self.runs)], minlength=len(rows))
        return rows[(own >= LEAST) & (hits >= ALIKE * own)]

    def closest(self, mine: set[int]) -> list[int]:
        """List the test rows with most of these runs."""
        wanted = np.array(sorted(mine), np.uint32)
        begin, end = (np.searchsorted(self.runs, wanted, side) for side in ("left", "right"))
        spans = zip(begin.tolist(), end.tolist(), strict=True)
        count = Counter(int(row) for one, two in spans for row in self.rows[one:two])
        return [row for row, _ in count.most_common(TRIED)]


def _flat(held: Hashes, ends: Numbers, rows: Numbers) -> tuple[Hashes, Numbers]:
    """Take the runs of some rows, and for each the place of its row among them."""
    sizes = ends[rows + 1] - ends[rows]
    owner = np.repeat(np.arange(len(rows)), sizes)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.asarray(held[ends[rows][owner] + within]), owner


def _schema(example: Example) -> str:
    return str(example.meta.get("schema", ""))
