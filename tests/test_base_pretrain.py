"""Pretraining end to end at a tiny size: what is published, decided, logged, refused, resumed."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ftkit.basemodel import GPT
from ftkit.basemodel.budget import Pretrain, settle
from ftkit.basemodel.config import preset
from ftkit.basemodel.pretrain import pretrain
from ftkit.config import table
from ftkit.errors import FtkitError, Interrupted, WorkError
from ftkit.runs import Run, fingerprint

WORDS = ["red", "green", "blue", "small", "large", "old", "new", "round", "flat", "dark"]
DOCUMENTS = [
    f"Item {n}: a {WORDS[n % 10]} box beside {n % 5} {WORDS[n // 7 % 10]} stones."
    for n in range(800)
]
TINY = Pretrain(
    preset="pico", context=64, vocab_size=320, tokens=16_384, batch=512, practice=3, seed=3
)


def begin(out: Path, settings: Pretrain = TINY) -> Run:
    return Run.create(out, {"command": "pretrain", "plan": table(settings)})


def finish(run: Run, settings: Pretrain = TINY) -> list[dict[str, Any]]:
    return list(pretrain(run, settings, documents=DOCUMENTS))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A run that nobody disturbed, and the records it yielded; do not change it."""
    out = tmp_path_factory.mktemp("runs") / "base"
    return out, finish(begin(out))


Whole = tuple[Path, list[dict[str, Any]]]


def stop_at(step: int, run: Run, settings: Pretrain = TINY) -> None:
    """Press Ctrl-C once, when the step is shown, or at once for step 0."""
    pressed = False
    for row in pretrain(run, settings, documents=DOCUMENTS):
        if row.get("step", 0) == step and not pressed:
            pressed = True
            os.kill(os.getpid(), signal.SIGINT)


def held_out(out: Path) -> list[str]:
    lines = (out / "run" / "validation.jsonl").read_text().splitlines()
    return [json.loads(line)["text"] for line in lines]


