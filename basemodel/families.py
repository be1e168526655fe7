"""Families of models: Hugging Face's words for each, and which of them the GPT can represent."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ftkit.errors import FtkitError

from .config import WHOLE, GPTConfig, Scaling


@dataclass(frozen=True)
class Family:
    """What config.json says of a family.

    Args:
        architecture: transformers' class.
        fixed: options with the one value that the GPT can represent; absent means that value.
        words: options that have another name than in GPTConfig: ours -> theirs.
        tied: whether the output layer is the embedding where nothing is said.
    """

    architecture: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    tied: bool = False


ROTARY = {
    "hidden_act": "silu",
    "attention_dropout": 0.0,
    "partial_rotary_factor": 1.0,
    "quantization_config": None,
}
FAMILIES = {
    "qwen3": Family("Qwen3ForCausalLM", {**ROTARY, "use_sliding_window": False}),
    "llama": Family("LlamaForCausalLM", {**ROTARY, "pretraining_tp": 1}),
    "gpt2": Family(
        "GPT2LMHeadModel",
        {
            "activation_function": "gelu_new",
            "scale_attn_weights": True,
            "scale_attn_by_inverse_layer_idx": False,
            "reorder_and_upcast_attn": False,
            "add_cross_attention": False,
            "quantization_config": None,
        },
        {
            "hidden_size": "n_embd",
            "intermediate_size": "n_inner",
            "num_hidden_layers": "n_layer",
            "num_attention_heads": "n_head",
            "max_position_embeddings": "n_positions",
            "rms_norm_eps": "layer_norm_epsilon",
        },
        tied=True,
    ),
}
DROPOUTS = ("embd_pdrop", "resid_pdrop", "attn_pdrop")  # gpt2's three, which the GPT keeps equal
IMPLIED = ("num_key_value_heads", "head_dim")  # gpt2 has no words for them


def to_hub(config: GPTConfig) -> dict[str, Any]:
    """Say a shape in the words of config.json."""
    family, plain = FAMILIES[config.family], config.family == "gpt2"
    names = [name for name in (*WHOLE, "rms_norm_eps") if not (plain and name in IMPLIED)]
    words: dict[str, Any] = {
        "model_type": config.family,
        "architectures": [family.architecture],
        "dtype": "float32",
        **{family.words.get(name, name): getattr(config, name) for name in names},
    }
    if plain:
        words |= dict.fromkeys(DROPOUTS, config.dropout)
    else:
        words |= _rope_words(config) | {"attention_bias": config.attention_bias}
    if config.family == "llama":
        words["mlp_bias"] = config.mlp_bias
    return words | {
        "tie_word_embeddings": config.tie_word_embeddings,
        "bos_token_id": config.bos_token_id,
        "pad_token_id": config.pad_token_id,
        "eos_token_id": list(config.eos_token_id) or None,
        "initializer_range": 0.02,
        "use_cache": True,
        **{name: value for name, value in family.fixed.items() if value is not None},
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
    if not isinstance(kind, str) or kind not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise FtkitError(f"{where}: model_type is {kind!r}; the GPT can represent {known}")
    family = FAMILIES[kind]
    for option, value in family.fixed.items():
        if words.get(option, value) != value:
            raise FtkitError(f"{where}: the GPT cannot represent {option} = {words[option]!r}")
    kinds = set(map(str, _read(words, "layer_types", list, where) or ["full_attention"]))
    if kinds != {"full_attention"}:
        raise FtkitError(f"{where}: the GPT cannot represent layer_types {sorted(kinds)}")
    ends = words.get("eos_token_id")
    eps = _read(words, family.words.get("rms_norm_eps", "rms_norm_eps"), float, where)
    tied = _read(words, "tie_word_embeddings", bool, where)
    return GPTConfig(
        family=kind,
        **_sizes(words, family, where),
        **(_plain(words, where) if kind == "gpt2" else _rotary(words, where)),
        rms_norm_eps=(1e-5 if kind == "gpt2" else 1e-6) if eps is None else eps,
        tie_word_embeddings=family.tied if tied is None else tied,
        bos_token_id=words.get("bos_token_id"),
        pad_token_id=words.get("pad_token_id"),
        eos_token_id=() if ends is None else tuple(ends) if isinstance(ends, list) else (ends,),
    )


KINDS = {bool: "true or false", float: "a number", list: "a list", dict: "an object"}


def _read(words: Mapping[str, Any], name: str, kind: type, where: str) -> Any:
    """Read an option of a kind; None where nothing is said.

    Raises:
        FtkitError: for an option of another kind.
    """
    value = words.get(name)
    wanted = (float, int) if kind is float else kind
    fits = isinstance(value, wanted) and (kind is bool or not isinstance(value, bool))
    if value is None or fits:
        return value
    raise FtkitError(f"{where}: {name} is {value!r}: it must be {KINDS[kind]}")


def _sizes(words: Mapping[str, Any], family: Family, where: str) -> dict[str, Any]:
    """Read the whole numbers; some families leave out what follows from others."""
    found = {name: words.get(family.words.get(name, name)) for name in WHOLE}
    for name, value in found.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            said = family.words.get(name, name)
            raise FtkitError(f"{where}: {said} is {value!r}: it must be a whole number")
    heads, width = found["num_attention_heads"], found["hidden_size"]
    if found["num_key_value_heads"] is None:
        found["num_key_value_heads"] = heads
    if found["head_dim"] is None and heads and width:
        found["head_dim"] = width // heads
    if found["intermediate_size"] is None and "intermediate_size" in family.words and width:
        found["intermediate_size"] = 4 * width
    missing = [name for name, value in found.items() if value is None]
    if missing:
        raise FtkitError(f"{where}: {family.words.get(missing[0], missing[0])} is missing")
    return {name: value for name, value in found.items() if value is not None}


def _plain(words: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Read what gpt2 alone has."""
    said = {name: _read(words, name, float, where) for name in DROPOUTS}
    rates = {name: 0.1 if rate is None else rate for name, rate in said.items()}
    if len(set(rates.values())) > 1:
        listed = ", ".join(f"{name} = {rate}" for name, rate in rates.items())
        raise FtkitError(f"{where}: the GPT cannot represent different dropouts ({listed})")
    return {"dropout": rates["embd_pdrop"], "attention_bias": True, "mlp_bias": True}


