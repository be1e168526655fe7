"""Ctrl-C during long work: the step at hand ends, so that what is saved is whole."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupt:
    """Within the block the first Ctrl-C only sets `asked`; the second one stops at once.

    The work looks at `asked` between its steps, saves and raises `ftkit.errors.Interrupted`.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> "Interrupt":
        # Signals reach the main thread alone; elsewhere there is nothing to catch.
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._notice)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _notice(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._restore()

    def _restore(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None
