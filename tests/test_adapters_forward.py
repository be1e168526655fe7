"""The loss at the head: in pieces, with the value and gradients of all logits at once."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from ftkit.adapters._forward import Forward
from ftkit.adapters._method import trainable
from ftkit.basemodel import loss
from ftkit.basemodel.device import Device, PeakMemory
from ftkit.catalog import load
from ftkit.config import override
from ftkit.recipes._pack import Batch, Packer
from ftkit.recipes._work import batch_loss
from tests import small
from tests.test_adapters_methods import examples

VOCABULARY, WIDTH = 320, 64


class Widest(TorchDispatchMode):
    """Note the bytes of the largest tensor with an entry for each token of the vocabulary."""

    bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Look at what an operation makes."""
        made = func(*args, **(kwargs or {}))
        for each in made if isinstance(made, tuple | list) else [made]:
            wide = isinstance(each, torch.Tensor) and each.shape[-1:] == (VOCABULARY,)
            if wide and each.shape[0] != WIDTH:  # the head, turned over
                self.bytes = max(self.bytes, each.numel() * each.element_size())
        return made


def attached(
    name: str, values: dict[str, Any] | None = None, **shape: Any
) -> tuple[Forward, Batch]:
    """Attach a method to a small model, with a batch of a few labels."""
    method = override(load("adapters", name), values or {}, "method")
    tuned = method.attach(small.model(**shape), small.tokenizer(), 0)
    forward = Forward.of(tuned, method)
    return forward, Packer(examples(), 128, 2, slots=method.virtual_tokens)(0)


def at_once(forward: Forward, batch: Batch) -> torch.Tensor:
    """Compute the loss by all logits at once."""
    z_NV = forward.logits(batch.ids_BT, batch.positions_BT, batch.slots_BT, batch.where_N)
    return F.cross_entropy(z_NV.float(), batch.targets_N, reduction="sum")


Loss = Callable[[Forward, Batch], torch.Tensor]


def taken(
    way: Loss, forward: Forward, batch: Batch, device: Device
) -> tuple[dict[str, torch.Tensor], int]:
    """Take one loss per token and its gradients, and the bytes of the most logits at once."""
    with Widest() as widest:
        with device.autocast():
            value = way(forward, batch) / batch.tokens
        value.backward()  # type: ignore[no-untyped-call]
    grads = {n: p.grad for n, p in trainable(forward.model).items() if p.grad is not None}
    forward.model.zero_grad()
    return grads | {"loss": value.detach()}, widest.bytes


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", ["full", "lora", "soft_prompt", "prefix"])
def test_many_logits_are_made_in_pieces_with_the_same_loss_and_gradients(
    name: str, tied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, batch = attached(name, tied=tied)
    whole, most = taken(at_once, forward, batch, Device())
    monkeypatch.setattr(loss, "LEAST", 1)
    monkeypatch.setattr(loss, "PIECE", 8 * VOCABULARY)
    pieces, few = taken(batch_loss, forward, batch, Device())
    assert pieces.keys() == whole.keys()
    for key, value in whole.items():
        gap = float((pieces[key] - value).abs().max())
        assert gap <= 1e-6 * max(1.0, float(value.abs().max())), (key, gap)
    assert most == 4 * VOCABULARY * len(batch.where_N)
    assert few == 4 * VOCABULARY * 8, "eight rows of logits, however many labels there are"
    assert len(batch.where_N) > 3 * 8


def test_in_bfloat16_they_differ_by_its_rounding() -> None:
    forward, batch = attached("full")
    mixed = Device(dtype="bfloat16")
    whole, _ = taken(at_once, forward, batch, mixed)
    pieces, _ = taken(batch_loss, forward, batch, mixed)
    assert float((pieces["loss"] - whole["loss"]).abs()) <= 1e-6 * float(whole["loss"])
    for key, value in whole.items():
        assert float((pieces[key] - value).norm()) <= 2**-6 * float(value.norm()), key


def test_the_peak_of_a_large_vocabulary_is_that_of_a_piece() -> None:
    """2,048 labels of 16,384 tokens: logits of 134 MB, cross-entropy keeps over two."""
    model = small.model(vocab_size=16384, hidden_size=16, num_hidden_layers=1)
    method = load("adapters", "ia3")
    forward = Forward.of(method.attach(model, None, 0), method)
    ids_BT = torch.randint(7, 16384, (8, 257))
    positions_BT, where_N = torch.arange(256).expand(8, -1), torch.arange(8 * 256)
    batch = Batch(ids_BT[:, :-1], positions_BT, None, where_N, ids_BT[:, 1:].flatten())
    peaks = []
    for way in (at_once, batch_loss):
        with PeakMemory() as memory:
            way(forward, batch).backward()  # type: ignore[no-untyped-call]
        peaks.append(memory.bytes)
    assert peaks[0] - peaks[1] > 2 * 2048 * 16384 * 4, peaks