def _rotary(words: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Read what the rotary families have; transformers 4 said `rope_theta` and `rope_scaling`."""
    tables = (_read(words, name, dict, where) for name in ("rope_parameters", "rope_scaling"))
    said = [pair for table in tables for pair in (table or {}).items()]
    rope = {name: value for name, value in said if value is not None}
    theta = _read({**words, **rope}, "rope_theta", float, where)
    biases = {
        name: _read(words, name, bool, where) or False for name in ("attention_bias", "mlp_bias")
    }
    kind = rope.get("rope_type", rope.get("type", "default"))
    if not isinstance(kind, str) or kind not in NEEDED:
        raise FtkitError(f"{where}: the GPT cannot represent rope_type {kind!r}")
    known = {each.name for each in fields(Scaling)} if kind != "default" else {"rope_type"}
    if rope.get("partial_rotary_factor") == 1.0:
        del rope["partial_rotary_factor"]
    odd = sorted(set(rope) - known - {"type", "rope_theta"})
    if odd:
        raise FtkitError(f"{where}: the GPT cannot represent {odd[0]} = {rope[odd[0]]!r} of rope")
    missing = [name for name in NEEDED[kind] if name not in rope]
    if missing:
        raise FtkitError(f"{where}: {missing[0]} of rope_type {kind!r} is missing")
    kept = {name: _read(rope, name, float, where) for name in known & set(rope) - {"rope_type"}}
    scaling = None if kind == "default" else Scaling(kind, **kept)
    theta = 10_000.0 if theta is None else float(theta)
    return {"rope_theta": theta, "rope_scaling": scaling, **biases}


NEEDED: dict[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "llama3": (
        *("factor", "original_max_position_embeddings"),
        *("low_freq_factor", "high_freq_factor"),
    ),
    "yarn": ("factor", "original_max_position_embeddings"),
}


def _rope_words(config: GPTConfig) -> dict[str, Any]:
    """Say it twice: transformers 5 reads the first form, transformers 4 and llama.cpp the rest."""
    scaling = config.rope_scaling
    said = {} if scaling is None else {k: v for k, v in asdict(scaling).items() if v is not None}
    return {
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta, **said},
        "rope_theta": config.rope_theta,
        **({"rope_scaling": said} if said else {}),
    }
