"""Families of models: Hugging Face's names for each, and the options the GPT can represent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ftkit.errors import FtkitError

from .config import WHOLE, GPTConfig


@dataclass(frozen=True)
class Family:
    """What config.json must say for the GPT to be this family.

    Args:
        model_type: transformers' short name.
        architecture: transformers' class.
        fixed: options with the one value that the GPT can represent; absent means that value.
    """

    model_type: str
    architecture: str
    fixed: Mapping[str, Any] = field(default_factory=dict)


FAMILIES = {
    "qwen3": Family(
        "qwen3",
        "Qwen3ForCausalLM",
        {
            "hidden_act": "silu",
            "attention_bias": False,
            "use_sliding_window": False,
            "rope_scaling": None,
            "quantization_config": None,
        },
    )
}


def to_hub(config: GPTConfig) -> dict[str, Any]:
    """Say a shape in the words of config.json."""
    family = FAMILIES[config.family]
    fixed = {name: value for name, value in family.fixed.items() if value is not None}
    return {
        "model_type": family.model_type,
        "architectures": [family.architecture],
        "dtype": "float32",
        **{name: getattr(config, name) for name in WHOLE},
        "rms_norm_eps": config.rms_norm_eps,
        # transformers 5 reads the first form, transformers 4 and llama.cpp the second.
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "rope_theta": config.rope_theta,
        "tie_word_embeddings": config.tie_word_embeddings,
        "bos_token_id": config.bos_token_id,
        "pad_token_id": config.pad_token_id,
        "eos_token_id": list(config.eos_token_id) or None,
        "initializer_range": 0.02,
        "use_cache": True,
        **fixed,
    }


def from_hub(words: Mapping[str, Any], where: str) -> GPTConfig:
    """Read config.json into a shape.

    Args:
        words: the file's content.
        where: the file, for messages.

    Raises:
        FtkitError: naming what the GPT cannot represent.
    """
    kind = words.get("model_type")
    name = next((name for name, family in FAMILIES.items() if family.model_type == kind), None)
    if name is None:
        known = ", ".join(FAMILIES)
        raise FtkitError(f"{where}: model_type is {kind!r}; the GPT can represent {known}")
    for option, value in FAMILIES[name].fixed.items():
        if words.get(option, value) != value:
            raise FtkitError(f"{where}: the GPT cannot represent {option} = {words[option]!r}")
    kinds = set(words.get("layer_types") or ["full_attention"])
    if kinds != {"full_attention"}:
        raise FtkitError(f"{where}: the GPT cannot represent layer_types {sorted(kinds)}")
    missing = [option for option in WHOLE if option not in words]
    if missing:
        raise FtkitError(f"{where}: {missing[0]} is missing")
    ends = words.get("eos_token_id")
    return GPTConfig(
        family=name,
        **{option: words[option] for option in WHOLE},
        rms_norm_eps=words.get("rms_norm_eps", 1e-6),
        rope_theta=_rope_theta(words, where),
        tie_word_embeddings=bool(words.get("tie_word_embeddings", False)),
        bos_token_id=words.get("bos_token_id"),
        pad_token_id=words.get("pad_token_id"),
        eos_token_id=() if ends is None else tuple(ends) if isinstance(ends, list) else (ends,),
    )


def _rope_theta(words: Mapping[str, Any], where: str) -> float:
    rope = words.get("rope_parameters") or {}
    if rope.get("rope_type", "default") != "default":
        raise FtkitError(f"{where}: the GPT cannot represent rope_type {rope['rope_type']!r}")
    return float(rope.get("rope_theta", words.get("rope_theta", 10_000.0)))
