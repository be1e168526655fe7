"""Pretraining in processes that end in the middle: a script that test_base_resume starts.

It forks a process for each try, so that PyTorch is loaded once.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from ftkit.basemodel import budget
from ftkit.basemodel.budget import Pretrain
from ftkit.basemodel.device import Device
from ftkit.basemodel.pretrain import pretrain
from ftkit.runs import Run

TOUCHES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
SETTINGS = Pretrain(preset="pico", context=64, vocab_size=320, tokens=6144, batch=512, seed=3)


def dies_at_touch(folder: Path, moment: int, told: Path | None = None) -> None:
    """Kill this process before it touches the folder's files for the moment-th time."""
    seen = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in TOUCHES and isinstance(arguments[0], str | Path | os.PathLike):
            path = os.fspath(arguments[0])
            if not path.startswith(str(folder)) or path == str(told):
                return
            seen += 1
            if told is not None:
                with told.open("a") as file:
                    file.write(f"{path}\n")
            if seen == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def work(folder: Path, name: str, dies: dict[str, Any]) -> None:
    """Begin a run or go on with it, until it is done or the process dies."""
    out = folder / name
    if (out / "run" / "done").is_file():  # died when all was there and only leftovers were swept
        return
    if (out / "run" / "run.toml").is_file():
        run = Run.resume(out)
    else:
        run = Run.create(out, {"command": "pretrain"})
    if "touch" in dies:
        dies_at_touch(folder, dies["touch"], Path(dies["told"]) if "told" in dies else None)
    for row in pretrain(run, SETTINGS, sources=[folder / "corpus.jsonl"]):
        if "loss" in row and row["step"] == dies.get("step"):
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Try what is asked for, one after another, each in a process of its own."""
    folder, device, tries = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
    if device:
        budget.decide = lambda **_: Device(**device)  # type: ignore[assignment]
    for name, dies in tries:
        child = os.fork()
        if not child:
            try:
                work(folder, name, dies)
            except BaseException as problem:
                sys.stderr.write(f"{name} {dies}: {problem!r}\n")
                os._exit(1)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status == (-signal.SIGKILL if dies and "told" not in dies else 0), (name, dies)


if __name__ == "__main__":
    main()
