"""Several variants by one command: a folder each, passed over when done, gone on with when not."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small
from click.testing import CliRunner, Result

from ftkit.cli import ftkit
from ftkit.cli._series import variants
from ftkit.recipes._render import Renderer
from ftkit.runs import Run

QUICK = ["--set", "recipe.epochs=1", "--set", "plan.checks=1", "--set", "recipe.sql_qa.length=128"]
SCHEMA = "CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT)"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.base(tmp_path_factory.mktemp("base") / "base", max_position_embeddings=512)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = [{"question": f"Which singers have {n}?", "answer": f"Singer {n}."} for n in range(24)]
    query = {"schema": SCHEMA, "sql": "SELECT name FROM singer"}
    rows = [{"question": f"Who is singer {n}?", **query} for n in range(24)]
    for name, lines in (("ill", asked), ("sing", rows)):
        Path(f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def tune(*words: str | Path) -> Result:
    return CliRunner().invoke(ftkit, ["tune", *map(str, words)])


def test_every_pair_with_every_seed_has_a_name() -> None:
    assert [one.folder for one in variants(["a", "b,c", "a"], ["x", "y"], 0, 1)] == [
        "a-x", "a-y", "b+c-x", "b+c-y",
    ]  # fmt: skip
    seeded = variants(["a"], ["x"], 3, 2)
    assert [(one.folder, one.seed) for one in seeded] == [("a-x-seed3", 3), ("a-x-seed4", 4)]


def test_a_series_trains_each_goes_on_and_is_passed_over_when_done(base: Path) -> None:
    words = ["--recipe", "sql_qa", "--recipe", "medical", "--method", "lora", "--seeds", 2]
    words += ["--base", base, "--data", "ill.jsonl", "--data", "sing.jsonl", *QUICK]
    words += ["--out", "study"]
    result = tune(*words)
    assert result.exit_code == 0, result.stderr
    names = ["medical-lora-seed0", "medical-lora-seed1", "sql_qa-lora-seed0", "sql_qa-lora-seed1"]
    assert sorted(path.name for path in Path("study").iterdir()) == names
    runs = [Run.open(Path("study") / name) for name in names]
    data = [run.settings["recipe"]["data"] for run in runs]
    assert data == [["ill.jsonl"]] * 2 + [["sing.jsonl"]] * 2
    assert [run.settings["options"]["seed"] for run in runs] == [0, 1, 0, 1]
    assert [run.settings["recipe"]["length"] for run in runs] == [512, 512, 128, 128]
    marks = [run.done["fingerprint"] for run in runs]
    assert len(set(marks)) == 4
    shutil.rmtree("study/sql_qa-lora-seed1")
    again = tune(*words)
    assert again.exit_code == 0, again.stderr
    assert again.stdout.count("finished already: study/") == 3
    assert "run folder: study/sql_qa-lora-seed1\n" in again.stdout
    assert Run.open(runs[3].path).done["fingerprint"] == marks[3]
    other = tune(*words, "--set", "method.rank=2")
    assert other.exit_code == 2
    assert other.stderr == (
        "Error: study/sql_qa-lora-seed0 was begun with other settings (method): choose another "
        "--out, or take that folder away\n"
    )


def test_a_series_puts_rows_into_tokens_once(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three methods and two seeds; slots leave fewer places, but every row still fits."""
    rendered = list[int]()
    pack = Renderer.pack
    monkeypatch.setattr(
        Renderer, "pack", lambda self, rows: rendered.append(len(rows)) or pack(self, rows)
    )
    words = ["--recipe", "sql_qa", "--method", "lora", "--method", "soft_prompt", "--seeds", 2]
    words += ["--base", base, "--data", "sing.jsonl", *QUICK, "--out", "study"]
    result = tune(*words)
    assert result.exit_code == 0, result.stderr
    runs = [Run.open(path) for path in sorted(Path("study").iterdir())]
    assert len(runs) == 4
    assert sum(rendered) == 24, "each row once"
    assert len({run.settings["base"]["rows"] for run in runs}) == 1
    rendered.clear()
    assert tune(*words[:4], *words[8:-1], "alone").exit_code == 0
    alone = Run.open(Path("alone"))
    assert (
        alone.done["fingerprint"] == Run.open(Path("study/sql_qa-lora-seed0")).done["fingerprint"]
    )


def test_what_was_made_on_another_base_is_not_done(base: Path) -> None:
    shutil.copytree(base, "base")
    words = ["--recipe", "sql_qa", "--method", "lora", "--seeds", 2, "--base", "base"]
    words += ["--data", "sing.jsonl", *QUICK, "--out", "study"]
    assert tune(*words).exit_code == 0
    shutil.rmtree("base")
    small.base(Path("base"), seed=7, max_position_embeddings=512)
    again = tune(*words)
    assert again.exit_code == 2
    assert again.stderr == (
        "Error: base is no longer the base that study/sql_qa-lora-seed0 was made on: choose "
        "another --out, or take that folder away\n"
    )


def test_what_was_trained_on_other_rows_is_not_done(base: Path) -> None:
    words = ["--recipe", "sql_qa", "--method", "lora", "--seeds", 2, "--base", base]
    words += ["--data", "sing.jsonl", *QUICK, "--out", "study"]
    assert tune(*words).exit_code == 0
    rows = Path("sing.jsonl").read_text()
    Path("sing.jsonl").write_text(rows.replace("Who is singer 3?", "Who is the third singer?"))
    again = tune(*words)
    assert again.exit_code == 2
    assert again.stderr == (
        "Error: the files of --data have changed since study/sql_qa-lora-seed0 was trained: choose "
        "another --out, or take that folder away\n"
    )
    Path("sing.jsonl").write_text(rows)
    assert tune(*words).stdout.count("finished already: study/") == 2


@pytest.mark.slow
def test_a_series_that_was_stopped_goes_on_where_it_stopped(base: Path) -> None:
    words = ["--recipe", "sql_qa", "--method", "lora", "--method", "full", "--base", base]
    words += ["--data", "sing.jsonl", *QUICK[4:], "--set", "recipe.epochs=200"]
    words += ["--set", "plan.checks=20", "--set", "plan.patience=99"]
    whole = tune(*words, "--out", "whole")
    assert whole.exit_code == 0, whole.stderr
    words += ["--out", "study"]
    command = [sys.executable, "-m", "ftkit", "tune", *map(str, words)]
    root = Path(__file__).parent.parent
    work = subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": str(root)}, stderr=subprocess.PIPE, text=True
    )
    log = Path("study/sql_qa-lora/run/log.jsonl")
    until = time.monotonic() + 300
    while not (log.is_file() and log.read_text().count('"loss"') > 5):
        assert work.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    work.send_signal(signal.SIGINT)
    said = work.communicate(timeout=100)[1]
    assert work.returncode == 130
    assert said.endswith("; the same command again goes on with all\n"), said
    assert not Path("study/sql_qa-full").exists()
    again = tune(*words)
    assert again.exit_code == 0, again.stderr
    for name in ("sql_qa-lora", "sql_qa-full"):
        here, there = (Run.open(Path(place) / name).done for place in ("study", "whole"))
        assert here["fingerprint"] == there["fingerprint"]
