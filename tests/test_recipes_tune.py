"""Tuning: exact resumption, best checkpoint, early stop, budgets, Ctrl-C, what is left behind."""

import json
import math
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ftkit.adapters._variant import open_variant
from ftkit.basemodel.generate import generate
from ftkit.catalog import load, names
from ftkit.config import override, table
from ftkit.errors import FtkitError, Interrupted, WorkError
from ftkit.recipes import _tune
from ftkit.recipes._recipe import Example, Split
from ftkit.recipes._render import Renderer
from ftkit.recipes._tune import Tuning, tune
from ftkit.runs import Run, fingerprint
from tests import small

QUICK = ("full", "lora", "soft_prompt")
METHODS = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
    for name in names("adapters")
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.base(tmp_path_factory.mktemp("tune") / "base")


def weights(folder: Path) -> Any:
    return load_file(next(folder.glob("*.safetensors")))


def start(folder: Path, method: str) -> Run:
    settings = {"command": "tune", "method": {"name": method} | table(load("adapters", method))}
    return Run.create(folder, settings)


def losses(run: Run) -> list[tuple[Any, ...]]:
    """The log without times."""
    kept = ("step", "loss", "lr", "validation", "event")
    return [tuple(record.get(key) for key in kept) for record in run.records()]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_and_answers_end_by_themselves(
    base: Path, tmp_path: Path, name: str
) -> None:
    recipe = small.Counting(epochs=8.0)
    run = small.tuned(tmp_path / name, base, name, recipe)
    checks = [r["validation"]["nats"] for r in run.records() if "validation" in r]
    assert len(checks) == 5, "before the first step and four times after"
    assert checks[0] == run.done["validation_nats_before"]
    if name not in ("full", "lora", "dora"):  # a random base has little that could be fetched
        assert checks[-1] < 0.8 * checks[0]
        return
    assert checks[-1] < 0.1 * checks[0]
    variant = open_variant(run.path)
    renderer = Renderer(variant.tokenizer)
    tests = recipe.examples("test")
    replies = generate(
        variant.decoder,
        [renderer.prompt(example.prompt) for example in tests],
        max_new_tokens=24,
        stop=renderer.stops,
        pad=variant.pad,
    )
    right = [
        reply.stopped and renderer.decode(reply.ids) == example.reference
        for reply, example in zip(replies, tests, strict=True)
    ]
    assert sum(right) / len(right) > 0.95


