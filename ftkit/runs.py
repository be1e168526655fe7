"""The run folder: a Hugging Face folder plus `run/`, which appears whole or says that it is not.

While work goes on a run holds `run/` alone: run.toml, log.jsonl and checkpoints. The Hugging Face
files come at the end, the weights last, then `run/done`; readers refuse a folder without it.
"""

import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ftkit.config import dump_toml, read_toml
from ftkit.errors import FtkitError

WEIGHTS = ".safetensors"
# What makes two folders the same model: shape, tokens and weights, not notes or templates' copies.
IDENTITY = ("config.json", "adapter_config.json", "tokenizer.json")


@contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that has its name when all is written, and never before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file so that a reader sees the old content or all of the new, never a part."""
    with whole(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def sha256(path: Path) -> str:
    """Hash a file's content, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds a JSON object.

    Raises:
        FtkitError: when it holds something else, such as the half of one.
    """
    try:
        return _object(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError:
        raise FtkitError(f"{path} is damaged: it holds no JSON object") from None


def _object(text: str, where: str) -> dict[str, Any]:
    """Read a JSON object; a refusal says where it should be."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise FtkitError(f"{where} is damaged: it holds no JSON object")
    return found


def digest(text: str) -> str:
    """Name a content by 32 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def fingerprint(folder: Path) -> str:
    """Hash what makes a Hugging Face folder this model: configuration, tokenizer and weights.

    Args:
        folder: a model or adapter folder, ours or not.

    Returns:
        64 hexadecimal digits; equal for copies of a folder, wherever they lie.
    """
    files = [folder / name for name in IDENTITY if (folder / name).is_file()]
    files += sorted(folder.glob(f"*{WEIGHTS}"))
    whole = hashlib.sha256()
    for file in files:
        whole.update(f"{file.name} {sha256(file)}\n".encode())
    return whole.hexdigest()


def free_name(path: Path) -> Path:
    """Return the path, or with -2, -3 ... behind it the first that does not exist yet."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


