"""Virtual tokens: what they start from, and how their embeddings enter the text."""

# B rows, T positions, V virtual tokens, D width

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ftkit.errors import FtkitError


def refuse(tokens: int) -> None:
    """Refuse a number of virtual tokens that makes none.

    Raises:
        FtkitError: naming the setting.
    """
    if tokens < 1:
        raise FtkitError(f"'method.tokens' takes 1 or more, not {tokens}")


def start(model: Any, tokenizer: Any, text: str, tokens: int, seed: int) -> Tensor:
    """Choose the tokens of the vocabulary that virtual tokens start from.

    Args:
        model: the base.
        tokenizer: the base's.
        text: whose tokens are repeated or cut; "" draws from the vocabulary.
        tokens: how many.
        seed: of the draw.

    Returns:
        Their ids, V.
    """
    ids = tokenizer.encode(text, add_special_tokens=False) if text else []
    table_ND = model.get_input_embeddings().weight
    if ids:
        return torch.tensor((ids * tokens)[:tokens], device=table_ND.device)
    size = min(len(table_ND), len(tokenizer))
    source = torch.Generator().manual_seed(seed)
    return torch.randint(0, size, (tokens,), generator=source).to(table_ND.device)


def fill(text_BTD: Tensor, slots_BT: Tensor | None, prompt_VD: Tensor) -> dict[str, Tensor]:
    """Put virtual tokens into the slots of embedded text.

    Args:
        text_BTD: the embeddings of all places.
        slots_BT: number of the virtual token in each slot, -1 elsewhere; None without slots.
        prompt_VD: the embeddings of the virtual tokens.

    Returns:
        The base's inputs.
    """
    if slots_BT is None:
        return {"inputs_embeds": text_BTD}
    prompt_BTD = F.embedding(slots_BT.clamp(min=0), prompt_VD).to(text_BTD.dtype)
    return {"inputs_embeds": torch.where(slots_BT[..., None] >= 0, prompt_BTD, text_BTD)}
