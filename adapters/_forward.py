"""The forward that training and scoring share: hidden states first, the head where it is needed.

Rows are packed examples. The base is called without cache and without attention mask, and then
transformers keeps examples apart wherever positions restart; with either, they leak in silence.
Where a method has keys and values of its own before the text, a mask of blocks does the same.
"""

# B rows, T positions, P places before the text, D width, N chosen places, V vocabulary

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DynamicCache

from ..basemodel.loss import nats, nats_of_each
from ._attention import APART as BY_EXAMPLE
from ._examples import Examples
from ._method import Method


def causal(model: Any) -> Any:
    """Return the transformers model inside: PEFT's wrapping taken off, injected layers kept."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def context_of(config: Any) -> int | None:
    """Say how many tokens a model was made to read; None where its config does not."""
    names = ("max_position_embeddings", "max_seq_len")  # MPT's word is the second
    found = (getattr(config.get_text_config(), name, None) for name in names)
    return next((int(tokens) for tokens in found if tokens), None)


def windowed(config: Any) -> bool:
    """Say whether some layer of a model sees no farther back than a window."""
    window = ["sliding"] if getattr(config, "sliding_window", None) else ["full_attention"]
    layers = set(getattr(config, "layer_types", None) or window)
    # GPT-Neo's word for a window is the second.
    return layers != {"full_attention"} or "local" in getattr(config, "attention_layers", ())


def remember(cache: Any, past: list[tuple[Tensor, Tensor]], rows_BT: Tensor) -> Any:
    """Fill a cache with a method's keys and values, the same ones in each row.

    Args:
        cache: transformers', empty.
        past: a pair of H x P x D for each layer.
        rows_BT: any tensor of as many rows.
    """
    kind = rows_BT.device.type
    mixed = torch.is_autocast_enabled(kind)  # then those of the text would be widened to match
    dtype = torch.get_autocast_dtype(kind) if mixed else None
    for layer, pair in enumerate(past):
        keys_BHPD, values_BHPD = (part.to(dtype).expand(len(rows_BT), -1, -1, -1) for part in pair)
        cache.update(keys_BHPD, values_BHPD, layer)
    return cache


def blocks(positions_BT: Tensor, size: int) -> Tensor:
    """Make the mask to add to scores: a token sees what is before all, and its own example.

    Args:
        positions_BT: from 0 where an example begins; where they fall back to more, one goes on
            from so many first places of the last that began at 0.
        size: places before the text, which every example sees.

    Returns:
        0 or the lowest number, B x 1 x T x (size + T).
    """
    back_BT = positions_BT.diff(dim=1, prepend=positions_BT[:, :1]) != 1
    places_T = torch.arange(positions_BT.shape[1], device=positions_BT.device)
    start_BT, root_BT = (
        torch.where(begins, places_T, 0).cummax(1).values for begins in (back_BT, positions_BT == 0)
    )
    begun_BT = positions_BT.gather(1, start_BT)
    own_BTT = (places_T >= start_BT[..., None]) & (places_T <= places_T[:, None])
    shared_BTT = (places_T >= root_BT[..., None]) & (places_T < (root_BT + begun_BT)[..., None])
    seen_BTK = torch.nn.functional.pad(own_BTT | shared_BTT, (size, 0), value=True)
    mask_BTK = torch.zeros(seen_BTK.shape, device=positions_BT.device)
    return mask_BTK.masked_fill(~seen_BTK, torch.finfo(torch.float32).min)[:, None]


def branches(positions_BT: Tensor) -> bool:
    """Say whether some example goes on from the beginning of another."""
    return bool(((positions_BT[:, 1:] > 0) & (positions_BT.diff(dim=1) != 1)).any())


APART = 1e-2  # of the largest logit: precision differs, another example's text would differ more


@dataclass(frozen=True)
class Forward:
    """One model with one method, ready to be called on rows.

    Args:
        model: what `Method.attach` returned, or PEFT's wrapping read from a folder.
        method: fills the slots.
        plain_head: the logits are the output embedding of the last hidden state and no more.
    """

    model: Any
    method: Method
    plain_head: bool

    @staticmethod
    def of(model: Any, method: Method) -> "Forward":
        """Look at the model's head: some families scale or bound their logits behind it."""
        inner = causal(model)
        head, device = inner.get_output_embeddings(), inner.device
        if head is None or not isinstance(getattr(inner, "base_model", None), nn.Module):
            return Forward(model, method, False)
        ids_BT = torch.arange(4, device=device)[None]
        training = inner.training
        inner.eval()
        with torch.no_grad():
            whole = inner(input_ids=ids_BT, use_cache=False).logits
            parts = head(inner.base_model(input_ids=ids_BT, use_cache=False).last_hidden_state)
        inner.train(training)
        return Forward(model, method, whole.shape == parts.shape and torch.equal(whole, parts))

    def logits(
        self, ids_BT: Tensor, positions_BT: Tensor, slots_BT: Tensor | None, where_N: Tensor
    ) -> Tensor:
        """Compute logits at chosen places only: most tokens of a prompt have no label.

        Args:
            ids_BT: token ids, any id in a slot.
            positions_BT: positions, restarting at 0 where an example begins.
            slots_BT: number of the virtual token in each slot, -1 elsewhere; None without slots.
            where_N: places, counted through the flattened rows.

        Returns:
            The logits at those places, N x V.
        """
        found = self._read(ids_BT, positions_BT, slots_BT, where_N)
        logits: Tensor = self._head(found) if self.plain_head else found
        return logits

    def nats(
        self,
        ids_BT: Tensor,
        positions_BT: Tensor,
        slots_BT: Tensor | None,
        where_N: Tensor,
        targets_N: Tensor,
    ) -> Tensor:
        """Sum the negative log-likelihood of the tokens behind chosen places, in fp32.

        Args:
            ids_BT: as for `logits`, as are the next three.
            positions_BT: positions.
            slots_BT: slots.
            where_N: places.
            targets_N: the tokens behind them.
        """
        found, head = self._read(ids_BT, positions_BT, slots_BT, where_N), self._head
        if not self.plain_head:
            return F.cross_entropy(found.float(), targets_N, reduction="sum")
        if type(head) is nn.Linear and head.bias is None:  # what is PEFT's own does more
            return nats(found, head.weight, targets_N)
        return F.cross_entropy(head(found).float(), targets_N, reduction="sum")

    def nats_of_each(
        self,
        ids_BT: Tensor,
        positions_BT: Tensor,
        slots_BT: Tensor | None,
        where_N: Tensor,
        targets_N: Tensor,
    ) -> Tensor:
        """Give the negative log-likelihood of each token behind a chosen place, N in fp32.

        Args:
            ids_BT: as for `nats`, as are the others; no gradient comes of it.
            positions_BT: positions.
            slots_BT: slots.
            where_N: places.
            targets_N: the tokens behind them.
        """
        found = self._read(ids_BT, positions_BT, slots_BT, where_N)
        vocabulary = causal(self.model).config.get_text_config().vocab_size
        head = self._head if self.plain_head else nn.Identity()
        return nats_of_each(head, found, targets_N, vocabulary)

    @property
    def _head(self) -> Any:
        return causal(self.model).get_output_embeddings()

    def _read(
        self, ids_BT: Tensor, positions_BT: Tensor, slots_BT: Tensor | None, where_N: Tensor
    ) -> Tensor:
        """Compute what the head reads at chosen places, or their logits if it is no plain one."""
        inner = causal(self.model)
        inputs = self.method.inputs(self.model, ids_BT, slots_BT)
        called = inner.base_model if self.plain_head else inner
        inputs |= self._places(positions_BT, where_N if self.plain_head else None)
        out = called(**inputs, use_cache=False)
        of_all = out.last_hidden_state if self.plain_head else out.logits
        found: Tensor = of_all.flatten(0, 1)[where_N]
        return found

    def _places(self, positions_BT: Tensor, where_N: Tensor | None) -> dict[str, Any]:
        """Say where each token stands, and what stands before the text of every example."""
        size = self.method.prefix_tokens
        inner = causal(self.model)
        told: dict[str, Any] = {"position_ids": positions_BT + size}
        if size:
            past = self.method.past(self.model)
            told["past_key_values"] = remember(DynamicCache(), past, positions_BT)
        elif inner.config._attn_implementation == BY_EXAMPLE:
            return told | {"examples": Examples.of(positions_BT, where_N)}
        if size or branches(positions_BT):
            told["attention_mask"] = blocks(positions_BT, size).to(inner.dtype)
        return told


@torch.no_grad()
def keeps_apart(forward: Forward, examples: Sequence[Sequence[int]]) -> bool:
    """Try whether a model keeps packed examples apart, as restarting positions ask it to.

    Not all do: some families ignore the positions they are given, and state-space models have none.

    Args:
        forward: the model with its method.
        examples: token ids of two examples; with fewer there is nothing to keep apart.
    """
    if len(examples) < 2:
        return True
    first, second = ([*ids[:32]] for ids in examples[:2])
    device, training = causal(forward.model).device, causal(forward.model).training
    places = [*range(len(first)), *range(len(second))]
    last = torch.tensor([len(places) - 1], device=device)
    forward.model.eval()
    ids_1T, positions_1T = (torch.tensor([row], device=device) for row in (first + second, places))
    packed = forward.logits(ids_1T, positions_1T, None, last)
    own = slice(len(first), None)
    alone = forward.logits(ids_1T[:, own], positions_1T[:, own], None, last - len(first))
    forward.model.train(training)
    return bool((packed - alone).abs().max() <= APART * alone.abs().max())
