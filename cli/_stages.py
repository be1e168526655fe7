"""The stages of the demo: each timed and measured, kept in stages.json, done once."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ftkit.runs import write_whole

from ._plan import span


class Stages:
    """What each stage took, across stops and restarts.

    Args:
        path: stages.json; read if it is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: dict[str, dict[str, Any]] = {}
        if path.exists():
            self.done = json.loads(path.read_text(encoding="utf-8"))

    def run(self, name: str, work: Callable[[], Any]) -> None:
        """Do a stage unless it is finished, and add what it took, even if it is stopped.

        Args:
            name: of the stage.
            work: does it; what it returns is kept with the stage and must be JSON.
        """
        from ..basemodel.device import PeakMemory

        before = self.done.get(name, {"seconds": 0.0, "peak_memory": 0})
        if before.get("finished"):
            return
        began, finished, result = time.perf_counter(), False, None
        with PeakMemory() as memory:
            try:
                result = work()
                finished = True
            finally:
                self.done[name] = {
                    "seconds": round(before["seconds"] + time.perf_counter() - began, 1),
                    "peak_memory": max(before["peak_memory"], memory.bytes),
                    "finished": finished,
                    **({"result": result} if result is not None else {}),
                }
                write_whole(self.path, json.dumps(self.done, indent=1) + "\n")

    def result(self, name: str) -> Any:
        """Return what a finished stage's work returned."""
        return self.done[name].get("result")

    def words(self) -> str:
        """Lay out seconds and peak memory as a small table, the whole in the last line."""
        wide = max(map(len, [*self.done, "in all"]))
        seconds = sum(stage["seconds"] for stage in self.done.values())
        most = max(stage["peak_memory"] for stage in self.done.values())
        rows = [(name, stage["seconds"], stage["peak_memory"]) for name, stage in self.done.items()]
        return "\n".join(
            f"{name:{wide}}  {taken:7.1f} s  {memory / 2**30:5.2f} GiB at most"
            + (f"  ({span(taken)})" if name == "in all" and taken >= 90 else "")
            for name, taken, memory in [*rows, ("in all", seconds, most)]
        )
