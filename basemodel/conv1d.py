"""The tensors of GPT-2 folders under the GPT's names, there and back.

GPT-2 keeps its maps as Conv1D, which is a linear layer with the matrix transposed, and queries,
keys and values as one of them.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from ftkit.errors import FtkitError

NAMES = {
    "ln_1": "input_layernorm",
    "attn.c_proj": "self_attn.o_proj",
    "ln_2": "post_attention_layernorm",
    "mlp.c_fc": "mlp.up_proj",
    "mlp.c_proj": "mlp.down_proj",
}
OUTSIDE = {
    "wte.weight": "model.embed_tokens.weight",
    "wpe.weight": "model.embed_positions.weight",
    "ln_f.weight": "model.norm.weight",
    "ln_f.bias": "model.norm.bias",
    "lm_head.weight": "lm_head.weight",
}
FUSED, PARTS = "attn.c_attn", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
MASK = re.compile(r"h\.\d+\.attn\.(?:bias|masked_bias)")  # old folders hold the causal mask
LAYER = re.compile(r"h\.(\d+)\.(.+)\.(weight|bias)")


def from_gpt2(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give a GPT-2 folder's tensors the GPT's names; what is unknown keeps its own."""
    found: dict[str, Tensor] = {}
    for full, value in tensors.items():
        name = full.removeprefix("transformer.")
        layer = LAYER.fullmatch(name)
        if MASK.fullmatch(name):
            continue
        if layer is None:
            found[OUTSIDE.get(name, full)] = value
            continue
        where, part, kind = f"model.layers.{layer[1]}.", layer[2], layer[3]
        if value.dim() == 2:
            value = value.T
        if part == FUSED:
            if value.shape[-1] % len(PARTS):
                raise FtkitError(
                    f"{name} is {value.shape[-1]} wide: queries, keys and values have a third each"
                )
            for ours, each in zip(PARTS, value.chunk(3), strict=True):
                found[f"{where}{ours}.{kind}"] = each.contiguous()
        else:
            found[f"{where}{NAMES.get(part, part)}.{kind}"] = value.contiguous()
    return found


def to_gpt2(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the GPT's tensors the names of GPT2LMHeadModel."""
    outside = {ours: theirs for theirs, ours in OUTSIDE.items()}
    inside = {ours: theirs for theirs, ours in NAMES.items()} | dict.fromkeys(PARTS, FUSED)
    parts: dict[str, list[Tensor]] = {}
    for name, value in tensors.items():
        if name in outside:
            head = "" if name.startswith("lm_head") else "transformer."
            parts[f"{head}{outside[name]}"] = [value]
            continue
        _, _, layer, *part, kind = name.split(".")
        theirs = f"transformer.h.{layer}.{inside['.'.join(part)]}.{kind}"
        # Queries, keys and values come in this order, to stand beside each other.
        parts.setdefault(theirs, []).append(value.T if value.dim() == 2 else value)
    return {name: torch.cat(each, -1).contiguous() for name, each in parts.items()}
