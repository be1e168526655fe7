"""The GPT: one module, of which `family` picks the parts.

| family | norm | positions | queries and keys | feed-forward | source |
|---|---|---|---|---|---|
| qwen3 | RMSNorm | rotary | normalised | SwiGLU | arXiv:2505.09388 |
| llama | RMSNorm | rotary | as they are | SwiGLU | arXiv:2302.13971 |
| gpt2 | LayerNorm | learned | as they are | GELU, biases, dropout | Radford et al., 2019 |

Module names are transformers', so that the state dict's keys are those of Qwen3ForCausalLM and
LlamaForCausalLM; those of GPT2LMHeadModel are translated in `conv1d`.
"""

# B rows, T new positions, S positions in all, D width, V vocabulary, N query heads, K key heads,
# H width of a head.

from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ftkit.errors import FtkitError

from .attention import attend
from .cache import Cache
from .config import GPTConfig
from .induction import lay_circuit
from .loss import nats
from .parts import RMSNorm, feed_forward, norm
from .rope import rotary_table, rotate

Turn = tuple[Tensor, Tensor]  # cosine and sine of the positions' angles


class Attention(nn.Module):
    """Causal attention in which groups of query heads share a key head (arXiv:2305.13245)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        width, self.head = config.hidden_size, config.head_dim
        self.bent = config.family == "qwen3"
        self.dropout = config.dropout
        queries, shared = (
            heads * self.head for heads in (config.num_attention_heads, config.num_key_value_heads)
        )
        self.q_proj = nn.Linear(width, queries, bias=config.attention_bias)
        self.k_proj = nn.Linear(width, shared, bias=config.attention_bias)
        self.v_proj = nn.Linear(width, shared, bias=config.attention_bias)
        self.o_proj = nn.Linear(queries, width, bias=config.attention_bias)
        if self.bent:  # normalised, they keep the logits bounded at high learning rates
            self.q_norm = RMSNorm(self.head, config.rms_norm_eps)
            self.k_norm = RMSNorm(self.head, config.rms_norm_eps)

    def forward(self, x_BTD: Tensor, turn: Turn | None, cache: Cache | None, layer: int) -> Tensor:
        """Mix positions; with a cache, read the earlier ones from it and add the new ones."""
        rows, new = x_BTD.shape[:2]
        q_BTNH, k_BTKH, v_BTKH = (
            project(x_BTD).view(rows, new, -1, self.head)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        if self.bent:
            q_BTNH, k_BTKH = self.q_norm(q_BTNH), self.k_norm(k_BTKH)
        if turn is not None:
            q_BTNH, k_BTKH = rotate(q_BTNH, turn), rotate(k_BTKH, turn)
        q_BNTH, k_BKSH, v_BKSH = (each.transpose(1, 2) for each in (q_BTNH, k_BTKH, v_BTKH))
        if cache is None:
            mixed_BNTH = attend(q_BNTH, k_BKSH, v_BKSH, self.dropout if self.training else 0.0)
        else:
            k_BKSH, v_BKSH = cache.extend(layer, k_BKSH, v_BKSH)
            mixed_BNTH = F.scaled_dot_product_attention(
                q_BNTH, k_BKSH, v_BKSH, attn_mask=cache.allowed(new), enable_gqa=True
            )
        return self.o_proj(mixed_BNTH.transpose(1, 2).reshape(rows, new, -1))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention, then feed-forward, each on a normalised copy of the stream and added to it."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.input_layernorm = norm(config)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = norm(config)
        self.mlp = feed_forward(config)

    def forward(self, x_BTD: Tensor, turn: Turn | None, cache: Cache | None, layer: int) -> Tensor:
        """Pass the stream through the block."""
        mixed_BTD = self.self_attn(self.input_layernorm(x_BTD), turn, cache, layer)
        x_BTD = x_BTD + F.dropout(mixed_BTD, self.dropout, self.training)
        thought_BTD = self.mlp(self.post_attention_layernorm(x_BTD))
        return x_BTD + F.dropout(thought_BTD, self.dropout, self.training)


class Trunk(nn.Module):
    """Embedding, blocks and the last norm."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        if config.family == "gpt2":
            self.embed_positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = norm(config)


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
        self.rotary = config.family != "gpt2"
        self.model = Trunk(config)
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if self.rotary:
            self.register_buffer("turn_2SH", rotary_table(config), persistent=False)
        self._initialise(seed)

    @property
    def head(self) -> Tensor:
        """The output layer's weight_VD: the embedding itself where the two are tied."""
        owner = self.model.embed_tokens if self.config.tie_word_embeddings else self.lm_head
        return owner.weight

    @property
    def tables(self) -> list[Tensor]:
        """Parameters that are looked up, and the output layer: no maps between hidden layers."""
        positions = [] if self.rotary else [self.model.embed_positions.weight]
        return [self.model.embed_tokens.weight, self.head, *positions]

    @property
    def blocks(self) -> list[Block]:
        """The blocks, first to last."""
        return cast(list[Block], list(self.model.layers))

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Return the logits_BTV of the token after each position.

        Raises:
            FtkitError: when a row is longer than the context.
        """
        new, most = ids_BT.shape[1], self.config.max_position_embeddings
        if new > most:
            raise FtkitError(f"rows of {new} tokens: the GPT reads {most} at most")
        return F.linear(self.hidden(ids_BT), self.head)

    def hidden(self, ids_BT: Tensor, cache: Cache | None = None) -> Tensor:
        """Return what the output layer reads at each position, as x_BTD."""
        x_BTD, turn = self.model.embed_tokens(ids_BT), None
        # Without padding, all rows have the same positions: one row of them is enough.
        where = slice(ids_BT.shape[1]) if cache is None else cache.positions(ids_BT.shape[1])
        if self.rotary:
            assert isinstance(self.turn_2SH, Tensor)
            cos, sin = self.turn_2SH[:, where].unbind()
            turn = cos[..., None, :], sin[..., None, :]
        else:
            x_BTD = x_BTD + self.model.embed_positions.weight[where]
            x_BTD = F.dropout(x_BTD, self.config.dropout, self.training)
        for layer, block in enumerate(self.blocks):
            x_BTD = block(x_BTD, turn, cache, layer)
        return self.model.norm(x_BTD)  # type: ignore[no-any-return]

    def nats(self, ids_BT: Tensor, labels_BT: Tensor) -> Tensor:
        """Return the summed negative log-likelihood of the labels, in nats; -100 is no label."""
        return nats(self.hidden(ids_BT).flatten(0, 1), self.head, labels_BT.flatten())

    def _initialise(self, seed: int) -> None:
        """Draw matrices small; what ends a block starts at a fraction, biases at 0."""
        draw = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in self.named_parameters():
                if weight.dim() == 2:
                    nn.init.normal_(weight, 0.0, 0.02, generator=draw)
                elif name.endswith("bias"):
                    weight.zero_()
                if name.endswith(("o_proj.weight", "down_proj.weight")):
                    weight.div_((2 * self.config.num_hidden_layers) ** 0.5)
        lay_circuit(self, draw)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "GPT":
        """Read a Hugging Face folder, ready to be asked; see `export.read_model`."""
        from .export import read_model

        return read_model(Path(folder))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a Hugging Face folder; see `export.write_model`."""
        from .export import write_model

        write_model(self, Path(folder))
