"""`ftkit pretrain`: what it refuses without a trace, what it makes, how it goes on after Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from transformers import AutoModelForCausalLM, AutoTokenizer

from ftkit.basemodel.tokenizer import SPLITS
from ftkit.cli import ftkit
from ftkit.runs import Run, fingerprint

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def pretrain(*words: str | Path) -> Result:
    return CliRunner().invoke(ftkit, ["pretrain", *map(str, words)])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preset", "nanoo"], "no preset 'nanoo': did you mean 'nano'?"),
        (["--tokenizer", "chars"], "no tokenizer 'chars': did you mean 'char'?"),
        (["--tokens", "-5"], "--tokens must be above 0, not -5"),
        (["--minutes", "0"], "--minutes must be above 0, not 0"),
        (
            ["--tokens", "5", "--minutes", "1"],
            "tokens and minutes are two ways to say how long: give one of them",
        ),
        (["--set", "plan.clop=1"], "unknown setting 'plan.clop': Pretrain has "),
        (["--set", "plan.batch=-1"], "batch is -1: it must be above 0"),
        (["--set", "model.width=3"], "unknown settings 'model' in `ftkit pretrain`: there are "),
        (["--resume"], "no unfinished `ftkit pretrain` lies under runs/: name one with --out"),
    ],
)
def test_wrong_words_are_refused_in_a_sentence(words, message: str, tmp_path: Path):
    result = pretrain(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {message}")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.txt", None, "no such file or folder: none.txt"),
        ("book.txt", b"", "book.txt is empty"),
        ("book.txt", b"good\n\xff\xfe bad\n", "book.txt:2: not UTF-8 "),
        ("book.pdf", b"%PDF", "book.pdf cannot be read: "),
        ("rows.jsonl", b'{"text": "good"}\n{"text": ', "rows.jsonl:2: not valid JSON"),
        ("rows.jsonl", b'{"text": "good"}\n{"txt": "bad"}\n', "rows.jsonl:2: "),
        ("rows.jsonl", b'{"text": null}\n', "rows.jsonl:1: "),
        ("book.txt", b"One short line.\n\nAnd another one.\n", "the corpus has 1 document: "),
        ("rows.jsonl", b'{"text": "One."}\n{"text": "Two."}\n', "the corpus has "),
    ],
)
def test_a_wrong_corpus_is_refused_and_nothing_stays(name, content, message, tmp_path: Path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    result = pretrain("--data", name, "--out", "deep/base")
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith(f"Error: {message}")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "deep").exists()


def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path):
    result = pretrain(
        "--dry-run",
        "--set",
        "recipe.characters=50000",
        "--tokens",
        "100000",
        "--set",
        "plan.batch=1024",
    )
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("nano on ")
    assert "100,000 tokens, 1,024 at a time" in result.stdout
    assert list(tmp_path.iterdir()) == []


def corpus(path: Path) -> Path:
    """Write a corpus that is long enough for a few rows."""
    lines = [
        json.dumps({"text": f"Day {n}. The boat number {n % 7} left the harbour. " * 6})
        for n in range(300)
    ]
    path.write_text("\n".join(lines))
    return path


TINY = ["--set", "plan.vocab_size=512", "--set", "plan.context=64", "--set", "plan.batch=512"]


def test_a_base_from_a_file_and_its_run_toml_runs_again(tmp_path: Path):
    data = corpus(tmp_path / "log.jsonl")
    result = pretrain("--data", data, "--tokens", "1024", *TINY)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "run folder: runs/base"
    assert lines[-1].startswith("finished: runs/base (training loss ")
    first = Run.open(Path("runs/base"))
    assert first.settings["options"] == {"seed": 0, "data": [str(data)]}
    again = pretrain("--config", first.inner / "run.toml")
    assert again.exit_code == 0, again.stderr
    assert fingerprint(Path("runs/base-2")) == first.done["fingerprint"]


def test_a_flag_wins_over_the_file_and_what_follows_from_it_follows(tmp_path: Path):
    data = corpus(tmp_path / "log.jsonl")
    size = ["--preset", "pico", "--set", "plan.vocab_size=512", "--set", "plan.context=64"]
    result = pretrain("--data", data, "--tokens", "2048", *size)
    assert result.exit_code == 0, result.stderr
    file = "runs/base/run/run.toml"
    decided = Run.open(Path("runs/base")).settings["decided"]["dial"]
    assert (decided["batch"], decided["matrix_lr"], decided["practice"]) == (2048, 0.03, 0)
    other = pretrain("--config", file, "--preset", "mini", "--set", "plan.context=64")
    assert other.exit_code == 0, other.stderr
    decided = Run.open(Path("runs/base-2")).settings["decided"]["dial"]
    assert (decided["batch"], decided["matrix_lr"], decided["practice"]) == (4096, 0.015, 100)
    on = pretrain("--config", file, "--base", "runs/base", "--set", "plan.vocab_size=none")
    assert "preset is pico, but the base has its shape" in on.stderr
    timed = pretrain("--config", file, "--minutes", "0.0001")
    assert "minutes are too short" in timed.stderr


def test_the_card_of_the_embedded_corpus_gives_no_medical_advice():
    from ftkit.cli.pretrain import corpus as embedded

    told = embedded({}).told
    assert (told.license, told.notice) == ("apache-2.0", "Not medical advice.")
    of = "the embedded corpus of ftkit for"
    assert told.sources == [f"{of} `chat`", f"{of} `medical`", f"{of} `sql_qa`"]


def test_what_is_learned_by_heart_is_said_in_the_end(tmp_path: Path):
    text = tmp_path / "few.txt"
    text.write_text("\n\n".join(f"{number}: {number * 7919 % 9973}" * 40 for number in range(24)))
    words = ["--preset", "pico", "--tokenizer", "char", "--tokens", "60000", *TINY]
    result = pretrain("--data", text, *words)
    assert result.exit_code == 0, result.stderr
    last = result.stdout.splitlines()
    nats = Run.open(Path("runs/base")).done["validation"]["nats"]
    (ended,) = [line for line in last if line.startswith("finished: runs/base (training loss ")]
    assert ended.endswith(f", validation {nats:.3f})")
    assert "validation was lower at step" in last[-1]


def test_a_dry_run_refuses_what_the_run_would(tmp_path: Path):
    text = tmp_path / "short.txt"
    text.write_text("one")
    result = pretrain("--data", text, "--dry-run")
    assert result.exit_code == 2
    assert "the corpus has 1 document" in result.stderr


def test_the_seed_has_one_owner(tmp_path: Path):
    result = pretrain("--set", "plan.seed=5")
    assert result.exit_code == 2
    assert result.stderr == "Error: plan.seed is the run's: use --seed\n"


@pytest.mark.parametrize("kind", ["char", "word"])
def test_a_base_of_characters_or_words_opens_in_transformers(kind: str, tmp_path: Path):
    data = corpus(tmp_path / "log.jsonl")
    words = ["--tokenizer", kind, "--tokens", "1024", *TINY, "--out", "base"]
    result = pretrain("--data", data, *words)
    assert result.exit_code == 0, result.stderr
    assert Run.open(Path("base")).settings["plan"]["tokenizer"] == kind
    tokenizer = AutoTokenizer.from_pretrained("base")
    model = AutoModelForCausalLM.from_pretrained("base")
    pieces = {"char": list("Day 7."), "word": ["Day", " ", "7", "."]}[kind]
    ids = tokenizer("Day 7.", add_special_tokens=False)["input_ids"]
    assert [tokenizer.decode([token]) for token in ids] == pieces
    assert model.config.vocab_size == len(tokenizer) < 512
    assert model(torch.tensor([ids])).logits.isfinite().all()


def test_the_help_names_every_kind_of_tokenizer():
    assert f"--tokenizer [{'|'.join(SPLITS)}]" in pretrain("--help").stdout


@pytest.mark.slow
def test_ctrl_c_leaves_a_run_that_goes_on(tmp_path: Path):
    data = corpus(tmp_path / "log.jsonl")
    words = ["pretrain", "--data", data, "--tokens", "40000", *TINY, "--out", "x"]
    work = subprocess.Popen(
        [sys.executable, "-m", "ftkit", *map(str, words)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log, until = tmp_path / "x" / "run" / "log.jsonl", time.monotonic() + 600
    while not (log.exists() and log.read_text().count("\n") >= 3):
        assert work.poll() is None, work.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    work.send_signal(signal.SIGINT)
    said = work.communicate(timeout=300)[1]
    assert work.returncode == 130, said
    assert said.endswith("go on with: ftkit pretrain --resume --out x\n")
    assert not (tmp_path / "x" / "model.safetensors").exists()
    result = pretrain("--resume", "--out", "x")
    assert result.exit_code == 0, result.stderr
    steps = [record["step"] for record in Run.open(tmp_path / "x").records() if "loss" in record]
    assert steps == list(range(1, len(steps) + 1))
