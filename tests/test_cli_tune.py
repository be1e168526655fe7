"""`ftkit tune`: what it refuses, in which words and without a trace; how it goes on."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small
from click.testing import CliRunner, Result

from ftkit.cli import ftkit
from ftkit.recipes import _tune
from ftkit.runs import Run

ROOT = Path(__file__).parent.parent
ROW = {
    "question": "How many singers are there?",
    "schema": "CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT)",
    "sql": "SELECT count(*) FROM singer",
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base of a moment, made by transformers."""
    return small.base(tmp_path_factory.mktemp("base") / "base", max_position_embeddings=512)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def tune(*words: str | Path, method: str = "lora") -> Result:
    parts = ["tune", "--recipe", "sql_qa", "--method", method, *map(str, words)]
    return CliRunner().invoke(ftkit, parts)


def rows(path: Path, count: int = 40) -> Path:
    """Write rows of real-data shape."""
    lines = [ROW | {"question": f"How many singers have the id {n}?"} for n in range(count)]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "lorra"], "no 'lorra' in adapters: did you mean 'lora'?"),
        (["--recipe", "sqlqa"], "no 'sqlqa' in recipes: did you mean 'sql_qa'?"),
        (["--minutes", "-3"], "--minutes must be above 0, not -3"),
        (
            ["--set", "method.rnak=4"],
            "unknown setting 'method.rnak': Lora has lr, weight_decay, rank, alpha, targets, "
            "rslora, dropout, lr_ratio; "
            "did you mean 'rank'?",
        ),
        (["--set", "method.rank=many"], "'method.rank' takes a whole number, not 'many'"),
        (["--set", "method.rank=0"], "'method.rank' takes 1 or more, not 0"),
        (["--set", "recipe.rows=-5"], "'recipe.rows' takes 1 or more, not -5"),
        (["--set", "recipe.epochs=-1"], "'recipe.epochs' takes a number above 0, not -1"),
        (["--set", "method.lr=-1"], "'method.lr' takes a number above 0, not -1"),
        (["--base", "nowhere"], "no base model at nowhere: there is no such folder"),
        (["--base", "."], ". is no base model: it has no config.json"),
        (
            [],
            "no finished base lies under runs/: make one with `ftkit pretrain` or name one "
            "with --base",
        ),
    ],
)
def test_wrong_words_are_refused_in_a_sentence(words, message: str, tmp_path: Path):
    result = tune(*words)
    assert (result.exit_code, result.stderr) == (2, f"Error: {message}\n")
    assert not (tmp_path / "runs").exists()


SKIP = "; --on-bad-rows skip leaves such rows out"
NONE = "; none of 1 row can be used"
FITS = "a row has the texts question, schema, sql, and perhaps db_id"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file or folder: rows.jsonl"),
        (b"", "rows.jsonl is empty: it holds no rows"),
        (
            b'{"question": "\xff"}',
            "rows.jsonl:1: not UTF-8 (byte 0xff at place 15 of the line); save the file as UTF-8"
            + NONE,
        ),
        (
            json.dumps(ROW).encode() + b'\n{"question": ',
            f"rows.jsonl:2: not valid JSON (Expecting value at place 14){SKIP}",
        ),
        (json.dumps(ROW | {"sql": None}).encode(), f"rows.jsonl:1: 'sql' is null; {FITS}{NONE}"),
        (
            json.dumps({"question": "Who?", "schema": "x"}).encode(),
            f"rows.jsonl:1: 'sql' is missing; {FITS}{NONE}",
        ),
    ],
)
def test_wrong_data_is_refused_before_a_model_is_opened(content, message: str, tmp_path: Path):
    if content is not None:
        (tmp_path / "rows.jsonl").write_bytes(content)
    result = tune("--data", "rows.jsonl", "--base", "nowhere", "--out", "x")
    assert (result.exit_code, result.stderr) == (2, f"Error: {message}\n")
    assert not (tmp_path / "x").exists()


def test_tune_needs_a_recipe_and_a_method():
    result = CliRunner().invoke(ftkit, ["tune", "--method", "lora"])
    known = "chat, following, instruct, medical, sql_qa"
    assert result.stderr == f"Error: tune needs --recipe: there are {known}\n"
    result = CliRunner().invoke(ftkit, ["tune", "--recipe", "sql_qa"])
    assert result.stderr.startswith("Error: tune needs --method: there are dora, full, ia3")


