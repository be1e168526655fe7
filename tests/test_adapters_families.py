"""Foreign families: decoded as transformers does, packed only where examples are kept apart."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.nn import functional as F
from torch.testing import assert_close

from ftkit.adapters._forward import Forward, causal, keeps_apart
from ftkit.adapters._method import trainable
from ftkit.adapters._quiet import quiet
from ftkit.adapters._variant import open_base, open_variant
from ftkit.catalog import load
from ftkit.config import override
from ftkit.errors import FtkitError
from tests import small
from tests.test_adapters_variants import library, prompts, texts

# Name of the family: its smallest shape, and whether restarting positions keep examples apart.
LLAMA = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
}  # fmt: skip
FAMILIES: dict[str, tuple[dict[str, Any], bool]] = {
    "Llama": (LLAMA | {"num_key_value_heads": 1}, True),
    "Mistral": (LLAMA | {"num_key_value_heads": 1, "sliding_window": 8}, True),
    "GPT2": ({"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128}, True),
    "OPT": (
        {
            "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 64,
            "word_embed_proj_dim": 32, "max_position_embeddings": 128,
        },
        False,
    ),
    "GPTNeo": (
        {
            "hidden_size": 32, "num_layers": 2, "num_heads": 2, "max_position_embeddings": 128,
            "attention_types": [[["global", "local"], 1]], "window_size": 8,
        },
        True,
    ),
    "GPTJ": (
        {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128, "rotary_dim": 8}, True
    ),
    "Bloom": ({"hidden_size": 32, "n_layer": 2, "n_head": 2}, False),
    "Granite": (LLAMA | {"num_key_value_heads": 1, "logits_scaling": 4.0}, True),
}  # fmt: skip


OTHERS: dict[str, dict[str, Any]] = {
    "Falcon": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
    "Mpt": {"d_model": 32, "n_layers": 2, "n_heads": 2, "max_seq_len": 96},
}


def folder(tmp_path: Path, family: str) -> Path:
    values = FAMILIES[family][0] if family in FAMILIES else OTHERS[family]
    shape = {"vocab_size": 320, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    config = getattr(transformers, f"{family}Config")(**shape, **values)
    torch.manual_seed(0)
    with quiet():
        made = getattr(transformers, f"{family}ForCausalLM", None)
        made = made or getattr(transformers, f"{family}LMHeadModel")
        model = made(config)
        for weight in model.parameters():
            if weight.dim() == 2:  # large enough to tell texts apart
                weight.data.normal_(0.0, 0.2)
        model.save_pretrained(tmp_path)
    small.tokenizer(None).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("family", FAMILIES)
def test_a_foreign_family_decodes_as_transformers_does(family: str, tmp_path: Path) -> None:
    variant = open_variant(folder(tmp_path, family))
    found = texts(variant, prompts(variant))
    assert found == [library(variant.model, p, list(variant.stops)) for p in prompts(variant)]


@pytest.mark.parametrize("family", FAMILIES)
def test_examples_are_packed_only_where_the_family_keeps_them_apart(
    family: str, tmp_path: Path
) -> None:
    variant = open_variant(folder(tmp_path, family))
    forward = Forward.of(variant.model, load("adapters", "full"))
    assert keeps_apart(forward, [[*range(7, 40)], [*range(60, 80)]]) is FAMILIES[family][1]


@pytest.mark.parametrize("family", [*FAMILIES, "Falcon", "Mpt"])
@pytest.mark.parametrize("method", ["lora", "soft_prompt", "prefix"])
def test_a_method_answers_on_a_family_as_under_peft_or_is_refused(
    family: str, method: str, tmp_path: Path
) -> None:
    """What PEFT itself cannot open on a family is refused before training, in a sentence."""
    base, _ = open_base(folder(tmp_path, family))
    how = load("adapters", method)
    if method == "prefix" and family in ("Mistral", "Bloom", "Falcon", "GPTNeo"):
        with pytest.raises(FtkitError, match="choose soft_prompt or lora"):
            how.attach(base, small.tokenizer(None), 0)
        return
    model = how.attach(base, small.tokenizer(None), 0).eval()
    ids_1T, virtual = torch.arange(7, 47)[None], torch.arange(how.virtual_tokens)[None]
    slots_1T = torch.cat([virtual, torch.full_like(ids_1T, -1)], 1) if virtual.numel() else None
    whole_1T = torch.cat([torch.zeros_like(virtual), ids_1T], 1)
    places_1T = torch.arange(whole_1T.shape[1])[None]
    last = torch.tensor([whole_1T.shape[1] - 1])
    with torch.no_grad():
        found = Forward.of(model, how).logits(whole_1T, places_1T, slots_1T, last)
        assert_close(found[0], model(input_ids=ids_1T).logits[0, -1])


def test_the_context_is_found_under_each_familys_own_word(tmp_path: Path) -> None:
    for family, tokens in (("GPT2", 128), ("OPT", 128), ("Mpt", 96), ("Bloom", 2048)):
        assert open_variant(folder(tmp_path / family, family)).context == tokens


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_is_that_of_the_logits_whatever_the_head(family: str, tmp_path: Path) -> None:
    """GPT-J's head has a bias, Granite scales behind it."""
    same_loss(open_base(folder(tmp_path, family))[0], "full", {})