class Run:
    """One piece of work in its folder: settings, log, checkpoints and in the end the model."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.inner = path / "run"
        self.checkpoints = self.inner / "checkpoints"

    @staticmethod
    def create(out: Path, settings: Mapping[str, Any]) -> "Run":
        """Begin a run in a folder that does not exist yet or is empty.

        Args:
            out: the run folder; its parents are made as needed.
            settings: the tables of run.toml; `ftkit tune --config run.toml` runs them again.

        Raises:
            FtkitError: when the folder holds something already or cannot be made.
        """
        refuse_full(out)
        run = Run(out)
        try:
            if run.inner.is_dir():  # of one that was killed at once
                run.inner.rmdir()
            run.inner.mkdir(parents=True)  # one of two who chose the same name fails
        except OSError as problem:
            raise FtkitError(f"{out} cannot be made: {problem.strerror}") from None
        run.update(settings)
        return run

    @staticmethod
    def resume(out: Path) -> "Run":
        """Take up a run that was begun and not finished.

        Raises:
            FtkitError: when the folder is no run or its run is finished already.
        """
        run = Run(out)
        if not (run.inner / "run.toml").is_file():
            raise FtkitError(f"{out} holds no run to resume: there is no {run.inner / 'run.toml'}")
        if (run.inner / "done").is_file():
            raise FtkitError(f"{out} is finished already: there is nothing to resume")
        return run

    @staticmethod
    def open(path: Path) -> "Run":
        """Open a finished run.

        Raises:
            FtkitError: when the folder is no run or its run is not finished.
        """
        run = Run(path)
        if not (run.inner / "run.toml").is_file():
            raise FtkitError(f"{path} is no run folder: there is no {run.inner / 'run.toml'}")
        if not (run.inner / "done").is_file():
            raise FtkitError(f"{path} is not finished: go on with {run.resumed}")
        return run

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no other process work on the run within the block.

        Raises:
            FtkitError: when another one does.
        """
        path = self.inner / "lock"
        with path.open("a+") as file:
            if not _locked(file):
                file.seek(0)
                raise FtkitError(
                    f"{self.path} is being worked on by process {file.read() or '?'}: wait until "
                    "it ends, or stop it"
                )
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            try:
                yield
            finally:
                with suppress(OSError):  # Windows does not let go of what is open
                    path.unlink()

    @property
    def resumed(self) -> str:
        """The options that go on with it, as a shell takes them."""
        return f"--resume --out {shlex.quote(str(self.path))}"

    @property
    def settings(self) -> dict[str, Any]:
        """The tables of run.toml."""
        return read_toml(self.inner / "run.toml")

    def update(self, settings: Mapping[str, Any]) -> None:
        """Write run.toml anew, whole."""
        write_whole(self.inner / "run.toml", dump_toml(settings))

    @property
    def done(self) -> dict[str, Any]:
        """What the finished run says of itself: fingerprint, file hashes and its facts.

        Raises:
            FtkitError: when the file is damaged.
        """
        return read_json(self.inner / "done")

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one record to the log; a killed process loses at most this line."""
        with (self.inner / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def records(self) -> list[dict[str, Any]]:
        """Read the log back; a last line torn by a kill is left out.

        Raises:
            FtkitError: naming file and line, where the log is damaged otherwise.
        """
        path = self.inner / "log.jsonl"
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        lines = text.split("\n")[:-1]
        return [_object(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]

    def truncate_log(self, step: int) -> None:
        """Drop what was logged after a step, so that a resumed run does not log it twice."""
        kept = [record for record in self.records() if record.get("step", 0) <= step]
        lines = "".join(json.dumps(record) + "\n" for record in kept)
        write_whole(self.inner / "log.jsonl", lines)

    def publish(self, write: Callable[[Path], None], facts: Mapping[str, Any]) -> None:
        """Put the finished Hugging Face files into the run, the weights last, then mark it done.

        Args:
            write: puts the files into the empty folder that it is given.
            facts: what `done` keeps beside the fingerprint and the file hashes, such as seconds.
        """
        aside = self.inner / "publishing"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        write(aside)
        files = sorted(aside.iterdir(), key=lambda file: (file.suffix == WEIGHTS, file.name))
        # A model card may change: an evaluation puts its scores there.
        hashes = {file.name: sha256(file) for file in files if file.suffix != ".md"}
        for file in files:
            shutil.copymode(self.inner / "run.toml", file)  # safetensors shuts others out
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
            os.replace(file, self.path / file.name)
        aside.rmdir()
        done = {"fingerprint": fingerprint(self.path), "files": hashes, **facts}
        write_whole(self.inner / "done", json.dumps(done, indent=1) + "\n")
        shutil.rmtree(self.checkpoints, ignore_errors=True)


def _locked(file: IO[str]) -> bool:
    """Lock a file, unless another process has; a kill unlocks it.

    POSIX's lock is the process's alone: a forked worker that outlives it does not keep it.
    """
    try:
        import fcntl

        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except (ImportError, OSError):  # Windows and some network disks have none
        return True
    return True


def find_runs(folder: Path, *, deep: bool = False) -> list[Run]:
    """List the finished runs in a folder, oldest first.

    Args:
        folder: where they lie directly.
        deep: list those of folders in it too, such as a demo's or a series'.
    """
    marks = folder.glob("*/**/run/done" if deep else "*/run/done")
    return [
        Run(mark.parent.parent) for mark in sorted(marks, key=lambda mark: mark.stat().st_mtime)
    ]


def _killed_at_once(out: Path) -> bool:
    """Say whether a run was begun here and had not written a thing when it was killed."""
    inner = out / "run"
    return [*out.iterdir()] == [inner] and inner.is_dir() and not any(inner.iterdir())


def refuse_full(out: Path) -> None:
    """Refuse an --out that something lies in already, or that is a file.

    Raises:
        FtkitError: saying which of the two.
    """
    if out.is_dir() and any(out.iterdir()) and not _killed_at_once(out):
        raise FtkitError(f"{out} exists and is not empty: choose another --out")
    if out.exists() and not out.is_dir():
        raise FtkitError(f"{out} is a file: --out names a folder")
