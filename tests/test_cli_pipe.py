"""A reader that goes away, as `| head` does, ends a command without a word."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


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
