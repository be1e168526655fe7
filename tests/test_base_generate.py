"""Generation against transformers' own, and against reading everything anew at each token."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, RepetitionPenaltyLogitsProcessor

from ftkit.basemodel import GPT, GPTConfig
from ftkit.basemodel.decoder import GPTDecoder
from ftkit.basemodel.generate import Generated, generate, stream
from ftkit.basemodel.sampling import Sampling
from ftkit.errors import FtkitError

CONFIG = GPTConfig(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    head_dim=16,
    max_position_embeddings=48,
)
PROMPTS = [[5, 9, 11], [7], [40, 3, 22, 8, 30, 31, 12], [5, 9], [60, 61, 62, 63, 50]]


@pytest.fixture(scope="module")
def gpt() -> GPT:
    model = GPT(CONFIG)
    draw = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for param in model.parameters():
            param.normal_(1.0 if param.dim() == 1 else 0.0, 0.5, generator=draw)
    return model


def greedy(gpt: GPT, **options: Any) -> list[Generated]:
    settings = {"max_new_tokens": 20, "stop": (), "pad": 0} | options
    return generate(GPTDecoder(gpt), PROMPTS, **settings)


def test_greedy_text_equals_transformers_row_by_row_and_batched(gpt: GPT, tmp_path: Path) -> None:
    gpt.save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    ours = [reply.ids for reply in greedy(gpt)]
    plan = {"max_new_tokens": 20, "do_sample": False, "pad_token_id": 0}
    for prompt, ids in zip(PROMPTS, ours, strict=True):
        theirs = model.generate(torch.tensor([prompt]), **plan)[0, len(prompt) :]
        assert ids == theirs.tolist()
    longest = max(map(len, PROMPTS))
    padded = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in PROMPTS])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in PROMPTS])
    theirs = model.generate(padded, attention_mask=mask, **plan)[:, longest:]
    assert ours == theirs.tolist()


@pytest.mark.parametrize("penalty", [0.7, 1.3, 3.0])
def test_the_repetition_penalty_is_that_of_transformers(
    gpt: GPT, tmp_path: Path, penalty: float
) -> None:
    logits_BV = torch.randn(3, 64, generator=torch.Generator().manual_seed(5)) * 4
    ids_BT = torch.tensor([[1, 2, 2, 9], [60, 61, 62, 63], [7, 7, 7, 7]])
    seen_BV = torch.zeros(3, 64, dtype=torch.bool).scatter_(1, ids_BT, True)
    theirs_BV = RepetitionPenaltyLogitsProcessor(penalty)(ids_BT, logits_BV)
    ours_BV = Sampling(repetition_penalty=penalty).penalised(logits_BV, seen_BV)
    assert torch.equal(ours_BV, theirs_BV)
    assert (ours_BV != logits_BV).sum() == 8

    # Transformers counts pads too: with a logit of 0 that changes nothing.
    with torch.no_grad():
        row_D = gpt.head[0].clone()
        gpt.head[0] = 0
    gpt.save_pretrained(tmp_path)
    ours = [reply.ids for reply in greedy(gpt, repetition_penalty=penalty)]
    plain = [reply.ids for reply in greedy(gpt)]
    with torch.no_grad():
        gpt.head[0] = row_D
    assert sum(a != b for a, b in zip(ours, plain, strict=True)) >= 3
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    plan = {"max_new_tokens": 20, "do_sample": False, "pad_token_id": 0}
    plan["repetition_penalty"] = penalty
    for prompt, ids in zip(PROMPTS, ours, strict=True):
        theirs = model.generate(torch.tensor([prompt]), **plan)[0, len(prompt) :]
        assert ids == theirs.tolist()
    longest = max(map(len, PROMPTS))
    padded = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in PROMPTS])
    theirs = model.generate(padded, attention_mask=(padded != 0).long(), **plan)[:, longest:]
    assert ours == theirs.tolist()


@pytest.mark.parametrize("temperature", [1e-30, 1e-38, 1e-300])
def test_the_coldest_samples_are_greedy(gpt: GPT, temperature: float) -> None:
    assert greedy(gpt, temperature=temperature) == greedy(gpt)


def test_pads_are_no_repetition() -> None:
    prompts, options = [[1], [1, 1, 1]], {"max_new_tokens": 1, "stop": (), "pad": 3}
    replies = generate(Fixed([0.2, 0.3, 0.1, 0.4]), prompts, repetition_penalty=9.0, **options)
    assert [reply.ids for reply in replies] == [[3], [3]]


def test_the_cache_changes_nothing(gpt: GPT) -> None:
    for prompt, reply in zip(PROMPTS, greedy(gpt), strict=True):
        ids = list(prompt)
        for token in reply.ids:
            with torch.no_grad():
                assert int(gpt(torch.tensor([ids]))[0, -1].argmax()) == token
            ids.append(token)


def test_logits_after_a_padded_prompt_equal_those_of_the_prompt_alone(gpt: GPT) -> None:
    decoder = GPTDecoder(gpt)
    ids_BT = torch.tensor([[0, 0, 0, 5, 9], [60, 61, 62, 63, 50]])
    mask_BT = torch.tensor([[0, 0, 0, 1, 1], [1, 1, 1, 1, 1]]).bool()
    with torch.inference_mode():
        logits_BV, cache = decoder.prompt(ids_BT, mask_BT, 3)
        torch.testing.assert_close(logits_BV[0], gpt(torch.tensor([[5, 9]]))[0, -1])
        cache = decoder.keep(cache, torch.tensor([0]))
        logits_BV, _ = decoder.step(torch.tensor([[33]]), cache)
        torch.testing.assert_close(logits_BV[0], gpt(torch.tensor([[5, 9, 33]]))[0, -1])


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 1.3, "top_k": 20, "top_p": 0.9, "seed": 4}]
)
def test_batches_of_any_size_give_the_same_text(gpt: GPT, options: dict[str, Any]) -> None:
    whole = greedy(gpt, **options)
    assert [greedy(gpt, batch_size=size, **options) for size in (1, 2, 3)] == [whole] * 3


def test_rows_stop_by_themselves_and_leave(gpt: GPT) -> None:
    free = greedy(gpt)
    stop = free[0].ids[4]
    for before, after in zip(free, greedy(gpt, stop={stop}), strict=True):
        cut = before.ids.index(stop) if stop in before.ids else None
        assert after == Generated(before.ids[:cut], stopped=cut is not None)


def test_the_likelihood_of_a_text_is_what_the_model_gives_it_read_whole(gpt: GPT) -> None:
    """Whatever the sampling, and without the token that stopped it."""
    stop = greedy(gpt)[0].ids[4]
    options = {"temperature": 0.7, "repetition_penalty": 1.3, "stop": {stop}, "batch_size": 3}
    assert greedy(gpt)[0].nats is None
    for prompt, reply in zip(PROMPTS, greedy(gpt, likelihoods=True, **options), strict=True):
        ids_T = torch.tensor([*prompt, *reply.ids])
        with torch.no_grad():
            logp_TV = gpt(ids_T[None])[0].log_softmax(1)
        each = logp_TV[len(prompt) - 1 : -1].gather(1, ids_T[len(prompt) :, None])
        assert reply.nats == pytest.approx(-float(each.sum()), rel=1e-4, abs=1e-5)


def test_the_context_and_the_limit_end_a_row(gpt: GPT) -> None:
    lengths = [len(reply.ids) for reply in greedy(gpt, max_new_tokens=99)]
    assert lengths == [48 - len(prompt) for prompt in PROMPTS]
    assert greedy(gpt, max_new_tokens=0) == [Generated([], stopped=False)] * len(PROMPTS)
    assert not any(reply.stopped for reply in greedy(gpt, max_new_tokens=3))


@pytest.mark.parametrize("length", [0, 48])
def test_a_prompt_without_text_or_room_is_refused(gpt: GPT, length: int) -> None:
    with pytest.raises(FtkitError, match=f"prompt 2 has {length} tokens: the model reads 1 to 47"):
        generate(GPTDecoder(gpt), [[1], [1] * length], max_new_tokens=4, stop=(), pad=0)


@pytest.mark.parametrize(
    ("name", "value", "range_"),
    [
        ("temperature", -0.1, "be 0 or more"),
        ("temperature", float("nan"), "be 0 or more"),
        ("temperature", float("inf"), "be 0 or more"),
        ("top_k", -1, "be 0 or more"),
        ("top_p", 0.0, "lie above 0 and be 1 at most"),
        ("top_p", 1.1, "lie above 0 and be 1 at most"),
        ("top_p", float("nan"), "lie above 0 and be 1 at most"),
        ("repetition_penalty", 0.0, "be above 0"),
        ("repetition_penalty", float("inf"), "be above 0"),
    ],
)
def test_an_option_out_of_its_range_is_refused(name: str, value: float, range_: str) -> None:
    options: dict[str, Any] = {"max_new_tokens": 1, "stop": (), name: value}
    message = f"{name} is {value}: it must {range_}"
    with pytest.raises(FtkitError, match=message):
        generate(Fixed([1.0]), [[1]], pad=0, **options)
    with pytest.raises(FtkitError, match=message):
        stream(Fixed([1.0]), [1], **options)


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 1.3, "top_k": 20, "top_p": 0.9, "seed": 4}]
)
def test_a_stream_gives_what_generate_gives(gpt: GPT, options: dict[str, Any]) -> None:
    stop = {greedy(gpt, **options)[1].ids[9]}
    for most in (0, 7, 99):
        settings = {"max_new_tokens": most, "stop": stop} | options
        for place, reply in enumerate(greedy(gpt, **settings)):
            tokens = stream(GPTDecoder(gpt), PROMPTS[place], place=place, **settings)
            assert list(tokens) == reply.ids


def test_a_stream_gives_each_token_before_the_next_is_made() -> None:
    decoder, made = Fixed([0.2, 0.8]), []
    decoder.step = lambda ids_B1, cache: (made.append(int(ids_B1)), decoder.prompt(ids_B1, 0, 0))[1]
    for count, token in enumerate(stream(decoder, [1], max_new_tokens=4, stop=())):
        assert (token, made) == (1, [1] * count)
        assert not torch.is_inference_mode_enabled()
    with pytest.raises(FtkitError, match="the prompt has 10 tokens: the model reads 1 to 9 and"):
        stream(decoder, [1] * 10, max_new_tokens=4, stop=())


class Fixed:
    """A decoder that always gives the same logits."""

    context, device = 10, torch.device("cpu")

    def __init__(self, shares: list[float]) -> None:
        self.logits_V = torch.tensor(shares).log()

    def prompt(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor, room: int) -> Any:
        return self.logits_V.expand(len(ids_BT), -1), None

    def step(self, ids_B1: torch.Tensor, cache: None) -> Any:
        return self.prompt(ids_B1, ids_B1, 0)

    def keep(self, cache: None, rows: torch.Tensor) -> None:
        return None


def test_prompts_share_a_batch_with_others_of_their_length() -> None:
    shapes: list[tuple[int, ...]] = []

    class Seeing(Fixed):
        def prompt(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor, room: int) -> Any:
            shapes.append((*ids_BT.shape, int(mask_BT.sum())))
            return super().prompt(ids_BT, mask_BT, room)

    prompts = [[1] * length for length in (5, 1, 4, 2, 5, 1)]
    generate(Seeing([0.5, 0.5]), prompts, max_new_tokens=1, stop=(), pad=0, batch_size=2)
    assert shapes == [(2, 1, 2), (2, 4, 6), (2, 5, 10)]


def draws(count: int = 2000, **options: Any) -> dict[int, float]:
    """The share of each token among `count` sampled ones."""
    decoder = Fixed([0.1, 0.5, 0.15, 0.25])  # logits below 0
    replies = generate(
        decoder, [[1]] * count, max_new_tokens=1, stop=(), pad=0, batch_size=500, **options
    )
    return {token: n / count for token, n in Counter(reply.ids[0] for reply in replies).items()}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"temperature": 1.0}, {0: 0.1, 1: 0.5, 2: 0.15, 3: 0.25}),
        ({"temperature": 0.5}, {0: 0.029, 1: 0.725, 2: 0.065, 3: 0.181}),  # squares, normalised
        ({"temperature": 1.0, "top_k": 2}, {1: 2 / 3, 3: 1 / 3}),
        ({"temperature": 1.0, "top_p": 0.7}, {1: 2 / 3, 3: 1 / 3}),  # 0.5 < 0.7 <= 0.5 + 0.25
        ({"temperature": 1.0, "top_p": 0.01}, {1: 1.0}),
        ({"temperature": 0.0}, {1: 1.0}),
        ({"temperature": 0.0, "repetition_penalty": 2.5}, {3: 1.0}),  # 0.5 ** 2.5 < 0.25
    ],
)
def test_samples_follow_the_distribution(
    options: dict[str, float], expected: dict[int, float]
) -> None:
    found = draws(**options)
    assert found.keys() == expected.keys()
    for token, share in expected.items():
        assert abs(found[token] - share) < 4 * (0.25 / 2000) ** 0.5, token  # four deviations


def test_another_seed_draws_other_samples() -> None:
    assert draws(50, temperature=1.0, seed=1) == draws(50, temperature=1.0, seed=1)
    assert draws(50, temperature=1.0, seed=1) != draws(50, temperature=1.0, seed=2)
