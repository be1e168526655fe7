"""One text generator for every decoder: batched, with a cache, in a window that moves if asked to.

A row is read from the start of its window, which depends on how many tokens there are and on
nothing else. So a text is the same with a cache and without, in any batch. At the end of its
window a row waits until its batch is done, and is then read anew, as a prompt is.
"""

# B rows of a batch, T positions, V vocabulary.

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from ftkit.errors import FtkitError

from .rows import Allowed, Row, chosen, start_of
from .sampling import Sampling


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
    """The new tokens of a prompt, without the stop token; `stopped` is False when cut off.

    `nats` is their negative log-likelihood, where it was asked for.
    """

    ids: list[int]
    stopped: bool
    nats: float | None = None


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
    repetition_penalty: float = 1.0,
    seed: int = 0,
    crop: bool = False,
    batch_size: int = 64,
    likelihoods: bool = False,
    places: Sequence[int] | None = None,
    allowed: Sequence[Allowed | None] | None = None,
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
        repetition_penalty: above 1 makes tokens of the prompt and the answer less likely.
        seed: of the sampling. A prompt's text depends on the seed and its place (`places`), not on
            the batch it falls into.
        crop: go on past the end of the context, for prompts of any length: the model then reads
            the last half of the context and what follows it, until the context is full again.
        batch_size: rows at a time; prompts are sorted by length first.
        likelihoods: measure how likely the model finds what it says, whatever the sampling.
        places: the numbers that prompts' samples are drawn by, one each; None counts from 0.
        allowed: for each prompt, what says whether some ids may begin an answer, or with True be
            one. A token with which it may not go on is passed over, and the next one chosen.

    Returns:
        One Generated for each prompt, in the order of the prompts.

    Raises:
        FtkitError: for an empty prompt, one that leaves no room in the context, or an option out
            of its range.
    """
    sampling = Sampling(temperature, top_k, top_p, repetition_penalty, seed)
    draws = map(sampling.draw, range(len(prompts)) if places is None else places)
    limits = [None] * len(prompts) if allowed is None else allowed
    rows = [
        _row(decoder, prompt, f"prompt {number}", max_new_tokens, draw, crop, limit)
        for number, (prompt, draw, limit) in enumerate(zip(prompts, draws, limits, strict=True), 1)
    ]
    waiting, ends = rows, frozenset(stop)
    while waiting := [row for row in waiting if not row.done]:
        waiting.sort(key=lambda row: len(row.ids) - start_of(len(row.ids), decoder.context))
        for first in range(0, len(waiting), batch_size):
            batch = waiting[first : first + batch_size]
            for _ in _steps(decoder, batch, ends, pad, sampling, likelihoods):
                pass
    return [
        Generated(row.ids[len(prompt) :], row.stopped, row.nats if likelihoods else None)
        for prompt, row in zip(prompts, rows, strict=True)
    ]


def stream(
    decoder: Decoder,
    prompt: Sequence[int],
    *,
    max_new_tokens: int,
    stop: Collection[int],
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    repetition_penalty: float = 1.0,
    seed: int = 0,
    crop: bool = False,
    place: int = 0,
    allowed: Allowed | None = None,
) -> Iterator[int]:
    """Continue one prompt, giving each token as it is made: those of `generate`, one by one.

    Args:
        decoder: the model.
        prompt: token ids, at least one and fewer than the context.
        max_new_tokens: the most tokens to add.
        stop: ids that end the text.
        temperature: as for `generate`, and so are all options down to `crop`.
        top_k: sample among the k likeliest tokens; 0 among all.
        top_p: sample among the likeliest tokens that hold this share of the probability.
        repetition_penalty: above 1 makes tokens of the prompt and the answer less likely.
        seed: of the sampling.
        crop: go on past the end of the context.
        place: where the prompt would stand among the prompts of `generate`.
        allowed: says whether some ids may begin the answer, or with True be it.

    Returns:
        The new tokens, without the stop token.

    Raises:
        FtkitError: at once, for an empty prompt, one that leaves no room in the context, or an
            option out of its range.
    """
    sampling = Sampling(temperature, top_k, top_p, repetition_penalty, seed)
    draw = sampling.draw(place)
    row = _row(decoder, prompt, "the prompt", max_new_tokens, draw, crop, allowed)
    return _tokens(decoder, row, frozenset(stop), sampling)


def _tokens(decoder: Decoder, row: Row, stop: frozenset[int], sampling: Sampling) -> Iterator[int]:
    """Yield the tokens of a single row, which has no pads."""
    while not row.done:
        for _ in _steps(decoder, [row], stop, 0, sampling):
            if not row.stopped:
                yield row.ids[-1]


def _row(
    decoder: Decoder,
    prompt: Sequence[int],
    name: str,
    new: int,
    draw: torch.Generator,
    crop: bool,
    allowed: Allowed | None,
) -> Row:
    """Begin a row; refuse a prompt that is empty or leaves no room."""
    context = decoder.context
    length = len(prompt) - (start_of(len(prompt), context) if crop else 0)
    if not 0 < length < context:
        raise FtkitError(
            f"{name} has {len(prompt)} tokens: "
            f"the model reads 1 to {context - 1} and needs room to answer"
        )
    most = len(prompt) + new
    return Row(list(prompt), most if crop else min(most, context), draw, len(prompt), allowed)


@torch.inference_mode()
def _steps(
    decoder: Decoder,
    rows: Sequence[Row],
    stop: frozenset[int],
    pad: int,
    sampling: Sampling,
    likelihoods: bool = False,
) -> Iterator[None]:
    """Read rows' windows and add tokens until each is done or full; yield after each token."""
    logits_BV, cache, lengths = _read(decoder, rows, pad)
    seen_BV = None if sampling.repetition_penalty == 1 else _seen(rows, logits_BV)
    while True:
        next_B = chosen(rows, logits_BV, seen_BV, stop, sampling)
        nats_B = torch.zeros(len(rows))
        if likelihoods:
            nats_B = F.cross_entropy(logits_BV.float(), next_B, reduction="none")
        _add(rows, next_B, nats_B, stop)
        yield
        left = [place for place, row in enumerate(rows) if row.going]
        if not left:
            return
        lengths = [length + 1 for length in lengths]
        # A row at the end of its context is done and must not be asked for one position more.
        full = max(lengths) > decoder.context
        # Copying the cache costs about a step: else wait until a quarter of the rows can leave.
        if full or len(left) <= 0.75 * len(rows):
            keep = torch.tensor(left, device=decoder.device)
            cache, next_B = decoder.keep(cache, keep), next_B[keep]
            seen_BV = None if seen_BV is None else seen_BV[keep]
            rows, lengths = [rows[place] for place in left], [lengths[place] for place in left]
        if seen_BV is not None:
            seen_BV.scatter_(1, next_B[:, None], True)
        logits_BV, cache = decoder.step(next_B[:, None], cache)


