"""Every method on every family: learns, is kept, opens again, and writes what PEFT writes.

Random folders of transformers' families, and folders that our own GPT writes in its three.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.testing import assert_close

from ftkit.adapters._forward import Forward, keeps_apart
from ftkit.adapters._method import trainable
from ftkit.adapters._quiet import quiet
from ftkit.adapters._variant import open_base, open_variant
from ftkit.basemodel import GPT, GPTConfig
from ftkit.basemodel.export import write_model
from ftkit.basemodel.optim import Optimizer
from ftkit.catalog import load, names
from ftkit.recipes._pack import Packer
from ftkit.recipes._work import batch_loss
from ftkit.runs import sha256
from tests import small
from tests.test_adapters_methods import examples, losses
from tests.test_adapters_variants import library, prompts, texts

METHODS = names("adapters")
SHAPE: dict[str, Any] = {
    "vocab_size": 320, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 3, "num_key_value_heads": 1, "max_position_embeddings": 128,
    "initializer_range": 0.2, "bos_token_id": 0, "eos_token_id": 6, "pad_token_id": 2,
}  # fmt: skip
GPT2 = {
    "vocab_size": 320, "n_embd": 48, "n_layer": 2, "n_head": 3, "n_positions": 128,
    "initializer_range": 0.2, "bos_token_id": 0, "eos_token_id": 6, "pad_token_id": 2,
}  # fmt: skip
# Name: transformers' family and its config.
THEIRS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2": ("Qwen2", SHAPE | {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3", SHAPE | {"head_dim": 32}),  # a head is wider than its share
    "llama": ("Llama", SHAPE),
    "smollm": ("Llama", SHAPE | {"tie_word_embeddings": True, "rope_theta": 1e5}),
    "gemma": ("Gemma", SHAPE | {"head_dim": 16, "initializer_range": 0.1}),
    "gpt2": ("GPT2", GPT2),  # with dropout, as it is published
}
OURS = ["qwen3", "llama", "gpt2"]
BASES = [*(f"our {family}" for family in OURS), *THEIRS]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    for family in OURS:
        ours(folder / f"our {family}", family)
    for name, (family, shape) in THEIRS.items():
        torch.manual_seed(0)
        head = "GPT2LMHeadModel" if family == "GPT2" else f"{family}ForCausalLM"
        config = getattr(transformers, f"{family}Config")(**shape)
        with quiet():
            getattr(transformers, head)(config).save_pretrained(folder / name)
        small.tokenizer().save_pretrained(folder / name)
    return {name: folder / name for name in BASES}


def ours(folder: Path, family: str) -> None:
    """Write a folder of our own GPT, with weights that tell texts apart."""
    whole = family == "gpt2"
    config = GPTConfig(
        family=family, vocab_size=320, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2 if whole else 1, head_dim=16,
        max_position_embeddings=128, attention_bias=whole, mlp_bias=whole,
        rms_norm_eps=1e-5 if whole else 1e-6,
    )  # fmt: skip
    torch.manual_seed(0)
    gpt = GPT(config)
    for weight in gpt.parameters():
        if weight.dim() == 2:
            weight.data.normal_(0.0, 0.2)
    folder.mkdir()
    write_model(gpt, folder)
    small.tokenizer().save_pretrained(folder)


# The family farthest from the other tests' Qwen3 runs every time, the rest with the slow tests.
QUICK = {"our gpt2"}
CELLS = [
    pytest.param(base, name, marks=() if base in QUICK else pytest.mark.slow)
    for base in BASES
    for name in METHODS
]


@pytest.mark.parametrize(("base", "name"), CELLS)
def test_a_method_holds_its_claims_on_a_family(
    bases: dict[str, Path], base: str, name: str, tmp_path: Path
) -> None:
    marks = {file.name: sha256(file) for file in bases[base].iterdir()}
    plain, tokenizer = open_base(bases[base])
    items, method = examples(), load("adapters", name)
    packer = Packer(items, 128, 4, slots=method.virtual_tokens)
    rows = [[item] for item in range(len(items))]
    before = losses(Forward.of(plain, load("adapters", "full")), Packer(items, 128, 4), rows)
    model = method.attach(plain, tokenizer, 0)
    forward = Forward.of(model, method)
    assert torch.equal(losses(forward, packer, rows), before) == method.identity_at_start
    optimizer = Optimizer(method.groups(model))
    for number in (0, 0, 0, 0):
        batch_loss(forward, packer(number)).backward()
        torch.nn.utils.clip_grad_norm_(optimizer.parameters, 1.0)
        optimizer.step(1.0)
        optimizer.zero_grad()
    assert (losses(forward, packer, rows) - before).abs().mean() > 0.02, "it learns"
    if method.packable and keeps_apart(forward, [item.ids for item in items[:2]]):
        together = losses(forward, packer, [[0, 1, 2], [3, 4, 5]])
        assert_close(together, losses(forward, packer, rows), rtol=0, atol=5e-5)

    method.save(model.eval(), tmp_path)
    if not method.peft_type:
        tokenizer.save_pretrained(tmp_path)
    variant = open_variant(tmp_path)
    ours, theirs = losses(forward, packer, rows), losses(variant.forward, packer, rows)
    assert_close(ours, theirs, rtol=0, atol=5e-5 if method.mergeable else 0)  # what can be, is
    found = texts(variant, prompts(variant))
    assert found == [texts(variant, [prompt])[0] for prompt in prompts(variant)]
    assert found == [library(variant.model, p, list(variant.stops)) for p in prompts(variant)]
    if method.mergeable:
        ids_BT = torch.tensor([items[3].ids])
        with torch.no_grad():
            attached = model(input_ids=ids_BT).logits
            merged = method.merge(model)(input_ids=ids_BT).logits
        assert_close(merged, attached, rtol=0, atol=1e-4)
    assert marks == {file.name: sha256(file) for file in bases[base].iterdir()}, "the base stays"


def test_every_family_is_packed(bases: dict[str, Path]) -> None:
    """So the grid above has compared packed rows with single ones in every cell."""
    for folder in bases.values():
        forward = Forward.of(open_base(folder)[0], load("adapters", "full"))
        assert keeps_apart(forward, [[*range(7, 30)], [*range(60, 80)]]), folder.name
        assert len(trainable(forward.model)) > 0
