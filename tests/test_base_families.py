"""Each family against transformers' own class: folders there and back, logits, refusals by name."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from ftkit.basemodel import GPT, GPTConfig
from ftkit.basemodel.config import BIGRAM, FAMILY_NAMES, PRESETS, preset
from ftkit.basemodel.decoder import GPTDecoder
from ftkit.basemodel.families import FAMILIES
from ftkit.basemodel.generate import generate
from ftkit.errors import FtkitError, Interrupted
from ftkit.runs import Run
from tests.test_base_pretrain import TINY, begin, finish, stop_at

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 7_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
LINEAR = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10_000.0}


def rotary(**more: Any) -> dict[str, Any]:
    """Say a small shape in the words of the rotary families."""
    small = {
        "vocab_size": 96,
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "bos_token_id": 0,
        "eos_token_id": [6, 1],
        "pad_token_id": 2,
    }
    return small | more


def plain(**more: Any) -> dict[str, Any]:
    """Say a small shape in GPT-2's words."""
    small = {"vocab_size": 96, "n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 64}
    return small | {"bos_token_id": 0, "eos_token_id": 6, "pad_token_id": 2} | more


THEIRS: dict[str, Callable[[], PreTrainedModel]] = {
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**rotary(head_dim=20))),
    "qwen3 biased": lambda: Qwen3ForCausalLM(
        Qwen3Config(**rotary(head_dim=12, attention_bias=True, tie_word_embeddings=True))
    ),
    "qwen3 yarn": lambda: Qwen3ForCausalLM(
        Qwen3Config(**rotary(head_dim=16, rope_parameters=YARN | {"rope_theta": 5_000.0}))
    ),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**rotary())),
    "llama tied": lambda: LlamaForCausalLM(
        LlamaConfig(**rotary(num_key_value_heads=4, tie_word_embeddings=True))
    ),
    "llama odd head": lambda: LlamaForCausalLM(
        LlamaConfig(**rotary(head_dim=22, num_key_value_heads=1))
    ),
    "llama biased": lambda: LlamaForCausalLM(
        LlamaConfig(**rotary(attention_bias=True, mlp_bias=True))
    ),
    "llama linear": lambda: LlamaForCausalLM(LlamaConfig(**rotary(rope_parameters=LINEAR))),
    "llama llama3": lambda: LlamaForCausalLM(LlamaConfig(**rotary(rope_parameters=LLAMA3))),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**plain())),
    "gpt2 untied": lambda: GPT2LMHeadModel(GPT2Config(**plain(tie_word_embeddings=False))),
    "gpt2 odd head": lambda: GPT2LMHeadModel(
        GPT2Config(**plain(n_embd=45, n_head=5, n_inner=70, layer_norm_epsilon=1e-3))
    ),
}


def roughen(model: torch.nn.Module) -> None:
    """Give every weight, norms and biases too, a value that would show if it were misplaced."""
    with torch.no_grad():
        for param in model.parameters():
            param.normal_(0.5 if param.dim() == 1 else 0.0, 0.3)


def assert_same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    largest = max(1.0, theirs.abs().max().item())
    assert (ours - theirs).abs().max().item() <= 1e-5 * largest


@pytest.fixture(params=THEIRS, ids=lambda name: name.replace(" ", "-"))
def theirs(request: pytest.FixtureRequest) -> PreTrainedModel:
    torch.manual_seed(0)
    model = THEIRS[request.param]().eval()
    roughen(model)
    return model


def test_every_family_is_here() -> None:
    assert set(FAMILIES) == set(FAMILY_NAMES) == {name.split()[0] for name in THEIRS}


def test_theirs_to_ours_and_back(theirs: PreTrainedModel, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path / "theirs")
    gpt = GPT.from_pretrained(tmp_path / "theirs")
    ids_BT = torch.randint(96, (3, 64))
    with torch.no_grad():
        expected = theirs(ids_BT).logits
        assert_same(gpt(ids_BT), expected)
    gpt.save_pretrained(tmp_path / "ours")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "ours").eval()
    assert type(again) is type(theirs)
    with torch.no_grad():
        assert_same(again(ids_BT).logits, expected)
    first, second = theirs.state_dict(), again.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert GPT.from_pretrained(tmp_path / "ours").config == gpt.config
    assert gpt.config.parameters == theirs.num_parameters()


