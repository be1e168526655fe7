"""What generation remembers of the tokens it has read: keys, values, and where there is text."""

# B rows, T new positions, S positions in all, K key heads, H width of a head

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Cache:
    """Keys and values of the tokens read so far, with room for more.

    Args:
        keys_BKSH: one tensor a layer.
        values_BKSH: one tensor a layer.
        text_BS: True where there is text and not padding.
        position_B1: the position that the next token takes in each row.
        length: how many of the S columns are filled.
    """

    keys_BKSH: list[Tensor]
    values_BKSH: list[Tensor]
    text_BS: Tensor
    position_B1: Tensor
    length: int

    def extend(self, layer: int, k_BKTH: Tensor, v_BKTH: Tensor) -> tuple[Tensor, Tensor]:
        """Write a layer's new keys and values behind the old ones and return all there are."""
        end = self.length + k_BKTH.shape[2]
        for old_BKSH, new_BKTH in (
            (self.keys_BKSH[layer], k_BKTH),
            (self.values_BKSH[layer], v_BKTH),
        ):
            old_BKSH[:, :, self.length : end] = new_BKTH
        return self.keys_BKSH[layer][:, :, :end], self.values_BKSH[layer][:, :, :end]

    def positions(self, new: int) -> Tensor:
        """Count only text, so that pads on the left shift nothing; returns position_BT."""
        text_BT = self.text_BS[:, self.length : self.length + new].long()
        return (self.position_B1 + text_BT.cumsum(1) - 1).clamp(min=0)

    def allowed(self, new: int) -> Tensor:
        """Let a position see itself and all earlier text; a pad sees itself, for softmax's sake."""
        column_S = torch.arange(self.length + new, device=self.text_BS.device)
        row_T1 = column_S[self.length :, None]
        text_B1S = self.text_BS[:, None, : self.length + new]
        return ((column_S <= row_T1) & (text_B1S | (column_S == row_T1)))[:, None]
