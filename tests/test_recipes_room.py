"""Room in memory: narrow frozen weights and blocks computed again change no bit, only bytes."""

import json
import os
import signal
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from ftkit.adapters import _frozen
from ftkit.adapters._attention import APART, attention
from ftkit.adapters._folded import folded
from ftkit.adapters._forward import Forward, causal
from ftkit.adapters._lean import lean
from ftkit.adapters._method import trainable
from ftkit.adapters._recomputed import blocks, recomputed
from ftkit.adapters._variant import open_base
from ftkit.basemodel.device import Device
from ftkit.catalog import load, names
from ftkit.config import override, table
from ftkit.errors import FtkitError, Interrupted
from ftkit.recipes import _room, _ways
from ftkit.recipes._pack import Batch, Packer
from ftkit.recipes._room import roomy, saved
from ftkit.recipes._trial import trial
from ftkit.recipes._tune import Tuning, tune
from ftkit.recipes._work import batch_loss
from ftkit.runs import Run, sha256
from tests import small
from tests.test_adapters_methods import examples

METHODS = names("adapters")
ADAPTER = "adapter_model.safetensors"
NARROW = {"lora", "ia3", "prefix", "soft_prompt", "p_tuning"}
MIXED = Device(dtype="bfloat16", threads=1)
GPT2 = GPT2Config(vocab_size=320, n_embd=64, n_layer=2, n_head=4, n_positions=128)


def attached(name: str, **shape: Any) -> tuple[Forward, Batch]:
    """Attach a method, moved off its start, and lay out a batch of packed examples."""
    model = GPT2LMHeadModel(GPT2) if "gpt2" in shape else small.model(**shape)
    method = load("adapters", name)
    tuned = method.attach(model.eval(), small.tokenizer(), 0)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in trainable(tuned).values():
            parameter.add_(0.02 * torch.randn_like(parameter))
    packer = Packer(examples(), 128, 2, slots=method.virtual_tokens)
    return Forward.of(tuned, method), packer(0)


def logits(forward: Forward, batch: Batch) -> torch.Tensor:
    return forward.logits(batch.ids_BT, batch.positions_BT, batch.slots_BT, batch.where_N)


def gradients(forward: Forward, batch: Batch, device: Device) -> dict[str, torch.Tensor]:
    """Take one loss and its gradients; what dropout draws is the same each time."""
    forward.model.train()
    torch.manual_seed(3)
    with device.autocast():
        loss = batch_loss(forward, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    moving = trainable(forward.model)
    found = {name: p.grad.clone() for name, p in moving.items() if p.grad is not None}
    forward.model.zero_grad()
    forward.model.eval()
    return found | {"loss": loss.detach()}


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    assert len(ours) > 1
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def settled(forward: Forward, batch: Batch, device: Device, asked: str, until: ExitStack) -> Any:
    decided: dict[str, Any] = {"reasons": {}}
    until.enter_context(roomy(forward, batch, device, decided, asked))
    return decided


@pytest.mark.parametrize(
    "shape", [{}, {"tied": False}, {"gpt2": True}], ids=["tied", "free", "gpt2"]
)
@pytest.mark.parametrize("name", METHODS)
def test_frozen_weights_in_bfloat16_give_the_same_bits(name: str, shape: dict[str, Any]) -> None:
    forward, batch = attached(name, **shape)
    size = sum(p.numel() * p.element_size() for p in forward.model.parameters())
    theirs = gradients(forward, batch, MIXED)
    with ExitStack() as until:
        decided = settled(forward, batch, MIXED, "false", until)
        ours = gradients(forward, batch, MIXED)
    assert same(ours, theirs)
    after = sum(p.numel() * p.element_size() for p in forward.model.parameters())
    assert decided["frozen"] == ("bfloat16" if name in NARROW else "float32"), decided
    assert all(p.dtype == torch.float32 for p in trainable(forward.model).values())
    if name in NARROW:
        count = 8 if "gpt2" in shape else 14 + (not shape.get("tied", True))
        assert decided["reasons"]["frozen"].startswith(f"{count} weights are kept")
        linear = (
            2 * 12 * 64**2 if "gpt2" in shape else 2 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 128)
        )
        linear += 0 if shape.get("tied", True) else 320 * 64
        assert after == size - 2 * linear
    else:
        assert after == size
        assert f"{name} needs the base's weights" in decided["reasons"]["frozen"]


