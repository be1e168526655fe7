"""A decoder over any transformers model and any method, for `basemodel.generate`.

A row lies as: the soft prompt, then the text; a prefix stands before both. Pads stand to the left.
Masks and positions are made here, because for small models transformers spends more time on making
them than on attention. What several prompts begin with is read once.
"""

# B rows, T new positions, L last ones, S positions with the soft prompt, K places in the cache,
# V vocabulary

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import DynamicCache

from ._attention import EXPLICIT, attention
from ._common import Common
from ._forward import causal, context_of, remember, windowed
from ._held import Held, Reading
from ._light import Light
from ._memory import Memory, Room, joined
from ._method import Method
from ._shared import shared

READ, TOKENS = 64, 4096  # prompts at a time, those of like length together; and their tokens
UNSAID = 2048  # tokens that a model whose config does not say may read


@dataclass(frozen=True)
class New:
    """Tokens to read.

    Args:
        inputs: their ids or embeddings, by transformers' names.
        positions_BT: where they stand.
        text_BT: which are no pads.
        memory: what was read before them; they are added when they are read.
    """

    inputs: dict[str, Tensor]
    positions_BT: Tensor
    text_BT: Tensor
    memory: Any  # Memory, or Held in a step of a batch that answers


class Begun(NamedTuple):
    """Beginnings that were read: each row's length, its place in memory; no memory without any."""

    sizes: list[int]
    own: list[int]
    memory: Memory | None


