"""The GPT, family qwen3: RMSNorm, rotary positions, QK-norm, SwiGLU, grouped-query attention.

Follows "Qwen3 Technical Report" (arXiv:2505.09388); module names are transformers', so that the
state dict's keys are those of Qwen3ForCausalLM.
"""

# B rows, T new positions, S positions in all, D width, V vocabulary, N query heads, K key heads,
# H width of a head, F width inside the SwiGLU.

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import attend
from .config import GPTConfig
from .induction import lay_circuit
from .loss import nats


@dataclass
class Cache:
    """Keys and values of the tokens read so far, with room for more.

    Args:
        keys_BKSH: one tensor a layer.
        values_BKSH: one tensor a layer.
        text_BS: True where there is text and not padding.
        position_B1: the position that the next token takes in each row.
        length: how many of the S columns are filled.
    """

    keys_BKSH: list[Tensor]
    values_BKSH: list[Tensor]
    text_BS: Tensor
    position_B1: Tensor
    length: int


class RMSNorm(nn.Module):
    """Scale a vector to root mean square 1, then by a learned weight (arXiv:1910.07467)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis, in the weight's precision."""
        return F.rms_norm(x.to(self.weight.dtype), self.weight.shape, self.weight, self.eps).to(
            x.dtype
        )


class Attention(nn.Module):
    """Causal attention in which groups of query heads share a key head (arXiv:2305.13245)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        width, self.head = config.hidden_size, config.head_dim
        self.q_proj = nn.Linear(width, config.num_attention_heads * self.head, bias=False)
        self.k_proj = nn.Linear(width, config.num_key_value_heads * self.head, bias=False)
        self.v_proj = nn.Linear(width, config.num_key_value_heads * self.head, bias=False)
        self.o_proj = nn.Linear(config.num_attention_heads * self.head, width, bias=False)
        # Normalised queries and keys keep the logits bounded at high learning rates.
        self.q_norm = RMSNorm(self.head, config.rms_norm_eps)
        self.k_norm = RMSNorm(self.head, config.rms_norm_eps)

    def forward(
        self, x_BTD: Tensor, turn: tuple[Tensor, Tensor], cache: Cache | None, layer: int
    ) -> Tensor:
        """Mix positions; with a cache, read the earlier ones from it and add the new ones."""
        rows, new = x_BTD.shape[:2]
        q_BTNH = self.q_norm(self.q_proj(x_BTD).view(rows, new, -1, self.head))
        k_BTKH = self.k_norm(self.k_proj(x_BTD).view(rows, new, -1, self.head))
        v_BTKH = self.v_proj(x_BTD).view(rows, new, -1, self.head)
        q_BNTH = rotate(q_BTNH, turn).transpose(1, 2)
        k_BKSH, v_BKSH = rotate(k_BTKH, turn).transpose(1, 2), v_BTKH.transpose(1, 2)
        if cache is None:
            mixed_BNTH = attend(q_BNTH, k_BKSH, v_BKSH)
        else:
            k_BKSH = _extend(cache.keys_BKSH[layer], cache.length, k_BKSH)
            v_BKSH = _extend(cache.values_BKSH[layer], cache.length, v_BKSH)
            allowed_B1TS = _allowed(cache.text_BS, cache.length, new)
            mixed_BNTH = F.scaled_dot_product_attention(
                q_BNTH, k_BKSH, v_BKSH, attn_mask=allowed_B1TS, enable_gqa=True
            )
        return self.o_proj(mixed_BNTH.transpose(1, 2).reshape(rows, new, -1))  # type: ignore[no-any-return]


class SwiGLU(nn.Module):
    """The feed-forward part: a gated linear unit with SiLU (arXiv:2002.05202)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Transform each position by itself."""
        return self.down_proj(F.silu(self.gate_proj(x_BTD)) * self.up_proj(x_BTD))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention, then feed-forward, each on a normalised copy of the stream and added to it."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = SwiGLU(config)

    def forward(
        self, x_BTD: Tensor, turn: tuple[Tensor, Tensor], cache: Cache | None, layer: int
    ) -> Tensor:
        """Pass the stream through the block."""
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), turn, cache, layer)
        return x_BTD + self.mlp(self.post_attention_layernorm(x_BTD))  # type: ignore[no-any-return]


class Trunk(nn.Module):
    """Embedding, blocks and the last norm."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class GPT(nn.Module):
    """A causal language model: token ids in, logits of the next token out.

    Args:
        config: the shape.
        seed: of the initial weights.

    >>> tiny = GPTConfig(vocab_size=64, hidden_size=32, intermediate_size=64, head_dim=8)
    >>> GPT(tiny)(torch.zeros(2, 5, dtype=torch.long)).shape
    torch.Size([2, 5, 64])
    """

    def __init__(self, config: GPTConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.model = Trunk(config)
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        turn_2SH = rotary_table(config)
        self.register_buffer("turn_2SH", turn_2SH, persistent=False)
        self._initialise(seed)

    @property
    def head(self) -> Tensor:
        """The output layer's weight_VD: the embedding itself where the two are tied."""
        owner = self.model.embed_tokens if self.config.tie_word_embeddings else self.lm_head
        return owner.weight

    @property
    def blocks(self) -> list[Block]:
        """The blocks, first to last."""
        return cast(list[Block], list(self.model.layers))

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Return the logits_BTV of the token after each position."""
        return F.linear(self.hidden(ids_BT), self.head)

    def hidden(self, ids_BT: Tensor, cache: Cache | None = None) -> Tensor:
        """Return what the output layer reads at each position, as x_BTD."""
        assert isinstance(self.turn_2SH, Tensor)
        if cache is None:
            cos, sin = self.turn_2SH[:, None, : ids_BT.shape[1]].unbind()
        else:
            position_BT = _positions(cache, ids_BT.shape[1])
            cos, sin = self.turn_2SH[:, position_BT].unbind()
        x_BTD = self.model.embed_tokens(ids_BT)
        turn = cos[:, :, None], sin[:, :, None]
        for layer, block in enumerate(self.blocks):
            x_BTD = block(x_BTD, turn, cache, layer)
        return self.model.norm(x_BTD)  # type: ignore[no-any-return]

    def nats(self, ids_BT: Tensor, labels_BT: Tensor) -> Tensor:
        """Return the summed negative log-likelihood of the labels, in nats; -100 is no label."""
        return nats(self.hidden(ids_BT).flatten(0, 1), self.head, labels_BT.flatten())

    def _initialise(self, seed: int) -> None:
        """Draw matrices with deviation 1/sqrt(fan-in); what ends a block starts at a fraction."""
        draw = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in self.named_parameters():
                if weight.dim() == 2:
                    nn.init.normal_(weight, 0.0, 0.02, generator=draw)
                if name.endswith(("o_proj.weight", "down_proj.weight")):
                    weight.div_((2 * self.config.num_hidden_layers) ** 0.5)
        lay_circuit(self, draw)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "GPT":
        """Read a Hugging Face folder; see `export.read_model`."""
        from .export import read_model

        return read_model(Path(folder))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a Hugging Face folder; see `export.write_model`."""
        from .export import write_model

        write_model(self, Path(folder))


class GPTDecoder:
    """The GPT as `generate` drives it."""

    def __init__(self, gpt: GPT) -> None:
        self.gpt = gpt

    @property
    def context(self) -> int:
        """The longest row, in tokens."""
        return self.gpt.config.max_position_embeddings

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.gpt.head.device

    def prompt(self, ids_BT: Tensor, mask_BT: Tensor, room: int) -> tuple[Tensor, Any]:
        """Read left-padded prompts; returns the last position's logits_BV and the cache."""
        config, (rows, length) = self.gpt.config, ids_BT.shape
        shape = rows, config.num_key_value_heads, length + room, config.head_dim
        empty = [self.gpt.head.new_zeros(shape) for _ in range(2 * config.num_hidden_layers)]
        text_BS = F.pad(mask_BT, (0, room), value=True)
        start_B1 = torch.zeros(rows, 1, dtype=torch.long, device=ids_BT.device)
        cache = Cache(empty[::2], empty[1::2], text_BS, start_B1, 0)
        return self.step(ids_BT, cache)

    def step(self, ids_BT: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Read more tokens; returns the last position's logits_BV and the cache, grown."""
        x_BTD = self.gpt.hidden(ids_BT, cache)
        new = cache.text_BS[:, cache.length : cache.length + ids_BT.shape[1]]
        cache.position_B1 = cache.position_B1 + new.sum(1, keepdim=True)
        cache.length += ids_BT.shape[1]
        return F.linear(x_BTD[:, -1], self.gpt.head), cache

    def keep(self, cache: Cache, rows: Tensor) -> Cache:
        """Return the cache of some rows alone."""
        keys_BKSH = [keys[rows] for keys in cache.keys_BKSH]
        values_BKSH = [values[rows] for values in cache.values_BKSH]
        text_BS, position_B1 = cache.text_BS[rows], cache.position_B1[rows]
        return Cache(keys_BKSH, values_BKSH, text_BS, position_B1, cache.length)


def rotary_table(config: GPTConfig) -> Tensor:
    """Return cosine and sine of each position's angles (arXiv:2104.09864), as a table_2SH."""
    pairs = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    position_S = torch.arange(config.max_position_embeddings, dtype=torch.float32)
    angle_SH = torch.outer(position_S, 1.0 / config.rope_theta**pairs).repeat(1, 2)
    return torch.stack((angle_SH.cos(), angle_SH.sin()))


def rotate(x_BTNH: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turn each pair (i, i + H/2) of a head's entries by its position's angle."""
    cos, sin = turn
    first, second = x_BTNH.chunk(2, -1)
    turned_BTNH = x_BTNH * cos + torch.cat((-second, first), -1) * sin
    return turned_BTNH.to(x_BTNH.dtype)


def _extend(all_BKSH: Tensor, length: int, new_BKTH: Tensor) -> Tensor:
    """Write new entries behind the cached ones and return all there are."""
    end = length + new_BKTH.shape[2]
    all_BKSH[:, :, length:end] = new_BKTH
    return all_BKSH[:, :, :end]


def _positions(cache: Cache, new: int) -> Tensor:
    """Count only text, so that pads on the left shift nothing."""
    text_BT = cache.text_BS[:, cache.length : cache.length + new].long()
    return (cache.position_B1 + text_BT.cumsum(1) - 1).clamp(min=0)


def _allowed(text_BS: Tensor, length: int, new: int) -> Tensor:
    """Let a position see itself and all earlier text; a pad sees itself, for softmax's sake."""
    column_S = torch.arange(length + new, device=text_BS.device)
    row_T1 = column_S[length:, None]
    text_B1S = text_BS[:, None, : length + new]
    return ((column_S <= row_T1) & (text_B1S | (column_S == row_T1)))[:, None]
