"""The Llama family in few kernels: the model's own logits, nats and texts, and never another's."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from ftkit.adapters._light import Light
from ftkit.adapters._quiet import quiet
from ftkit.adapters._variant import open_base, open_variant
from ftkit.basemodel.generate import generate
from tests import small
from tests.test_adapters_variants import library, prompts, texts

SHAPE = {
    "vocab_size": 320, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False},
    "Mistral": {"sliding_window": None},
    "Qwen2": {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
    "Qwen3": {"head_dim": 16},
}
ROWS = [[*range(9, 40)], [*range(9, 30), 7, 7], [50, 51], [60], [*range(100, 112)]]


def folder(place: Path, family: str, **changes: Any) -> Path:
    """Write a model in which every weight counts, biases and norms too."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**SHAPE | FAMILIES[family] | changes)
    model = getattr(transformers, f"{family}ForCausalLM")(config)
    with torch.no_grad(), quiet():
        for weight in model.parameters():
            weight.normal_(float(weight.dim() == 1), 0.2)
        model.save_pretrained(place)
    small.tokenizer(None).save_pretrained(place)
    return place


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_the_models_own(tmp_path: Path, family: str) -> None:
    decoder = open_variant(folder(tmp_path, family)).decoder
    assert decoder.light is not None
    with torch.inference_mode():
        z_BLV, memory = decoder._prompt(ROWS, 2, 1)
        step_BV, _ = decoder.step(torch.full((len(ROWS), 1), 9), memory)
        for z_LV, step_V, row in zip(z_BLV, step_BV, ROWS, strict=True):
            own_TV = decoder.inner(torch.tensor([[*row, 9]])).logits[0]
            close = float(1e-5 * own_TV.abs().max())
            torch.testing.assert_close(z_LV[-1], own_TV[-2], rtol=0, atol=close)
            torch.testing.assert_close(step_V, own_TV[-1], rtol=0, atol=close)


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_are_transformers_own(tmp_path: Path, family: str) -> None:
    variant = open_variant(folder(tmp_path, family))
    found = texts(variant, prompts(variant))
    assert found == [library(variant.model, p, list(variant.stops)) for p in prompts(variant)]


def test_what_would_differ_is_left_to_transformers(tmp_path: Path) -> None:
    base = folder(tmp_path / "base", "Llama")
    assert Light.of(open_base(base)[0]) is not None
    odd = open_base(base)[0]
    odd.model.layers[1].mlp.register_forward_hook(lambda part, given, made: 1.01 * made)
    assert Light.of(odd) is None, "a part that does more than its weights say"
    assert Light.of(open_base(base)[0].to(torch.bfloat16)) is None
    windows = folder(tmp_path / "windows", "Mistral", sliding_window=8)
    assert open_variant(windows).decoder.light is None
    dynamic = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    turned = folder(tmp_path / "turned", "Llama", rope_parameters=dynamic)
    assert Light.of(open_base(turned)[0]) is None, "its turns depend on the length"


def test_weights_move_and_are_not_copied(tmp_path: Path) -> None:
    model = open_base(folder(tmp_path, "Qwen3"))[0]
    with torch.inference_mode():
        light = Light.of(model)
    assert light is not None
    own = model.model.layers[0].self_attn.v_proj.weight
    assert own.untyped_storage().data_ptr() == light.layers[0].qkv_ED.untyped_storage().data_ptr()
    model(torch.tensor([[5, 6]])).logits.sum().backward()
    assert own.grad is not None, "the model can still be trained"


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("dora", "ia3")]


@pytest.mark.parametrize("method", ["lora", *SLOW])
def test_adapters_are_folded_in_and_say_what_they_said(tmp_path: Path, method: str) -> None:
    from peft import PeftModel

    base = small.base(tmp_path / "base")
    small.tuned(tmp_path / "run", base, method, small.Counting(epochs=1.0))
    variant = open_variant(tmp_path / "run")
    assert variant.decoder.light is not None
    with quiet():
        apart = PeftModel.from_pretrained(open_base(base)[0], str(tmp_path / "run")).eval()
    asked = [*prompts(variant), *([n, n + 1, n + 2] for n in range(7, 300, 50))]
    found = [library(apart, prompt, list(variant.stops)) for prompt in asked]
    assert texts(variant, asked) == found
    plain = texts(open_variant(base), asked)
    assert found != plain, "the adapter changes something"


@pytest.mark.parametrize("method", ["base", "lora", "soft_prompt", "prefix"])
def test_nats_behind_shared_beginnings_are_those_of_whole_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr("ftkit.adapters._shared.WORTH", 1)
    monkeypatch.setattr("ftkit.basemodel.loss.rows_at_once", lambda *_: 5)
    base = small.base(tmp_path / "base")
    if method != "base":
        small.tuned(tmp_path / "run", base, method, small.Counting(epochs=1.0))
    variant = open_variant(base if method == "base" else tmp_path / "run")
    schema = [*range(20, 60)]
    rows = [([*schema, n, n + 1, 9], [-100] * 41 + [n + 1, 9]) for n in range(100, 120)]
    rows += [(ids, [-100] * 5 + [ids[5], -100, *ids[7:]]) for ids, _ in rows[:2]]  # with a gap
    rows += [(schema, schema), (schema[:9], [-100] * 9), (schema[:2], schema[:2])]
    found = variant.nll(rows)
    monkeypatch.setattr(variant.decoder, "light", None)
    assert found == pytest.approx(variant.nll(rows), rel=1e-5, abs=1e-4)
    assert found[-2] == 0, "nothing is asked there"


def test_greedy_takes_the_first_of_equal_tokens(tmp_path: Path) -> None:
    base = small.base(tmp_path)
    variant = open_variant(base)
    variant.model.lm_head.weight.data.zero_()
    (reply,) = generate(variant.decoder, [[7, 8]], max_new_tokens=3, stop=(), pad=2)
    assert reply.ids == [0, 0, 0]
