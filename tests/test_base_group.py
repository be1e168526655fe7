"""Several processes train as one: DDP and fully_shard, Muon, going on elsewhere, failures."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from together import ROOT, Case, ended, finish, start
from transformers import AutoModelForCausalLM, AutoTokenizer

from ftkit.basemodel.budget import Pretrain, settle
from ftkit.basemodel.config import preset
from ftkit.basemodel.group import Team, join
from ftkit.errors import FtkitError
from ftkit.runs import Run

ONE = [
    Case("one"),
    Case("one-muon", rule="muon"),
    Case("one-muon-first", rule="muon", steps=1),
    Case("one-untied", family="llama", tied=False),
    Case("one-half", rule="muon", steps=10),
]
TWO = [
    Case("ddp"),
    Case("fsdp", shard=True),
    Case("ddp-muon", rule="muon"),
    Case("fsdp-muon", rule="muon", shard=True),
    Case("ddp-muon-first", rule="muon", steps=1),
    Case("fsdp-muon-first", rule="muon", shard=True, steps=1),
    Case("ddp-untied", family="llama", tied=False),
    Case("fsdp-untied", family="llama", tied=False, shard=True),
    Case("ddp-nan", fails=True),
    Case("fsdp-nan", shard=True, fails=True),
    Case("ddp-until-nan", steps=2),
    Case("ddp-compiled", compiled=True),
    Case("ddp-half", rule="muon", steps=10),
    Case("fsdp-half", rule="muon", shard=True, steps=10),
    Case("ddp-from-one", rule="muon", takes_up="one-half"),
    Case("fsdp-from-one", rule="muon", shard=True, takes_up="one-half"),
    Case("fsdp-from-ddp", rule="muon", shard=True, takes_up="ddp-half"),
]
AFTER = [
    Case("one-from-ddp", rule="muon", takes_up="ddp-half"),
    Case("one-from-fsdp", rule="muon", takes_up="fsdp-half"),
]


def in_two(folder: Path, cases: Sequence[Case]) -> None:
    script = [str(Path(__file__).with_name("together.py")), str(folder)]
    for code, errors in finish(start([*script, json.dumps([asdict(case) for case in cases])])):
        assert code == 0, errors


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All cases, in one process and in two."""
    folder = tmp_path_factory.mktemp("together")
    for case in ONE:
        case.run(folder)
    in_two(folder, TWO)
    for case in AFTER:
        case.run(folder)
    return folder


def assert_equal(folder: Path, name: str, other: str, atol: float = 1e-5) -> None:
    here, there = ended(folder, name), ended(folder, other)
    assert here.losses == pytest.approx(there.losses[-len(here.losses) :], abs=atol)
    assert here.params.keys() == there.params.keys()
    for key, value in here.params.items():
        torch.testing.assert_close(value, there.params[key], atol=atol, rtol=0, msg=key)


def test_two_processes_equal_one(tmp_path: Path) -> None:
    """AdamW in float32 over 20 updates of 4 micro-batches with 2 to 46 labels."""
    Case("one").run(tmp_path)
    in_two(tmp_path, [Case("ddp")])
    assert_equal(tmp_path, "ddp", "one")
    assert ended(tmp_path, "ddp").losses == ended(tmp_path, "ddp", rank=1).losses


@pytest.mark.slow
@pytest.mark.parametrize("model", ["", "-untied"])
@pytest.mark.parametrize("engine", ["ddp", "fsdp"])
def test_each_engine_equals_one_process(trained: Path, engine: str, model: str) -> None:
    assert_equal(trained, engine + model, "one" + model)
    kind = {"ddp": "Tensor", "fsdp": "DTensor"}[engine]
    assert ended(trained, engine + model).kinds == [kind]


@pytest.mark.slow
def test_compiled_processes_equal_one_that_is_not(trained: Path) -> None:
    assert_equal(trained, "ddp-compiled", "one")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ddp", "fsdp"])