def timeless(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out what the clock says."""
    clock = {"seconds", "tokens_per_second"}
    return [{key: value for key, value in row.items() if key not in clock} for row in records]


def assert_equal_runs(out: Path, whole: Whole) -> None:
    """Bit-identical weights and the same log, times aside."""
    assert Run.open(out).done["files"] == Run.open(whole[0]).done["files"]
    assert timeless(Run(out).records()) == timeless(Run(whole[0]).records())


def test_the_model_learns_and_says_how_well(whole: Whole) -> None:
    out, records = whole
    steps = [row for row in records if "loss" in row]
    assert [row["step"] for row in steps] == list(range(1, 33))
    assert all(row["of"] == 32 for row in steps)
    # Three updates of practice label about half their tokens, the other 29 all of them.
    assert 30 * 512 < steps[-1]["tokens"] < 32 * 512
    assert steps[-1]["tokens"] - steps[2]["tokens"] == 29 * 512
    assert steps[0]["loss"] == pytest.approx(math.log(320), rel=0.1)
    assert steps[-1]["loss"] < 2.2
    checks = [row for row in records if "validation" in row]
    assert checks[-1]["step"] == 32
    assert checks[-1]["validation"]["nats"] < 2.2
    assert [row for row in Run(out).records() if "loss" in row] == [
        {key: row[key] for key in ("step", "loss", "lr", "tokens", "seconds")} for row in steps
    ]


def test_the_folder_is_whole_and_says_what_it_cost(whole: Whole) -> None:
    run = Run.open(whole[0])
    names = {path.name for path in run.path.iterdir()}
    assert names == {
        "run",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "README.md",
    }
    inner = {path.name for path in run.inner.iterdir()}
    assert inner == {"run.toml", "log.jsonl", "curves.svg", "validation.jsonl", "done"}
    done = run.done
    assert done["fingerprint"] == fingerprint(run.path)
    assert done["parameters"] == GPT.from_pretrained(run.path).config.parameters
    assert 30 * 512 < done["tokens"] < 32 * 512
    assert done["tokens_per_second"] > 0
    assert 0 < done["mfu"] < 1.2
    assert done["seconds"] >= done["training_seconds"] > 0
    assert 50 * 2**20 < done["peak_memory"] < 8 * 2**30
    assert "<svg" in (run.inner / "curves.svg").read_text()


def test_what_was_decided_is_written_with_reasons(whole: Whole) -> None:
    decided = Run(whole[0]).settings["decided"]
    assert decided["reasons"].keys() == {"device", "dtype", "threads", "compile"}
    assert decided["threads"] == torch.get_num_threads()
    assert decided["peak_flops"] > 1e8
    assert (decided["steps"], decided["tokens"], decided["context"]) == (32, 16_384, 64)
    assert decided["rows"] * decided["accumulate"] * decided["context"] == 512


def test_transformers_agrees_on_the_validation_loss(whole: Whole) -> None:
    """Find nats and bits anew with transformers, document by document."""
    out, records = whole
    model, tokenizer = AutoModelForCausalLM.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    assert model.generation_config.eos_token_id == [tokenizer.eos_token_id, 1]
    texts = held_out(out)
    assert 1 <= len(texts) < 40
    nats, tokens = 0.0, 0
    for text in texts:
        ids = torch.tensor([tokenizer(f"<|bos|>{text}<|end|>")["input_ids"]])
        with torch.no_grad():
            nats += model(ids, labels=ids).loss.item() * (ids.shape[1] - 1)
        tokens += ids.shape[1] - 1
    check = [row for row in records if "validation" in row][-1]["validation"]
    size = sum(len(text.encode()) for text in texts)
    assert check["nats"] == pytest.approx(nats / tokens, rel=1e-5)
    assert check["bits_per_byte"] == pytest.approx(nats / math.log(2) / size, rel=1e-5)


def test_held_out_documents_are_never_trained_on(whole: Whole) -> None:
    texts = held_out(whole[0])
    assert set(texts) < set(DOCUMENTS)
    assert len(texts) == len(set(texts))


def test_ctrl_c_saves_and_going_on_ends_in_the_same_weights(tmp_path: Path, whole: Whole) -> None:
    before = signal.getsignal(signal.SIGINT)  # a shell may have handed down one that ignores it
    run = begin(tmp_path / "base")
    with pytest.raises(Interrupted, match=r"go on with: ftkit pretrain --resume --out .*base"):
        stop_at(11, run)
    assert not (run.inner / "done").exists()
    assert not (run.path / "model.safetensors").exists()
    rest = finish(Run.resume(tmp_path / "base"))
    assert next(row["step"] for row in rest if "loss" in row) == 12
    assert_equal_runs(tmp_path / "base", whole)
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_before_the_first_step_can_go_on_too(tmp_path: Path, whole: Whole) -> None:
    run = begin(tmp_path / "base")
    with pytest.raises(Interrupted, match="--resume"):
        stop_at(0, run)
    finish(Run.resume(tmp_path / "base"))
    assert_equal_runs(tmp_path / "base", whole)


def test_a_damaged_checkpoint_is_passed_over_and_said(tmp_path: Path, whole: Whole) -> None:
    run = begin(tmp_path / "base")
    with pytest.raises(Interrupted):
        stop_at(20, run)
    newest = max(run.checkpoints.iterdir()) / "state.safetensors"
    newest.write_bytes(newest.read_bytes()[:-50])
    rest = finish(Run.resume(tmp_path / "base"))
    assert any("is damaged" in row.get("event", "") for row in rest)
    assert_equal_runs(tmp_path / "base", whole)


KILLED = """
import json, sys, time
from pathlib import Path
from ftkit.basemodel.budget import Pretrain
from ftkit.basemodel.pretrain import pretrain
from ftkit.runs import Run
settings, documents = json.loads(sys.argv[2])
run = Run.create(Path(sys.argv[1]), {"command": "pretrain"})
for row in pretrain(run, Pretrain(**settings), documents=documents):
    time.sleep(0.02)
"""


def test_a_killed_process_goes_on_to_the_same_weights(tmp_path: Path, whole: Whole) -> None:
    out, root = tmp_path / "base", Path(__file__).parent.parent
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(out), json.dumps([asdict(TINY), DOCUMENTS])],
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    log = out / "run" / "log.jsonl"
    deadline = time.monotonic() + 90
    while not (log.exists() and log.read_text().count("loss") >= 8):
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    finish(Run.resume(out))
    assert_equal_runs(out, whole)


def test_minutes_become_tokens_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ftkit.basemodel import budget as module

    monkeypatch.setattr(module, "CALIBRATION_SECONDS", 0.2)
    monkeypatch.setattr(module, "MARGIN", 0.05)  # a budget that a slow machine fits into
    settings = Pretrain(preset="pico", context=64, vocab_size=320, minutes=0.5, batch=512)
    run = begin(tmp_path / "base", settings)
    began = time.perf_counter()
    with pytest.raises(Interrupted):
        stop_at(1, run, settings)
    decided = run.settings["decided"]
    assert decided["tokens"] > 512
    finish(Run.resume(tmp_path / "base"), settings)
    assert Run.open(tmp_path / "base").settings["decided"] == decided
    assert time.perf_counter() - began < 30


def test_minutes_that_reading_used_up_are_refused() -> None:
    settings = Pretrain(preset="pico", context=64, vocab_size=320, minutes=0.01)
    with pytest.raises(
        FtkitError, match=r"0\.01 minutes are too short: reading and measuring took 6\d s"
    ):
        settle(settings, preset("pico", 320, 64), 60.0)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("preset", "nanno", "no preset 'nanno': did you mean 'nano'"),
        ("tokenizer", "bpf", "no tokenizer 'bpf': did you mean 'bpe'"),
        ("tokens", 0, "tokens is 0: it must be above 0"),
        ("minutes", -1.0, "minutes is -1.0: it must be above 0"),
        ("context", -5, "context is -5: it must be above 0"),
        ("context", 1, "context is 1: it must be 2 or more"),
        ("vocab_size", 100, "vocab_size is 100: it must be 288 or more"),
        ("matrix_lr", float("nan"), "matrix_lr is nan: it must be above 0"),
        ("validation", 0.9, r"validation is 0\.9: it must lie in 0 to 0\.5"),
        ("seed", -1, "seed is -1"),
    ],
)
def test_impossible_settings_are_refused(field: str, value: Any, words: str) -> None:
    with pytest.raises(FtkitError, match=words):
        Pretrain(**{field: value})


def test_tokens_and_minutes_together_are_refused() -> None:
    with pytest.raises(FtkitError, match="give one of them"):
        Pretrain(tokens=1, minutes=1.0)


def test_a_corpus_that_is_too_short_publishes_nothing(tmp_path: Path) -> None:
    run = begin(tmp_path / "base")
    with pytest.raises(FtkitError, match="it must have more than the context, which is 64"):
        list(pretrain(run, TINY, documents=["one", "two"]))
    assert not (run.inner / "done").exists()


def test_sources_are_read_from_disk(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in DOCUMENTS)
    )
    settings = Pretrain(preset="pico", context=64, vocab_size=320, tokens=1024, batch=512)
    run = begin(tmp_path / "base", settings)
    list(pretrain(run, settings, sources=[tmp_path / "corpus.jsonl"]))
    assert Run.open(tmp_path / "base").done["tokens"] == 1024


def test_a_learning_rate_that_explodes_is_work_that_failed(tmp_path: Path) -> None:
    settings = Pretrain(
        preset="pico", context=64, vocab_size=320, tokens=8192, batch=512, table_lr=1e30, clip=0
    )
    with pytest.raises(WorkError, match=r"is (nan|inf) at step \d+ \(rows: batch \d+\)") as caught:
        finish(begin(tmp_path / "base", settings), settings)
    assert caught.value.exit_code == 1


def test_the_presets_hold_the_reserved_tokens_and_the_demo() -> None:
    assert preset("nano").max_position_embeddings == 512
    assert 3e6 < preset("nano").parameters < 5e6
    assert 10e6 < preset("mini").parameters < 14e6
