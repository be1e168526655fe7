"""Signals while a tuning reads its rows: a person's stops it at once, a scheduler's soon."""

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from ftkit.catalog import load
from ftkit.config import table
from ftkit.errors import Interrupted
from ftkit.recipes._recipe import Example, Split
from ftkit.recipes._tune import Tuning, tune
from ftkit.runs import Run
from tests import small


@dataclass(frozen=True)
class Struck(small.Counting):
    """Rows during whose reading a signal comes."""

    sign: int = signal.SIGINT

    def examples(self, split: Split) -> Sequence[Example]:
        if split == "train":
            os.kill(os.getpid(), self.sign)
        return super().examples(split)


def struck(folder: Path, sign: signal.Signals) -> Run:
    how = load("adapters", "lora")
    run = Run.create(folder / "run", {"command": "tune", "method": {"name": "lora"} | table(how)})
    base = small.base(folder / "base")
    for _ in tune(run, Struck(sign=sign), how, str(base), Tuning(batch=384)):
        pass
    return run


@pytest.fixture(autouse=True)
def _heeded() -> Iterator[None]:
    """What a shell starts in the background ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_while_rows_are_read_waits_for_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        struck(tmp_path, signal.SIGINT)
    assert not Run(tmp_path / "run").checkpoints.exists()


def test_sigterm_while_rows_are_read_ends_in_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match=r"stopped after step 1 of \d+; everything is saved"):
        struck(tmp_path, signal.SIGTERM)
    assert len(list(Run(tmp_path / "run").checkpoints.glob("step-*"))) == 1
