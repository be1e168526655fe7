"""A head start in copying: an induction circuit laid into the first weights, and practice for it.

To answer about a schema or a document it has never seen, a model must copy from its context. Small
models on small budgets find out how very late: 1M tokens of the SQL world left one of 4M parameters
with none of 300 unseen names right. So two heads begin as an induction circuit (Olsson et al.,
arXiv:2209.11895; beginning from known structure is mimetic initialisation, arXiv:2305.09828), and
the first updates practise on random tokens said twice (as pre-pretraining, arXiv:2502.19249).
Training is free to change it, but for pairs of query and key rows that are both 0 at first: each
one's gradient is the other, so these stay out of use. The folder is an ordinary one.
"""

# D width, H head width, S half of it, R rows, L length of what is said twice, T = 2 L positions.

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .tokens import Rows

if TYPE_CHECKING:
    from .model import GPT

SHARP = 1.4  # gain of normalised queries and keys, so scores begin SHARP**2 times as far apart
PAIRS = 3  # fastest rotary pairs, by which the first head tells a neighbour from others
SAID = 0.5  # how loudly both heads speak into the residual stream
LENGTHS = (64, 32, 16, 128)  # of what is said twice, in turn: short spans teach, long ones reach


def lay_circuit(gpt: "GPT", draw: torch.Generator) -> None:
    """Make heads of the first two blocks begin as an induction circuit, where there is room.

    Block 0's first heads look one position back: embeddings get a common direction, of which the
    queries and keys of these heads are made, the keys turned by one position. They write the token
    they see into a free part of the residual stream. Block 1's first heads look for the place whose
    previous token is the current one, by the slow rotary pairs, and say what stands there.

    Args:
        gpt: a model with freshly drawn weights.
        draw: source of the random directions.
    """
    config = gpt.config
    width, head = config.hidden_size, config.head_dim
    # It needs rotary positions, and queries and keys whose lengths are known.
    if config.family != "qwen3" or config.num_hidden_layers < 2:
        return
    if width < 1 + 3 * head or head < 4 * PAIRS:
        return
    group = config.num_attention_heads // config.num_key_value_heads  # heads that share a key
    basis_DD = torch.linalg.qr(torch.randn(width, width, generator=draw))[0].T
    common_D = basis_DD[0]
    seen_HD, before_HD, said_HD = basis_DD[1 : 1 + 3 * head].split(head)
    look, match = gpt.blocks[0].self_attn, gpt.blocks[1].self_attn
    with torch.no_grad():
        for block in gpt.blocks:
            block.self_attn.q_norm.weight.fill_(SHARP)
            block.self_attn.k_norm.weight.fill_(SHARP)
        table_VD = gpt.model.embed_tokens.weight
        table_VD.add_(table_VD.std() * width**0.5 * common_D)
        here_H, back_H = _neighbours(head, config.rope_theta)
        look.q_proj.weight[: group * head] = (here_H[:, None] * common_D).repeat(group, 1)
        look.k_proj.weight[:head] = back_H[:, None] * common_D
        look.v_proj.weight[:head] = seen_HD
        look.o_proj.weight[:, : group * head] = (before_HD.T * SAID / group).repeat(1, group)
        slow_H1 = (torch.arange(head) % (head // 2) >= head // 4)[:, None]
        match.q_proj.weight[: group * head] = (slow_H1 * seen_HD).repeat(group, 1)
        match.k_proj.weight[:head] = slow_H1 * before_HD
        match.v_proj.weight[:head] = said_HD
        match.o_proj.weight[:, : group * head] = (said_HD.T * SAID / group).repeat(1, group)


def _neighbours(head: int, theta: float) -> tuple[Tensor, Tensor]:
    """Return a query and the key that fits it best one position before, in the fastest pairs."""
    half = head // 2
    angle_S = theta ** (-torch.arange(half) * 2 / head)
    fast_S = (torch.arange(half) < PAIRS).float()
    here_H = 0.1 * torch.cat([fast_S, torch.zeros(half)])
    back_H = 0.1 * torch.cat([fast_S * angle_S.cos(), fast_S * angle_S.sin()])
    return here_H, back_H


def practice(number: int, rows: int, context: int, vocabulary: range, seed: int) -> Rows:
    """Return a batch of random tokens said twice; the second time has the labels.

    Args:
        number: of the micro-batch; it and the seed are all that the batch depends on.
        rows: rows of `context` tokens whose place the batch takes.
        context: the model's context.
        vocabulary: ids to draw from.
        seed: of the run.
    """
    draw = torch.Generator().manual_seed(seed * 1_000_003 + number)
    length = min(LENGTHS[number % len(LENGTHS)], context // 2)
    shape = max(1, rows * context // (2 * length)), length
    said_RL = torch.randint(vocabulary.start, vocabulary.stop, shape, generator=draw)
    ids_RT = torch.cat([said_RL, said_RL], 1)
    labels_RT = ids_RT.roll(-1, 1)
    labels_RT[:, : length - 1] = -100
    labels_RT[:, -1] = -100
    return Rows(ids_RT, labels_RT, int((labels_RT != -100).sum()))
