"""What a training costs: operations as PyTorch counts them, and the peak they are a share of."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ftkit.basemodel import GPT
from ftkit.basemodel.budget import Pretrain, flops, settle
from ftkit.basemodel.config import FAMILY_NAMES, GPTConfig, preset
from ftkit.basemodel.device import Device


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("name", ["pico", "nano"])
def test_operations_are_those_that_pytorch_counts(name: str, family: str, tied: bool) -> None:
    """Of a real forward and backward pass; up to 256 positions no masked product is left out."""
    context = 64 if name == "pico" else 256
    shape = replace(preset(name, context=context, family=family), tie_word_embeddings=tied)
    gpt = GPT(shape)
    ids_BT = torch.randint(shape.vocab_size, (2, context))
    with FlopCounterMode(display=False) as counted:
        gpt.nats(ids_BT, ids_BT).backward()
    assert flops(shape, context) == pytest.approx(counted.get_total_flops() / 2 / context, rel=0.02)


def test_looked_up_weights_do_not_multiply() -> None:
    tied = preset("pico")
    untied = replace(tied, tie_word_embeddings=False)
    assert untied.parameters > tied.parameters
    assert flops(untied, 128) == flops(tied, 128)
    longer = replace(preset("pico", family="gpt2"), max_position_embeddings=4096)
    assert flops(longer, 128) == flops(preset("pico", family="gpt2"), 128)


def test_the_peak_is_measured_and_draws_nothing() -> None:
    settings = Pretrain(preset="pico", context=64, vocab_size=320, tokens=4096)
    state = torch.get_rng_state()
    peak = settle(settings, preset("pico", 320, 64), 0.0)["peak_flops"]
    assert torch.equal(torch.get_rng_state(), state)
    assert 1e8 < peak < 1e15
    assert Device().peak_flops() == pytest.approx(peak, rel=0.9)


def test_the_whole_of_a_shape_is_in_the_count() -> None:
    """6 N + 12 L H Q T by hand, of 2 blocks."""
    shape = GPTConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=32,
    )
    block = 16 * 16 + 2 * 16 * 8 + 16 * 16 + 3 * 16 * 24 + 2 * 8 + 2 * 16
    assert flops(shape, 10) == 6 * (2 * block + 16 + 32 * 16) + 12 * 2 * 2 * 8 * 10


@pytest.mark.parametrize(
    ("tokens", "accumulate", "steps"),
    [(8192, 1, 2), (40 * 4096, 2, 20), (2**24, 64, 64), (2**26, 64, 256)],
)
def test_a_short_run_is_given_updates_in_place_of_one_large_batch(
    tokens: int, accumulate: int, steps: int
) -> None:
    """gpt2's batch of 262,144 is meant for 2.5 billion tokens; what the user sets is left alone."""
    settings = Pretrain(preset="gpt2", tokens=tokens)
    settled = settle(settings, preset("gpt2"), 0.0)
    assert (settled["accumulate"], settled["steps"]) == (accumulate, steps)
    assert settled["tokens"] == tokens
    asked = settle(replace(settings, batch=16_384), preset("gpt2"), 0.0)
    assert asked["accumulate"] == 4