def test_muon_sees_whole_matrices(trained: Path, engine: str) -> None:
    assert_equal(trained, f"{engine}-muon-first", "one-muon-first")
    losses = ended(trained, f"{engine}-muon").losses
    assert losses == pytest.approx(ended(trained, "one-muon").losses, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["ddp-from-one", "fsdp-from-one", "fsdp-from-ddp", "one-from-ddp", "one-from-fsdp"]
)
def test_a_checkpoint_is_any_number_of_processes_own(trained: Path, name: str) -> None:
    assert len(ended(trained, name).losses) == 10
    assert_equal(trained, name, "one-muon", atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ddp", "fsdp"])
def test_what_is_not_finite_in_one_process_stops_all(trained: Path, engine: str) -> None:
    first, other = (ended(trained, f"{engine}-nan", rank) for rank in (0, 1))
    assert "the loss is nan at step 3 (rows: data.jsonl:8, data.jsonl:9" in first.error
    assert first.error == other.error
    assert_equal(trained, f"{engine}-nan", "ddp-until-nan", atol=2e-6)


def test_micro_batches_are_dealt_out_and_must_come_out_even() -> None:
    dealt = [list(Team(rank, 3).mine(range(6, 12))) for rank in range(3)]
    assert dealt == [[6, 9], [7, 10], [8, 11]]
    with pytest.raises(FtkitError, match="3 micro-batches, which 2 processes cannot share evenly"):
        Team(0, 2).mine(range(3))


def test_alone_there_is_nothing_to_join() -> None:
    team = join()
    assert (team, team.first, team.sum(2.5), team.any(False)) == (Team(), True, 2.5, False)
    assert team.agree({"a": 1}) == {"a": 1}
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_an_update_is_divided_evenly(size: int) -> None:
    settings = Pretrain(preset="pico", context=64, batch=12 * 64, tokens=64 * 12 * 10)
    decided = settle(settings, preset("pico", context=64), 0.0, Team(0, size))
    assert decided["accumulate"] % size == 0
    assert decided["accumulate"] * decided["rows"] == 12
    assert decided["steps"] == 10


WORDS = ["red", "green", "blue", "small", "large", "old", "new", "round", "flat", "dark"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "items.jsonl"
    rows = (
        f"Item {n}: a {WORDS[n % 10]} box by {n % 5} {WORDS[n // 7 % 10]} jars." for n in range(800)
    )
    path.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    return path


def words(corpus: Path, out: Path, **plan: object) -> list[str]:
    chosen = {"context": 64, "vocab_size": 320, "batch": 512, "tokens": 16_384} | plan
    sets = [word for name, value in chosen.items() for word in ("--set", f"plan.{name}={value}")]
    return [
        "ftkit",
        "pretrain",
        "--preset",
        "pico",
        "--data",
        str(corpus),
        "--out",
        str(out),
        *sets,
    ]


@pytest.mark.slow
@pytest.mark.parametrize("shard", [False, True])
def test_torchrun_publishes_one_base_and_says_each_line_once(
    tmp_path: Path, corpus: Path, shard: bool
) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m"]
    ran = subprocess.run(
        [*torchrun, *words(corpus, tmp_path / "base", shard=shard)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert len(lines) == len(set(lines)) > 8
    assert lines[0] == f"run folder: {tmp_path / 'base'}"
    run = Run.open(tmp_path / "base")
    assert run.settings["decided"]["accumulate"] == 2
    steps = [row["step"] for row in run.records() if "loss" in row]
    assert steps == list(range(1, 33))
    check = [row for row in run.records() if "validation" in row][-1]["validation"]
    assert check["nats"] < 2.2
    model, tokenizer = (
        kind.from_pretrained(run.path) for kind in (AutoModelForCausalLM, AutoTokenizer)
    )
    ids = torch.tensor([tokenizer("<|bos|>Item 5: a red box")["input_ids"]])
    with torch.no_grad():
        assert model(ids, labels=ids).loss < 4


def trains(run: Run) -> None:
    """Wait until a run has made some steps."""
    until = time.monotonic() + 90
    while not any(row.get("step", 0) >= 3 for row in run.records()):
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.slow
def test_ctrl_c_in_one_process_stops_all_and_one_goes_on(tmp_path: Path, corpus: Path) -> None:
    """Only the second process is told; the first saves. The rest is one process's work."""
    run = Run(tmp_path / "base")
    both = start(["-m", *words(corpus, run.path, tokens=2_000_000)])
    trains(run)
    os.kill(both[1].pid, signal.SIGINT)
    (first, said), (second, _) = finish(both, 30)
    assert (first, second) == (130, 130)
    assert "go on with: ftkit pretrain --resume" in said
    assert len(list(run.checkpoints.glob("step-*"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_a_process_that_is_lost_takes_the_other_with_it(
    tmp_path: Path, corpus: Path, lost: int
) -> None:
    run = Run(tmp_path / "base")
    both = start(["-m", *words(corpus, run.path, tokens=2_000_000)])
    trains(run)
    both[lost].kill()
    codes, said = zip(*finish(both, 20), strict=True)
    assert codes[lost] == -signal.SIGKILL
    assert codes[1 - lost] == 1
    if lost:
        assert "another of the processes has ended" in said[0]
