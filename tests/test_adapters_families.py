"""Foreign families: decoded as transformers does, packed only where examples are kept apart."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from ftkit.adapters._forward import Forward, keeps_apart
from ftkit.adapters._quiet import quiet
from ftkit.adapters._variant import open_variant
from ftkit.catalog import load
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
}  # fmt: skip


def folder(tmp_path: Path, family: str) -> Path:
    shape = {"vocab_size": 320, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    config = getattr(transformers, f"{family}Config")(**shape, **FAMILIES[family][0])
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