def test_a_head_that_is_tuned_itself_has_its_update_in_the_loss(tmp_path: Path) -> None:
    base, _ = open_base(folder(tmp_path, "Llama"))
    moved = same_loss(base, "lora", {"targets": "q_proj,lm_head"})
    assert any("lm_head.lora_A" in name for name in moved)


def same_loss(base: Any, method: str, values: dict[str, Any]) -> list[str]:
    """Compare loss and gradients with those of whole logits; return what has a gradient."""
    how = override(load("adapters", method), values, "method")
    forward = Forward.of(how.attach(base, small.tokenizer(None), 0).train(False), how)
    moving = trainable(forward.model)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in moving.values():
            parameter.add_(0.1 * torch.randn_like(parameter))
    ids_BT, positions_BT = torch.arange(7, 47)[None], torch.arange(40)[None]
    where_N = torch.tensor([3, 9, 30, 38])
    rows = (ids_BT, positions_BT, None, where_N)
    targets_N = ids_BT[0, where_N + 1]
    z_NV = causal(forward.model)(input_ids=ids_BT, use_cache=False).logits[0, where_N]
    whole = F.cross_entropy(z_NV, targets_N, reduction="sum")
    ours = forward.nats(*rows, targets_N)
    assert_close(ours, whole, rtol=1e-5, atol=0)
    theirs, own = (
        torch.autograd.grad(loss, list(moving.values()), allow_unused=True)
        for loss in (whole, ours)
    )
    for name, grad, other in zip(moving, theirs, own, strict=True):
        if grad is not None:
            close = 1e-5 * float(grad.norm()) + 1e-6
            assert_close(other, grad, rtol=1e-4, atol=close, msg=lambda m, n=name: f"{n}: {m}")
    return [name for name, grad in zip(moving, own, strict=True) if grad is not None]


def test_logits_of_a_plain_head_are_not_kept_for_the_gradients(tmp_path: Path) -> None:
    """Of 150,000 words they would weigh more than the model."""
    model, _ = open_base(folder(tmp_path, "Llama"))
    forward, kept = Forward.of(model, load("adapters", "full")), list[torch.Size]()
    ids_BT = torch.arange(7, 47)[None]
    rows = (ids_BT, torch.arange(40)[None], None, torch.arange(39))

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward.nats(*rows, ids_BT[0, 1:])
        assert kept
        assert (39, 320) not in kept
        F.cross_entropy(forward.logits(*rows), ids_BT[0, 1:])
        assert (39, 320) in kept
