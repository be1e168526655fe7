"""What the methods of low-rank updates share: PEFT's layers, their start, their two rates."""

from typing import Any

from peft import LoraConfig
from torch import nn

from ftkit.errors import FtkitError

from ..basemodel.optim import Group
from ._frozen import LINEAR
from ._method import trainable, wrap

ALL = "all-linear"  # PEFT's word for every linear layer but the head


def refuse(rank: int, alpha: float, dropout: float, lr_ratio: float) -> None:
    """Refuse settings that make no update.

    Raises:
        FtkitError: naming the setting.
    """
    if rank < 1:
        raise FtkitError(f"'method.rank' takes 1 or more, not {rank}")
    if not alpha > 0:
        raise FtkitError(f"'method.alpha' takes a number above 0, not {alpha:g}")
    if not 0 <= dropout < 1:
        raise FtkitError(f"'method.dropout' takes 0 or more and less than 1, not {dropout}")
    if not lr_ratio > 0:
        raise FtkitError(f"'method.lr_ratio' takes a number above 0, not {lr_ratio}")


def lay(model: nn.Module, targets: str, seed: int, **settings: Any) -> nn.Module:
    """Lay updates B A beside linear layers, A drawn from the seed and B zero.

    Args:
        model: the base.
        targets: `all-linear`, or names of layers, separated by commas.
        seed: of A.
        settings: PEFT's own of LoRA.

    Raises:
        FtkitError: when the base lacks one of the layers.
    """
    wanted: str | list[str] = ALL
    if targets != ALL:
        wanted = [name.strip() for name in targets.split(",")]
        _find(model, targets, wanted)
    config = LoraConfig(task_type="CAUSAL_LM", target_modules=wanted, **settings)
    try:
        return wrap(model, config, seed)
    except ValueError as problem:
        if wanted == ALL and "target_modules" in str(problem):
            raise FtkitError(
                "the base has no linear layers beside its output layer: LoRA has nothing to adapt"
            ) from None
        raise FtkitError(f"'method.targets={targets}': {problem}") from None


def _find(model: nn.Module, targets: str, wanted: list[str]) -> None:
    """Refuse a name that no layer has: PEFT would go on with those that others have.

    Raises:
        FtkitError: naming it.
    """
    paths = [f".{path}" for path, _ in model.named_modules()]
    for name in wanted:
        if not name or not any(path.endswith(f".{name}") for path in paths):
            raise FtkitError(
                f"'method.targets={targets}': the base has no layer called '{name}'; "
                f"its linear layers are {', '.join(_linear(model))}"
            )


def _linear(model: nn.Module) -> list[str]:
    """List the last names of a model's linear layers, in order."""
    found = [path for path, layer in model.named_modules() if isinstance(layer, LINEAR)]
    return list(dict.fromkeys(path.rpartition(".")[2] for path in found))


def groups(model: nn.Module, lr: float, lr_ratio: float, weight_decay: float) -> list[Group]:
    """Sort updates into groups: A, B at a rate of its own if asked for, and vectors.

    Args:
        model: what `lay` returned.
        lr: of A and of vectors.
        lr_ratio: B's rate is this many times A's.
        weight_decay: of A and B.
    """
    moving = trainable(model)
    vectors = {name for name, param in moving.items() if param.dim() < 2}
    # One group where the rates are equal: the order of parameters is that of their gradients' norm.
    faster = {n for n in moving if "lora_B" in n or "lora_embedding_B" in n} - vectors
    faster = faster if lr_ratio != 1 else set()
    rest = moving.keys() - faster - vectors
    return [
        Group([p for n, p in moving.items() if n in rest], lr=lr, weight_decay=weight_decay),
        Group([p for n, p in moving.items() if n in faster], lr * lr_ratio, weight_decay),
        Group([p for n, p in moving.items() if n in vectors], lr=lr),
    ]
