"""`ftkit eval`: every finished run on the same items, a card and a report; what it refuses."""

import gc
import json
import shlex
import shutil
import weakref
from pathlib import Path

import pytest
from click import Context
from click.testing import CliRunner, Result

from ftkit.catalog import load
from ftkit.cli import ftkit
from ftkit.cli.eval import score
from ftkit.config import override
from ftkit.errors import FtkitError
from ftkit.eval import _evaluate, _groups
from ftkit.eval._facts import facts
from ftkit.eval._groups import Group, Tuned
from ftkit.runs import Run


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def evaluate(*words: str | Path) -> Result:
    return CliRunner().invoke(ftkit, ["eval", *map(str, words)])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no finished run lies under runs/: name one, or begin with `ftkit demo`"),
        (["nowhere"], "no run at nowhere: there is no such folder"),
        (["."], ". is no run, model or adapter folder: it has no config.json"),
        (["--recipe", "sqlqa"], "no 'sqlqa' in recipes: did you mean 'sql_qa'?"),
        (["--limit", "-4"], "--limit must be above 0, not -4"),
        (["--shots", "-1"], "--shots cannot be negative, but it is -1"),
        (["--dtype", "int4"], "Invalid value for '--dtype': 'int4' is not one of 'float32', "),
        (["--set", "plan.clip=1"], "unknown settings 'plan' in `ftkit eval`: there is only"),
        (["--set", "recipe.rows=x"], "no finished run lies under runs/"),
    ],
)
def test_wrong_words_are_refused_in_a_sentence(words, message: str, tmp_path: Path):
    result = evaluate(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {message}")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_every_finished_run_is_compared(tiny_runs: dict[str, Path], tmp_path: Path):
    for path in tiny_runs.values():
        shutil.copytree(path, tmp_path / "runs" / path.name)
    unfinished = tmp_path / "runs" / "unfinished" / "run"
    unfinished.mkdir(parents=True)
    (unfinished / "run.toml").write_text('command = "tune"\n')
    result = evaluate("--limit", "6", "--shots", "1")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("evaluation folder: runs/eval\n")
    card = json.loads((tmp_path / "runs" / "eval" / "scorecard.json").read_text())
    names = [variant["name"] for variant in card["variants"]]
    assert {"majority", "nearest", "base", "sql_qa-lora", "sql_qa-full"} <= set(names)
    assert card["n"] == 6
    for name in names:
        assert f"\n{name} " in result.stdout
    assert result.stdout.splitlines()[-1] == "report: runs/eval/report.html"
    refused = evaluate("--out", "runs/eval")
    assert refused.stderr == ("Error: runs/eval exists and is not empty: choose another --out\n")


def test_settings_of_a_recipe_can_be_set_for_a_folder_that_has_none(tiny_base, tmp_path: Path):
    """Such as the plain folder of a variant that reads small letters alone."""
    words = ["--recipe", "sql_qa", "--limit", "4", "--shots", "0", "--set", "recipe.uncased=true"]
    result = evaluate(tiny_base, *words, "--out", "out")
    assert result.exit_code == 0, result.stderr
    card = json.loads((tmp_path / "out" / "scorecard.json").read_text())
    assert card["facts"]["recipe"]["uncased"] is True
    assert card["facts"]["command"].endswith(" --set=recipe.uncased=true")
    lines = (tmp_path / "out" / "answers.jsonl").read_text().splitlines()
    asked = [json.loads(line)["prompt"] for line in lines]
    assert len(asked) == 4
    assert all(text == text.lower() for text in asked)


def test_a_run_that_says_how_it_was_tuned_is_asked_so(tiny_runs: dict[str, Path], tiny_base: Path):
    """Other settings would divide its rows anew, and ask what it has learned."""
    words = ["--recipe", "sql_qa", "--set", "recipe.types=true"]
    refused = evaluate(tiny_base, tiny_runs["lora"], *words, "--out", "out")
    assert refused.exit_code == 2
    assert refused.stderr == (
        f"Error: {tiny_runs['lora']} is asked by the settings that it was tuned by: --set is for "
        "folders that do not say any\n"
    )
    unknown = evaluate(tiny_base, "--recipe", "sql_qa", "--set", "recipe.type=true", "--out", "out")
    assert unknown.exit_code == 2
    assert "unknown setting 'recipe.type': SqlQa has " in unknown.stderr
    assert unknown.stderr.endswith("; did you mean 'types'?\n")
    assert not Path("out").exists()


def test_the_runs_of_a_demo_or_a_series_are_found_too(monkeypatch: pytest.MonkeyPatch):
    for place in ("runs/demo/base", "runs/demo/sql_qa-lora", "runs/mine"):
        Run.create(Path(place), {"command": "tune"}).publish(lambda folder: None, {})
    Run.create(Path("runs/demo/unfinished"), {"command": "tune"})
    seen: list[Path] = []

    def look(folders: list[Path], *_: object) -> None:
        seen.extend(folders)
        raise FtkitError("enough")

    monkeypatch.setattr(_groups, "collect", look)
    assert evaluate().stderr == "Error: enough\n"
    assert seen == [Path("runs/demo/base"), Path("runs/demo/sql_qa-lora"), Path("runs/mine")]


def test_another_precision_gives_other_answers_of_its_own(tiny_runs, tmp_path: Path):
    found = {}
    for dtype in ("float32", "bfloat16"):
        place = tmp_path / "both" / dtype
        result = evaluate(
            tiny_runs["lora"], "--limit", "4", "--shots", "0", "--dtype", dtype, "--out", place
        )
        assert result.exit_code == 0, result.stderr
        found[dtype] = json.loads((place / "scorecard.json").read_text())
        assert found[dtype]["facts"]["decoding"] == f"greedy, {dtype}"
    assert found["bfloat16"]["facts"]["command"].endswith(" --dtype bfloat16")
    wide, narrow = (
        [line["metrics"]["bits_per_byte"]["mean"] for line in card["variants"][-2:]]
        for card in found.values()
    )
    assert narrow != wide  # what the first kept was not taken for the second's
    assert narrow == pytest.approx(wide, rel=0.02)


def test_the_command_that_is_shown_is_the_one_to_give_again(tmp_path: Path):
    """A folder's spaces, rows that had to be skipped: all of it reaches the same items."""
    runs = [Tuned(Path("my runs/lora"), {}), Tuned(Path("runs/it's"), {})]
    given = {"data": ("a b.jsonl",), "whole": True, "on_bad_rows": "skip"}
    recipe = override(load("recipes", "medical"), given, "recipe")
    group = Group(recipe, [], 0, "base", "", runs)
    words = shlex.split(facts(group, 3, 2, 2, "bfloat16")["command"])
    assert words[:4] == ["ftkit", "eval", "my runs/lora", "runs/it's"]
    with ftkit.get_command(Context(ftkit), "eval").make_context("eval", words[2:]) as asked:
        assert asked.params["data"] == ("a b.jsonl",)
        assert (asked.params["on_bad_rows"], asked.params["dtype"]) == ("skip", "bfloat16")
        assert (asked.params["shots"], asked.params["seed"]) == (2, 3)
        assert (asked.params["recipe"], asked.params["limit"]) == ("medical", None)


def test_what_nothing_needs_any_more_is_freed_before_an_evaluation(monkeypatch, tmp_path: Path):
    """`demo` trains before; a model and its hooks refer to each other."""

    class Model:
        pass

    model = Model()
    model.itself, seen = model, weakref.ref(model)
    del model
    monkeypatch.setattr(_evaluate, "evaluate_groups", lambda *_, **__: iter(()))
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(seen()))
    frozen: list[object] = []
    score([], tmp_path)
    assert frozen == [None]
