"""The GPT as `generate` drives it: prompts in, one more token at a time."""

# B rows, T new positions, S positions in all, D width, V vocabulary, K key heads, H width of a head

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .cache import Cache
from .model import GPT


class GPTDecoder:
    """A GPT behind the three calls of `generate.Decoder`."""

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
