"""Answers that are held to what may follow: against transformers' own, and against likelihoods."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from ftkit.basemodel import GPT, rows
from ftkit.basemodel.decoder import GPTDecoder
from ftkit.basemodel.generate import generate, stream
from tests.test_base_generate import PROMPTS, gpt, greedy

__all__ = ["gpt"]  # a fixture


def test_allowed_tokens_are_those_of_transformers(gpt: GPT, tmp_path: Path) -> None:
    """Greedy among the tokens that may follow, alone and in a batch with a row that may be any."""
    gpt.save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    plain = [reply.ids for reply in greedy(gpt)]

    def follows(answer: list[int]) -> list[int]:
        last = answer[-1] if answer else 0
        return [token for token in range(1, 64) if (token + last) % 3 == 1]

    def allowed(ids: list[int], whole: bool) -> bool:
        assert not whole
        return ids[-1] in follows(ids[:-1])

    limits = [allowed, None, allowed, allowed, allowed]
    ours = [reply.ids for reply in greedy(gpt, allowed=limits)]
    assert ours[1] == plain[1]
    for prompt, ids, free in zip(PROMPTS, ours, plain, strict=True):
        theirs = model.generate(
            torch.tensor([prompt]),
            max_new_tokens=20,
            do_sample=False,
            pad_token_id=0,
            prefix_allowed_tokens_fn=lambda _, ids: follows(ids[len(prompt) :].tolist()),  # noqa: B023
        )[0, len(prompt) :].tolist()
        assert (ids == theirs) is (ids != free)
        assert (
            list(stream(GPTDecoder(gpt), prompt, max_new_tokens=20, stop=(), allowed=allowed))
            == theirs
        )


def test_samples_among_allowed_tokens_come_as_often_as_the_model_finds_them_likely(
    gpt: GPT,
) -> None:
    decoder, count = GPTDecoder(gpt), 2000
    replies = generate(
        decoder,
        [PROMPTS[0]] * count,
        max_new_tokens=1,
        stop=(),
        pad=0,
        temperature=3.0,
        batch_size=count,
        allowed=[lambda ids, _: ids[0] % 8 == 3] * count,
    )
    drawn = Counter(reply.ids[0] for reply in replies)
    logits_V = gpt(torch.tensor([PROMPTS[0]]))[0, -1].detach() / 3.0
    share_N = logits_V[3::8].softmax(-1)
    assert set(drawn) <= set(range(3, 64, 8))
    for token, share in zip(range(3, 64, 8), share_N.tolist(), strict=True):
        assert abs(drawn[token] / count - share) < 4 * (share * (1 - share) / count) ** 0.5 + 1e-3


def test_an_answer_ends_where_it_may_be_whole(gpt: GPT) -> None:
    stop = range(32)  # half of all tokens end an answer
    for most in (3, 6):
        limits = [lambda ids, whole, most=most: not whole or len(ids) >= most] * len(PROMPTS)
        replies = greedy(gpt, stop=stop, allowed=limits)
        assert all(len(reply.ids) >= most for reply in replies)
        assert all(reply.stopped for reply in replies)
    assert min(len(reply.ids) for reply in greedy(gpt, stop=stop)) < 3


def test_where_nothing_may_follow_a_row_goes_on_freely(gpt: GPT) -> None:
    limits = [lambda ids, _: len(ids) < 4] * len(PROMPTS)
    assert greedy(gpt, allowed=limits) == greedy(gpt)


def test_an_answer_that_is_nothing_like_what_may_follow_goes_on_freely_in_the_end(
    gpt: GPT, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The least likely half of the tokens are all that may follow: each has to be looked for."""
    decoder, order = GPTDecoder(gpt), {}

    def allowed(ids: list[int], whole: bool) -> bool:
        behind = tuple(ids[:-1])
        if behind not in order:
            logits_V = gpt(torch.tensor([[*PROMPTS[0], *behind]]))[0, -1]
            order[behind] = set(logits_V.argsort()[:32].tolist())
        return ids[-1] in order[behind]

    asked = {"max_new_tokens": 12, "stop": (), "pad": 0, "allowed": [allowed]}
    for most in (3, 99):
        monkeypatch.setattr(rows, "FORCED", most)
        (reply,) = generate(decoder, [PROMPTS[0]], **asked)
        held = [allowed(reply.ids[:n], False) for n in range(1, 13)]
        assert held == [n < most for n in range(12)]
