"""A trial: it says of a tuning what the tuning then does, by every method, and keeps nothing."""

from pathlib import Path

import pytest

from ftkit.catalog import load, names
from ftkit.config import override
from ftkit.errors import FtkitError
from ftkit.recipes._shelf import Shelf
from ftkit.recipes._trial import trial
from ftkit.recipes._tune import Tuning
from ftkit.runs import fingerprint
from tests import small

RECIPE = small.Counting(epochs=2.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.base(tmp_path_factory.mktemp("trial") / "base")


def test_it_counts_what_every_method_trains_and_leaves_the_base(base: Path) -> None:
    mark, shelf = fingerprint(base), Shelf(256)
    found = {
        name: trial(RECIPE, load("adapters", name), str(base), Tuning(batch=384), shelf=shelf)
        for name in names("adapters")
    }
    assert {name: one.trainable for name, one in found.items()} == {
        "dora": 17408, "full": 94592, "ia3": 384, "lora": 16384, "p_tuning": 13760,
        "prefix": 2560, "soft_prompt": 1280,
    }  # fmt: skip
    assert all(one.rows == 120 and one.steps > 4 for one in found.values())
    assert fingerprint(base) == mark


@pytest.mark.parametrize("name", ["soft_prompt", "prefix", "p_tuning"])
def test_tokens_of_a_method_that_leave_none_for_text_are_refused(base: Path, name: str) -> None:
    wide = override(load("adapters", name), {"tokens": 96}, "method")
    said = f"^{name} takes 96 of the 96 tokens that a row may have, and leaves none for text: "
    with pytest.raises(FtkitError, match=said):
        trial(RECIPE, wide, str(base), Tuning(batch=384))


def test_places_are_those_of_all_parts_of_an_update(base: Path) -> None:
    """Three rows in two parts: two rows, then one."""
    tuning = Tuning(batch=384, accumulate=2, sharing=1)
    said = trial(RECIPE, load("adapters", "lora"), str(base), tuning)
    assert said.places == 3 * 128


def test_it_foretells_the_run(base: Path, tmp_path: Path) -> None:
    said = trial(RECIPE, load("adapters", "lora"), str(base), Tuning(batch=384, checks=4))
    run = small.tuned(tmp_path / "run", base, "lora", RECIPE)
    assert said.steps == run.done["steps"]
    assert said.trainable == run.done["trainable_params"]
    assert said.memory == pytest.approx(run.done["peak_memory"], rel=0.25)
    # Other work on the machine moves both times; a wrong count of steps or checks moves them more.
    assert 1 / 3 < said.seconds / run.done["seconds"] < 3
