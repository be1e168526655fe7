"""Examples on disk: written once in a stream, then read by number, so that none need fit in memory.

A store is a folder: `rows.jsonl` holds an example a line, `ends.npy` where each line ends. It is
written under another name and renamed when it is whole.
"""

import json
import os
import shutil
import tempfile
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from ._recipe import Example

DAY = 86_400  # seconds after which what a killed process left half made goes
KEPT = 24  # stores beside each other; the one that was not used for longest goes first
LINES, ENDS = "rows.jsonl", "ends.npy"
Numbers = npt.NDArray[np.int64]


class Writer:
    """Write examples to a folder, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = (folder / LINES).open("wb")
        self._ends = array("Q")
        self._place = 0

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, lines: bytes | bytearray, sizes: "array[int]") -> None:
        """Write examples.

        Args:
            lines: made by `line`, end to end.
            sizes: bytes of each.
        """
        self._file.write(lines)
        for size in sizes:
            self._place += size
            self._ends.append(self._place)

    def close(self) -> None:
        """Write where the lines end; the folder is then whole."""
        self._file.close()
        np.save(self.folder / ENDS, np.array(self._ends, np.int64))


ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def line(example: Example) -> bytes:
    """Write an example as a line of a store."""
    turns = [text for m in example.messages for text in (m["role"], m["content"])]
    return f"{ENCODE((turns, example.meta, example.where))}\n".encode()


class Store:
    """The examples of a folder, by number.

    Args:
        folder: written by `Writer`.

    Raises:
        ValueError: for one that is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ends = np.load(folder / ENDS)
        path = folder / LINES
        self._lines = (
            np.memmap(path, np.uint8, "r") if path.stat().st_size else np.empty(0, np.uint8)
        )
        if (int(self._ends[-1]) if len(self._ends) else 0) != path.stat().st_size:
            raise ValueError(f"{folder} is damaged")
        os.utime(folder)  # it is in use

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> Example:
        begin = int(self._ends[number - 1]) if number else 0
        turns, meta, where = json.loads(self._lines[begin : int(self._ends[number])].tobytes())
        pairs = zip(turns[::2], turns[1::2], strict=True)
        messages = tuple({"role": role, "content": content} for role, content in pairs)
        kept = {k: tuple(v) if isinstance(v, list) else v for k, v in meta.items()}
        return Example(messages, kept, where)


@dataclass(frozen=True, eq=False)
class Rows(Sequence[Example]):
    """Some rows of a sequence, in an order of their own, each read when it is asked for.

    Args:
        source: examples by number.
        numbers: which of them, in order; a number may come more than once.
    """

    source: Store | Sequence[Example]
    numbers: Numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, place: int) -> Example: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Example]: ...
    def __getitem__(self, place: int | slice) -> Example | Sequence[Example]:
        if isinstance(place, slice):
            return Rows(self.source, self.numbers[place])
        return self.source[int(self.numbers[place])]

    def __iter__(self) -> Iterator[Example]:
        return (self.source[int(number)] for number in self.numbers)


@contextmanager
def made(place: Path) -> Iterator[Path]:
    """Give a folder to fill; it takes its place when nothing fails, and old ones beside it go.

    Args:
        place: where it shall be; what another process put there meanwhile stays.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".", dir=place.parent))
    try:
        yield aside
        for file in aside.iterdir():  # or a lost power could leave its name without its content
            with file.open("rb") as written:
                os.fsync(written.fileno())
        try:
            aside.rename(place)
        except OSError:
            if not place.is_dir():
                raise
        stores = [path for path in place.parent.iterdir() if path.name[0] != "."]
        dead = [path for path in place.parent.glob(".*") if 0 < _used(path) < time.time() - DAY]
        for old in [*sorted(stores, key=_used)[:-KEPT], *dead]:
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _used(place: Path) -> float:
    """Say when a store was last used; another process may have taken it away."""
    try:
        return place.stat().st_mtime
    except FileNotFoundError:
        return 0.0
