"""The GPT against transformers' Qwen3ForCausalLM: names, logits, folders, refusals."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3ForCausalLM

from ftkit.basemodel import GPT, GPTConfig
from ftkit.basemodel.attention import attend
from ftkit.basemodel.config import PRESETS, preset
from ftkit.basemodel.families import from_hub, to_hub
from ftkit.errors import FtkitError

SMALL = GPTConfig(
    vocab_size=96,
    hidden_size=48,
    intermediate_size=80,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    max_position_embeddings=64,
    rope_theta=5_000.0,
    bos_token_id=0,
    pad_token_id=2,
    eos_token_id=(6, 1),
)
# Tied and untied; grouped, single and one key head for each query head.
SHAPES = [
    replace(SMALL, tie_word_embeddings=tied, num_key_value_heads=shared)
    for tied in (True, False)
    for shared in (1, 2, 4)
]


def roughen(model: torch.nn.Module) -> None:
    """Give every weight, norms too, a value that would show if it were misplaced."""
    with torch.no_grad():
        for param in model.parameters():
            param.normal_(1.0 if param.dim() == 1 else 0.0, 0.3)


def assert_same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    largest = max(1.0, theirs.abs().max().item())
    assert (ours - theirs).abs().max().item() <= 1e-5 * largest


@pytest.mark.parametrize(
    "config", SHAPES, ids=lambda c: f"{c.tie_word_embeddings}-{c.num_key_value_heads}"
)
def test_transformers_opens_our_folder_with_equal_logits(config: GPTConfig, tmp_path: Path) -> None:
    gpt = GPT(config)
    roughen(gpt)
    gpt.save_pretrained(tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert isinstance(theirs, Qwen3ForCausalLM)
    assert theirs.generation_config.eos_token_id == [6, 1]
    assert theirs.generation_config.pad_token_id == 2
    ids_BT = torch.randint(96, (3, 64))
    with torch.no_grad():
        assert_same(gpt(ids_BT), theirs(ids_BT).logits)


@pytest.mark.parametrize(
    "config", SHAPES, ids=lambda c: f"{c.tie_word_embeddings}-{c.num_key_value_heads}"
)
def test_we_open_transformers_folder_with_equal_logits(config: GPTConfig, tmp_path: Path) -> None:
    theirs = Qwen3ForCausalLM(Qwen3Config(**to_hub(config))).eval()
    roughen(theirs)
    theirs.save_pretrained(tmp_path)
    gpt = GPT.from_pretrained(tmp_path)
    assert gpt.config == config
    ids_BT = torch.randint(96, (3, 64))
    with torch.no_grad():
        assert_same(gpt(ids_BT), theirs(ids_BT).logits)


def test_state_dict_keys_are_transformers_keys() -> None:
    untied = replace(SMALL, tie_word_embeddings=False)
    theirs = Qwen3ForCausalLM(Qwen3Config(**to_hub(untied)))
    assert set(GPT(untied).state_dict()) == set(theirs.state_dict())
    assert set(GPT(SMALL).state_dict()) == set(theirs.state_dict()) - {"lm_head.weight"}


def test_a_folder_in_several_files_is_read(tmp_path: Path) -> None:
    theirs = Qwen3ForCausalLM(Qwen3Config(**to_hub(SMALL)))
    theirs.save_pretrained(tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    ids_BT = torch.randint(96, (1, 20))
    with torch.no_grad():
        assert_same(GPT.from_pretrained(tmp_path)(ids_BT), theirs.eval()(ids_BT).logits)


def test_saved_and_read_back_is_bit_identical(tmp_path: Path) -> None:
    gpt = GPT(SMALL, seed=3)
    gpt.save_pretrained(tmp_path)
    again = GPT.from_pretrained(tmp_path)
    assert again.config == SMALL
    for name, value in gpt.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_loss_equals_transformers_and_leaves_out_the_unlabelled() -> None:
    gpt, theirs = GPT(SMALL), Qwen3ForCausalLM(Qwen3Config(**to_hub(SMALL)))
    theirs.load_state_dict(gpt.state_dict(), strict=False)
    ids_BT = torch.randint(96, (2, 33))
    labels_BT = ids_BT.clone()
    labels_BT[:, 10:20] = -100
    count = int((labels_BT[:, 1:] >= 0).sum())
    ours = gpt.nats(ids_BT[:, :-1], labels_BT[:, 1:]) / count
    assert ours.item() == pytest.approx(theirs(ids_BT, labels=labels_BT).loss.item(), rel=1e-5)


@pytest.mark.parametrize("length", [1, 7, 256, 257, 600])
def test_attention_by_blocks_is_attention(length: int) -> None:
    q_BNTH, k_BKTH, v_BKTH = (torch.randn(2, heads, length, 16) for heads in (4, 2, 2))
    expected = F.scaled_dot_product_attention(
        q_BNTH, k_BKTH, v_BKTH, is_causal=True, enable_gqa=True
    )
    torch.testing.assert_close(attend(q_BNTH, k_BKTH, v_BKTH), expected, atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("config", [*SHAPES[:4], *PRESETS.values()])
def test_the_config_counts_its_parameters(config: GPTConfig) -> None:
    with torch.device("meta"):
        assert config.parameters == sum(param.numel() for param in GPT(config).parameters())


def test_a_model_learns_one_batch_by_heart() -> None:
    gpt, ids_BT = GPT(SMALL), torch.randint(96, (2, 32))
    optimizer = torch.optim.AdamW(gpt.parameters(), lr=1e-2)
    for _ in range(80):
        loss = gpt.nats(ids_BT[:, :-1], ids_BT[:, 1:]) / 62
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.05


@pytest.mark.parametrize("family", ["qwen3", "gpt2"])
def test_a_row_longer_than_the_context_is_refused_in_words(family: str) -> None:
    gpt = GPT(preset("pico", context=16, family=family))
    assert gpt(torch.zeros(1, 16, dtype=torch.long)).shape[1] == 16
    with pytest.raises(FtkitError, match="rows of 17 tokens: the GPT reads 16 at most"):
        gpt(torch.zeros(1, 17, dtype=torch.long))


def test_the_seed_alone_decides_the_weights() -> None:
    torch.manual_seed(1)
    first = GPT(SMALL, seed=5).state_dict()
    torch.manual_seed(2)
    second, other = GPT(SMALL, seed=5).state_dict(), GPT(SMALL, seed=6).state_dict()
    name = "model.layers.1.mlp.up_proj.weight"
    assert torch.equal(first[name], second[name])
    assert not torch.equal(first[name], other[name])


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("hidden_size", 0, "hidden_size is 0: it must be a whole number of 1 or more"),
        ("vocab_size", 2.5, "vocab_size is 2.5: it must be a whole number"),
        (
            "num_key_value_heads",
            3,
            "num_key_value_heads is 3: it must divide num_attention_heads, 4",
        ),
        ("head_dim", 15, "head_dim is 15: rotary positions need an even number"),
        ("rope_theta", 0.0, "rope_theta is 0.0: it must be above 0"),
        ("pad_token_id", 96, "token id 96 lies outside vocab_size, which is 96"),
    ],
)
def test_impossible_shapes_are_refused_by_name(field: str, value: float, words: str) -> None:
    with pytest.raises(FtkitError, match=words):
        GPTConfig(**(asdict(SMALL) | {field: value}))


def test_an_unknown_preset_gets_the_nearest() -> None:
    with pytest.raises(FtkitError, match="no preset 'nanno': did you mean 'nano'"):
        preset("nanno")


def test_the_config_survives_the_words_of_the_hub() -> None:
    for config in SHAPES:
        assert from_hub(json.loads(json.dumps(to_hub(config))), "config.json") == config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "mamba"}, "model_type is 'mamba'; the GPT can represent qwen3"),
        ({"hidden_act": "gelu"}, "cannot represent hidden_act = 'gelu'"),
        ({"use_sliding_window": True}, "cannot represent use_sliding_window = True"),
        ({"layer_types": ["sliding_attention"]}, "cannot represent layer_types"),
        ({"rope_parameters": {"rope_type": "dynamic"}}, "cannot represent rope_type 'dynamic'"),
        ({"rope_scaling": {"factor": 2}}, "cannot represent factor = 2 of rope"),
        ({"hidden_size": None}, "hidden_size is missing"),
    ],
)
def test_what_the_gpt_cannot_be_is_refused_by_name(change: dict[str, object], words: str) -> None:
    with pytest.raises(FtkitError, match=words):
        from_hub(to_hub(SMALL) | change, "config.json")


def test_folders_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FtkitError, match=r"no model folder: there is no config\.json"):
        GPT.from_pretrained(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(FtkitError, match=r"config\.json is not valid JSON"):
        GPT.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(to_hub(SMALL)))
    with pytest.raises(FtkitError, match=r"there is no \.safetensors file"):
        GPT.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(FtkitError, match=r"model\.safetensors cannot be read"):
        GPT.from_pretrained(tmp_path)


def test_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    GPT(SMALL).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    norm = tensors.pop("model.norm.weight")
    save_file(tensors, file)
    with pytest.raises(FtkitError, match=r"the tensor model\.norm\.weight is missing"):
        GPT.from_pretrained(tmp_path)
    save_file(tensors | {"model.norm.weight": norm[1:].clone()}, file)
    with pytest.raises(FtkitError, match=r"model\.norm\.weight has the shape \[47\], not \[48\]"):
        GPT.from_pretrained(tmp_path)
    save_file(tensors | {"model.norm.weight": norm, "model.norm.bias": norm.clone()}, file)
    with pytest.raises(FtkitError, match=r"model\.norm\.bias is unknown to the GPT"):
        GPT.from_pretrained(tmp_path)