def test_padded_and_cached_generation_is_theirs(theirs: PreTrainedModel, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path)
    prompts = [[7, 8, 9, 10, 11], [12, 13]]
    decoder = GPTDecoder(GPT.from_pretrained(tmp_path))
    ours = generate(decoder, prompts, max_new_tokens=12, stop=(), pad=2)
    for prompt, said in zip(prompts, ours, strict=True):
        ids_BT = torch.tensor([prompt])
        with torch.no_grad():
            for token in said.ids:
                assert token == int(theirs(ids_BT).logits[0, -1].argmax())
                ids_BT = torch.cat([ids_BT, torch.tensor([[token]])], 1)


def test_a_folder_of_the_old_gpt2_layout_is_read(tmp_path: Path) -> None:
    """As OpenAI's: no prefix, the causal masks among the tensors, no lm_head."""
    theirs = THEIRS["gpt2"]().eval()
    roughen(theirs)
    theirs.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = {name.removeprefix("transformer."): t for name, t in load_file(file).items()}
    for layer in range(2):
        tensors[f"h.{layer}.attn.bias"] = torch.ones(64, 64).tril()[None, None]
    assert {"wte.weight", "h.0.attn.c_attn.weight", "ln_f.bias"} <= set(tensors)
    save_file(tensors, file, metadata={"format": "pt"})
    ids_BT = torch.randint(96, (2, 30))
    with torch.no_grad():
        assert_same(GPT.from_pretrained(tmp_path)(ids_BT), theirs(ids_BT).logits)
    name = "h.0.attn.c_attn.bias"
    save_file(tensors | {name: tensors[name][:-1].clone()}, file, metadata={"format": "pt"})
    with pytest.raises(FtkitError, match=rf"{name} is \d+ wide: queries, keys and values have"):
        GPT.from_pretrained(tmp_path)


def test_old_llama_folders_hold_what_follows_from_their_theta(tmp_path: Path) -> None:
    theirs = THEIRS["llama"]().eval()
    roughen(theirs)
    theirs.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    speeds = {f"model.layers.{n}.self_attn.rotary_emb.inv_freq": torch.ones(6) for n in range(2)}
    save_file(load_file(file) | speeds, file, metadata={"format": "pt"})
    ids_BT = torch.randint(96, (2, 30))
    with torch.no_grad():
        assert_same(GPT.from_pretrained(tmp_path)(ids_BT), theirs(ids_BT).logits)


