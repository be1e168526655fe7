"""Prompt tuning: learned embeddings stand before the text, the base is frozen (arXiv:2104.08691).

PEFT gives the file format and the check. The forward is ours, because examples are packed: slots
lie before EACH example, and the base sees embeddings with positions restarting at every one.
"""

# B rows, T positions, D width, V virtual tokens, N vocabulary

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from peft import PromptTuningConfig
from torch import Tensor, nn
from torch.nn import functional as F

from ftkit.errors import FtkitError

from ..basemodel.optim import Group
from ._method import Method, trainable, wrap


@dataclass(frozen=True)
class SoftPrompt(Method):
    """Train the embeddings of a few virtual tokens and nothing else.

    Args:
        tokens: number of virtual tokens; each takes a place of the context.
        init: text whose embeddings the prompt starts from; "" draws tokens from the vocabulary.
    """

    lr: float = 1e-1
    tokens: int = 20
    init: str = ""
    peft_type: ClassVar[str] = "PROMPT_TUNING"

    def __post_init__(self) -> None:
        """Refuse a prompt without tokens."""
        if self.tokens < 1:
            raise FtkitError(f"'method.tokens' takes 1 or more, not {self.tokens}")

    @property
    def virtual_tokens(self) -> int:
        """As many slots as virtual tokens."""
        return self.tokens

    def attach(self, model: Any, tokenizer: Any, seed: int) -> nn.Module:
        """Freeze the base and start the prompt from embeddings that the base knows."""
        table_ND = model.get_input_embeddings().weight
        config = PromptTuningConfig(
            task_type="CAUSAL_LM", num_virtual_tokens=self.tokens, token_dim=table_ND.shape[1]
        )
        tuned = wrap(model, config)
        ids_V = self._start(tokenizer, len(table_ND), seed)
        with torch.no_grad():
            prompt(tuned).copy_(table_ND[ids_V.to(table_ND.device)])
        return tuned

    def _start(self, tokenizer: Any, vocabulary: int, seed: int) -> Tensor:
        """Choose the tokens whose embeddings the prompt starts from."""
        ids = tokenizer.encode(self.init, add_special_tokens=False) if self.init else []
        if ids:
            return torch.tensor((ids * self.tokens)[: self.tokens])
        source = torch.Generator().manual_seed(seed)
        size = min(vocabulary, len(tokenizer))
        return torch.randint(0, size, (self.tokens,), generator=source)

    def groups(self, model: nn.Module) -> list[Group]:
        """One group: the prompt."""
        return [Group(list(trainable(model).values()), lr=self.lr, weight_decay=self.weight_decay)]

    def inputs(self, model: Any, ids_BT: Tensor, slots_BT: Tensor | None) -> dict[str, Tensor]:
        """Embed the text and fill its slots with the prompt."""
        text_BTD = model.get_base_model().get_input_embeddings()(ids_BT)
        if slots_BT is None:
            return {"inputs_embeds": text_BTD}
        prompt_BTD = F.embedding(slots_BT.clamp(min=0), prompt(model)).to(text_BTD.dtype)
        return {"inputs_embeds": torch.where(slots_BT[..., None] >= 0, prompt_BTD, text_BTD)}


def prompt(model: Any) -> nn.Parameter:
    """Return the embeddings of the virtual tokens, V x D."""
    weight: nn.Parameter = model.prompt_encoder[model.active_adapter].embedding.weight
    return weight


METHOD = SoftPrompt()
