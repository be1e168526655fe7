"""The ways in which a tuning computes: device, precision, attention, decided once, with reasons."""

# N labelled places

import dataclasses
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from torch import Tensor

from ftkit.config import table

from ..adapters._attention import APART, EXPLICIT, attention
from ..adapters._folded import folded
from ..adapters._forward import Forward, causal, windowed
from ..adapters._lean import lean, smooth
from ..basemodel.device import decide
from ._pack import Batch

ATTENTIONS = {"explicit": EXPLICIT, "apart": APART}  # others are the model's own


def decide_ways(size: int, forward: Forward) -> dict[str, Any]:
    """Decide device, precision and attention."""
    config, method = causal(forward.model).config, forward.method
    device = decide(parameters=size, width=getattr(config, "hidden_size", None))
    reasons = device.reasons | {
        "compile": "it saved a twentieth of a step at most on a CPU; on a GPU it was not tried"
    }
    way, why = "fused", "the fused kernel is fast here"
    if device.device == "cpu" and device.dtype == "bfloat16":
        way, why = "explicit", "on a CPU plain products beat the fused kernel behind a mask"
    elif device.device == "cpu" and not method.prefix_tokens and not windowed(config):
        way, why = "apart", "example by example there is no mask, and no pair of two examples"
    device = dataclasses.replace(device, compile=False, reasons=reasons | {"attention": why})
    return table(device) | {"attention": way}


def quicken(forward: Forward, batch: Batch, decided: dict[str, Any], until: ExitStack) -> None:
    """Let the model compute in the quickest ways that change nothing but rounding.

    Args:
        forward: the model with its method.
        batch: of its rows, to compare what the ways compute.
        decided: says the attention, and is told where the model needs its own.
        until: is left when the training ends.
    """
    inner, logits = causal(forward.model), sample(forward, batch)
    if (name := ATTENTIONS.get(decided["attention"])) and not until.enter_context(
        attention(inner, name, logits)
    ):
        decided["attention"] = "fused"
        decided["reasons"]["attention"] = "the model's own attention does more than the plain one"
    until.enter_context(folded(forward.model, exact=decided["dtype"] == "float32"))
    until.enter_context(smooth(inner))
    until.enter_context(lean(inner, logits))


def sample(forward: Forward, batch: Batch) -> Callable[[], Tensor]:
    """Make a function that computes some logits of a batch's first row."""
    where_N = batch.where_N[batch.where_N < batch.ids_BT.shape[1]][:64]
    slots_BT = None if batch.slots_BT is None else batch.slots_BT[:1]
    return lambda: forward.logits(batch.ids_BT[:1], batch.positions_BT[:1], slots_BT, where_N)
