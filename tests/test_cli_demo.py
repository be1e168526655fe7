"""`ftkit demo`: the whole job at a small size, stopped and gone on with; what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ftkit.cli import ftkit
from ftkit.cli._stages import Stages
from ftkit.runs import Run

ROOT = Path(__file__).parent.parent
SMALL = [
    *("--set", "demo.preset=nano", "--set", "demo.tokens=16384"),
    *("--set", "demo.limit=12", "--set", "recipe.epochs=1"),
    *("--set", "recipe.characters=150000", "--set", "recipe.rows=60", "--set", "recipe.tests=20"),
]


RECIPES = ("sql_qa", "medical", "chat")
METHODS = ("soft_prompt", "lora", "full")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def demo(*words: str) -> Result:
    return CliRunner().invoke(ftkit, ["demo", *words])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "demo.preset=nanoo"], "no preset 'nanoo': did you mean 'nano'?"),
        (["--set", "demo.methods=lora,ful"], "no 'ful' in adapters: did you mean 'full'?"),
        (["--set", "demo.recipes=sql_qa,medial"], "no 'medial' in recipes: did you mean 'medical'"),
        (["--set", "recipe.row=5"], "unknown setting 'recipe.row': SqlQa has "),
        (["--set", "demo.tokens=-1"], "tokens is -1: it must be above 0"),
        (["--set", "demo.token=1"], "unknown setting 'demo.token': Demo has "),
        (["--set", "recipe.rows=0"], "'recipe.rows' takes 1 or more, not 0"),
        (["--out", "mine"], "mine exists and holds no demo: choose another --out"),
    ],
)
def test_wrong_words_are_refused_and_leave_nothing(words, message: str, tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    result = demo(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {message}")
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["mine"]


def test_a_dry_run_says_what_would_be_done(tmp_path: Path):
    result = demo("--dry-run", *SMALL)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("nano on ")
    for recipe in RECIPES:
        assert f"then {recipe} by soft_prompt, lora, full, 60 rows\n" in result.stdout
    assert not (tmp_path / "runs").exists()


def test_stages_are_done_once_and_add_up_over_stops(tmp_path: Path):
    path, done = tmp_path / "stages.json", []

    def stopped() -> None:
        time.sleep(0.11)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Stages(path).run("base", stopped)
    first = json.loads(path.read_text())["base"]
    assert not first["finished"]
    Stages(path).run("base", lambda: done.append(time.sleep(0.11)))
    second = json.loads(path.read_text())["base"]
    assert second["finished"]
    assert second["seconds"] >= first["seconds"] + 0.1
    assert second["peak_memory"] > 50 * 2**20
    stages = Stages(path)
    stages.run("base", lambda: done.append("again"))
    stages.run("eval", lambda: "lora won")
    assert done == [None]
    assert Stages(path).result("eval") == "lora won"
    assert stages.words().splitlines()[-1].startswith("in all")


@pytest.mark.slow
def test_the_whole_job_stopped_in_the_middle_and_gone_on_with(tmp_path: Path):
    work = subprocess.Popen(
        [sys.executable, "-m", "ftkit", "demo", *SMALL],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, until = tmp_path / "runs" / "demo", time.monotonic() + 900
    while not (out / "sql_qa-soft_prompt" / "run" / "log.jsonl").exists():
        assert work.poll() is None, work.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)
    work.send_signal(signal.SIGINT)
    said = work.communicate(timeout=600)[1]
    assert (work.returncode, said) == (
        130,
        "Error: stopped: `ftkit demo` goes on where it stopped\n",
    )
    base = Run.open(out / "base").done
    result = demo(*SMALL)
    assert result.exit_code == 0, result.stderr
    assert "pretrain" not in result.stdout
    assert Run.open(out / "base").done == base
    names = [f"{recipe}-{method}" for recipe in RECIPES for method in METHODS]
    for name in names:
        assert Run.open(out / name).done["seconds"] > 0
    stages = json.loads((out / "stages.json").read_text())
    assert list(stages) == ["base", *names, "eval"]
    assert all(stage["finished"] and stage["peak_memory"] > 0 for stage in stages.values())
    for recipe in RECIPES:
        card = json.loads((out / "eval" / f"{recipe}-base" / "scorecard.json").read_text())
        assert (card["recipe"], card["n"]) == (recipe, 12)
        methods = {variant["method"] for variant in card["variants"]}
        assert {"majority", "nearest", "base", *METHODS} <= methods
        full = next(line for line in card["variants"] if line["method"] == "full")
        assert set(full["elsewhere"]) == {"instruct", *RECIPES} - {recipe}
        assert all(found["after"] > 0 for found in full["elsewhere"].values())
        about = (out / f"{recipe}-lora" / "README.md").read_text()
        page = (out / "eval" / f"{recipe}-base" / "report.html").read_text()
        for text in (about, page):
            assert ("Not medical advice." in text) is (recipe == "medical")
    index = (out / "eval" / "index.html").read_text()
    summary = json.loads((out / "eval" / "summary.json").read_text())
    assert [part["recipe"] for part in summary["recipes"]] == list(RECIPES)
    for part in summary["recipes"]:
        assert f'href="{part["folder"]}/report.html"' in index
        assert (out / "eval" / part["folder"] / "report.html").is_file()
    assert "Not medical advice." in index
    assert "Not medical advice." in (out / "eval" / "summary.md").read_text()
    where = "The report is runs/demo/eval/index.html and the models lie in runs/demo."
    assert where in result.stdout
    again = demo(*SMALL)
    assert again.exit_code == 0
    assert again.stdout.splitlines()[-1] == result.stdout.splitlines()[-1]
    refused = demo(*SMALL, "--seed", "1")
    assert refused.exit_code == 2
    assert refused.stderr == (
        "Error: runs/demo holds a demo with other settings: choose another --out\n"
    )


def test_a_demo_that_was_begun_goes_on_by_its_folder_alone(tmp_path: Path):
    """What the message of a stopped demo says is enough: its settings are taken up."""
    from ftkit.cli import demo as command

    small = ["--set", "demo.tokens=9999", "--set", "recipe.medical.rows=77", "--seed", "5"]
    stopped: list[object] = []

    def stop(work, *_):  # type: ignore[no-untyped-def]
        stopped.append(work)
        raise command.Interrupted("stopped")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command.Work, "base", stop)
        for words in (small, [], ["--set", "demo.tokens=10000"]):
            result = demo("--out", "mine", *words)
            if words[-1:] == ["demo.tokens=10000"]:
                assert result.stderr.endswith(
                    "holds a demo with other settings: choose another --out\n"
                )
            else:
                assert (
                    result.stderr
                    == "Error: stopped: `ftkit demo --out mine` goes on where it stopped\n"
                )
    assert len(stopped) == 2
    assert stopped[0].recipes == stopped[1].recipes
    assert stopped[0].pretraining == stopped[1].pretraining
    assert stopped[1].seed == 5
    plain = demo("--out", "mine", "--dry-run")
    assert "then medical by soft_prompt, lora, full, 77 rows" in plain.stdout


def test_ctrl_c_between_two_stages_says_how_to_go_on_too(monkeypatch: pytest.MonkeyPatch):
    from ftkit.cli import demo as command

    def stop(*_):  # type: ignore[no-untyped-def]
        raise KeyboardInterrupt

    monkeypatch.setattr(command.Work, "base", stop)
    result = demo("--out", "my demo")
    assert result.exit_code == 130
    assert (
        result.stderr == "Error: stopped: `ftkit demo --out 'my demo'` goes on where it stopped\n"
    )