@pytest.mark.parametrize("size", ["5GB", "20KB"])
def test_the_weights_are_those_that_transformers_would_take(size: str, tmp_path: Path) -> None:
    theirs = THEIRS["llama"]().eval()
    roughen(theirs)
    theirs.save_pretrained(tmp_path, max_shard_size=size)
    parts = sorted(tmp_path.glob("*.safetensors"))
    assert (len(parts) == 1) == (size == "5GB")
    other = {name: torch.zeros_like(value) for name, value in load_file(parts[0]).items()}
    save_file(other, tmp_path / "model_of_last_week.safetensors")
    ids_BT = torch.randint(96, (2, 30))
    with torch.no_grad():
        expected = AutoModelForCausalLM.from_pretrained(tmp_path)(ids_BT).logits
        assert_same(GPT.from_pretrained(tmp_path)(ids_BT), expected)
    if size == "20KB":
        parts[0].unlink()
        with pytest.raises(FtkitError, match=f"there is no {parts[0].name} file in it$"):
            GPT.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("gpt2", {"activation_function": "relu"}, "activation_function = 'relu'"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ("gpt2", {"attn_pdrop": 0.3}, "different dropouts (embd_pdrop = 0.1, resid_pdrop = 0.1,"),
        ("gpt2", {"n_embd": None}, "n_embd is missing"),
        ("gpt2", {"n_head": 5}, "head_dim is 9: family gpt2 divides hidden_size, 48, among 5"),
        ("llama", {"hidden_act": "gelu"}, "hidden_act = 'gelu'"),
        ("llama", {"attention_dropout": 0.1}, "attention_dropout = 0.1"),
        ("llama", {"rope_parameters": {"rope_type": "longrope"}}, "rope_type 'longrope'"),
        ("llama", {"rope_parameters": {"rope_type": "linear"}}, "factor of rope_type 'linear'"),
        ("llama", {"rope_parameters": YARN | {"mscale": 0.7}}, "mscale = 0.7 of rope"),
        ("qwen3", {"use_sliding_window": True}, "use_sliding_window = True"),
        ("qwen3", {"mlp_bias": True}, "mlp_bias is True: family qwen3 has no such biases"),
        ("qwen3", {"model_type": "mamba"}, "model_type is 'mamba'; the GPT can represent qwen3,"),
        # What config.json must not say of any model, in place of an error of Python's.
        ("qwen3", {"model_type": ["qwen3"]}, "model_type is ['qwen3']; the GPT can represent"),
        ("qwen3", {"hidden_size": "48"}, "hidden_size is '48': it must be a whole number"),
        ("gpt2", {"n_head": 4.0}, "n_head is 4.0: it must be a whole number"),
        ("gpt2", {"embd_pdrop": "0.1"}, "embd_pdrop is '0.1': it must be a number"),
        ("qwen3", {"rms_norm_eps": "1e-6"}, "rms_norm_eps is '1e-6': it must be a number"),
        ("qwen3", {"tie_word_embeddings": "false"}, "is 'false': it must be true or false"),
        ("llama", {"attention_bias": "no"}, "attention_bias is 'no': it must be true or false"),
        ("qwen3", {"layer_types": 5}, "layer_types is 5: it must be a list"),
        ("qwen3", {"eos_token_id": "end"}, "token id end lies outside vocab_size, which is 96"),
        ("llama", {"rope_scaling": "linear"}, "rope_scaling is 'linear': it must be an object"),
        ("llama", {"rope_parameters": {"rope_theta": "x"}}, "rope_theta is 'x': it must be a"),
        ("llama", {"rope_parameters": LINEAR | {"factor": "2"}}, "factor is '2': it must be a"),
        ("llama", {"rope_parameters": LINEAR | {"factor": 0}}, "factor of rope is 0: it must be"),
        ("llama", {"rope_parameters": YARN | {"rope_theta": 1}}, "rope_type 'yarn' needs more"),
        ("llama", {"rope_parameters": LLAMA3 | {"low_freq_factor": 4}}, "below high_freq_factor"),
    ],
)  # fmt: skip
def test_what_cannot_be_represented_is_named(
    name: str, words: dict[str, Any], said: str, tmp_path: Path
) -> None:
    THEIRS[name]().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | words))
    with pytest.raises(FtkitError) as caught:
        GPT.from_pretrained(tmp_path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"family": "qwen2"}, "no family 'qwen2': did you mean 'qwen3'?"),
        ({"family": "llama", "hidden_size": 50}, "family llama needs a multiple"),
        ({"dropout": 0.1}, "dropout is 0.1: family qwen3 has none"),
        ({"head_dim": 15}, "head_dim is 15: rotary positions need an even number"),
        ({"family": "gpt2"}, "attention_bias and mlp_bias are True in family gpt2"),
    ],
)
def test_impossible_shapes_are_refused(words: dict[str, Any], said: str) -> None:
    with pytest.raises(FtkitError) as caught:
        GPTConfig(**words)
    assert said in str(caught.value)


@pytest.mark.parametrize("family", [*FAMILY_NAMES, BIGRAM])
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_comes_in_every_family(name: str, family: str) -> None:
    config = preset(name, family=family)
    with torch.device("meta"):
        gpt = GPT(config)
    assert sum(param.numel() for param in gpt.parameters()) == config.parameters


def test_dropout_is_drawn_in_training_alone_and_scales_what_is_left() -> None:
    config = preset("pico", family="gpt2")
    gpt = GPT(GPTConfig(**{**config.__dict__, "dropout": 0.5}))
    ids_BT = torch.randint(1024, (2, 20))
    torch.manual_seed(1)
    first = gpt.train()(ids_BT)
    torch.manual_seed(1)
    assert torch.equal(gpt(ids_BT), first)
    assert not torch.equal(gpt(ids_BT), first)
    gpt.eval()
    assert torch.equal(gpt(ids_BT), gpt(ids_BT))


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_pretraining_writes_the_family_and_goes_on_exactly(family: str, tmp_path: Path) -> None:
    """With dropout too, where the family has it: who was stopped ends with the same weights."""
    dropout = 0.2 if family == "gpt2" else 0.0
    settings = replace(TINY, family=family, dropout=dropout, tokens=8_192)
    finish(begin(tmp_path / "whole", settings), settings)
    broken = begin(tmp_path / "broken", settings)
    with pytest.raises(Interrupted):
        stop_at(7, broken, settings)
    finish(Run.resume(tmp_path / "broken"), settings)
    assert Run.open(tmp_path / "broken").done["files"] == Run.open(tmp_path / "whole").done["files"]
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "whole")
    assert type(model).__name__ == FAMILIES[family].architecture
