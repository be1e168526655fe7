"""Checkpoints: whole or not there, the last two kept, a damaged one passed over and named."""

from pathlib import Path

import pytest
import torch
from torch import nn

from ftkit.basemodel import checkpoint
from ftkit.basemodel.optim import Group, Optimizer
from ftkit.errors import FtkitError


def put(folder: Path, *steps: int) -> None:
    for step in steps:
        checkpoint.save(folder, step, {"w": torch.full((3,), float(step))}, {"tokens": step * 10})


def test_the_newest_comes_back_with_its_facts_and_two_are_kept(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path / "none") is None
    put(tmp_path, 5, 90, 100)
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert (found.step, found.facts, found.passed_over) == (100, {"tokens": 1000}, ())
    assert torch.equal(found.tensors["w"], torch.full((3,), 100.0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000090", "step-00000100"]


@pytest.mark.parametrize("file", ["state.safetensors", "facts.json"])
@pytest.mark.parametrize("damage", ["torn", "altered", "missing"])
def test_a_damaged_one_is_passed_over_and_named(tmp_path: Path, file: str, damage: str) -> None:
    put(tmp_path, 1, 2)
    path = tmp_path / "step-00000002" / file
    data = path.read_bytes()
    if damage == "torn":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "altered":
        place = data.index(b"20}") if file == "facts.json" else len(data) - 1
        path.write_bytes(data[:place] + b"3" + data[place + 1 :])
    else:
        path.unlink()
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.step == 1
    assert len(found.passed_over) == 1
    assert "step-00000002 is damaged" in found.passed_over[0]


@pytest.mark.parametrize("words", ["[]", "{}", "5", '{"content": 5, "sha256": ""}', "[" * 99_999])
def test_facts_that_are_other_json_are_damage_too(tmp_path: Path, words: str) -> None:
    put(tmp_path, 1, 2)
    (tmp_path / "step-00000002" / "facts.json").write_text(words)
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.step == 1


def test_a_copy_beside_them_is_none_of_them(tmp_path: Path) -> None:
    put(tmp_path, 1, 2)
    (tmp_path / "step-00000002").rename(tmp_path / "step-00000002 (copy)")
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.step == 1
    checkpoint.forget(tmp_path, after=1)
    put(tmp_path, 3, 4)
    names = ["step-00000002 (copy)", "step-00000003", "step-00000004"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_when_all_are_damaged_nothing_is_begun_anew_in_silence(tmp_path: Path) -> None:
    put(tmp_path, 1, 2)
    for place in tmp_path.iterdir():
        (place / "facts.json").write_text("{}")
    with pytest.raises(FtkitError, match=r"no checkpoint can be gone on from: .*step-00000002 is"):
        checkpoint.latest(tmp_path)


def test_a_writer_that_was_killed_leaves_nothing_that_counts(tmp_path: Path) -> None:
    put(tmp_path, 1)
    (tmp_path / ".writing-77").mkdir()
    (tmp_path / ".writing-77" / "state.safetensors").write_bytes(b"half")
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert (found.step, found.passed_over) == (1, ())
    put(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000001", "step-00000002"]


def test_later_ones_that_were_damaged_take_no_place(tmp_path: Path) -> None:
    put(tmp_path, 1, 2)
    (tmp_path / "step-00000002" / "facts.json").write_text("{}")
    checkpoint.forget(tmp_path, after=1)
    put(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000001", "step-00000002"]
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert (found.step, found.passed_over) == (2, ())


def test_weights_optimizer_and_random_state_come_back(tmp_path: Path) -> None:
    def make() -> tuple[nn.Linear, Optimizer]:
        torch.manual_seed(3)
        linear = nn.Linear(4, 6)
        groups = [Group([linear.weight], 0.1, rule="muon"), Group([linear.bias], 0.1)]
        return linear, Optimizer(groups)

    def update(linear: nn.Linear, optimizer: Optimizer) -> None:
        linear(torch.randn(2, 4)).square().sum().backward()
        optimizer.step(1.0)
        optimizer.zero_grad()

    linear, optimizer = make()
    update(linear, optimizer)
    state = checkpoint.pack(dict(linear.named_parameters()), optimizer)
    checkpoint.save(tmp_path, 1, state, {})
    update(linear, optimizer)

    again, fresh = make()
    found = checkpoint.latest(tmp_path)
    assert found is not None
    checkpoint.unpack(found.tensors, dict(again.named_parameters()), fresh)
    update(again, fresh)  # draws the same random input, moves by the same remembered momentum
    assert torch.equal(again.weight, linear.weight)
    assert torch.equal(again.bias, linear.bias)