def test_a_table_that_is_the_head_too_norms_and_biases_stay() -> None:
    forward, _ = attached("lora", attention_bias=True)
    assert _frozen.narrow(forward.model, lambda: torch.zeros(1)) == 14
    kept = {n for n, p in forward.model.named_parameters() if p.dtype == torch.float32}
    assert all("lora_" in n or "norm" in n or "embed_tokens" in n or "bias" in n for n in kept)
    assert causal(forward.model).dtype == torch.float32


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's list of maps")
def test_the_file_they_came_from_leaves_memory(tmp_path: Path) -> None:
    place = small.base(tmp_path / "narrowed")
    model = load("adapters", "lora").attach(open_base(place)[0], None, 0)
    maps = Path("/proc/self/maps")
    assert str(place) in maps.read_text()
    _frozen.narrow(model, lambda: torch.zeros(1))
    assert str(place) not in maps.read_text()


def test_they_stay_where_a_family_reads_their_precision() -> None:
    """A block that looks at a weight's type would compute otherwise: all is as before."""
    forward, batch = attached("lora")
    down = causal(forward.model).model.layers[-1].mlp.down_proj
    before = {n: p.clone() for n, p in forward.model.named_parameters()}
    called = down.forward
    down.forward = lambda x: called(x) * (1 if down.weight.dtype == torch.float32 else 2)
    with ExitStack() as until:
        decided = settled(forward, batch, MIXED, "false", until)
    assert decided["frozen"] == "float32"
    assert "would give other logits" in decided["reasons"]["frozen"]
    after = dict(forward.model.named_parameters())
    assert all(torch.equal(after[n], p) and after[n].dtype == p.dtype for n, p in before.items())


