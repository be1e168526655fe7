"""Every method of the catalog against its claims: what moves, what it starts as, what it keeps."""

# B rows, T positions

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from ftkit.adapters._forward import Forward, causal
from ftkit.adapters._method import trainable
from ftkit.adapters._variant import open_base, open_variant
from ftkit.basemodel.optim import Optimizer
from ftkit.catalog import load, names
from ftkit.config import override
from ftkit.errors import FtkitError
from ftkit.recipes._pack import Packer
from ftkit.recipes._render import Rendered
from ftkit.recipes._work import batch_loss
from ftkit.runs import sha256
from tests import small

METHODS = names("adapters")
OWN = {"lora": "lora_", "soft_prompt": "prompt_encoder"}  # marks of a method's own parameters


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
    if name == "full":
        assert len(moving) == len(dict(model.named_parameters()))
    else:
        assert moving
        assert all(OWN[name] in key for key in moving)
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
    ids_BT = torch.arange(7, 47)[None]
    inputs = method.inputs(model, ids_BT, None)
    slots = method.virtual_tokens
    if slots:
        slots_BT = torch.cat([torch.arange(slots), torch.full((40,), -1)])[None]
        padded_BT = torch.cat([torch.zeros(1, slots, dtype=torch.long), ids_BT], 1)
        inputs = method.inputs(model, padded_BT, slots_BT)
    with torch.no_grad():
        ours = causal(model)(**inputs).logits[:, slots:]
        theirs = plain(input_ids=ids_BT).logits
    assert torch.equal(ours, theirs) == method.identity_at_start


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
    assert torch.equal(losses(ours, packer, rows), losses(theirs, packer, rows))
    assert marks == {file.name: sha256(file) for file in base.iterdir()}, "the base stays"


@pytest.mark.parametrize("tied", [True, False])
def test_lora_merged_and_reloaded_gives_its_logits(tmp_path: Path, tied: bool) -> None:
    base = small.base(tmp_path / "base", tied=tied)
    model, _, method = attached(base, "lora", moved=True)
    assert method.mergeable
    ids_BT = torch.arange(7, 60)[None]
    with torch.no_grad():
        before = model(input_ids=ids_BT).logits
        merged = model.merge_and_unload()
        merged.save_pretrained(tmp_path / "merged")
        small.tokenizer().save_pretrained(tmp_path / "merged")
        reloaded, _ = open_base(tmp_path / "merged")
        after = reloaded(input_ids=ids_BT).logits
    assert_close(after, before, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["lora", "soft_prompt"])
def test_its_start_comes_from_the_seed_alone(base: Path, name: str) -> None:
    method = load("adapters", name)
    starts = []
    for noise, seed in ((1, 0), (2, 0), (3, 5)):
        torch.manual_seed(noise)
        tuned = method.attach(*open_base(base), seed)
        starts.append(torch.cat([p.detach().flatten() for p in trainable(tuned).values()]))
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])


def test_a_soft_prompt_starts_from_embeddings_of_its_text(base: Path) -> None:
    model, tokenizer = open_base(base)
    method = override(load("adapters", "soft_prompt"), {"init": "SELECT", "tokens": 8}, "method")
    tuned = method.attach(model, tokenizer, 0)
    ids = tokenizer.encode("SELECT", add_special_tokens=False)
    table_VD = model.get_input_embeddings().weight
    start_VD = next(iter(trainable(tuned).values()))
    assert_close(start_VD, table_VD[torch.tensor((ids * 8)[:8])])


@pytest.mark.parametrize(
    ("method", "values", "words"),
    [
        ("lora", {"rank": "0"}, "'method.rank' takes 1 or more, not 0"),
        ("soft_prompt", {"tokens": "0"}, "'method.tokens' takes 1 or more, not 0"),
        ("lora", {"rnak": "4"}, "did you mean 'rank'?"),
    ],
)
def test_settings_that_make_no_method_are_refused(
    method: str, values: dict[str, str], words: str
) -> None:
    with pytest.raises(FtkitError, match=words.replace("?", r"\?")):
        override(load("adapters", method), values, "method")


def test_lora_targets_that_are_not_there_are_refused(base: Path) -> None:
    method = override(load("adapters", "lora"), {"targets": "c_attn"}, "method")
    with pytest.raises(FtkitError, match="targets=c_attn"):
        method.attach(*open_base(base), 0)
