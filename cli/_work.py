"""Runs of the commands: refused ones leave nothing behind, stopped ones say how to go on."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from ftkit.errors import FtkitError, Interrupted
from ftkit.runs import Run, find_runs, free_name

from ._options import given

RUNS = Path("runs")  # where runs go when nobody says otherwise


def helps() -> bool:
    """Say whether torchrun started this process to help its first one, which has the screen."""
    return _several() and int(os.environ.get("RANK", "0")) > 0


def _several() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def _refuse_several() -> None:
    """Refuse torchrun for commands that are one process's work."""
    if _several() and (word := click.get_current_context().info_name) != "pretrain":
        raise FtkitError(f"torchrun is for `ftkit pretrain`: start `ftkit {word}` without it")


@contextmanager
def begin(out: Path | None, default: str, settings: Mapping[str, Any]) -> Iterator[Run]:
    """Make a run for the block and print where it lies; a refused command leaves nothing behind.

    Args:
        out: the folder that was asked for, which must not hold anything yet; None takes the next
            free name of the default.
        default: the folder's name under runs/.
        settings: the tables of run.toml.
    """
    _refuse_several()
    folder = out if out is not None else free_name(RUNS / default)
    made = _missing(folder)
    run = Run.create(folder, settings)
    click.echo(f"run folder: {folder}")
    with going_on(run):
        try:
            yield run
        except BaseException as problem:
            refused = isinstance(problem, FtkitError) and problem.exit_code == 2
            saved = isinstance(problem, Interrupted) or _worth_keeping(run)
            if refused or not saved:
                _unmake(folder, made)
                if isinstance(problem, KeyboardInterrupt):
                    raise Interrupted(
                        "stopped before anything was saved: nothing is left"
                    ) from None
            raise


@contextmanager
def going_on(run: Run) -> Iterator[None]:
    """Work on a run alone, and turn a Ctrl-C into a sentence that says how to go on.

    Raises:
        FtkitError: when another process works on it.
        Interrupted: after a Ctrl-C.
    """
    try:
        with run.held():
            yield
    except KeyboardInterrupt:
        word = click.get_current_context().info_name
        raise Interrupted(f"stopped: `ftkit {word} {run.resumed}` goes on") from None


def take_up(out: Path | None) -> Run:
    """Find the run that --resume means: the one named by --out, else the newest unfinished one.

    Raises:
        FtkitError: when there is none, or when other flags would change its settings.
    """
    _refuse_several()
    if typed := given("out", "resume", "debug"):
        raise FtkitError(f"--resume goes on with the run's own settings: leave out {typed[0]}")
    if out is not None:
        return _same_command(Run.resume(out))
    word = click.get_current_context().info_name
    begun = sorted(RUNS.glob("*/**/run/run.toml"), key=lambda path: path.stat().st_mtime)
    for path in reversed(begun):
        run = Run(path.parent.parent)
        if not (run.inner / "done").exists() and run.settings.get("command") == word:
            return run
    raise FtkitError(f"no unfinished `ftkit {word}` lies under {RUNS}/: name one with --out")


def newest_base() -> Path:
    """Find the base that was finished last under runs/.

    Raises:
        FtkitError: when there is none.
    """
    bases = [run for run in find_runs(RUNS, deep=True) if run.settings.get("command") == "pretrain"]
    if not bases:
        raise FtkitError(
            f"no finished base lies under {RUNS}/: make one with `ftkit pretrain` or name one "
            "with --base"
        )
    return bases[-1].path


def _same_command(run: Run) -> Run:
    """Refuse to take up a run that another command began."""
    word, begun_by = click.get_current_context().info_name, run.settings.get("command")
    if begun_by != word:
        raise FtkitError(f"{run.path} was begun by `ftkit {begun_by}`, not by `ftkit {word}`")
    return run


def _missing(folder: Path) -> Path | None:
    """Return the topmost folder that has to be made for this one, None when it exists."""
    if folder.exists():
        return None
    while folder.parent != folder and not folder.parent.exists():
        folder = folder.parent
    return folder


def _worth_keeping(run: Run) -> bool:
    """Tell whether a run holds something to go on from."""
    return (run.inner / "done").exists() or any(run.checkpoints.glob("*/*"))


def _unmake(folder: Path, made: Path | None) -> None:
    """Take away a folder and the parents made for it, or empty one that was there before."""
    if made is not None:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in (folder, *folder.parents)[: len(folder.parts) - len(made.parts) + 1]:
            _drop_empty(parent)
        return
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _drop_empty(folder: Path) -> None:
    """Remove a folder if nothing is in it: another run may have begun there meanwhile."""
    with suppress(OSError):
        folder.rmdir()
