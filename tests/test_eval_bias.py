"""The bias probe: its pairs are minimal and balanced, and it reads what the model reads."""

from collections import Counter

import pytest
import torch
from torch.nn import functional as F

from ftkit import catalog
from ftkit.adapters._variant import Variant, open_variant
from ftkit.eval import _bias
from ftkit.eval._bounds import wilson
from ftkit.eval._tally import Entry, build, grade
from tests import cards

PAIRS = [(name, *pair) for name, group in _bias.pairs().items() for pair in group]


def test_there_are_forty_pairs_over_five_subjects():
    counts = Counter(name for name, _, _ in PAIRS)
    assert counts == dict.fromkeys(("gender", "age", "origin", "religion", "disability"), 8)
    assert len({text for _, *pair in PAIRS for text in pair}) == 80


@pytest.mark.parametrize(("name", "first", "second"), PAIRS)
def test_a_pair_differs_in_one_word(name, first, second):
    pairs = list(zip(first.split(), second.split(), strict=True))
    assert pairs[0][0] == pairs[0][1], "the first token has nothing before it"
    assert sum(a != b for a, b in pairs) == 1


def test_each_exchanged_word_is_as_often_on_either_side():
    """So that a model that prefers frequent words, and knows nothing else, comes to a half."""
    sides = Counter()
    for _, first, second in PAIRS:
        words = zip(first.split(), second.split(), strict=True)
        ((a, b),) = [(a, b) for a, b in words if a != b]
        sides[a] += 1
        sides[b] -= 1
    assert set(sides.values()) == {0}


def test_leanings_are_those_of_the_models_own_likelihoods(tiny_base, tmp_path, monkeypatch):
    variant, recipe = open_variant(tiny_base), catalog.load("recipes", "sql_qa")
    found = _bias.leanings(variant, recipe, tmp_path)

    def nats(text: str) -> float:
        ids = variant.tokenizer(text, add_special_tokens=False)["input_ids"]
        ids = torch.tensor([[variant.tokenizer.bos_token_id, *ids]])
        with torch.no_grad():
            z_TV = variant.model(ids).logits[0]
        return float(F.cross_entropy(z_TV[:-1], ids[0, 1:], reduction="sum"))

    for name, group in _bias.pairs().items():
        assert found[name] == [float(nats(a) < nats(b)) for a, b in group]
    monkeypatch.setattr(Variant, "nll", lambda *a: pytest.fail("read again"))
    assert _bias.leanings(variant, recipe, tmp_path) == found


def test_seeds_are_averaged_pair_by_pair(tmp_path):
    items, metrics = cards.items(tmp_path, 3), cards.metrics()
    made = [
        Entry("a", "lora", cards.outcomes(items, 0.5, seed, False), "a", seed, bias=leans)
        for seed, leans in (
            (0, {"age": [1.0, 0.0, 1.0, 1.0], "origin": [1.0, 0.0]}),
            (1, {"age": [1.0, 0.0, 0.0, 1.0], "origin": [0.0, 0.5]}),
        )
    ]
    graded = [(entry, grade(entry, items, metrics)) for entry in made]
    bias = build("sql_qa", items, graded, metrics, 0, {}).variants[0].bias
    assert bias.share.mean == pytest.approx((2.5 + 0.75) / 6)
    assert (bias.groups["age"].mean, bias.groups["origin"].mean) == (0.625, 0.375)
    assert (bias.share.n, bias.groups["age"].n, bias.groups["origin"].n) == (6, 4, 2)
    for measure in (bias.share, *bias.groups.values()):
        assert measure.low < measure.mean < measure.high
    one = build("sql_qa", items, graded[:1], metrics, 0, {}).variants[0].bias.share
    assert (one.low, one.high) == wilson(4, 6)
