"""A decoder over any transformers model and any method, for `basemodel.generate`.

A batch lies as: pads, then the soft prompt, then the text; a prefix stands before the pads. Masks
and positions are made here, once a batch, because for small models transformers spends more time on
making them than on attention.
"""

# B rows, T text positions, S positions with the soft prompt, K places in the cache, V vocabulary

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from ._forward import causal, remember, windowed
from ._method import Method

STEP_ROOM = 32  # places that a cache gains when it is full


class _Room(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values of one layer in a buffer with room to grow, so that a step copies nothing."""

    keys: Tensor
    values: Tensor

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.used = 0

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append keys and values; return all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        self.keys = self._append(self.keys, key_states)
        self.values = self._append(self.values, value_states)
        self.used += key_states.shape[2]
        return self.keys[:, :, : self.used], self.values[:, :, : self.used]

    def _append(self, old: Tensor, new: Tensor) -> Tensor:
        needed = self.used + new.shape[2]
        if needed > old.shape[2]:
            grown = new.new_empty(*new.shape[:2], needed + STEP_ROOM, new.shape[3])
            grown[:, :, : self.used] = old[:, :, : self.used]
            old = grown
        old[:, :, self.used : needed] = new
        return old

    def get_seq_length(self) -> int:
        """Say how many places are filled."""
        return self.used

    def select(self, rows: Tensor, first: int) -> None:
        """Keep some rows, and drop the first places of all."""
        self.keys, self.values = self.keys[rows, :, first:], self.values[rows, :, first:]
        self.used -= first


@dataclass
class _State:
    """What a batch remembers: keys and values, which places are text, each row's next position."""

    cache: DynamicCache
    mask_BK: Tensor
    next_B: Tensor


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

    def prompt(self, ids_BT: Tensor, mask_BT: Tensor, room: int) -> tuple[Tensor, _State]:
        """Read left-padded prompts; see `basemodel.generate.Decoder`."""
        slots_BS, size = None, self.method.virtual_tokens
        if size:
            pads_B1 = (~mask_BT).sum(1, keepdim=True)
            ids_BT = torch.cat([ids_BT.new_full((len(ids_BT), size), self.pad), ids_BT], 1)
            place_BS = torch.arange(ids_BT.shape[1], device=ids_BT.device) - pads_B1
            slots_BS = torch.where((place_BS >= 0) & (place_BS < size), place_BS, -1)
            mask_BT = place_BS >= 0
        cache = DynamicCache() if self.plain else DynamicCache(config=self.inner.config)
        if self.plain:
            cache.layers = [_Room() for _ in range(self.inner.config.num_hidden_layers)]
        inputs = self.method.inputs(self.model, ids_BT, slots_BS)
        if before := self.method.prefix_tokens:
            remember(cache, self.method.past(self.model), ids_BT)
            mask_BT = F.pad(mask_BT, (before, 0), value=True)
        positions_BS = (mask_BT.cumsum(1) - 1).clamp(min=0)[:, before:]
        state = _State(cache, mask_BT, positions_BS[:, -1] + 1)
        return self._read(inputs, positions_BS, state), state

    def step(self, ids_B1: Tensor, cache: _State) -> tuple[Tensor, _State]:
        """Read one more token in each row."""
        one_B1 = torch.ones_like(ids_B1, dtype=torch.bool)
        state = _State(cache.cache, torch.cat([cache.mask_BK, one_B1], 1), cache.next_B + 1)
        inputs = self.method.inputs(self.model, ids_B1, None)
        return self._read(inputs, cache.next_B[:, None], state), state

    def keep(self, cache: _State, rows: Tensor) -> _State:
        """Keep some rows, and drop the pads that all of them have on the left."""
        mask_BK = cache.mask_BK[rows]
        first = 0
        if self.plain:
            first = int(mask_BK.int().argmax(1).min())
            layers: list[Any] = cache.cache.layers
            for layer in layers:
                layer.select(rows, first)
        else:
            cache.cache.batch_select_indices(rows)
        return _State(cache.cache, mask_BK[:, first:], cache.next_B[rows])

    def _read(self, inputs: dict[str, Tensor], positions_BT: Tensor, state: _State) -> Tensor:
        """Call the model on new positions and return the logits behind the last one."""
        out = self.inner(
            **inputs,
            position_ids=positions_BT,
            attention_mask=self._mask(state.mask_BK, positions_BT.shape[1]),
            past_key_values=state.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits_BV: Tensor = out.logits[:, -1].float()
        return logits_BV

    def _mask(self, mask_BK: Tensor, length: int) -> Tensor | None:
        """Say which places each new position sees: those before it that are no pads."""
        if not self.plain:
            return mask_BK.long()
        if length == 1:
            return None if bool(mask_BK.all()) else mask_BK[:, None, None, :]
        before = mask_BK.shape[1] - length
        causal_TK = torch.ones(length, before + length, dtype=torch.bool, device=mask_BK.device)
        causal_TK = causal_TK.tril(before)
        seen_BTK = mask_BK[:, None, :] & causal_TK
        # A pad sees itself: a row that sees nothing would be NaN.
        return (seen_BTK | causal_TK.triu(before))[:, None]
