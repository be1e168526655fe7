"""Sessions of a pretraining: samples on the way, and stops that come between two looks."""

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from ftkit.basemodel import GPT
from ftkit.basemodel.base import open_base
from ftkit.basemodel.pretrain import pretrain
from ftkit.basemodel.session import Work, sample
from ftkit.basemodel.tokens import Corpus
from ftkit.errors import Interrupted
from ftkit.runs import Run
from tests.test_base_pretrain import (
    DOCUMENTS,
    TINY,
    Whole,
    assert_equal_runs,
    begin,
    finish,
    stop_at,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A run that nobody disturbed."""
    out = tmp_path_factory.mktemp("runs") / "base"
    return out, finish(begin(out))


def test_a_base_whose_log_was_lost_is_published_all_the_same(tmp_path: Path) -> None:
    run = begin(tmp_path / "base")
    with pytest.raises(Interrupted):
        stop_at(7, run)
    (run.inner / "log.jsonl").unlink()
    finish(Run.resume(run.path))
    done = Run.open(run.path).done
    assert done["bigram"] is None
    assert done["validation"]["nats"] > 0


def test_a_sample_changes_neither_mode_nor_random_state(whole: Whole) -> None:
    out, records = whole
    gpt, base = GPT.from_pretrained(out).train(), open_base(str(out))
    corpus = Corpus(out, "<u2", (1,))
    state = torch.get_rng_state()
    said = sample(gpt, Work(corpus, base.tokenizer, gpt.config, "", None))
    assert gpt.training
    assert torch.equal(torch.get_rng_state(), state)
    assert said == [row for row in records if "sample" in row][-1]["sample"]


def test_it_says_how_often_the_text_is_read_and_leaves_weights_that_others_can_read(
    whole: Whole,
) -> None:
    out, records = whole
    events = [row["event"] for row in records if "event" in row]
    (said,) = [event for event in events if "tokens of text to train on" in event]
    assert re.fullmatch(
        r"\d\d,\d{3} tokens of text .*: they are read (about 2 times|once or less)", said
    )
    modes = {path.stat().st_mode & 0o777 for path in out.iterdir() if path.is_file()}
    assert modes == {(out / "run" / "run.toml").stat().st_mode & 0o777}


def test_a_run_killed_before_its_first_checkpoint_logs_its_beginning_once(
    tmp_path: Path, whole: Whole
) -> None:
    run = begin(tmp_path / "base")
    rows = pretrain(run, TINY, documents=DOCUMENTS)
    while next(rows).get("step", 0) < 2:
        pass
    del rows
    finish(Run.resume(tmp_path / "base"))
    assert_equal_runs(tmp_path / "base", whole)


def test_a_run_stopped_while_it_is_published_says_how_fast_it_was(
    tmp_path: Path, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Run, "publish", stop)
        with pytest.raises(KeyboardInterrupt):
            finish(begin(tmp_path / "base"))
    finish(Run.resume(tmp_path / "base"))
    assert_equal_runs(tmp_path / "base", whole)
    assert Run.open(tmp_path / "base").done["mfu"] > 0


def test_weights_are_drawn_on_the_threads_that_were_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their number shows in the last bits of an induction circuit."""
    rows, threads = pretrain(begin(tmp_path / "base"), TINY, documents=DOCUMENTS), []
    while next(rows).get("step", 0) < 1:
        pass
    del rows  # killed before its first checkpoint

    class Seen(GPT):
        def __init__(self, *words: Any) -> None:
            threads.append(torch.get_num_threads())
            super().__init__(*words)

    monkeypatch.setattr("ftkit.basemodel.pretrain.GPT", Seen)
    decided = torch.get_num_threads()
    torch.set_num_threads(decided + 1)
    try:
        finish(Run.resume(tmp_path / "base"))
        assert threads == [decided]
    finally:
        torch.set_num_threads(decided)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_check_is_shown_is_not_lost(
    sent: signal.Signals, tmp_path: Path, whole: Whole
) -> None:
    """The step at hand is saved whenever the signal came."""
    before = signal.getsignal(sent)
    rows = pretrain(begin(tmp_path / "base"), TINY, documents=DOCUMENTS)
    while "sample" not in next(rows):
        pass
    os.kill(os.getpid(), sent)
    with pytest.raises(Interrupted):
        list(rows)
    assert signal.getsignal(sent) is before
    finish(Run.resume(tmp_path / "base"))
    assert_equal_runs(tmp_path / "base", whole)
