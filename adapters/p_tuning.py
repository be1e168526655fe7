"""P-tuning: as prompt tuning, but a small network makes the embeddings (arXiv:2103.10385).

The network ties the virtual tokens together while they learn; a folder keeps what it made, in
PEFT's format. PEFT's three linear layers stand in place of the paper's LSTM.
"""

# B rows, T positions, D width, V virtual tokens

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from peft import PromptEncoderConfig
from torch import Tensor, nn

from ftkit.errors import FtkitError

from ..basemodel.optim import Group
from ._method import Method, trainable, wrap
from ._virtual import fill, refuse


@dataclass(frozen=True)
class PTuning(Method):
    """Train a few virtual tokens and the network that makes their embeddings.

    Args:
        tokens: number of virtual tokens; each takes a place of the context.
        width: of the network's inner layers; 0 for the base's own.
    """

    lr: float = 3e-3
    tokens: int = 20
    width: int = 0
    quantised: ClassVar[bool] = True
    peft_type: ClassVar[str] = "P_TUNING"

    def __post_init__(self) -> None:
        """Refuse a prompt without tokens, or a width below nothing."""
        super().__post_init__()
        refuse(self.tokens)
        if self.width < 0:
            raise FtkitError(f"'method.width' takes 0 or more, not {self.width}")

    @property
    def virtual_tokens(self) -> int:
        """As many slots as virtual tokens."""
        return self.tokens

    def attach(self, model: Any, tokenizer: Any, seed: int) -> nn.Module:
        """Freeze the base; network and virtual tokens are drawn from the seed."""
        self.check(model)
        wide = model.get_input_embeddings().weight.shape[1]
        config = PromptEncoderConfig(
            task_type="CAUSAL_LM",
            num_virtual_tokens=self.tokens,
            token_dim=wide,
            encoder_hidden_size=self.width or wide,
        )
        return wrap(model, config, seed)

    def groups(self, model: nn.Module) -> list[Group]:
        """Decay the network's matrices and the virtual tokens, not its biases."""
        moving = trainable(model).values()
        # One group where nothing is decayed: their order is that of the gradients' norm.
        biases = [p for p in moving if p.dim() < 2 and self.weight_decay]
        rest = [p for p in moving if p.dim() > 1 or not self.weight_decay]
        return [Group(rest, lr=self.lr, weight_decay=self.weight_decay), Group(biases, lr=self.lr)]

    def inputs(self, model: Any, ids_BT: Tensor, slots_BT: Tensor | None) -> dict[str, Tensor]:
        """Embed the text and fill its slots; a folder keeps what the network made."""
        encoder = model.prompt_encoder[model.active_adapter]
        text_BTD = model.get_base_model().get_input_embeddings()(ids_BT)
        prompt_VD = encoder.embedding.weight
        if slots_BT is not None and hasattr(encoder, "mlp_head"):
            prompt_VD = encoder.mlp_head(prompt_VD)
        return fill(text_BTD, slots_BT, prompt_VD)

    def opened(self, config: Any) -> Method | None:
        """Take the number of virtual tokens from the adapter."""
        return super().opened(config) and replace(self, tokens=config.num_virtual_tokens)


METHOD = PTuning()
