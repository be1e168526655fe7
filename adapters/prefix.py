"""Prefix tuning: learned keys and values stand before the text in every layer (arXiv:2101.00190).

They start as what the base itself makes of real tokens (section 7.4 of the paper); from there they
learn without the paper's reparameterisation, which was for prefixes that start from noise.
"""

# V virtual tokens, L layers, H heads of keys and values, D width of a head

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from peft import PrefixTuningConfig
from torch import Tensor, nn

from ftkit.errors import FtkitError

from ..basemodel.optim import Group
from ._forward import Forward, windowed
from ._method import Method, trainable, wrap
from ._virtual import refuse, start


@dataclass(frozen=True)
class Prefix(Method):
    """Train the keys and values of a few virtual tokens and nothing else.

    All examples of a packed row share one prefix, so it costs no slots.

    Args:
        tokens: number of virtual tokens; the text's positions begin behind them.
        init: text that the prefix starts as the reading of; "" draws tokens from the vocabulary.
    """

    lr: float = 1e-1
    tokens: int = 20
    init: str = ""
    quantised: ClassVar[bool] = True
    peft_type: ClassVar[str] = "PREFIX_TUNING"

    def __post_init__(self) -> None:
        """Refuse a prefix without tokens."""
        super().__post_init__()
        refuse(self.tokens)

    @property
    def prefix_tokens(self) -> int:
        """As many places as virtual tokens."""
        return self.tokens

    def check(self, model: Any) -> None:
        """Refuse bases with windows too."""
        super().check(model)
        if windowed(model.config):
            raise FtkitError(
                "layers of this base see a window of the text alone, and a prefix would fall out "
                "of it: choose soft_prompt or lora"
            )

    def attach(self, model: Any, tokenizer: Any, seed: int) -> nn.Module:
        """Freeze the base and start from the keys and values it gives to tokens it knows."""
        self.check(model)
        ids_V = start(model, tokenizer, self.init, self.tokens, seed)
        try:
            with torch.no_grad():
                return self._begun(model, ids_V, seed)
        except (RuntimeError, ValueError) as problem:  # Falcon's one head of keys, Bloom's mask
            if isinstance(problem, torch.OutOfMemoryError) or "allocate memory" in str(problem):
                raise  # which is no word on the base
            raise FtkitError(
                f"{type(model).__name__} takes no keys and values before its text as PEFT keeps "
                f"them ({str(problem).splitlines()[0]}): choose soft_prompt or lora"
            ) from None

    def _begun(self, model: Any, ids_V: Tensor, seed: int) -> nn.Module:
        """Read the tokens, keep what was made of them, and try what comes behind."""
        layers = model(input_ids=ids_V[None], use_cache=True).past_key_values.layers
        pairs = [part[0] for layer in layers for part in (layer.keys, layer.values)]
        known_V = torch.stack(pairs).permute(2, 0, 1, 3).flatten(1)
        config = PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=self.tokens)
        tuned = wrap(model, config, seed)
        _table(tuned).copy_(known_V)
        places_1V = torch.arange(self.tokens, device=ids_V.device)[None]
        Forward.of(tuned, self).logits(ids_V[None], places_1V, None, places_1V[0, -1:])
        return tuned

    def groups(self, model: nn.Module) -> list[Group]:
        """One group: the prefix."""
        return [Group(list(trainable(model).values()), lr=self.lr, weight_decay=self.weight_decay)]

    def past(self, model: Any) -> list[tuple[Tensor, Tensor]]:
        """Cut the table as PEFT lays it out: for each virtual token, layers' keys and values."""
        config = model.peft_config[model.active_adapter]
        shape = (self.tokens, config.num_layers, 2, config.num_attention_heads, -1)
        pairs_L2HVD = _table(model).view(shape).permute(1, 2, 3, 0, 4)
        return [(pair[0], pair[1]) for pair in pairs_L2HVD]

    def opened(self, config: Any) -> Method | None:
        """Take the number of virtual tokens from the adapter."""
        return super().opened(config) and replace(self, tokens=config.num_virtual_tokens)


def _table(model: Any) -> nn.Parameter:
    """Return the numbers that are trained, V x (L x 2 x H x D)."""
    weight: nn.Parameter = model.prompt_encoder[model.active_adapter].embedding.weight
    return weight


METHOD = Prefix()