def _read(decoder: Decoder, rows: Sequence[Row], pad: int) -> tuple[Tensor, Any, list[int]]:
    """Read the windows of some rows; returns logits_BV, a fresh cache and the windows' lengths."""
    starts = [start_of(len(row.ids), decoder.context) for row in rows]
    for row, start in zip(rows, starts, strict=True):
        row.end = min(row.most, start + decoder.context)
    windows = [row.ids[start:] for row, start in zip(rows, starts, strict=True)]
    lengths = [len(window) for window in windows]
    longest = max(lengths)
    ids_BT = torch.tensor([[pad] * (longest - len(window)) + window for window in windows])
    mask_BT = torch.arange(longest) >= longest - torch.tensor(lengths)[:, None]
    # The batch's room is that of the shortest window, which may go on longest.
    room = max(row.end - len(row.ids) for row in rows)
    device = decoder.device
    return *decoder.prompt(ids_BT.to(device), mask_BT.to(device), room), lengths


def _seen(rows: Sequence[Row], logits_BV: Tensor) -> Tensor:
    """Mark the tokens of each row, pads left out, those before its window too."""
    seen_BV = torch.zeros_like(logits_BV, dtype=torch.bool)
    for seen_V, row in zip(seen_BV, rows, strict=True):
        seen_V[row.ids] = True
    return seen_BV


def _add(rows: Sequence[Row], next_B: Tensor, nats_B: Tensor, stop: frozenset[int]) -> None:
    """Add its token to each row that goes on; a stop token ends it."""
    for row, token, nats in zip(rows, next_B.tolist(), nats_B.tolist(), strict=True):
        if row.going and token in stop:
            row.stopped = True
        elif row.going:
            row.ids.append(token)
            row.nats += nats
