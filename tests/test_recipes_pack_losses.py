"""Packed or alone, an example has the same loss: every method, every family, wide rows too."""

# B rows, T positions, N labelled places

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.testing import assert_close

from ftkit.adapters._attention import APART, EXPLICIT, attention
from ftkit.adapters._forward import Forward, causal, keeps_apart
from ftkit.adapters._method import trainable
from ftkit.adapters._quiet import quiet
from ftkit.adapters._variant import open_base
from ftkit.catalog import load, names
from ftkit.recipes._alike import Alike
from ftkit.recipes._flat import Flat
from ftkit.recipes._layout import keeps_together, takes_masks
from ftkit.recipes._pack import Batch, Packer
from ftkit.recipes._render import IGNORE, Rendered
from ftkit.recipes._ways import sample
from ftkit.recipes._work import batch_loss
from tests import small

SEEN = 64  # positions of each model: packed rows are wider
SHAPE = {
    "vocab_size": 320, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": SEEN,
    "initializer_range": 0.2, "bos_token_id": 0, "eos_token_id": 6, "pad_token_id": 2,
}  # fmt: skip
GPT2 = {
    "vocab_size": 320, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": SEEN,
    "initializer_range": 0.2, "bos_token_id": 0, "eos_token_id": 6, "pad_token_id": 2,
}  # fmt: skip
# The families that the GPT is exported as, and one that it is not.
FAMILIES = {
    "Qwen3": SHAPE | {"head_dim": 16},
    "Llama": SHAPE,
    "GPT2": GPT2,
    "Qwen2": SHAPE,
}


@pytest.fixture(scope="module", params=FAMILIES)
def base(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("bases") / request.param
    torch.manual_seed(0)
    config = getattr(transformers, f"{request.param}Config")(**FAMILIES[request.param])
    head = "GPT2LMHeadModel" if request.param == "GPT2" else f"{request.param}ForCausalLM"
    with quiet():
        getattr(transformers, head)(config).save_pretrained(folder)
    small.tokenizer().save_pretrained(folder)
    return folder


def examples(count: int = 8) -> list[Rendered]:
    torch.manual_seed(2)
    rows = [torch.randint(7, 320, (5 + 7 * (n % 4),)).tolist() for n in range(count)]
    return [Rendered(row, [IGNORE] * (len(row) // 2) + row[len(row) // 2 :]) for row in rows]


def losses(forward: Forward, batch: Batch) -> torch.Tensor:
    with torch.no_grad():
        z_NV = forward.logits(batch.ids_BT, batch.positions_BT, batch.slots_BT, batch.where_N)
        return torch.nn.functional.cross_entropy(z_NV, batch.targets_N, reduction="none")


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set")  # GPT-2: PEFT sets it itself
@pytest.mark.parametrize("name", names("adapters"))
def test_packed_losses_are_those_of_each_alone(base: Path, name: str) -> None:
    model, tokenizer = open_base(base)
    method = load("adapters", name)
    model = method.attach(model, tokenizer, 0)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in trainable(model).values():
            parameter.add_(0.05 * torch.randn_like(parameter))
    forward, items = Forward.of(model.eval(), method), examples()
    if not method.packable:
        pytest.skip("its rows are not packed")
    assert keeps_apart(forward, [item.ids for item in items[:2]]), "else nothing is packed"
    packer = Packer(items, 4 * SEEN, 2, slots=method.virtual_tokens)
    batch = packer.collate([[0, 1, 2, 3], [4, 5, 6, 7]])
    alone = torch.cat([losses(forward, packer.collate([[item]])) for item in range(8)])
    assert_close(losses(forward, batch), alone, rtol=0, atol=2e-5)


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set")
@pytest.mark.parametrize("name", names("adapters"))
def test_rows_that_share_a_beginning_teach_what_whole_ones_do(base: Path, name: str) -> None:
    """Losses and gradients, by the model's own attention and by ours."""
    model, tokenizer = open_base(base)
    method, before = load("adapters", name), alike_rows()
    model = method.attach(model, tokenizer, 0)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in trainable(model).values():
            parameter.add_(0.05 * torch.randn_like(parameter))
    forward, alike = Forward.of(model.eval(), method), Alike.of(before, 4, SEEN * 4)
    assert len(alike.kinds) == 2
    assert keeps_together(forward, before, alike, 2)
    whole, shared = (
        Packer(before, 4 * SEEN, 2, slots=method.virtual_tokens, alike=each)
        for each in (None, alike)
    )
    rows = [[*members] for members in alike.kinds]
    theirs = taught(forward, whole.collate(rows))
    ways = [None] if method.prefix_tokens else [None, APART, EXPLICIT]
    for way in ways:
        with ExitStack() as until:
            if way:
                batch = shared.collate(rows)
                until.enter_context(attention(causal(model), way, sample(forward, batch)))
            for key, grad in taught(forward, shared.collate(rows)).items():
                close = 1e-4 * float(theirs[key].norm()) + 1e-6
                assert_close(grad, theirs[key], rtol=1e-4, atol=close, msg=f"{way} {key}")


@pytest.mark.parametrize("family", ["Mistral", "GPTNeo"])
def test_behind_a_window_nothing_is_shared(family: str) -> None:
    """It is of places in a row, and what two rows share would lie far from the second."""
    config = {
        "Mistral": SHAPE | {"sliding_window": 32},
        "GPTNeo": {"vocab_size": 320, "hidden_size": 32, "num_layers": 2, "num_heads": 2}
        | {"attention_types": [[["global", "local"], 1]]},
    }[family]
    model = getattr(transformers, f"{family}ForCausalLM")(
        getattr(transformers, f"{family}Config")(**config)
    )
    assert not takes_masks(Forward.of(model.eval(), load("adapters", "full")))


def alike_rows() -> Flat:
    """Make three rows with one beginning, three with another."""
    torch.manual_seed(4)
    made = []
    for size in (17, 24):
        schema = torch.randint(7, 320, (size,)).tolist()
        own = [torch.randint(7, 320, (9 + 3 * n,)).tolist() for n in range(3)]
        made += [Rendered(schema + row, [IGNORE] * (size + 3) + row[3:]) for row in own]
    return Flat.of(made)


def taught(forward: Forward, batch: Batch) -> dict[str, torch.Tensor]:
    """Take the loss of a batch, and its gradients."""
    forward.model.zero_grad()
    loss = batch_loss(forward, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    moved = {key: p.grad for key, p in trainable(forward.model).items() if p.grad is not None}
    return {"loss": loss.detach(), **moved}


@pytest.mark.parametrize("change", ["use_cache", "attention_mask"])
def test_a_cache_or_a_mask_that_sneaks_in_is_seen(
    base: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the test above is made to see, in each family."""
    model, _ = open_base(base)
    forward, items = Forward.of(model.eval(), load("adapters", "full")), examples()
    packer = Packer(items, 4 * SEEN, 2)
    batch = packer.collate([[0, 1, 2, 3]])
    right = losses(forward, batch)
    inner = causal(model).base_model if forward.plain_head else causal(model)
    called = inner.forward

    def leaky(*args: Any, **inputs: Any) -> Any:
        wrong = {"use_cache": True}
        if change == "attention_mask":
            wrong = {"attention_mask": torch.ones_like(batch.ids_BT)}
        return called(*args, **(inputs | wrong))

    monkeypatch.setattr(inner, "forward", leaky)
    assert (losses(forward, batch) - right).abs().max() > 0.05
