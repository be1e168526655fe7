"""A reader that goes away, as `| head` does, ends a command without a word."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ftkit.cli import ftkit

ROOT = Path(__file__).parent.parent


def test_another_broken_pipe_is_a_fault_that_is_told(monkeypatch: pytest.MonkeyPatch):
    """A worker that died is no reader that went away: the command has failed."""

    def died(*_: object, **__: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("ftkit.recipes._mix.load", died)
    result = CliRunner().invoke(ftkit, ["data", "--recipe", "chat"])
    assert result.exit_code == 1
    assert "Broken pipe" in result.stderr


@pytest.mark.parametrize(
    "words",
    [["--help"], ["data", "--help"], ["info"], ["data", "--recipe", "medical"]],
    ids=" ".join,
)
def test_nobody_reads_on(words: list[str], tmp_path: Path):
    """By click's echo and by rich, and while the command line is still read."""
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [sys.executable, "-m", "ftkit", *words],
        stdout=theirs, stderr=subprocess.PIPE, text=True, check=False, timeout=120, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )  # fmt: skip
    os.close(theirs)
    assert done.stderr == ""
    assert done.returncode == 141


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["info"]])
def test_a_full_disk_is_one_sentence(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ftkit", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
    assert done.returncode == 1
    assert done.stderr == "Error: No space left on device\n"
