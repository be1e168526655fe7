"""The Llama family read in few kernels, over transformers' own weights, for answers on a CPU.

For small models a step of transformers' modules is mostly calls; here pads are no work, products
of one input are one product, and of the last layer only what is asked for is computed. A model is
read so only after its logits were found to be those of its own forward.
"""

# B rows, T new positions, L of them asked for, N = tokens that are no pads, K places in the cache,
# D width, E outputs of a product, H heads, G heads of keys, W width of a head, V vocabulary

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DynamicCache

from ._attention import explicit
from ._held import Held
from ._memory import Memory, Room

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")  # their layers are the same but for two norms
TURNS = ("default", "linear", "llama3")  # rotary tables that do not depend on a text's length
CLOSE = 1e-5  # of the largest logit, which is what rounding in another order comes to
PRODUCT = 64  # queries: with more, PyTorch's fused attention is faster than one written out


@dataclass(frozen=True)
class _Layer:
    """A layer's weights; those of one input lie one under the other."""

    before_D: Tensor
    qkv_ED: Tensor
    qkv_E: Tensor | None
    scale_HW: Tensor | None  # of the norms of queries and keys, where the family has them
    out_DE: Tensor
    out_D: Tensor | None
    after_D: Tensor
    gate_up_ED: Tensor
    gate_up_E: Tensor | None
    down_DE: Tensor
    down_D: Tensor | None


