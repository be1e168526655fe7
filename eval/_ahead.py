"""A second process that asks variants while this one asks others; it leaves all it finds on disk.

Answers of a small model are made of small products, which two threads hardly make faster than one.
Nothing is handed over: the evaluation finds what is kept, and does what was not reached itself.
With one thread it may be forked at any time, though OpenMP's threads are not in the copy.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from ftkit.runs import WEIGHTS

from ..recipes._in_order import follow

THREADS = 2  # one for each process, or answers a second would depend on which of them asked
SMALL = 2**28  # bytes of a base's weights, above which two models at once may not fit the memory
PAUSE = 0.2  # seconds between two looks at what the other process has done
Work = Callable[[Path], None]


class Ahead:
    """The second process, on one thread; the first one has the others meanwhile.

    Args:
        work: asks one variant, and keeps what it finds.
        folders: of the variants, in the order in which they are asked.
    """

    def __init__(self, work: Work, folders: Sequence[Path]) -> None:
        forked = multiprocessing.get_context("fork")
        self._left = [*folders]
        self._told, tells = forked.Pipe()
        words = work, folders, tells, os.getpid()
        self._process = forked.Process(target=_ask, args=words, daemon=True)
        self._process.start()
        tells.close()

    def begin(self) -> None:
        """Let it go on; until then it has done nothing."""
        torch.set_num_threads(1)
        with suppress(OSError):  # it has ended
            self._told.send(None)

    def until(self, folder: Path) -> Iterator[None]:
        """Wait for a variant that is the other process's to ask; yields now and then."""
        while folder in self._left:
            yield
            try:
                if self._told.poll(PAUSE):
                    self._left.remove(self._told.recv())
            except (EOFError, OSError):  # it has ended, whatever the reason: the rest is asked here
                self._left = []
        if not self._left:
            self.close()

    def close(self) -> None:
        """End the other process, and have both threads again."""
        self._left = []
        self._process.kill()
        self._process.join()
        self._told.close()
        torch.set_num_threads(THREADS)


def possible(bases: Sequence[str]) -> bool:
    """Say whether a second process pays here: models are small, and so are the machine's means."""
    if sys.platform != "linux" or torch.get_num_threads() != THREADS or torch.cuda.is_available():
        return False
    sizes = [sum(file.stat().st_size for file in Path(base).glob(f"*{WEIGHTS}")) for base in bases]
    return all(0 < size <= SMALL for size in sizes)


def _ask(work: Work, folders: Sequence[Path], tells: Connection, parent: int) -> None:
    """Work through the variants; what goes wrong will go wrong in the first process too."""
    follow(parent)
    with open(os.devnull, "w") as nowhere:  # a warning is the first process's to give
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    torch.set_num_threads(1)
    with suppress(Exception):
        tells.recv()
        for folder in folders:
            work(folder)
            tells.send(folder)
