"""One text generator for every decoder: greedy or seeded sampling, batched, with a cache."""

# B rows of a batch, T positions, V vocabulary.

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Protocol

import torch
from torch import Tensor

from ftkit.errors import FtkitError


class Decoder(Protocol):
    """What `generate` asks of a model: to read prompts, to read one more token, to drop rows.

    The cache is the decoder's own affair (keys and values, masks, positions); `generate` only
    hands it on.
    """

    @property
    def context(self) -> int:
        """How many tokens a row may have, prompt and answer together."""

    @property
    def device(self) -> torch.device:
        """Where the ids have to be."""

    def prompt(self, ids_BT: Tensor, mask_BT: Tensor, room: int) -> tuple[Tensor, Any]:
        """Read left-padded prompts.

        Args:
            ids_BT: the prompts, pads on the left.
            mask_BT: True where there is text.
            room: how many tokens may follow at most.

        Returns:
            The logits_BV after the last position, and a cache.
        """

    def step(self, ids_B1: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """Read one more token in each row; returns the logits_BV behind it and the cache."""

    def keep(self, cache: Any, rows: Tensor) -> Any:
        """Return the cache of these rows alone, in this order."""


@dataclass(frozen=True)
class Generated:
    """The new tokens of a prompt, without the stop token; `stopped` is False when cut off."""

    ids: list[int]
    stopped: bool


@dataclass(frozen=True)
class _Sampling:
    temperature: float
    top_k: int
    top_p: float
    seed: int


def generate(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    stop: Collection[int],
    pad: int,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    batch_size: int = 64,
) -> list[Generated]:
    """Continue every prompt until a stop token, the token limit or the end of the context.

    Args:
        decoder: the model.
        prompts: token ids, each prompt at least one and fewer than the context.
        max_new_tokens: the most tokens to add to each.
        stop: ids that end a row.
        pad: the id that fills the left of shorter rows.
        temperature: 0 takes the likeliest token each time; above, divides the logits.
        top_k: sample among the k likeliest tokens; 0 among all.
        top_p: sample among the likeliest tokens that hold this share of the probability.
        seed: of the sampling. A prompt's text depends on the seed and its place in `prompts`, not
            on the batch it falls into.
        batch_size: rows at a time; prompts are sorted by length first.

    Returns:
        One Generated for each prompt, in the order of the prompts.

    Raises:
        FtkitError: for an empty prompt or one that leaves no room in the context.
    """
    for number, prompt in enumerate(prompts, 1):
        _check(decoder, prompt, f"prompt {number}")
    if max_new_tokens < 1:
        return [Generated([], stopped=False) for _ in prompts]
    sampling = _Sampling(temperature, top_k, top_p, seed)
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    replies: dict[int, Generated] = {}
    for first in range(0, len(order), batch_size):
        rows = {index: prompts[index] for index in order[first : first + batch_size]}
        replies |= _batch(decoder, rows, max_new_tokens, frozenset(stop), pad, sampling)
    return [replies[index] for index in range(len(prompts))]


def stream(
    decoder: Decoder,
    prompt: Sequence[int],
    *,
    max_new_tokens: int,
    stop: Collection[int],
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    place: int = 0,
) -> Iterator[int]:
    """Continue one prompt, giving each token as it is made: those of `generate`, one by one.

    Args:
        decoder: the model.
        prompt: token ids, at least one and fewer than the context.
        max_new_tokens: the most tokens to add.
        stop: ids that end the text.
        temperature: as for `generate`, and so are `top_k`, `top_p` and `seed`.
        top_k: sample among the k likeliest tokens; 0 among all.
        top_p: sample among the likeliest tokens that hold this share of the probability.
        seed: of the sampling.
        place: where the prompt would stand among the prompts of `generate`.

    Returns:
        The new tokens, without the stop token.

    Raises:
        FtkitError: at once, for an empty prompt or one that leaves no room in the context.
    """
    _check(decoder, prompt, "the prompt")
    if max_new_tokens < 1:
        return iter(())
    ends, sampling = frozenset(stop), _Sampling(temperature, top_k, top_p, seed)
    steps = _steps(decoder, {place: prompt}, max_new_tokens, ends, 0, sampling)  # one: no pads
    return takewhile(lambda token: token not in ends, (step[place] for step in steps))


def _check(decoder: Decoder, prompt: Sequence[int], name: str) -> None:
    """Refuse a prompt that is empty or leaves no room."""
    if not 0 < len(prompt) < decoder.context:
        raise FtkitError(
            f"{name} has {len(prompt)} tokens: "
            f"the model reads 1 to {decoder.context - 1} and needs room to answer"
        )


def _batch(
    decoder: Decoder,
    prompts: dict[int, Sequence[int]],
    max_new_tokens: int,
    stop: frozenset[int],
    pad: int,
    sampling: _Sampling,
) -> dict[int, Generated]:
    """Generate for prompts that fit into one batch."""
    new: dict[int, list[int]] = {index: [] for index in prompts}
    stopped = set()
    for step in _steps(decoder, prompts, max_new_tokens, stop, pad, sampling):
        for row, token in step.items():
            if token in stop:
                stopped.add(row)
            else:
                new[row].append(token)
    return {row: Generated(ids, stopped=row in stopped) for row, ids in new.items()}


@torch.inference_mode()
def _steps(
    decoder: Decoder,
    prompts: dict[int, Sequence[int]],
    max_new_tokens: int,
    stop: frozenset[int],
    pad: int,
    sampling: _Sampling,
) -> Iterator[dict[int, int]]:
    """Yield the next token of each row that is not finished, stop tokens too, until all are."""
    longest = max(map(len, prompts.values()))
    # A row's own room; the batch's is that of the shortest prompt, which may go on longest.
    room = {i: min(max_new_tokens, decoder.context - len(p)) for i, p in prompts.items()}
    ids_BT = torch.tensor([[pad] * (longest - len(p)) + list(p) for p in prompts.values()])
    lengths_B1 = torch.tensor([[len(p)] for p in prompts.values()])
    mask_BT = torch.arange(longest) >= longest - lengths_B1
    draws = {index: _random(sampling.seed, index) for index in prompts}
    rows, going, read = list(prompts), set(prompts), 0
    logits_BV, cache = decoder.prompt(
        ids_BT.to(decoder.device), mask_BT.to(decoder.device), max(room.values())
    )
    while True:
        next_B = _choose(logits_BV, sampling, [draws[row] for row in rows])
        step = {r: t for r, t in zip(rows, next_B.tolist(), strict=True) if r in going}
        yield step
        read += 1
        going -= {row for row, token in step.items() if token in stop or read == room[row]}
        if not going:
            return
        left = [place for place, row in enumerate(rows) if row in going]
        # A row at the end of its context is done and must not be asked for one position more.
        full = any(len(prompts[row]) + read > decoder.context for row in rows)
        # Copying the cache costs about a step: else wait until a quarter of the rows can leave.
        if full or len(left) <= 0.75 * len(rows):
            keep = torch.tensor(left, device=decoder.device)
            cache, next_B = decoder.keep(cache, keep), next_B[keep]
            rows = [rows[place] for place in left]
        logits_BV, cache = decoder.step(next_B[:, None], cache)


def _random(seed: int, index: int) -> torch.Generator:
    """Give each prompt its own stream, whatever batch it is in."""
    return torch.Generator().manual_seed((seed * 1_000_003 + index) % 2**63)


def _choose(logits_BV: Tensor, sampling: _Sampling, draws: list[torch.Generator]) -> Tensor:
    """Pick the next token of each row."""
    if sampling.temperature <= 0:
        return logits_BV.argmax(-1)
    order_BV = logits_BV.float().argsort(dim=-1, descending=True, stable=True)
    ranked_BV = logits_BV.float().gather(-1, order_BV) / sampling.temperature
    if sampling.top_k > 0:
        ranked_BV[:, sampling.top_k :] = -torch.inf
    share_BV = ranked_BV.softmax(-1)
    before_BV = share_BV.cumsum(-1) - share_BV
    share_BV[before_BV >= sampling.top_p] = 0.0  # the likeliest token always stays: 0 lies before
    share_BV[:, 0].clamp_(min=1e-30)
    reach_BV = share_BV.double().cumsum(-1)
    draw_B1 = torch.stack([torch.rand(1, generator=draw, dtype=torch.float64) for draw in draws])
    place_B1 = torch.searchsorted(
        reach_BV, draw_B1.to(reach_BV.device) * reach_BV[:, -1:], right=True
    )
    return order_BV.gather(-1, place_B1.clamp(max=reach_BV.shape[-1] - 1))[:, 0]
