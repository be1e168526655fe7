"""A decoder over any transformers model and any method, for `basemodel.generate`.

A row lies as: the soft prompt, then the text; a prefix stands before both. Pads stand to the left.
Masks and positions are made here, because for small models transformers spends more time on making
them than on attention. What several prompts begin with is read once.
"""

# B rows, T new positions, S positions with the soft prompt, K places in the cache, V vocabulary

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import DynamicCache

from ._attention import NAME, explicit_attention
from ._forward import causal, remember, windowed
from ._light import Light
from ._memory import Memory, Room, joined
from ._method import Method
from ._shared import shared

READ = 64  # prompts at a time, those of like length together


class TransformersDecoder:
    """Let `generate` read a model through its method.

    Args:
        model: a transformers model or PEFT's wrapping of it.
        method: fills the soft prompt's slots, if it has any.
        pad: the id that fills slots and the left of short rows.
    """

    def __init__(self, model: Any, method: Method, pad: int) -> None:
        self.model, self.method, self.pad = model, method, pad
        self.inner = causal(model)
        # A window is the model's own affair: it is given the plain mask and its own cache.
        # So it is where attention is not the fused kernel's: others add a mask in their own way.
        config = self.inner.config
        fused = config._attn_implementation == "sdpa" and not getattr(config, "alibi", False)
        self.plain = fused and not windowed(config)

    @property
    def context(self) -> int:
        """Tokens that fit beside the soft prompt or the prefix."""
        limit: int = getattr(self.inner.config, "max_position_embeddings", 2048)
        return limit - self.method.virtual_tokens - self.method.prefix_tokens

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        device: torch.device = self.inner.device
        return device

    @property
    def token_bytes(self) -> int:
        """Bytes of keys and values that a token leaves in memory."""
        config = self.inner.config
        shared = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return int(2 * config.num_hidden_layers * shared * head * self.inner.dtype.itemsize)

    @cached_property
    def explicit(self) -> bool:
        """Whether a step's attention is written out: half the time of PyTorch's CPU kernel."""
        if not self.plain or self.device.type != "cpu":
            return False
        ids_BT = torch.arange(8)[None]
        with explicit_attention(
            self.inner, lambda: self.inner(input_ids=ids_BT, use_cache=False).logits
        ) as used:
            return used

    @cached_property
    def light(self) -> Light | None:
        """The model in few kernels, where it is of a family that can be read so."""
        return Light.of(self.inner) if self.plain else None

    def prompt(self, ids_BT: Tensor, mask_BT: Tensor, room: int) -> tuple[Tensor, Memory]:
        """Read left-padded prompts; see `basemodel.generate.Decoder`."""
        if not self.plain:
            return self._begin(ids_BT, mask_BT, 1)
        rows = [ids_T[text_T].tolist() for ids_T, text_T in zip(ids_BT, mask_BT, strict=True)]
        return self._prompt(rows, room, 1)

    def step(self, ids_B1: Tensor, cache: Memory) -> tuple[Tensor, Memory]:
        """Read one more token in each row."""
        mask_BK = F.pad(cache.mask_BK, (0, 1), value=True)
        inputs = self.method.inputs(self.model, ids_B1, None)
        memory = Memory(cache.cache, mask_BK, cache.next_B + 1)
        text_B1 = torch.ones_like(ids_B1, dtype=torch.bool)
        return self._read(inputs, cache.next_B[:, None], memory, text_B1, 1)

    def keep(self, cache: Memory, rows: Tensor) -> Memory:
        """Keep some rows, and drop the pads that all of them have on the left."""
        return cache.keep(rows) if self.plain else cache.of_family(rows)

    def _prompt(
        self, rows: Sequence[Sequence[int]], room: int, asked: int
    ) -> tuple[Tensor, Memory]:
        """Read what rows begin with, once for those that share it, and then the rest of each."""
        sizes, before, own = shared(rows), None, [0] * len(rows)
        if any(sizes):
            heads = [tuple(row[:size]) for row, size in zip(rows, sizes, strict=True)]
            place = {head: number for number, head in enumerate(dict.fromkeys(heads))}
            own = [place[head] for head in heads]
            _, before = self._prompt(list(place), 0, 0)
        rests = [row[size:] for row, size in zip(rows, sizes, strict=True)]
        order = sorted(range(len(rows)), key=lambda row: len(rests[row]))
        batches = [order[first : first + READ] for first in range(0, len(order), READ)]
        found = [
            self._behind(before, [own[row] for row in batch], [rests[row] for row in batch], asked)
            for batch in batches
        ]
        places = [torch.tensor(batch, device=self.device) for batch in batches]
        logits_BV = torch.cat([logits_BV for logits_BV, _ in found])[torch.cat(places).argsort()]
        return logits_BV, joined([memory for _, memory in found], places, room)

    def _behind(
        self, before: Memory | None, own: Sequence[int], rests: Sequence[Sequence[int]], asked: int
    ) -> tuple[Tensor, Memory]:
        """Read rows behind what was read before each of them, or as the first of all."""
        ids_BT, mask_BT = self._padded(rests)
        if before is None:
            return self._begin(ids_BT, mask_BT, asked)
        memory = before.before(torch.tensor(own, device=self.device), mask_BT)
        positions_BT = (memory.next_B[:, None] + mask_BT.cumsum(1) - 1).clamp(min=0)
        memory.next_B = memory.next_B + mask_BT.sum(1)
        inputs = self.method.inputs(self.model, ids_BT, None)
        return self._read(inputs, positions_BT, memory, mask_BT, asked)

    def _padded(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Lay rows to the right, with pads before them."""
        longest = max(map(len, rows))
        ids_BT = torch.tensor([[self.pad] * (longest - len(row)) + [*row] for row in rows])
        lengths_B1 = torch.tensor([len(row) for row in rows])[:, None]
        mask_BT = torch.arange(longest) >= longest - lengths_B1
        return ids_BT.to(self.device), mask_BT.to(self.device)

    def _begin(self, ids_BT: Tensor, mask_BT: Tensor, asked: int) -> tuple[Tensor, Memory]:
        """Read left-padded rows behind what the method lays before each."""
        slots_BS, size = None, self.method.virtual_tokens
        if size:
            pads_B1 = (~mask_BT).sum(1, keepdim=True)
            ids_BT = torch.cat([ids_BT.new_full((len(ids_BT), size), self.pad), ids_BT], 1)
            place_BS = torch.arange(ids_BT.shape[1], device=ids_BT.device) - pads_B1
            slots_BS = torch.where((place_BS >= 0) & (place_BS < size), place_BS, -1)
            mask_BT = place_BS >= 0
        cache = DynamicCache() if self.plain else DynamicCache(config=self.inner.config)
        if self.plain:
            cache.layers = [Room() for _ in range(self.inner.config.num_hidden_layers)]
        inputs, text_BT = self.method.inputs(self.model, ids_BT, slots_BS), mask_BT
        if before := self.method.prefix_tokens:
            remember(cache, self.method.past(self.model), ids_BT)
            mask_BT = F.pad(mask_BT, (before, 0), value=True)
        positions_BT = (mask_BT.cumsum(1) - 1).clamp(min=0)[:, before:]
        memory = Memory(cache, mask_BT, mask_BT.sum(1))
        return self._read(inputs, positions_BT, memory, text_BT, asked)

    def _read(
        self,
        inputs: dict[str, Tensor],
        positions_BT: Tensor,
        memory: Memory,
        text_BT: Tensor,
        asked: int,
    ) -> tuple[Tensor, Memory]:
        """Call the model on new positions; returns the logits behind the last one."""
        if self.light is None:
            return self._whole(inputs, positions_BT, memory), memory
        x_BTD = inputs.get("inputs_embeds")
        if x_BTD is None:
            x_BTD = self.inner.model.embed_tokens(inputs["input_ids"])
        seen_BTK = _seen(memory.mask_BK, text_BT.shape[1])
        x_BLD = self.light.read(x_BTD, positions_BT, text_BT, seen_BTK, memory.cache, asked)
        return self.light.logits(x_BLD[:, -1] if asked else x_BLD[:, :0]), memory

    def _whole(
        self, inputs: dict[str, Tensor], positions_BT: Tensor, memory: Memory
    ) -> Tensor:
        """Call transformers' own forward."""
        config, length = self.inner.config, positions_BT.shape[1]
        mask, kernel = memory.mask_BK.long(), config._attn_implementation
        try:
            if self.plain:
                seen_BTK = _seen(memory.mask_BK, length)
                mask = seen_BTK[:, None]
                if length == 1 and self.explicit:
                    config._attn_implementation = NAME
                    mask = torch.zeros(mask.shape).masked_fill_(~mask, -torch.inf)
            out = self.inner(
                **inputs,
                position_ids=positions_BT,
                attention_mask=mask,
                past_key_values=memory.cache,
                use_cache=True,
                logits_to_keep=1,
            )
        finally:
            config._attn_implementation = kernel
        logits_BV: Tensor = out.logits[:, -1].float()
        return logits_BV


def _seen(mask_BK: Tensor, length: int) -> Tensor:
    """Say which places each of the last ones sees, B x T x K: those before it that are no pads.

    A pad sees itself: a row that sees nothing would be NaN.
    """
    if length == 1:
        return F.pad(mask_BK[:, :-1], (0, 1), value=True)[:, None]
    before = mask_BK.shape[1] - length
    causal_TK = torch.ones(length, before + length, dtype=torch.bool, device=mask_BK.device)
    causal_TK = causal_TK.tril(before)
    return (mask_BK[:, None, :] & causal_TK) | causal_TK.triu(before)
