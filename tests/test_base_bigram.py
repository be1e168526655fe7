"""The bigram model against counting by hand, and its place in every pretraining."""

import itertools
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from ftkit.basemodel import GPT
from ftkit.basemodel import bigram as module
from ftkit.basemodel.bigram import STRENGTHS, Bigram
from ftkit.basemodel.decoder import GPTDecoder
from ftkit.basemodel.generate import generate
from ftkit.catalog import load
from ftkit.errors import FtkitError
from tests.test_base_pretrain import TINY, begin, finish

IDS = [0, 1, 2, 1, 2, 3, 0, 1, 1, 2, 2, 3, 0, 2, 1, 0, 1, 2]


@pytest.mark.parametrize("chunk", [1, 2, 5, 17, 18, 100])
def test_counts_are_those_of_counting(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the ids are cut into chunks, no pair is lost and none counted twice."""
    monkeypatch.setattr(module, "CHUNK", chunk)
    found = Bigram.count(np.array(IDS, np.uint16), 5)
    pairs = Counter(itertools.pairwise(IDS))
    codes = zip(found.pairs.tolist(), found.counts.tolist(), strict=True)
    assert {divmod(code, 5): count for code, count in codes} == pairs
    assert found.alone.tolist() == [Counter(IDS)[token] for token in range(5)]


def test_its_loss_is_that_of_the_formula() -> None:
    counted = Bigram.count(np.array(IDS), 5)
    ids_BT = torch.tensor([[0, 1, 2, 4], [3, 0, 4, 4]])
    labels_BT = torch.tensor([[1, 2, 4, -100], [0, 2, -100, -100]])
    pairs, alone = Counter(itertools.pairwise(IDS)), Counter(IDS)
    before = Counter(IDS[:-1])

    def nats(strength: float) -> float:
        total = 0.0
        for first, second in [(0, 1), (1, 2), (2, 4), (3, 0), (0, 2)]:
            share = (alone[second] + 1) / (len(IDS) + 5)
            told = pairs[first, second] + strength * share
            total -= math.log(told / (before[first] + strength))
        return total

    assert counted.nats([(ids_BT, labels_BT)]) == pytest.approx(min(map(nats, STRENGTHS)))


def test_every_pretraining_says_what_a_bigram_reaches(tmp_path: Path) -> None:
    run = begin(tmp_path / "base")
    said = [row["event"] for row in finish(run, TINY) if "event" in row]
    (kept,) = [row["bigram"] for row in run.records() if "bigram" in row]
    assert any(f"{kept['nats']:.3f} nats" in event for event in said)
    assert run.done["bigram"] == kept
    assert 0 < kept["nats"] < math.log(320)
    assert "bigram model" in (run.inner / "curves.svg").read_text()


def test_the_family_without_blocks_is_a_bigram_model_that_transformers_opens(
    tmp_path: Path,
) -> None:
    settings = replace(TINY, family="bigram", tokens=131_072)
    run = begin(tmp_path / "base", settings)
    finish(run, settings)
    model = AutoModelForCausalLM.from_pretrained(run.path).eval()
    assert (model.config.model_type, model.config.num_hidden_layers) == ("llama", 0)
    gpt = GPT.from_pretrained(run.path)
    ids_BT = torch.tensor([[0, 40, 41, 42, 43], [7, 99, 98, 41, 43]])
    with torch.no_grad():
        ours_BTV = gpt(ids_BT)
        assert torch.allclose(model(ids_BT).logits, ours_BTV, atol=1e-5)
    # The last token alone says what comes next.
    assert torch.equal(ours_BTV[0, -1], ours_BTV[1, -1])
    # Descent finds what counting finds: the two see the same, and differ in smoothing alone.
    reached, counted = run.done["validation"]["nats"], run.done["bigram"]["nats"]
    assert reached == pytest.approx(counted, rel=0.03)
    asked = {"max_new_tokens": 12, "do_sample": False}
    with torch.no_grad():
        theirs = model.generate(ids_BT[:1], attention_mask=torch.ones(1, 5), **asked)[0, 5:]
    (said,) = generate(GPTDecoder(gpt), [ids_BT[0].tolist()], max_new_tokens=12, stop=(1, 6), pad=2)
    assert said.ids == theirs.tolist()[: len(said.ids)]
    assert len(said.ids) == 12 or theirs[len(said.ids)] in (1, 6)


def test_lora_has_nothing_to_adapt_there(tmp_path: Path) -> None:
    shape = LlamaConfig(
        vocab_size=64, hidden_size=32, num_attention_heads=4, num_hidden_layers=0, pad_token_id=0
    )
    with pytest.raises(FtkitError, match="no linear layers beside its output layer"):
        load("adapters", "lora").attach(LlamaForCausalLM(shape), None, 0)
