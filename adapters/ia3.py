"""Learned scales of keys, values and inner activations, one vector each (arXiv:2205.05638)."""

from dataclasses import dataclass
from typing import Any, ClassVar

from peft import IA3Config
from torch import nn

from ftkit.errors import FtkitError

from ..basemodel.optim import Group
from ._method import Method, trainable, wrap

# Families' names of the layers whose outputs are keys and values (some give queries with them),
# and of the layer that reads the inner activations.
SCALED = ("k_proj", "v_proj", "c_attn", "qkv_proj", "query_key_value")
READS = ("down_proj", "mlp.c_proj", "fc2", "fc_out", "dense_4h_to_h")


@dataclass(frozen=True)
class IA3(Method):
    """Train a factor for each channel of keys, values and inner activations, nothing else.

    The smallest of the methods that can be merged. Where one layer gives queries, keys and values,
    as in GPT-2, queries are scaled too.
    """

    lr: float = 3e-2
    mergeable: ClassVar[bool] = True
    identity_at_start: ClassVar[bool] = True
    quantised: ClassVar[bool] = True
    peft_type: ClassVar[str] = "IA3"

    def __post_init__(self) -> None:
        """Refuse a decay too, which would draw to 0 what leaves the base as it is at 1."""
        super().__post_init__()
        if self.weight_decay:
            raise FtkitError("'method.weight_decay' takes only 0 for ia3: its factors start at 1")

    def attach(self, model: nn.Module, tokenizer: Any, seed: int) -> nn.Module:
        """Lay the vectors, all ones, over the layers; the seed has nothing to choose."""
        self.check(model)
        paths = [f".{path}" for path, _ in model.named_modules()]
        there = [n for n in (*SCALED, *READS) if any(path.endswith(f".{n}") for path in paths)]
        if not there:
            raise FtkitError(
                "the base has no layers that ia3 knows as those of keys, values and inner "
                f"activations ({', '.join((*SCALED, *READS))}): choose lora"
            )
        config = IA3Config(
            task_type="CAUSAL_LM",
            target_modules=there,
            feedforward_modules=[name for name in there if name in READS],
        )
        return wrap(model, config, seed)

    def groups(self, model: nn.Module) -> list[Group]:
        """One group: the vectors, never decayed, as 1 and not 0 leaves the base as it is."""
        return [Group(list(trainable(model).values()), lr=self.lr)]


METHOD = IA3()
