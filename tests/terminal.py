"""A pseudo-terminal in which a test types and reads, with a process that is really interactive."""

import os
import pty
import select
import subprocess
import sys
import termios
import time
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parent.parent
# The child makes the terminal its own, so that Ctrl-C in it becomes a signal.
OWN = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


class Terminal:
    """Run Python in a terminal of its own.

    Args:
        words: what follows `python`.
    """

    def __init__(self, *words: str | Path) -> None:
        ours, theirs = pty.openpty()
        self.screen, self.text = ours, ""
        modes = termios.tcgetattr(theirs)
        modes[3] |= termios.NOFLSH  # else Ctrl-C throws away what was said and not yet read
        termios.tcsetattr(theirs, termios.TCSANOW, modes)
        paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWN, *map(str, words)],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, cwd=ROOT,
            env=os.environ | {"TERM": "dumb", "PYTHONPATH": paths},
        )  # fmt: skip
        os.close(theirs)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.screen)

    def type(self, text: str) -> None:
        """Type; a line feed is Return, the characters 3 and 4 are Ctrl-C and Ctrl-D."""
        os.write(self.screen, text.encode())

    def until(self, mark: str, seconds: float = 120.0) -> str:
        """Read until a text stands on the screen; return all that came up to its end."""
        end = time.monotonic() + seconds
        while mark not in self.text:
            ready, _, _ = select.select([self.screen], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{mark!r} never came: {self.text!r}"
            assert self._read(), f"it ended before {mark!r}: {self.text!r}"
        found, _, self.text = self.text.partition(mark)
        return found + mark

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and what was still said."""
        while self._read():
            pass
        return self.process.wait(timeout=60), self.text

    def _read(self) -> bool:
        try:
            found = os.read(self.screen, 65536)
        except OSError:  # the other side is closed
            return False
        self.text += found.decode(errors="replace").replace("\r\n", "\n")
        return bool(found)