class TransformersDecoder:
    """Let `generate` read a model through its method.

    Args:
        model: a transformers model or PEFT's wrapping of it.
        method: fills the soft prompt's slots, if it has any.
        pad: the id that fills slots and the left of short rows.
    """

    def __init__(self, model: Any, method: Method, pad: int) -> None:
        self.model, self.method, self.pad = model, method, pad
        self._readings: dict[tuple[int, ...], Reading] | None = None
        self.inner = causal(model)
        # A window is the model's own affair: it is given the plain mask and its own cache.
        # So it is where attention is not the fused kernel's: others add a mask in their own way.
        config = self.inner.config
        fused = config._attn_implementation == "sdpa" and not getattr(config, "alibi", False)
        self.plain = fused and not windowed(config)

    @property
    def context(self) -> int:
        """Tokens that fit beside the soft prompt or the prefix."""
        limit = context_of(self.inner.config) or UNSAID
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
        with attention(
            self.inner, EXPLICIT, lambda: self.inner(input_ids=ids_BT, use_cache=False).logits
        ) as used:
            return used

    @cached_property
    def light(self) -> Light | None:
        """The model in few kernels, where it is of a family that can be read so."""
        return Light.of(self.inner) if self.plain else None

    def prompt(self, ids_BT: Tensor, mask_BT: Tensor, room: int) -> tuple[Tensor, Memory | Held]:
        """Read left-padded prompts; see `basemodel.generate.Decoder`."""
        if not self.plain:
            new = self._begin(ids_BT, mask_BT)
            return self._read(new, 1)[:, -1], new.memory
        rows = [ids_T[text_T].tolist() for ids_T, text_T in zip(ids_BT, mask_BT, strict=True)]
        if self.light is not None:
            return self._held(rows, room)
        z_BLV, memory = self._prompt(rows, room, 1)
        return z_BLV[:, -1], memory

    def step(self, ids_B1: Tensor, cache: Memory | Held) -> tuple[Tensor, Memory | Held]:
        """Read one more token in each row."""
        if isinstance(cache, Held):
            return self._step(ids_B1, cache)
        inputs, text_B1 = self.method.inputs(self.model, ids_B1, None), ids_B1 >= 0
        mask_BK = torch.cat([cache.mask_BK, text_B1], 1)
        memory = replace(cache, mask_BK=mask_BK, next_B=cache.next_B + 1)
        new = New(inputs, cache.next_B[:, None], text_B1, memory)
        return self._read(new, 1)[:, -1], memory

    def keep(self, cache: Memory | Held, rows: Tensor) -> Memory | Held:
        """Keep some rows, and drop the pads that all of them have on the left."""
        if isinstance(cache, Memory) and not self.plain:
            return cache.of_family(rows)
        return cache.keep(rows)

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Remember each prompt that `light` reads within, for scores of what may follow it."""
        self._readings = {}
        try:
            yield
        finally:
            self._readings = None

    def remembered(self, prompt: tuple[int, ...]) -> Reading | None:
        """Find a prompt that was read."""
        return self._readings.get(prompt) if self._readings else None

    def _held(self, rows: Sequence[Sequence[int]], room: int) -> tuple[Tensor, Held]:
        """Read prompts for a batch that answers; returns logits_BV and what is held of it."""
        lanes, found, memories = list[int](), [], []
        begun = self.begun(rows)
        for batch, new in self.batches(rows, begun):
            lanes += batch
            found.append(self.hidden(new, 1)[:, 0])
            memories.append(new.memory if begun.memory is None else new.memory.last(new.text_BT))
            if self._readings is not None:
                for place, row in enumerate(batch):
                    read = Reading(new.memory, place, found[-1][place])
                    self._readings[tuple(rows[row])] = read
        common = None
        if begun.memory is not None:
            own_B = torch.tensor([begun.own[row] for row in lanes])
            common = Common.of(begun.memory.layers, begun.memory.mask_BK, own_B)
        held = Held.of(memories, torch.tensor(lanes).argsort(), common, room)
        assert self.light is not None
        return self.light.logits(torch.cat(found)[held.lane_B]), held

    def _step(self, ids_B1: Tensor, held: Held) -> tuple[Tensor, Held]:
        """Read one more token in each row of a batch that answers."""
        assert self.light is not None
        inputs = self.method.inputs(self.model, ids_B1, None)
        row_B = held.lane_B.argsort()
        inputs = {name: inputs_B[row_B] for name, inputs_B in inputs.items()}
        new = New(inputs, held.next_B[:, None], torch.ones_like(ids_B1, dtype=torch.bool), held)
        logits_BV = self.light.logits(self.hidden(new, 1)[held.lane_B, 0])
        return logits_BV, replace(held, next_B=held.next_B + 1)

    def _prompt(
        self, rows: Sequence[Sequence[int]], room: int, asked: int
    ) -> tuple[Tensor, Memory]:
        """Read rows; returns the logits_BLV of as many last positions as asked, and the memory."""
        places, logits, memories = [], [], []
        begun = self.begun(rows)
        for batch, new in self.batches(rows, begun):
            places.append(torch.tensor(batch, device=self.device))
            logits.append(self._read(new, asked))
            memories.append(new.memory)
        memory = joined(memories, places, room)
        return torch.cat(logits)[torch.cat(places).argsort()], memory

    def begun(self, alike: Sequence[Sequence[int]]) -> Begun:
        """Read what rows begin with, once for those that share it.

        Args:
            alike: token ids that others may share, but for the last one of each.
        """
        sizes = shared(alike)
        if not any(sizes):
            return Begun(sizes, sizes, None)
        heads = [tuple(row[:size]) for row, size in zip(alike, sizes, strict=True)]
        place = {head: number for number, head in enumerate(dict.fromkeys(heads))}
        _, memory = self._prompt(list(place), 0, 0)
        return Begun(sizes, [place[head] for head in heads], memory)

    def batches(
        self, rows: Sequence[Sequence[int]], begun: Begun
    ) -> Iterator[tuple[list[int], New]]:
        """Lay rows behind what they begin with.

        Yields:
            The numbers of some rows of like length, and what is left of them to read.
        """
        rests = [row[size:] for row, size in zip(rows, begun.sizes, strict=True)]
        order = sorted(range(len(rows)), key=lambda row: len(rests[row]), reverse=True)
        while order:
            count = min(READ, max(1, TOKENS // max(1, len(rests[order[0]]))))
            batch, order = order[:count], order[count:]
            if order and not rests[order[0]]:  # the empty beginning: nothing to read by itself
                batch, order = batch + order, []
            ids_BT, mask_BT = self.padded([rests[row] for row in batch])
            if begun.memory is None:
                yield batch, self._begin(ids_BT, mask_BT)
            else:
                own = [begun.own[row] for row in batch]
                yield batch, self._behind(begun.memory, own, ids_BT, mask_BT)

    def _behind(self, before: Memory, own: Sequence[int], ids_BT: Tensor, mask_BT: Tensor) -> New:
        """Lay left-padded rows behind what was read before each of them."""
        memory = before.before(torch.tensor(own, device=self.device), mask_BT)
        positions_BT = (memory.next_B[:, None] + mask_BT.cumsum(1) - 1).clamp(min=0)
        memory.next_B = memory.next_B + mask_BT.sum(1)
        inputs = self.method.inputs(self.model, ids_BT, None)
        return New(inputs, positions_BT, mask_BT, memory)

    def padded(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Lay rows to the right, with pads before them."""
        longest = max(map(len, rows))
        laid = [[self.pad] * (longest - len(row)) + [*row] for row in rows]
        ids_BT = torch.tensor(laid, dtype=torch.long)
        lengths_B1 = torch.tensor([len(row) for row in rows])[:, None]
        mask_BT = torch.arange(longest) >= longest - lengths_B1
        return ids_BT.to(self.device), mask_BT.to(self.device)

    def _begin(self, ids_BT: Tensor, mask_BT: Tensor) -> New:
        """Lay left-padded rows behind what the method lays before each."""
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
        return New(inputs, positions_BT, text_BT, memory)

    def _read(self, new: New, asked: int) -> Tensor:
        """Call the model; returns the logits_BLV of as many last positions, or of the last one."""
        if self.light is None:
            return self._whole(new)
        return self.light.logits(self.hidden(new, asked))

    def hidden(self, new: New, asked: int) -> Tensor:
        """Let `light` read; returns what is before the head for the last positions, B x L x D."""
        assert self.light is not None
        x_BTD = new.inputs.get("inputs_embeds")
        if x_BTD is None:
            x_BTD = self.inner.model.embed_tokens(new.inputs["input_ids"])
        return self.light.read(x_BTD, new.positions_BT, new.text_BT, new.memory, asked)

    def _whole(self, new: New) -> Tensor:
        """Call transformers' own forward; returns the logits_BLV of the last position."""
        config, memory, length = self.inner.config, new.memory, new.positions_BT.shape[1]
        mask, kernel = memory.mask_BK.long(), config._attn_implementation
        try:
            if self.plain:
                mask = memory.seen(length)[:, None]
                if length == 1 and self.explicit:
                    config._attn_implementation = EXPLICIT
                    mask = torch.zeros(mask.shape).masked_fill_(~mask, -torch.inf)
            out = self.inner(
                **new.inputs,
                position_ids=new.positions_BT,
                attention_mask=mask,
                past_key_values=memory.cache,
                use_cache=True,
                logits_to_keep=1,
            )
        finally:
            config._attn_implementation = kernel
        logits_BLV: Tensor = out.logits[:, -1:].float()
        return logits_BLV