class Light:
    """Read tokens as the model does.

    Args:
        inner: a transformers model of the family, in fp32 on a CPU; its weights are moved so that
            those read together lie together, and stay its own.
    """

    def __init__(self, inner: Any) -> None:
        config = inner.config
        self.inner, self.eps = inner, config.rms_norm_eps
        self.heads, self.shared = config.num_attention_heads, config.num_key_value_heads
        self.layers = [_layer(block, self.heads, self.shared) for block in inner.model.layers]

    @staticmethod
    def of(inner: Any) -> "Light | None":
        """Open a model this way; None where it is of another kind or its logits would differ."""
        config = inner.config
        rotary = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
        known = config.model_type in FAMILIES and rotary in TURNS and config.hidden_act == "silu"
        plain = inner.dtype == torch.float32 and inner.device.type == "cpu"
        if not (known and plain and _plain(inner)):
            return None
        with torch.inference_mode(False):  # the weights stay fit for training
            light = Light(inner)
        ids_BT = torch.arange(2 * 6).view(2, 6) % config.vocab_size
        text_BT = torch.tensor([[False, False, True, True, True, True], [True] * 6])
        places_BT = torch.arange(6).expand(2, -1)
        with torch.no_grad():
            own_BTV = inner(input_ids=ids_BT, position_ids=places_BT, use_cache=False).logits[1:]
            cache = DynamicCache()
            cache.layers = [Room() for _ in light.layers]
            x_BTD = inner.model.embed_tokens(ids_BT)
            memory = Memory(cache, text_BT, text_BT.sum(1))
            z_BTV = light.logits(light.read(x_BTD, places_BT, text_BT, memory, 6))[1:]
        gap = (z_BTV - own_BTV).abs().max()
        return light if bool(gap <= CLOSE * own_BTV.abs().max()) else None

    def read(
        self,
        x_BTD: Tensor,
        positions_BT: Tensor,
        text_BT: Tensor,
        memory: Memory | Held,
        asked: int,
    ) -> Tensor:
        """Read tokens and remember them.

        Args:
            x_BTD: their embeddings.
            positions_BT: where they stand.
            text_BT: which are no pads; the others are not computed.
            memory: what was read before; for a batch that answers, one token in each lane.
            asked: of how many last places the output is wanted.

        Returns:
            What the last layer gives for these places, B x L x D, of no meaning where there is a
            pad.
        """
        (rows, length, _), all_ = x_BTD.shape, bool(text_BT.all())
        place_N = None if all_ else text_BT.flatten().nonzero()[:, 0]
        x_ND = x_BTD.flatten(0, 1)
        at_N = positions_BT.flatten()
        if place_N is not None:
            x_ND, at_N = x_ND[place_N], at_N[place_N]
        turn = self._turn(x_ND, at_N)
        if isinstance(memory, Memory):
            seen_B1TK = memory.seen(length)[:, None]
            mask_B1TK = torch.zeros(seen_B1TK.shape).masked_fill_(~seen_B1TK, -torch.inf)
        for number, layer in enumerate(self.layers):
            qkv_BTHW = self._laid(self._qkv(layer, x_ND, turn), place_N, rows, length)
            q_BHTW, k_BGTW, v_BGTW = torch.split(
                qkv_BTHW.transpose(1, 2), [self.heads, self.shared, self.shared], 1
            )
            if isinstance(memory, Held):
                q_BGMW = q_BHTW.reshape(rows, self.shared, -1, q_BHTW.shape[3])
                a_BTHW = memory.attend(number, q_BGMW, k_BGTW, v_BGTW)
            else:
                k_BGKW, v_BGKW = memory.cache.layers[number].update(k_BGTW, v_BGTW)
                if number == len(self.layers) - 1 and asked < length:
                    x_ND = self._laid(x_ND, place_N, rows, length)[:, length - asked :]
                    x_ND, place_N = x_ND.flatten(0, 1), None
                    if not asked:
                        break
                    q_BHTW, mask_B1TK = q_BHTW[:, :, -asked:], mask_B1TK[:, :, -asked:]
                a_BTHW = _attention(q_BHTW, k_BGKW, v_BGKW, mask_B1TK)
            a_NE = a_BTHW.reshape(-1, layer.out_DE.shape[1])
            a_NE = a_NE if place_N is None else a_NE[place_N]
            x_ND = _added(x_ND, a_NE, layer.out_DE, layer.out_D)
            h_ND = _normed(x_ND, layer.after_D, self.eps)
            gate_NE, up_NE = F.linear(h_ND, layer.gate_up_ED, layer.gate_up_E).chunk(2, 1)
            h_NE = F.silu(gate_NE).mul_(up_NE)
            x_ND = _added(x_ND, h_NE, layer.down_DE, layer.down_D)
        whole = asked if asked < length else length
        return self._laid(x_ND, place_N, rows, whole)

    @property
    def vocabulary(self) -> int:
        """How many logits a place has."""
        return len(self.inner.lm_head.weight)

    def logits(self, x_D: Tensor) -> Tensor:
        """Compute logits from what `read` gives, of any leading shape."""
        x_D = _normed(x_D, self.inner.model.norm.weight, self.eps)
        return F.linear(x_D, self.inner.lm_head.weight)

    def _turn(self, x_ND: Tensor, at_N: Tensor) -> tuple[Tensor, Tensor]:
        """Say how positions turn heads: what scales each entry, and the one half a head on."""
        cos_1NW, sin_1NW = self.inner.model.rotary_emb(x_ND, at_N[None])
        sin_1NW[..., : sin_1NW.shape[2] // 2].neg_()
        return cos_1NW[0][:, None], sin_1NW[0][:, None]

    def _qkv(self, layer: _Layer, x_ND: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        """Make queries, keys and values, turned by their positions; returns N x H+2G x W."""
        h_ND = _normed(x_ND, layer.before_D, self.eps)
        qkv_NE = F.linear(h_ND, layer.qkv_ED, layer.qkv_E)
        qkv_NHW = qkv_NE.view(len(x_ND), self.heads + 2 * self.shared, -1)
        qk_NHW = qkv_NHW[:, : self.heads + self.shared]
        if layer.scale_HW is not None:
            qk_NHW = _normed(qk_NHW, layer.scale_HW, self.eps)
        cos_N1W, sin_N1W = turn
        turned_NHW = (qk_NHW * cos_N1W).addcmul_(qk_NHW.roll(qk_NHW.shape[2] // 2, -1), sin_N1W)
        qkv_NHW[:, : self.heads + self.shared] = turned_NHW
        return qkv_NHW

    @staticmethod
    def _laid(flat_N: Tensor, place_N: Tensor | None, rows: int, length: int) -> Tensor:
        """Lay tokens into rows again, of any trailing shape; pads are 0."""
        if place_N is None:
            return flat_N.view(rows, length, *flat_N.shape[1:])
        laid = flat_N.new_zeros(rows * length, *flat_N.shape[1:])
        laid[place_N] = flat_N
        return laid.view(rows, length, *flat_N.shape[1:])


def _attention(q_BHTW: Tensor, k_BGKW: Tensor, v_BGKW: Tensor, mask_B1TK: Tensor) -> Tensor:
    """Attend; returns B x T x H x W."""
    if q_BHTW.shape[2] <= PRODUCT:
        return explicit(None, q_BHTW, k_BGKW, v_BGKW, mask_B1TK)[0]
    found_BHTW = F.scaled_dot_product_attention(q_BHTW, k_BGKW, v_BGKW, mask_B1TK, enable_gqa=True)
    return found_BHTW.transpose(1, 2)


def _normed(x_D: Tensor, scale_D: Tensor, eps: float) -> Tensor:
    """Divide by the root mean square of the last dimension, and scale."""
    mean_1: Tensor = torch.linalg.vecdot(x_D, x_D)[..., None].div_(x_D.shape[-1])
    normed_D: Tensor = x_D * mean_1.add_(eps).rsqrt_()
    return normed_D.mul_(scale_D)


def _added(x_ND: Tensor, h_NE: Tensor, weight_DE: Tensor, bias_D: Tensor | None) -> Tensor:
    """Add a product to what flows through the layers."""
    x_ND = torch.addmm(x_ND, h_NE, weight_DE.T)
    return x_ND if bias_D is None else x_ND.add_(bias_D)


def _plain(inner: Any) -> bool:
    """Say whether a layer's products are plain ones: PEFT's adapters have to be folded in."""
    parts = inner.model.layers.modules()
    folded = all(getattr(part, "merged", True) for part in parts)
    return folded and not getattr(inner, "is_quantized", False)


def _layer(block: Any, heads: int, shared: int) -> _Layer:
    """Take a layer's weights."""
    attention, mlp = block.self_attn, block.mlp
    qkv_ED, qkv_E = _joined([attention.q_proj, attention.k_proj, attention.v_proj])
    gate_up_ED, gate_up_E = _joined([mlp.gate_proj, mlp.up_proj])
    scale_HW = None
    if (q_norm := getattr(attention, "q_norm", None)) is not None:
        scales = [q_norm.weight.expand(heads, -1), attention.k_norm.weight.expand(shared, -1)]
        scale_HW = torch.cat(scales).detach()
    return _Layer(
        block.input_layernorm.weight, qkv_ED, qkv_E, scale_HW,
        attention.o_proj.weight, attention.o_proj.bias,
        block.post_attention_layernorm.weight, gate_up_ED, gate_up_E,
        mlp.down_proj.weight, mlp.down_proj.bias,
    )  # fmt: skip


def _joined(parts: Sequence[nn.Linear]) -> tuple[Tensor, Tensor | None]:
    """Lay weights of one input one under the other, in place of where they lay."""
    weight_ED = torch.cat([part.weight.detach() for part in parts])
    for part, own_ED in zip(
        parts, torch.split(weight_ED, [len(p.weight) for p in parts]), strict=True
    ):
        part.weight.data = own_ED
    biases = [part.bias for part in parts]
    return weight_ED, None if biases[0] is None else torch.cat([b.detach() for b in biases])
