"""What a process has spent: the same three measures for ours and for the peers, without ftkit."""

import resource
import time
from collections.abc import Sequence
from pathlib import Path


def spent() -> float:
    """Return the processor seconds of this process, and of those it started and has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def peak() -> int:
    """Return the bytes of this process at its peak; `ru_maxrss` has those of its parent too."""
    status = Path("/proc/self/status").read_text().splitlines()
    (size,) = (line.split()[1] for line in status if line.startswith("VmHWM"))
    return int(size) * 1024


def warm(ends: Sequence[tuple[int, float]], rows: int) -> float:
    """Return the rows a second of the second half of an epoch, when all is compiled.

    Args:
        ends: numbers of steps, of all or of some, and when they ended; the last one is the last.
        rows: of the whole epoch.

    >>> warm([(1, 50.0), (2, 51.0), (3, 52.0), (4, 53.0)], 40)
    10.0
    """
    steps, last = ends[-1]
    half, began = min(ends, key=lambda end: abs(end[0] - steps / 2))
    return rows / steps * (steps - half) / (last - began)
