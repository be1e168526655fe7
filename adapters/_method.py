"""The contract of a method: which weights move, how they enter the forward, how they are kept."""

# B rows, T positions, H heads of keys and values, P places before the text, D width of a head

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ftkit.errors import FtkitError

from ..basemodel.optim import Group
from ._quantize import widened
from ._quiet import quiet


@dataclass(frozen=True)
class Method(ABC):
    """Say which weights of a causal language model move; every field is a knob of `--set method.`.

    Args:
        lr: learning rate at its peak.
        weight_decay: decoupled decay of matrices, virtual tokens among them; the base's embeddings
            and vectors never have any.
    """

    lr: float = 1e-3
    weight_decay: float = 0.0

    # Claims that the test suite checks for every method, or checks the refusal of.
    mergeable: ClassVar[bool] = False  # its weights can be folded into the base's
    identity_at_start: ClassVar[bool] = False  # step 0 answers exactly as the base does
    packable: ClassVar[bool] = True  # several examples may share a row
    quantised: ClassVar[bool] = False  # its base's weights may be kept in fewer bits
    peft_type: ClassVar[str] = ""  # PEFT's name for it, "" for a whole model

    def __post_init__(self) -> None:
        """Refuse rates with which nothing is learned."""
        if not self.lr > 0:
            raise FtkitError(f"'method.lr' takes a number above 0, not {self.lr:g}")
        if self.weight_decay < 0:
            raise FtkitError(f"'method.weight_decay' takes 0 or more, not {self.weight_decay:g}")

    @property
    def name(self) -> str:
        """The file's name, which is the word behind `--method`."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def virtual_tokens(self) -> int:
        """Label-free slots that stand before each example and that the method fills."""
        return 0

    @property
    def prefix_tokens(self) -> int:
        """Places before each text that keys and values of the method's own take, without slots."""
        return 0

    def check(self, model: Any) -> None:
        """Refuse a base that the method cannot work on.

        Raises:
            FtkitError: saying why, and what would do.
        """
        if getattr(model, "is_quantized", False):
            self.check_quantised()

    def check_quantised(self) -> None:
        """Refuse a base whose weights are kept in fewer bits, where the method cannot work on one.

        Raises:
            FtkitError: saying so.
        """
        if not self.quantised:
            raise FtkitError(
                f"{self.name} needs the base's weights in full precision, and this base is "
                "quantised: choose lora, or an unquantised base"
            )

    @abstractmethod
    def attach(self, model: nn.Module, tokenizer: Any, seed: int) -> nn.Module:
        """Put the method on a base; afterwards its own parameters alone need gradients.

        Args:
            model: a transformers causal language model in fp32.
            tokenizer: the base's tokenizer.
            seed: where every random choice comes from.

        Returns:
            The model to train: the base itself or PEFT's wrapping of it.
        """

    @abstractmethod
    def groups(self, model: nn.Module) -> list[Group]:
        """Sort the trainable parameters into optimizer groups."""

    def inputs(
        self, model: nn.Module, ids_BT: Tensor, slots_BT: Tensor | None
    ) -> dict[str, Tensor]:
        """Make the base's inputs for token ids in which some places are slots.

        Args:
            model: what `attach` returned.
            ids_BT: token ids; any id stands in a slot.
            slots_BT: number 0 to V-1 of the virtual token in each slot, -1 elsewhere.

        Returns:
            `input_ids`, or `inputs_embeds` where the method fills slots itself.
        """
        assert slots_BT is None, f"{self.name} has no virtual tokens"
        return {"input_ids": ids_BT}

    def past(self, model: Any) -> list[tuple[Tensor, Tensor]]:
        """Give the keys and values before each text, a pair of H x P x D for every layer."""
        return []

    def merge(self, model: Any) -> nn.Module:
        """Fold what was trained into the base's weights, in their precision.

        A quantised base is folded into as it is after rounding, in fp32: the result answers as the
        variant does, and rounding it again would lose part of what was trained.

        Args:
            model: what `attach` returned, or PEFT's wrapping read from a folder; it is used up.

        Returns:
            The base with its new weights, and nothing of PEFT's left.

        Raises:
            FtkitError: where the method is not mergeable.
        """
        if not self.mergeable:
            raise FtkitError(f"{self.name} leaves nothing that folds into the base's weights")
        if getattr(model.get_base_model(), "is_quantized", False):
            model = widened(model)
        untie(model)
        with quiet():
            merged: nn.Module = model.merge_and_unload(safe_merge=True)
        return merged

    def opened(self, config: Any) -> "Method | None":
        """Return the method as a PEFT adapter was made by it; None for another method's adapter.

        Args:
            config: PEFT's, as read from the adapter's folder.
        """
        return self if config.peft_type.value == self.peft_type else None

    def save(self, model: Any, folder: Path) -> None:
        """Write what was trained, in the format that transformers or peft opens."""
        with quiet():
            if not self.peft_type:
                model.save_pretrained(folder)
                return
            # "auto" would ask the Hub whether the vocabulary has changed; tuning never resizes it.
            model.save_pretrained(folder, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty form of a model card


def untie(model: nn.Module) -> None:
    """Give each layer that is adapted a weight of its own, where another layer reads the same one.

    Else what is folded into a head would be in the embeddings too (transformers#45127). PEFT sets
    the config right when it unloads.

    Args:
        model: PEFT's wrapping of a base; changed in place.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers: list[Any] = [layer for layer in model.modules() if isinstance(layer, BaseTunerLayer)]
    uses = Counter(id(w) for part in model.modules() for w in part.parameters(recurse=False))
    for base in (layer.get_base_layer() for layer in layers):
        weight = getattr(base, "weight", None)
        if isinstance(weight, nn.Parameter) and uses[id(weight)] > 1:
            base.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """List the parameters that need gradients, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def wrap(model: Any, config: Any, seed: int) -> nn.Module:
    """Let PEFT put an adapter on a base; afterwards its own parameters alone need gradients.

    Args:
        model: the base.
        config: PEFT's, of the adapter.
        seed: of the numbers that PEFT draws.
    """
    from peft import PromptLearningConfig, get_peft_model

    if isinstance(config, PromptLearningConfig):  # whose words for it PEFT may not know, as MPT's
        config.num_attention_heads = model.config.get_text_config().num_attention_heads
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        wrapped: nn.Module = get_peft_model(model, config)
    return wrapped.train(model.training)
