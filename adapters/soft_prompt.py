"""Prompt tuning: learned embeddings stand before the text, the base is frozen (arXiv:2104.08691).

PEFT gives the file format and the check. The forward is ours, because examples are packed: slots
lie before EACH example, and the base sees embeddings with positions restarting at every one.
"""

# B rows, T positions, D width, V virtual tokens, N vocabulary

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from peft import PromptTuningConfig
from torch import Tensor, nn

from ftkit.errors import FtkitError

from ..basemodel.optim import Group
from ._method import Method, trainable, wrap
from ._virtual import fill, refuse, start


@dataclass(frozen=True)
class SoftPrompt(Method):
    """Train the embeddings of a few virtual tokens and nothing else.

    Args:
        tokens: number of virtual tokens; each takes a place of the context.
        init: text whose embeddings the prompt starts from; "" draws them.
        draw: `vocabulary` draws embeddings of tokens, `random` numbers of the same spread.
    """

    lr: float = 1e-1
    tokens: int = 20
    init: str = ""
    draw: Literal["vocabulary", "random"] = "vocabulary"
    quantised: ClassVar[bool] = True
    peft_type: ClassVar[str] = "PROMPT_TUNING"

    def __post_init__(self) -> None:
        """Refuse a prompt without tokens, or one that would start from two things."""
        super().__post_init__()
        refuse(self.tokens)
        if self.init and self.draw != "vocabulary":
            raise FtkitError(
                f"'method.init' says what the prompt starts from, so nothing is drawn: leave out "
                f"'method.draw={self.draw}'"
            )

    @property
    def virtual_tokens(self) -> int:
        """As many slots as virtual tokens."""
        return self.tokens

    def attach(self, model: Any, tokenizer: Any, seed: int) -> nn.Module:
        """Freeze the base and start the prompt from embeddings, or numbers, of the base's kind."""
        self.check(model)
        table_ND = model.get_input_embeddings().weight
        config = PromptTuningConfig(
            task_type="CAUSAL_LM", num_virtual_tokens=self.tokens, token_dim=table_ND.shape[1]
        )
        tuned = wrap(model, config, seed)
        with torch.no_grad():
            if self.draw == "random" and not self.init:
                source = torch.Generator().manual_seed(seed)
                noise_VD = torch.randn(self.tokens, table_ND.shape[1], generator=source)
                prompt(tuned).copy_(noise_VD * table_ND.float().std().cpu())
            else:
                ids_V = start(model, tokenizer, self.init, self.tokens, seed)
                prompt(tuned).copy_(table_ND[ids_V])
        return tuned

    def groups(self, model: nn.Module) -> list[Group]:
        """One group: the prompt."""
        return [Group(list(trainable(model).values()), lr=self.lr, weight_decay=self.weight_decay)]

    def inputs(self, model: Any, ids_BT: Tensor, slots_BT: Tensor | None) -> dict[str, Tensor]:
        """Embed the text and fill its slots with the prompt."""
        text_BTD = model.get_base_model().get_input_embeddings()(ids_BT)
        return fill(text_BTD, slots_BT, prompt(model))

    def opened(self, config: Any) -> Method | None:
        """Take the number of virtual tokens from the adapter."""
        return super().opened(config) and replace(self, tokens=config.num_virtual_tokens)


def prompt(model: Any) -> nn.Parameter:
    """Return the embeddings of the virtual tokens, V x D."""
    weight: nn.Parameter = model.prompt_encoder[model.active_adapter].embedding.weight
    return weight


METHOD = SoftPrompt()
