"""Text past the context's end: with a cache as without one, in batches, for every decoder."""

from collections.abc import Callable
from typing import Any

import pytest
import small
import torch
from torch import Tensor

from ftkit.adapters._decode import TransformersDecoder
from ftkit.basemodel import GPT, GPTConfig
from ftkit.basemodel.decoder import GPTDecoder
from ftkit.basemodel.generate import Decoder, Generated, generate, stream
from ftkit.basemodel.sampling import Sampling
from ftkit.catalog import load
from ftkit.errors import FtkitError

LENGTHS = [3, 14, 1, 15, 16, 17, 38]  # of prompts, for a context of 16
PROMPTS = [
    [(7 * place + 3 * n) % 61 + 3 for n in range(size)] for place, size in enumerate(LENGTHS)
]
NEW = 36  # several windows
OPTIONS: list[dict[str, Any]] = [
    {},
    {"temperature": 1.1, "top_k": 30, "top_p": 0.95, "seed": 4},
    {"repetition_penalty": 1.4},
    {"temperature": 0.9, "repetition_penalty": 1.2, "seed": 8},
]


def gpt(context: int) -> GPT:
    config = GPTConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        head_dim=16,
        max_position_embeddings=context,
    )
    model, draw = GPT(config), torch.Generator().manual_seed(11)
    with torch.no_grad():
        for param in model.parameters():
            param.normal_(1.0 if param.dim() == 1 else 0.0, 0.5, generator=draw)
    return model


def plainly(
    read: Callable[[Tensor], Tensor], context: int, place: int, prompt: list[int], **options: Any
) -> list[int]:
    """Read the window anew for each token; `read` gives the logits_BV behind it."""
    sampling = Sampling(**options)
    ids, draw = list(prompt), sampling.draw(place)
    for _ in range(NEW):
        start = 0
        while len(ids) - start >= context:
            start += context // 2
        seen_BV = torch.zeros(1, 1000, dtype=torch.bool)
        seen_BV[0, ids] = True
        with torch.inference_mode():
            logits_BV = read(torch.tensor([ids[start:]]))
        seen_BV = seen_BV[:, : logits_BV.shape[1]]
        penalised = "repetition_penalty" in options
        ids.append(int(sampling.choose(logits_BV, seen_BV if penalised else None, [draw])))
    return ids[len(prompt) :]


def going_on(decoder: Decoder, **options: Any) -> list[Generated]:
    settings = {"max_new_tokens": NEW, "stop": (), "pad": 0, "crop": True} | options
    return generate(decoder, PROMPTS, **settings)


@pytest.mark.parametrize(
    ("context", "options"), [*((16, options) for options in OPTIONS), (17, OPTIONS[3]), (2, {})]
)
def test_the_cache_changes_nothing_across_windows(context: int, options: dict[str, Any]) -> None:
    model = gpt(context)
    decoder = GPTDecoder(model)
    expected = [
        plainly(lambda ids_BT: model(ids_BT)[:, -1], context, place, prompt, **options)
        for place, prompt in enumerate(PROMPTS)
    ]
    for size in (64, 3, 1):
        assert [row.ids for row in going_on(decoder, batch_size=size, **options)] == expected
    place, common = 6, {"max_new_tokens": NEW, "stop": (), "crop": True}
    assert (
        list(stream(decoder, PROMPTS[place], place=place, **common, **options)) == expected[place]
    )


@pytest.mark.parametrize("name", ["full", "soft_prompt", "prefix"])
def test_every_decoder_goes_on_past_its_context(name: str) -> None:
    """A soft prompt or prefix of 20 leaves 16 places and stands before every window."""
    method = load("adapters", name)
    places = 16 + method.virtual_tokens + method.prefix_tokens
    model = method.attach(small.model(max_position_embeddings=places), small.tokenizer(), 0)
    decoder = TransformersDecoder(model.eval(), method, 2)
    assert decoder.context == 16

    def read(ids_BT: Tensor) -> Tensor:
        return decoder.prompt(ids_BT, torch.ones_like(ids_BT, dtype=torch.bool), 0)[0]

    options = OPTIONS[3]
    expected = [plainly(read, 16, n, prompt, **options) for n, prompt in enumerate(PROMPTS)]
    assert [row.ids for row in going_on(decoder, **options)] == expected


def test_rows_that_stop_in_a_later_window_leave_the_others_alone() -> None:
    decoder = GPTDecoder(gpt(16))
    free = going_on(decoder)
    stop = {free[0].ids[30], free[3].ids[25]}
    ends = set()
    for before, after in zip(free, going_on(decoder, stop=stop), strict=True):
        cut = next((n for n, token in enumerate(before.ids) if token in stop), None)
        assert after == Generated(before.ids[:cut], stopped=cut is not None)
        ends.add(cut)
    assert len(ends) > 2


def test_the_beginning_of_a_text_does_not_depend_on_cropping() -> None:
    decoder = GPTDecoder(gpt(16))
    short = [prompt for prompt in PROMPTS if len(prompt) < 16]
    plan: dict[str, Any] = {"max_new_tokens": NEW, "stop": (), "pad": 0, "temperature": 1.0}
    for whole, cut in zip(
        generate(decoder, short, crop=True, **plan), generate(decoder, short, **plan), strict=True
    ):
        assert len(whole.ids) == NEW
        assert cut.ids == whole.ids[: len(cut.ids)]
    with pytest.raises(FtkitError, match="prompt 5 has 16 tokens: the model reads 1 to 15"):
        generate(decoder, PROMPTS, **plan)
    with pytest.raises(FtkitError, match="prompt 1 has 0 tokens"):
        generate(decoder, [[]], crop=True, **plan)


def test_a_window_is_read_once_and_rows_that_move_share_a_batch() -> None:
    decoder, shapes = GPTDecoder(gpt(32)), []
    read = decoder.prompt

    def counted(ids_BT: Tensor, mask_BT: Tensor, room: int) -> Any:
        shapes.append((tuple(ids_BT.shape), int(mask_BT.sum()), room))
        return read(ids_BT, mask_BT, room)

    decoder.prompt = counted  # type: ignore[method-assign]
    generate(decoder, [[5] * 10, [6] * 3], max_new_tokens=45, stop=(), pad=0, crop=True)
    # 22 and 29 tokens fill the first windows; from 32 on the window holds 16, from 48 on again.
    assert shapes == [((2, 10), 13, 29), ((2, 16), 32, 16), ((1, 16), 16, 7)]
