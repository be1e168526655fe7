"""Work that is the same for many items, done by processes side by side, its results in order."""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from typing import TypeVar

from ftkit.errors import WorkError

Item = TypeVar("Item")
Made = TypeVar("Made")
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG (prctl(2))
MOST = 8  # processes; one reader feeds no more, and each holds items
KILLED = "a process that read rows was killed: is there enough memory?"
AHEAD = 2  # items a process that wait for it, or for what came before them


def in_order(
    work: Callable[[Item], Made], items: Iterable[Item], processes: int | None = None
) -> Iterator[tuple[Item, Made]]:
    """Do work on each item; only a few more than there are processes are held at a time.

    Args:
        work: that another process can do too: what it is made of can be pickled.
        items: read in this process, one after the other.
        processes: as many as there are processors for this one, `MOST` at most, if None. With one,
            for a single item, and where no process can be forked safely, this one does the work.

    Yields:
        Each item with what became of it, in the order of the items.

    Raises:
        WorkError: when a process was killed; whatever `work` raises.
    """
    rest = iter(items)
    first = list(islice(rest, 2))
    own = min(MOST, len(os.sched_getaffinity(0))) if sys.platform == "linux" else 1
    processes = processes or own
    if processes < 2 or len(first) < 2:
        yield from ((item, work(item)) for item in chain(first, rest))
        return
    forked = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(processes, forked, follow, (os.getpid(),)) as pool:
        waiting: deque[tuple[Item, Future[Made]]] = deque()
        try:
            for item in chain(first, rest):
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) > AHEAD * processes:
                    item, made = waiting.popleft()
                    yield item, made.result()
            yield from ((item, made.result()) for item, made in waiting)
        except BrokenProcessPool:
            raise WorkError(KILLED) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def beside(work: Callable[[], Made]) -> Callable[[], Made]:
    """Begin work in another process, if one can be forked safely and a processor is free for it.

    Args:
        work: that another process can do too: what it is made of can be pickled.

    Returns:
        What waits for the result and gives it; otherwise `work` itself.
    """
    if sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2:
        return work
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("fork"), follow, (os.getpid(),))
    made = pool.submit(work)
    pool.shutdown(wait=False)

    def result() -> Made:
        try:
            return made.result()
        except BrokenProcessPool:
            raise WorkError(KILLED) from None

    return result


def follow(parent: int) -> None:
    """Leave Ctrl-C to the parent, and end when it ends, however that comes about."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before that
        os._exit(1)
