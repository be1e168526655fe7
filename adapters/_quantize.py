"""Quantised bases: layers in int8 (arXiv:2208.07339) or nf4 (arXiv:2305.14314).

torchao's int8 is as fast as fp32, but a LoRA step on it keeps each layer's weights, made wide
again, for the way back: more memory than an unquantised base takes (bench/quantize.py).
"""

import logging
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import nn

from ftkit.errors import FtkitError

from ._quiet import quiet

LIBRARY = "bitsandbytes"
# They say at every product that fp32 inputs pass through fp16, and that weights were made wide.
TALKERS = (f"{LIBRARY}.autograd._functions", "transformers.integrations.bitsandbytes")


@dataclass(frozen=True)
class Opened:
    """How a base is opened; every field is a knob of `--set base.`.

    Args:
        quantize: the form of the linear layers but the head: `int8`, `nf4`, or none to keep them.
    """

    quantize: Literal["int8", "nf4"] | None = None

    def check(self, method: Any) -> None:
        """Refuse before any work what opening a base or attaching a method would refuse.

        Raises:
            FtkitError: for a method that needs full precision, or when the library is missing.
        """
        if self.quantize is not None:
            method.check_quantised()
            _check_library()


def opening(quantize: str | None) -> dict[str, Any]:
    """Give the arguments by which transformers quantises a base while it reads it.

    Args:
        quantize: `int8`, `nf4`, or None for no arguments.

    Raises:
        FtkitError: when the library is missing.
    """
    if quantize is None:
        return {}
    _check_library()
    from transformers import BitsAndBytesConfig

    for talker in TALKERS:
        logging.getLogger(talker).setLevel(logging.ERROR)
    kind = {"load_in_8bit": True} if quantize == "int8" else {"load_in_4bit": True}
    config: Any = BitsAndBytesConfig
    four = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
    return {"quantization_config": config(**kind, **four)}


def settle(model: nn.Module) -> None:
    """Make a base that was quantised while it was read ready to be trained on.

    Args:
        model: changed in place.
    """
    import bitsandbytes as bnb

    small = {id(p) for p in model.parameters() if hasattr(p, "quant_state") or hasattr(p, "SCB")}
    for parameter in {id(p): p for p in model.parameters()}.values():
        if id(parameter) not in small:  # else all of the file they lie in stays in memory
            parameter.data = parameter.data.clone()
    for layer in model.modules():
        if isinstance(layer, bnb.nn.Linear4bit):
            # Asked without gradients, it would pack its weights for a product that has none.
            layer.support_avx512bf16_for_cpu = False
            layer.compute_dtype, layer.compute_type_is_set = None, True  # that of its input


def widened(model: Any) -> nn.Module:
    """Put an adapter on its base's weights as they are after rounding, in fp32 again.

    Args:
        model: PEFT's wrapping of a quantised base; it is used up.
    """
    from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
    from peft.tuners.tuners_utils import BaseTunerLayer

    learned, config = get_peft_model_state_dict(model), model.peft_config["default"]
    base = model.get_base_model()
    for path, layer in list(base.named_modules()):
        if isinstance(layer, BaseTunerLayer):  # PEFT's own unload refuses some of them
            base.set_submodule(path, layer.get_base_layer())
    del base.peft_config
    base = base.dequantize(torch.float32)
    base.is_loaded_in_8bit = base.is_loaded_in_4bit = False  # it forgets to say so
    with quiet():
        wide: nn.Module = get_peft_model(base, config)
    set_peft_model_state_dict(wide, learned)
    return wide.train(model.training)


def _check_library() -> None:
    if find_spec(LIBRARY) is None:
        raise FtkitError(
            f"a quantised base needs {LIBRARY}, which is not installed: pip install ftkit[quantize]"
        )
