"""Every method of the catalog against its claims: what moves, what it starts as, what it keeps."""

# B rows, T positions

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from ftkit.adapters._forward import Forward
from ftkit.adapters._method import trainable
from ftkit.adapters._variant import open_base, open_variant
from ftkit.basemodel.config import PRESETS
from ftkit.basemodel.optim import Optimizer
from ftkit.catalog import load, names
from ftkit.errors import FtkitError
from ftkit.recipes._pack import Packer
from ftkit.recipes._render import Rendered
from ftkit.recipes._work import batch_loss
from ftkit.runs import sha256
from tests import small

METHODS = names("adapters")
# A method's own parameters on the small base: the mark of their names, and how many.
OWN = {
    "full": ("", 94_592),
    "lora": ("lora_", 2 * 8 * (4 * 64 + 2 * 64 + 2 * 32 + 3 * (64 + 128))),
    "dora": ("lora_", 2 * 8 * (4 * 64 + 2 * 64 + 2 * 32 + 3 * (64 + 128)) + 2 * 512),
    "ia3": ("ia3_l", 2 * (32 + 32 + 128)),
    "soft_prompt": ("prompt_encoder", 20 * 64),
    "prefix": ("prompt_encoder", 20 * 2 * 2 * 32),
    "p_tuning": ("prompt_encoder", 20 * 64 + 3 * (64 * 64 + 64)),
}
# Nats per token of one batch after 60 steps, as a share of those before.
BARS = {
    "full": 0.02, "lora": 0.02, "dora": 0.02, "ia3": 0.5, "soft_prompt": 0.5, "prefix": 0.5,
    "p_tuning": 0.5,
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.base(tmp_path_factory.mktemp("methods") / "base")


def attached(base: Path, name: str, *, moved: bool = False) -> tuple[Any, Any, Any]:
    """Attach a method; `moved` shifts its parameters, so that it differs from its base."""
    model, tokenizer = open_base(base)
    method = load("adapters", name)
    tuned = method.attach(model, tokenizer, 0)
    if moved:
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter in trainable(tuned).values():
                parameter.add_(0.05 * torch.randn_like(parameter))
    return tuned.eval(), tokenizer, method


def examples(count: int = 6) -> list[Rendered]:
    """Make examples of many lengths, the second half of each labelled."""
    torch.manual_seed(2)
    sizes = [5 + 7 * (number % 4) for number in range(count)]
    ids = [torch.randint(7, 320, (size,)).tolist() for size in sizes]
    return [Rendered(row, [-100] * (len(row) // 2) + row[len(row) // 2 :]) for row in ids]


def losses(forward: Forward, packer: Packer, rows: list[list[int]]) -> torch.Tensor:
    """Compute each labelled token's loss, in the order of the examples."""
    with torch.no_grad():
        batch = packer.collate(rows)
        z_NV = forward.logits(batch.ids_BT, batch.positions_BT, batch.slots_BT, batch.where_N)
        return torch.nn.functional.cross_entropy(z_NV, batch.targets_N, reduction="none")


@pytest.mark.parametrize("name", METHODS)
def test_only_its_own_parameters_need_gradients(base: Path, name: str) -> None:
    model, _, method = attached(base, name)
    moving = trainable(model)
    mark, count = OWN[name]
    assert {key for key, _ in model.named_parameters() if mark in key} == moving.keys()
    assert sum(parameter.numel() for parameter in moving.values()) == count
    grouped = {id(p) for group in method.groups(model) for p in group.params}
    assert grouped == {id(p) for p in moving.values()}, "every trainable parameter has one group"


@pytest.mark.parametrize("name", METHODS)
def test_frozen_weights_get_no_gradient_and_do_not_move(base: Path, name: str) -> None:
    model, _, method = attached(base, name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    moving = trainable(model)
    forward, optimizer = Forward.of(model, method), Optimizer(method.groups(model))
    packer = Packer(examples(), 64, 2, slots=method.virtual_tokens)
    for number in range(2):  # at the first step LoRA's A has no gradient yet, as B is zero
        batch_loss(forward, packer(number)).backward()
        optimizer.step(1.0)
        frozen = [p for p in model.parameters() if not p.requires_grad]
        assert all(parameter.grad is None for parameter in frozen)
        optimizer.zero_grad()
    for key, value in model.state_dict().items():
        moved = not torch.equal(value, before[key])
        assert moved == (key in moving or name == "full"), key


@pytest.mark.parametrize("name", METHODS)
def test_step_zero_equals_the_base_where_claimed(base: Path, name: str) -> None:
    model, _, method = attached(base, name)
    plain, _ = open_base(base)
    packer = Packer(examples(), 256, 2, slots=method.virtual_tokens)
    ours = losses(Forward.of(model, method), packer, [[0], [3]])
    theirs = losses(
        Forward.of(plain, load("adapters", "full")), Packer(examples(), 256, 2), [[0], [3]]
    )
    assert torch.equal(ours, theirs) == method.identity_at_start


@pytest.mark.parametrize("name", METHODS)
def test_it_learns_one_batch_by_heart(base: Path, name: str, record_property: Any) -> None:
    model, _, method = attached(base, name)
    forward, optimizer = Forward.of(model, method), Optimizer(method.groups(model))
    batch = Packer(examples(3), 128, 2, slots=method.virtual_tokens)(0)
    nats = []
    for _ in range(60):
        loss = batch_loss(forward, batch) / batch.tokens
        loss.backward()
        torch.nn.utils.clip_grad_norm_(optimizer.parameters, 1.0)
        optimizer.step(1.0)
        optimizer.zero_grad()
        nats.append(loss.item())
    record_property("share", min(nats) / nats[0])
    assert min(nats) < BARS[name] * nats[0]


@pytest.mark.parametrize("name", METHODS)
def test_packed_losses_equal_unpacked_ones(base: Path, name: str) -> None:
    model, _, method = attached(base, name, moved=True)
    forward, items = Forward.of(model, method), examples()
    packer = Packer(items, 256, 4, slots=method.virtual_tokens)
    packed = losses(forward, packer, [[0, 1, 2], [3, 4, 5]])
    alone = torch.cat([losses(forward, packer, [[item]]) for item in range(6)])
    assert_close(packed, alone, rtol=0, atol=2e-5)


@pytest.mark.parametrize("change", ["use_cache", "attention_mask"])
def test_a_cache_or_a_mask_would_let_packed_examples_leak(base: Path, change: str) -> None:
    """The forward leaves both off; this shows what would happen, so that nobody adds one."""
    model, _ = open_base(base)
    first, second = examples(2)
    ids_BT = torch.tensor([first.ids + second.ids])
    positions_BT = torch.tensor([[*range(len(first.ids)), *range(len(second.ids))]])
    wrong: dict[str, Any] = {"use_cache": True}
    if change == "attention_mask":
        wrong = {"use_cache": False, "attention_mask": torch.ones_like(ids_BT)}
    with torch.no_grad():
        alone = model(input_ids=torch.tensor([second.ids]), use_cache=False).logits[0]
        right = model(input_ids=ids_BT, position_ids=positions_BT, use_cache=False).logits[0]
        leaky = model(input_ids=ids_BT, position_ids=positions_BT, **wrong).logits[0]
    assert_close(right[len(first.ids) :], alone, rtol=0, atol=2e-5)
    assert (leaky[len(first.ids) :] - alone).abs().max() > 0.1


@pytest.mark.parametrize("name", METHODS)
def test_saved_and_reopened_it_scores_the_same(base: Path, name: str, tmp_path: Path) -> None:
    model, tokenizer, method = attached(base, name, moved=True)
    marks = {file.name: sha256(file) for file in base.iterdir()}
    method.save(model, tmp_path)
    if not method.peft_type:
        tokenizer.save_pretrained(tmp_path)
    again = open_variant(tmp_path)
    assert again.how.virtual_tokens == method.virtual_tokens
    items, packer = examples(), Packer(examples(), 256, 8, slots=method.virtual_tokens)
    rows = [[item] for item in range(len(items))]
    ours, theirs = Forward.of(model, method), again.forward
    off = 5e-5 if method.mergeable else 0.0  # opened, what can be merged is
    assert_close(losses(ours, packer, rows), losses(theirs, packer, rows), rtol=0, atol=off)
    assert marks == {file.name: sha256(file) for file in base.iterdir()}, "the base stays"


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", METHODS)
def test_merged_and_reloaded_it_gives_the_same_logits(
    tmp_path: Path, name: str, tied: bool, record_property: Any
) -> None:
    base = small.base(tmp_path / "base", tied=tied)
    model, tokenizer, method = attached(base, name, moved=True)
    if not method.mergeable:
        with pytest.raises(FtkitError, match=f"^{name} leaves nothing that folds into the base"):
            method.merge(model)
        return
    ids_BT = torch.arange(7, 60)[None]
    with torch.no_grad():
        before = model(input_ids=ids_BT).logits
        merged: Any = method.merge(model)
        assert merged.dtype == torch.float32
        merged.save_pretrained(tmp_path / "merged")
        tokenizer.save_pretrained(tmp_path / "merged")
        reloaded, _ = open_base(tmp_path / "merged")
        after = reloaded(input_ids=ids_BT).logits
        away = (before - open_base(base)[0](input_ids=ids_BT).logits).abs().max()
    gap = float((after - before).abs().max())
    record_property("largest difference of a logit", gap)
    assert gap < 1e-5 * float(before.abs().max())
    assert away > 1e3 * gap, "it is not the base that was compared"


@pytest.mark.parametrize("name", METHODS)
def test_a_quantised_base_is_taken_or_refused_as_claimed(base: Path, name: str) -> None:
    model, tokenizer = open_base(base)
    quantise(model)
    method = load("adapters", name)
    if not method.quantised:
        with pytest.raises(FtkitError, match=f"^{name} needs the base's weights in full precision"):
            method.attach(model, tokenizer, 0)
        return
    kept = {key: value.clone() for key, value in model.state_dict().items() if "whole" in key}
    assert len(kept) == 14
    tuned = method.attach(model, tokenizer, 0)
    forward, optimizer = Forward.of(tuned, method), Optimizer(method.groups(tuned))
    batch = Packer(examples(3), 128, 2, slots=method.virtual_tokens)(0)
    first = batch_loss(forward, batch).item()
    for _ in range(8):
        batch_loss(forward, batch).backward()
        torch.nn.utils.clip_grad_norm_(optimizer.parameters, 1.0)
        optimizer.step(0.5)
        optimizer.zero_grad()
    assert batch_loss(forward, batch).item() < first
    after = {k.replace(".base_layer", ""): v for k, v in tuned.state_dict().items()}
    for key, value in kept.items():
        assert any(k.endswith(key) and torch.equal(v, value) for k, v in after.items()), key


class Int8(torch.nn.Linear):
    """A linear layer whose weights are whole numbers with a scale for each row."""

    def __init__(self, layer: torch.nn.Linear) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=False)
        scale = layer.weight.abs().amax(1, keepdim=True) / 127
        self.register_buffer("whole", (layer.weight / scale).round().to(torch.int8))
        self.register_buffer("scale", scale.detach())
        del self.weight

    @property
    def weight(self) -> torch.Tensor:
        return self.whole * self.scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x, self.weight)


def quantise(model: Any) -> None:
    """Put whole numbers in place of the blocks' weights, as quantising libraries do."""
    for block in model.model.layers:
        for part in (block.self_attn, block.mlp):
            for name, layer in list(part.named_children()):
                if isinstance(layer, torch.nn.Linear):
                    setattr(part, name, Int8(layer))
    model.is_quantized = True


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("full", "ia3")])
def test_its_start_comes_from_the_seed_alone(base: Path, name: str) -> None:
    method = load("adapters", name)
    starts = []
    for noise, seed in ((1, 0), (2, 0), (3, 5)):
        torch.manual_seed(noise)
        tuned = method.attach(*open_base(base), seed)
        starts.append(torch.cat([p.detach().flatten() for p in trainable(tuned).values()]))
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])


def test_the_page_on_methods_says_what_they_claim() -> None:
    page = (Path(__file__).parent.parent / "docs" / "methods.md").read_text(encoding="utf-8")
    sizes = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    sizes += ("num_key_value_heads", "head_dim", "vocab_size")
    shape = {key: getattr(PRESETS["nano"], key) for key in sizes}
    rows = {}
    for line in page.split("| paper |")[1].split("##")[0].splitlines()[2:]:
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if cells:
            rows[cells[0].strip("`")] = cells[2:6]
    assert rows.keys() == set(METHODS)
    for name in METHODS:
        method, model = load("adapters", name), small.model(**shape)
        tuned = method.attach(model, small.tokenizer(), 0)
        count = sum(parameter.numel() for parameter in trainable(tuned).values())
        claims = (method.identity_at_start, method.mergeable, method.quantised)
        said = ["yes" if claim else "no" for claim in claims]
        whole = ["all", "yes", "is whole", "no"]
        assert rows[name] == (whole if name == "full" else [f"{count:,}", *said]), name
