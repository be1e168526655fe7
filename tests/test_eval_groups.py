"""Runs are put into groups before anything is asked: what they are, and what is refused."""

import shutil
import tomllib

import pytest
import tomli_w

from ftkit.errors import FtkitError
from ftkit.eval._groups import collect, draw_ahead
from tests.test_eval_runs import copy, evaluate_runs


def test_a_damaged_file_is_named(tiny_runs, tmp_path):
    torn = copy(tiny_runs["lora"], tmp_path / "torn")
    for damaged in ("run/done", "adapter_config.json"):
        (torn / damaged).write_text('{"half')
        with pytest.raises(FtkitError, match=f"torn/{damaged} is damaged: it holds no JSON"):
            collect([torn], recipe="sql_qa", limit=2)
        shutil.rmtree(torn / "run", ignore_errors=True)
    torn = copy(tiny_runs["lora"], tmp_path / "logged")
    (torn / "run" / "log.jsonl").write_text('{"step": 0}\n{"half\n')
    with pytest.raises(FtkitError, match=r"log\.jsonl:2 is damaged"):
        collect([torn], recipe="sql_qa", limit=2)


def test_a_run_that_does_not_say_its_base_is_refused(tiny_runs, tmp_path):
    torn = copy(tiny_runs["lora"], tmp_path / "torn")
    known = tomllib.loads((torn / "run" / "run.toml").read_text())
    known["base"].pop("path")
    (torn / "run" / "run.toml").write_text(tomli_w.dumps(known))
    with pytest.raises(FtkitError, match="torn/run is damaged: it does not say 'path'"):
        collect([torn], recipe="sql_qa", limit=2)
    shutil.rmtree(torn / "run")
    (torn / "adapter_config.json").write_text("{}")
    with pytest.raises(FtkitError, match=r"torn/adapter_config\.json does not name its base"):
        collect([torn], recipe="sql_qa", limit=2)


def test_training_rows_drawn_ahead_are_the_same_ones(tiny_runs):
    (group,) = collect(list(tiny_runs.values()), limit=2)
    draw_ahead([group])
    assert group.drawn is not None
    assert list(group.train) == list(group.recipe.examples("train"))


def test_a_place_that_cannot_be_is_refused_before_anybody_is_asked(tiny_runs, tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "eval"):
        with pytest.raises(FtkitError, match=f"{out} cannot be made: "):
            next(evaluate_runs([tiny_runs["lora"]], out=out, limit=2))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_base_alone_needs_a_recipe(tiny_base, tmp_path):
    with pytest.raises(FtkitError, match="or name a --recipe for a base"):
        list(evaluate_runs([tiny_base], out=tmp_path / "eval"))
    bare = tmp_path / "bare"
    shutil.copytree(tiny_base, bare, ignore=shutil.ignore_patterns("run"))
    work = evaluate_runs([bare], recipe="sql_qa", out=tmp_path / "eval", limit=2, shots=0)
    card = list(work)[-1]["scorecard"]
    assert [line.name for line in card.variants] == ["majority", "nearest", "base", "base prose"]