@pytest.mark.parametrize("device", [Device(), MIXED], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("shape", [{}, {"gpt2": True}], ids=["qwen3", "gpt2"])
@pytest.mark.parametrize("name", METHODS)
def test_blocks_computed_again_give_the_same_bits(
    name: str, shape: dict[str, Any], device: Device
) -> None:
    """GPT-2 with its dropout; a prefix stands in a cache that blocks lay their keys into."""
    forward, batch = attached(name, **shape)
    theirs, whole = (
        gradients(forward, batch, device),
        saved(forward.model, lambda: batch_loss(forward, batch)),
    )
    with recomputed(forward.model):
        assert same(gradients(forward, batch, device), theirs)
        less = saved(forward.model, lambda: batch_loss(forward, batch))
    assert less < 0.5 * whole, (less, whole)
    assert not any("forward" in vars(module) for module in forward.model.modules())


@pytest.mark.parametrize("name", ["lora", "full"])
def test_lean_and_folded_blocks_are_computed_again_too(name: str) -> None:
    forward, batch = attached(name)
    inner = causal(forward.model)
    with ExitStack() as until:
        until.enter_context(attention(inner, APART, lambda: logits(forward, batch)))
        until.enter_context(folded(forward.model, exact=True))
        assert until.enter_context(lean(inner, lambda: logits(forward, batch)))
        theirs = gradients(forward, batch, Device())
        whole = saved(forward.model, lambda: batch_loss(forward, batch))
        way = vars(blocks(inner)[0])["forward"]
        with recomputed(forward.model):
            assert vars(blocks(inner)[0])["forward"] is not way
            assert same(gradients(forward, batch, Device()), theirs)
            less = saved(forward.model, lambda: batch_loss(forward, batch))
        assert vars(blocks(inner)[0])["forward"] is way
    assert less < 0.5 * whole, (less, whole)


def test_what_a_loss_keeps_is_counted_once_and_without_weights() -> None:
    """Take x twice as the factors of a product, y = x x for its logarithm: two storages of 4 KB."""
    model = torch.nn.Linear(4, 4)
    x = torch.full((32, 32), 0.5, requires_grad=True)
    assert saved(model, lambda: (x[:, :] * x).log().sum()) == 2 * 32 * 32 * 4
    rows = torch.ones(1000, 4, requires_grad=True)  # for whose gradient the weight is kept too
    assert saved(model, lambda: model(rows).sum()) == rows.nbytes


@pytest.mark.parametrize(("free", "again"), [(2**40, False), (2**20, True), (None, False)])
def test_auto_measures_and_says_why(free: int | None, again: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr(_room, "free_memory", lambda device: free)
    forward, batch = attached("lora")
    with ExitStack() as until:
        decided = settled(forward, batch, Device(), "auto", until)
        assert decided["checkpointing"] is again
        assert ("forward" in vars(blocks(forward.model)[0])) is again
    said = decided["reasons"]["checkpointing"]
    if free is None:
        assert said == "how much memory is free cannot be told here"
        return
    assert said.startswith("a step would keep 0.00 GiB, gradients and averages take 0.00 GiB: ")
    assert ("no more than" in said) is not again
    assert said.endswith("GiB, 80% of free memory")


def test_a_base_without_blocks_is_refused_when_asked_and_left_alone_else(monkeypatch: Any) -> None:
    monkeypatch.setattr(_room, "blocks", lambda model: [])
    forward, batch = attached("lora")
    with ExitStack() as until:
        decided = settled(forward, batch, Device(), "auto", until)
        assert not decided["checkpointing"]
        assert "has no blocks that can be" in decided["reasons"]["checkpointing"]
        with pytest.raises(
            FtkitError, match=r"'plan.checkpointing=true': this base's family has no"
        ):
            settled(forward, batch, Device(), "true", until)


def test_the_setting_takes_three_words_and_tomls_own_two() -> None:
    for value, word in (("auto", "auto"), ("true", "true"), (True, "true"), (False, "false")):
        assert override(Tuning(), {"checkpointing": value}, "plan").checkpointing == word
    with pytest.raises(FtkitError, match=r"'plan\.checkpointing' cannot be 'yes'"):
        override(Tuning(), {"checkpointing": "yes"}, "plan")


@pytest.mark.parametrize("name", ["lora", pytest.param("prefix", marks=pytest.mark.slow)])
def test_a_tuning_ends_in_the_same_files_with_and_without(
    name: str, tmp_path: Path, monkeypatch: Any
) -> None:
    """All of it in mixed precision: weights wide, then narrow and with blocks computed again."""
    base = small.base(tmp_path / "base")
    marks = {file.name: sha256(file) for file in base.iterdir()}
    monkeypatch.setattr(_ways, "decide", lambda **_: MIXED)
    recipe, plan = small.Counting(epochs=0.5), {"checks": 2, "held_out": 8}
    runs = {
        "roomy": small.tuned(tmp_path / "roomy", base, name, recipe, checkpointing="true", **plan)
    }
    monkeypatch.setattr(_room, "narrow", lambda *_: 0)
    runs["wide"] = small.tuned(tmp_path / "wide", base, name, recipe, checkpointing="false", **plan)
    kept = {key: run.settings["decided"] for key, run in runs.items()}
    assert (kept["roomy"]["frozen"], kept["roomy"]["checkpointing"]) == ("bfloat16", True)
    assert (kept["wide"]["frozen"], kept["wide"]["checkpointing"]) == ("float32", False)
    files = (ADAPTER, "adapter_config.json")
    ours, theirs = ([(run.path / file).read_bytes() for file in files] for run in runs.values())
    assert ours[0] == theirs[0], "the same bits"
    assert json.loads(ours[1]) == json.loads(theirs[1])
    checks = [
        [r["validation"] for r in run.records() if "validation" in r] for run in runs.values()
    ]
    assert checks[0] == checks[1]
    assert marks == {file.name: sha256(file) for file in base.iterdir()}, "the base stays"


def test_a_stopped_run_goes_on_with_what_was_decided(tmp_path: Path, monkeypatch: Any) -> None:
    """Memory is short when it begins, and no longer when it goes on: the bits are the same."""
    base, recipe = small.base(tmp_path / "base"), small.Counting(epochs=1.0)
    how, plan = load("adapters", "lora"), Tuning(batch=384, checks=2)
    whole = small.tuned(tmp_path / "whole", base, "lora", recipe, checks=2)
    assert whole.settings["decided"]["checkpointing"] is False
    monkeypatch.setattr(_room, "free_memory", lambda device: 2**20)
    run = Run.create(tmp_path / "run", {"command": "tune", "method": table(how)})
    begun = tune(run, recipe, how, str(base), plan)
    assert any(record.get("step") == 5 for record in begun)
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(Interrupted):
        next(begun)
    monkeypatch.setattr(_room, "free_memory", lambda device: 2**40)
    entered: list[Any] = []
    monkeypatch.setattr(_room, "recomputed", lambda m: recomputed(entered.append(m) or m))
    again = Run.resume(run.path)
    for _ in tune(again, recipe, how, str(base), plan, resume=True):
        pass
    assert len(entered) == 1
    assert again.settings["decided"]["checkpointing"] is True
    assert "more than 0.00 GiB" in again.settings["decided"]["reasons"]["checkpointing"]
    ours, theirs = ((each.path / ADAPTER).read_bytes() for each in (again, whole))
    assert ours == theirs


@pytest.mark.slow
def test_dry_run_counts_what_is_not_kept(tmp_path: Path) -> None:
    """Twelve blocks of 4,096 tokens keep far more than what enters them."""
    base, recipe = small.base(tmp_path / "base", num_hidden_layers=12), small.Counting(epochs=1.0)
    how, whole = load("adapters", "full"), Tuning(held_out=8, sharing=1)
    said = {
        word: trial(recipe, how, str(base), replace(whole, checkpointing=word)).memory
        for word in ("false", "true")
    }
    assert said["false"] - said["true"] > 60e6, said
