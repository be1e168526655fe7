"""Ctrl-C or SIGTERM during long work: the step at hand ends, so that what is saved is whole."""

import signal
import threading
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any

SIGNALS = signal.SIGINT, signal.SIGTERM  # a person's; a scheduler's that takes the machine back


class Interrupt:
    """Within the block the first signal only sets `asked`; the second one stops at once.

    The work looks at `asked` between its steps, saves and raises `ftkit.errors.Interrupted`.

    Args:
        signals: what is caught.
    """

    def __init__(self, signals: Sequence[signal.Signals] = SIGNALS) -> None:
        self._signals = signals
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interrupt":
        # Signals reach the main thread alone; elsewhere there is nothing to catch.
        if threading.current_thread() is threading.main_thread():
            self._before = {each: signal.signal(each, self._notice) for each in self._signals}
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
        for each, before in self._before.items():
            signal.signal(each, before)
        self._before = {}