def test_a_dry_run_trains_and_writes_nothing(base: Path, tmp_path: Path):
    data = rows(tmp_path / "rows.jsonl")
    result = tune("--base", base, "--data", data, "--dry-run", "--method", "soft_prompt")
    assert result.exit_code == 0, result.stderr
    first, second = result.stdout.split("sql_qa by soft_prompt")
    assert first.startswith(f"sql_qa by lora on {base}: ")
    assert "parameters, 16,384 of them trained" in first
    assert "GiB of memory" in second
    assert sorted(tmp_path.iterdir()) == [tmp_path / "cache", data]  # what was read is kept


def test_a_training_without_a_finite_check_makes_no_variant(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before = iter([1.0])
    monkeypatch.setattr(_tune, "_validate", lambda _: next(before, math.nan))
    quick = ["--set", "recipe.epochs=0.01", "--set", "plan.checks=1", "--out", tmp_path / "run"]
    result = tune("--base", base, "--data", rows(tmp_path / "rows.jsonl"), *quick)
    assert result.exit_code == 1, result.output
    assert "Error: no check up to step 1 found a finite loss on the validation" in result.stderr
    assert not list((tmp_path / "run").glob("*.safetensors"))


@pytest.mark.parametrize(("after", "said"), [(0.5, "before"), (1.0, "no better than before")])
def test_it_says_whether_the_training_brought_anything(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: float, said: str
):
    found = iter([1.0])
    monkeypatch.setattr(_tune, "_validate", lambda _: next(found, after))
    quick = ["--set", "recipe.epochs=0.01", "--set", "plan.checks=1", "--out", tmp_path / "run"]
    result = tune("--base", base, "--data", rows(tmp_path / "rows.jsonl"), *quick)
    mark = ":" if after == 1.0 else ""
    assert result.stdout.endswith(
        f"; validation loss {after:.3f}, {said} training{mark} 1.000)\n"
    ), result.output


def test_several_methods_train_in_turn_and_run_toml_runs_again(base: Path, tmp_path: Path):
    data = rows(tmp_path / "rows.jsonl")
    quick = ["--set", "recipe.epochs=1", "--set", "plan.checks=1", "--set", "method.lr=0.02"]
    result = tune("--base", base, "--data", data, "--method", "full", *quick)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("run folder: runs/sql_qa-lora\n")
    for name in ("lora", "full"):
        run = Run.open(tmp_path / "runs" / f"sql_qa-{name}")
        assert run.settings["method"]["lr"] == 0.02
        assert run.settings["options"]["methods"] == [name]
        assert run.settings["recipe"]["data"] == [str(data)]
        assert f"finished: runs/sql_qa-{name} (training loss " in result.stdout
    first = Run.open(tmp_path / "runs" / "sql_qa-lora")
    again = CliRunner().invoke(ftkit, ["tune", "--config", str(first.inner / "run.toml")])
    assert again.exit_code == 0, again.stderr
    second = Run.open(tmp_path / "runs" / "sql_qa-lora-2")
    assert second.done["fingerprint"] == first.done["fingerprint"]
    settings = [run.settings for run in (first, second)]
    for each in settings:  # what was free just then
        each["decided"]["reasons"].pop("checkpointing")
    assert settings[0] == settings[1]


@pytest.mark.slow
def test_ctrl_c_leaves_a_run_that_goes_on(base: Path, tmp_path: Path):
    data = rows(tmp_path / "rows.jsonl")
    words = ["tune", "--recipe", "sql_qa", "--method", "lora", "--base", base, "--data", data]
    words += ["--set", "recipe.epochs=60", "--set", "plan.checks=2", "--out", "x"]
    work = subprocess.Popen(
        [sys.executable, "-m", "ftkit", *map(str, words)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = tmp_path / "x" / "run" / "log.jsonl"
    until = time.monotonic() + 600
    while not (log.exists() and log.read_text().count("\n") >= 2):
        assert work.poll() is None, work.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    work.send_signal(signal.SIGINT)
    said = work.communicate(timeout=300)[1]
    assert work.returncode == 130, said
    assert said.startswith("Error: stopped after step ")
    assert said.endswith("go on with ftkit tune --resume --out x\n")
    assert not list((tmp_path / "x").glob("*.safetensors"))
    result = CliRunner().invoke(ftkit, ["tune", "--resume", "--out", "x"])
    assert result.exit_code == 0, result.stderr
    steps = [record["step"] for record in Run.open(tmp_path / "x").records() if "loss" in record]
    assert steps == sorted(set(steps))