@pytest.mark.parametrize("name", [*METHODS, "lora with dropout"])
def test_a_resumed_run_ends_in_the_same_bits(base: Path, tmp_path: Path, name: str) -> None:
    name, _, dropout = name.partition(" with ")
    values = {dropout: 0.2} if dropout else {}
    recipe, how = small.Counting(epochs=2.0), override(load("adapters", name), values, "method")
    tuning = Tuning(batch=384, checks=4)
    whole, broken = start(tmp_path / "whole", name), start(tmp_path / "broken", name)
    for _ in tune(whole, recipe, how, str(base), tuning):
        pass

    def stopped_at_step_10() -> None:
        for record in tune(broken, recipe, how, str(base), tuning):
            if record.get("step") == 10:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match=r"go on with ftkit tune --resume --out .*broken"):
        stopped_at_step_10()
    assert not (broken.path / "run" / "done").exists()
    again = Run.resume(broken.path)
    for _ in tune(again, recipe, how, str(base), tuning, resume=True):
        pass
    ours, theirs = weights(whole.path), weights(broken.path)
    assert ours.keys() == theirs.keys()
    assert all((ours[key] == theirs[key]).all() for key in ours)
    # A session logs its first step whatever its number; all else is the same line for line.
    assert [line for line in losses(again) if line in losses(whole)] == losses(whole)
    for fact in ("validation_nats", "steps"):
        assert whole.done[fact] == again.done[fact]
    counted = [r["tokens"] for run in (whole, again) for r in run.records() if "loss" in r]
    assert counted[-1] == max(counted) == counted[len(counted) // 2 - 1]
    assert again.done["training_seconds"] > 0.2 * whole.done["training_seconds"]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("lora", "soft_prompt") else pytest.mark.slow)
        for name in names("adapters")
    ],
)
def test_a_killed_run_resumes_from_its_last_checkpoint(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Nothing is saved at the kill; what was logged after the checkpoint is not logged twice."""
    recipe, how, tuning = small.Counting(epochs=1.0), load("adapters", name), Tuning(batch=384)
    whole = small.tuned(tmp_path / "whole", base, name, recipe, checks=8)
    monkeypatch.setattr(_tune, "SAVE_SECONDS", 0.0)
    run = start(tmp_path / "killed", name)
    if not (child := os.fork()):
        for record in tune(run, recipe, how, str(base), tuning):
            if record.get("step") == 5:
                os.kill(os.getpid(), signal.SIGKILL)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    again = Run.resume(run.path)
    begun = list(tune(again, recipe, how, str(base), tuning, resume=True))
    assert begun[0]["start"] in (4, 5), "it goes on"
    steps = [record["step"] for record in again.records() if "loss" in record]
    assert steps == sorted(set(steps))
    ours, theirs = weights(whole.path), weights(run.path)
    assert all((ours[key] == theirs[key]).all() for key in ours)


def test_accumulation_equals_one_big_batch(base: Path, tmp_path: Path) -> None:
    recipe = small.Counting(epochs=1.0)
    one = small.tuned(tmp_path / "one", base, "lora", recipe, batch=768)
    four = small.tuned(tmp_path / "four", base, "lora", recipe, batch=768, accumulate=4)
    ours, theirs = weights(one.path), weights(four.path)
    assert max(float((ours[key] - theirs[key]).abs().max()) for key in ours) < 1e-4


@dataclass(frozen=True)
class Contrary(small.Counting):
    """Validates on answers that training never gives, so its loss soon rises."""

    def examples(self, split: Split) -> list[Example]:
        """Swap the answers of the validation rows for noise."""
        rows = super().examples(split)
        if split != "validation":
            return rows
        noise = {"role": "assistant", "content": "??? What in the world?"}
        return [replace(row, messages=(*row.prompt, noise)) for row in rows]


def test_it_stops_early_and_keeps_the_best(base: Path, tmp_path: Path) -> None:
    run = small.tuned(tmp_path / "run", base, "lora", Contrary(epochs=20.0), checks=20, patience=2)
    checks = {r["step"]: r["validation"]["nats"] for r in run.records() if "validation" in r}
    assert any(record.get("event") == "early stop" for record in run.records())
    assert run.done["steps"] < run.settings["decided"]["steps"]
    del checks[0]  # where it began from is no result
    close = [step for step, nats in checks.items() if nats <= min(checks.values()) * 1.1]
    assert run.done["best_step"] == close[-1], "of those that are about the best the last"
    assert list(checks)[-1] > run.done["best_step"], "the best is not the last"
    variant, tests = open_variant(run.path), Contrary().examples("validation")
    rows = [Renderer(variant.tokenizer).render(row.messages) for row in tests]
    tokens = sum(row.supervised for row in rows)
    nats = sum(variant.nll([(row.ids, row.labels) for row in rows])) / tokens
    assert nats == pytest.approx(run.done["validation_nats"], rel=1e-4), "these are its weights"


def test_test_rows_choose_nothing(base: Path, tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Blind(small.Counting):
        def examples(self, split: Split) -> list[Example]:
            assert split != "test", "tuning asked for the test rows"
            return super().examples(split)

    small.tuned(tmp_path / "run", base, "lora", Blind(epochs=1.0))


def test_a_run_says_what_it_did(base: Path, tmp_path: Path) -> None:
    run = small.tuned(tmp_path / "run", base, "soft_prompt", small.Counting(epochs=1.0))
    settings, done = run.settings, run.done
    begun = settings["base"]
    assert begun == {"path": str(base), "fingerprint": fingerprint(base), "rows": begun["rows"]}
    assert len(begun["rows"]) == 64
    assert settings["decided"]["dtype"] == "float32"
    reasons = settings["decided"]["reasons"].keys() - {"frozen", "checkpointing"}
    assert reasons == {"device", "dtype", "compile", "threads", "attention", "steps"}
    assert settings["decided"]["checkpointing"] is False
    assert settings["decided"]["reasons"]["frozen"] == "products are made in float32"
    assert done["trainable_params"] == 20 * 64
    assert done["bytes"] == 20 * 64 * 4
    assert done["tokens_per_second"] > 0
    assert 0 < done["training_seconds"] < done["seconds"] < 60
    assert "was within 10 % of the lowest" in (run.path / "README.md").read_text()
    assert "svg" in (run.path / "run" / "curves.svg").read_text()
    assert 100e6 < done["peak_memory"] < 4e9
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= set(
        done["files"]
    )
    config = json.loads((run.path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(base), "an absolute path"


def test_a_full_variant_stops_at_the_end_of_a_turn_elsewhere_too(
    base: Path, tmp_path: Path
) -> None:
    run = small.tuned(tmp_path / "run", base, "full", small.Counting(epochs=1.0))
    config = json.loads((run.path / "generation_config.json").read_text())
    assert config["eos_token_id"] == [1, 6]
    assert "ftkit" not in (run.path / "config.json").read_text(), "its attention stays at home"


def test_minutes_become_steps_once(base: Path, tmp_path: Path) -> None:
    given = small.Counting(), load("adapters", "full"), str(base), Tuning(batch=384)
    run, other = start(tmp_path / "run", "full"), start(tmp_path / "plain", "full")
    works = (tune(each, *given, minutes=most) for each, most in ((run, 0.02), (other, None)))
    (first, timed), (_, plain) = ((next(work), next(work)) for work in works)
    assert timed == plain, "what was timed moved the weights"
    assert first["steps"] == run.settings["decided"]["steps"] >= 1
    assert run.settings["decided"]["reasons"]["steps"].startswith("0.02 minutes at ")
    for bad, words in ((1e-6, "is too short: a step takes"), (-1.0, "takes a number above 0")):
        run = start(tmp_path / str(bad), "full")
        with pytest.raises(FtkitError, match=words):
            next(tune(run, *given, minutes=bad))


def test_what_cannot_be_tuned_is_refused(base: Path, tmp_path: Path) -> None:
    cases = [
        (small.Counting(length=512), base, "'recipe.length' is 512, but .* reads 256 tokens"),
        (small.Counting(length=20), base, "rows are longer than 20 tokens"),
        (small.Counting(length=20, max_dropped=1.0), base, "every training row is longer than 20"),
        (small.Counting(), tmp_path / "gone", "there is no such folder"),
    ]
    for number, (recipe, place, words) in enumerate(cases):
        run = start(tmp_path / str(number), "lora")
        with pytest.raises(FtkitError, match=words):
            next(tune(run, recipe, load("adapters", "lora"), str(place)))
        assert [path.name for path in run.path.iterdir()] == ["run"]
    for values in ({"batch": "0"}, {"patience": "0"}, {"accumulate": "-1"}):
        with pytest.raises(FtkitError, match="takes 1 or more"):
            override(Tuning(), values, "plan")


def test_a_changed_base_ends_a_resumption(tmp_path: Path) -> None:
    base = small.base(tmp_path / "base")
    run = start(tmp_path / "run", "lora")
    how = load("adapters", "lora")
    work = tune(run, small.Counting(), how, str(base), Tuning(batch=384))
    next(work)
    work.close()
    small.base(base, seed=5)
    again = tune(Run.resume(run.path), small.Counting(), how, str(base), resume=True)
    with pytest.raises(FtkitError, match="is no longer the base that this run began with"):
        next(again)


def test_changed_rows_end_a_resumption(base: Path, tmp_path: Path) -> None:
    run, how = start(tmp_path / "run", "lora"), load("adapters", "lora")
    work = tune(run, small.Counting(), how, str(base), Tuning(batch=384))
    next(work)
    work.close()
    again = tune(Run.resume(run.path), small.Unleaked(), how, str(base), resume=True)
    with pytest.raises(FtkitError, match="rows are no longer those this run began with"):
        next(again)


def test_a_loss_that_is_not_finite_names_step_and_rows(base: Path, tmp_path: Path) -> None:
    how = override(load("adapters", "full"), {"lr": "1e30"}, "method")
    run = start(tmp_path / "run", "full")
    with pytest.raises(WorkError, match=r"at step \d+ \(rows: train:"):
        for _ in tune(run, small.Counting(), how, str(base), Tuning(batch=384, clip=0.0)):
            pass
    assert not (run.path / "model.safetensors").exists()


def test_a_base_without_a_finite_loss_is_refused_before_training(tmp_path: Path) -> None:
    base = small.base(tmp_path / "base")
    there = weights(base)
    there["model.norm.weight"] *= math.nan
    save_file(there, base / "model.safetensors", {"format": "pt"})
    run = start(tmp_path / "run", "lora")
    with pytest.raises(FtkitError, match=r"base gives no finite loss on .* before any training"):
        list(tune(run, small.Counting(), load("adapters", "lora"), str(base)))
    assert run.records() == []


def test_the_loss_is_the_librarys_own(base: Path) -> None:
    """One example: our sum over labelled places equals transformers' mean times their number."""
    variant = open_variant(base)
    row = Renderer(variant.tokenizer).render(small.Counting().examples("train")[0].messages)
    labels, ids = torch.tensor([row.labels]), torch.tensor([row.ids])
    with torch.no_grad():
        theirs = float(variant.model(input_ids=ids, labels=labels).loss) * row.supervised
    assert variant.nll([(row.ids, row.labels)]) == pytest.approx([theirs], rel=1e-5)
    assert math.isfinite(theirs)
