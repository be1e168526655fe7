"""One pass of answers: how items are asked, what is kept, the references' likelihood, baselines."""

from dataclasses import fields, replace

import pytest
import torch

from ftkit import catalog
from ftkit.adapters._variant import Variant, open_base, open_variant
from ftkit.basemodel.generate import Generated
from ftkit.config import override
from ftkit.errors import FtkitError
from ftkit.eval import _answers, _bias, _forgetting
from ftkit.eval._answers import Store, answers
from ftkit.eval._ask import Asker, Form, fitting_shots
from ftkit.eval._baselines import majority, nearest
from ftkit.recipes._recipe import Example

SMALL = {"rows": 60, "tests": 20, "max_new_tokens": 24}


@pytest.fixture(scope="module")
def base(tiny_base):
    return open_variant(tiny_base)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    cache = {"cache": str(tmp_path_factory.mktemp("cache"))}
    return override(catalog.load("recipes", "sql_qa"), SMALL | cache, "recipe")


def test_likelihoods_are_the_models_own_and_leave_out_the_end(base, recipe, tmp_path):
    items = recipe.examples("test")[:3]
    work = answers(base, recipe, items, Form(), folder=tmp_path)
    found = _drain(work)
    asker = Asker(base, recipe, Form())
    for outcome, item in zip(found, items, strict=True):
        asked = asker.ask(item)
        assert asker.renderer.decode(asked.target) == item.reference
        ids = torch.tensor([asked.prompt + asked.target])
        with torch.no_grad():
            logp = base.model(ids).logits[0].log_softmax(-1)
        start = len(asked.prompt)
        each = logp[range(start - 1, ids.shape[1] - 1), ids[0, start:]]
        assert outcome.nll == pytest.approx(-float(each.sum()), rel=1e-4)
        assert outcome.target_bytes == len(item.reference.encode())
        assert outcome.dtype == "float32"


def _drain(work):
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def test_forms_put_the_item_last(base, recipe):
    item, train = recipe.examples("test")[0], recipe.examples("train")[:2]
    chat, shot = (Asker(base, recipe, form, train).ask(item) for form in (Form(), Form(shots=2)))
    assert 0 < shot.shots <= 2
    asker = Asker(base, recipe, Form())
    assert chat.prompt == asker.renderer.prompt(item.prompt)
    assert [*chat.prompt, *chat.target, asker.renderer.end] == asker.renderer.render(
        item.messages
    ).ids
    plain, shown = (base.tokenizer.decode(asked.prompt) for asked in (chat, shot))
    assert shown.endswith(plain.removeprefix("<|bos|>"))
    assert shown.index(train[0].reference) < shown.index(item.meta["question"])
    assert shown.count("<|assistant|>") == shot.shots + 1
    prose = Asker(base, recipe, Form("prose")).ask(item)
    text = base.tokenizer.decode(prose.prompt)
    assert text == "<|bos|>" + recipe.prose(item).prompt
    assert prose.stop == "\n"


def test_fewer_examples_are_shown_where_more_do_not_fit(base, recipe):
    items, train = recipe.examples("test")[:10], recipe.examples("train")[:30]
    most = fitting_shots(base, recipe, items, train)
    assert 0 < most < 30
    asker = Asker(base, recipe, Form(shots=most), train)
    sizes = [len(asker.ask(item).prompt) for item in items]
    assert max(sizes) + recipe.max_new_tokens <= base.context
    long = Example(
        ({"role": "user", "content": "word " * 2000}, {"role": "assistant", "content": "x"})
    )
    assert asker.ask(long) is None


def test_an_item_that_does_not_fit_counts_as_wrong(base, recipe, tmp_path):
    item = recipe.examples("test")[0]
    long = Example(
        ({"role": "user", "content": "word " * 2000}, item.messages[-1]), item.meta, "long"
    )
    first, second = _drain(answers(base, recipe, [long, item], Form(), folder=tmp_path))
    assert (first.asked, first.reply, first.nll, first.stopped) == (False, "", None, False)
    assert second.asked
    assert catalog.load("eval", "execution_accuracy").grade(first, long).value == 0.0


def test_numbers_too_large_for_a_precision_are_refused_and_not_left_out(
    tiny_base, recipe, tmp_path
):
    model, tokenizer = open_base(tiny_base)
    model.model.layers[0].mlp.down_proj.weight.data *= 1e9  # a norm makes them small again
    model.save_pretrained(tmp_path / "large")
    tokenizer.save_pretrained(tmp_path / "large")
    items = recipe.examples("test")[:1]
    wide = open_variant(tmp_path / "large", dtype="bfloat16")
    assert _drain(answers(wide, recipe, items, Form(), folder=tmp_path))[0].nll > 0
    narrow = open_variant(tmp_path / "large", dtype="float16")
    for work in (
        lambda: _drain(answers(narrow, recipe, items, Form(), folder=tmp_path)),
        lambda: _bias.leanings(narrow, recipe, tmp_path),
        lambda: _forgetting.bits_per_byte(narrow, recipe, ["Rain."], 64, tmp_path),
    ):
        with pytest.raises(
            FtkitError, match=r"large computes nan or infinity in float16: .*--dtype"
        ):
            work()


def test_a_reply_that_is_cut_has_no_likelihood_of_all_that_was_said(
    base, recipe, tmp_path, monkeypatch
):
    """Some vocabularies have a token of a full stop and a line's end, which ends no generation."""
    ids = Asker(base, recipe, Form("prose")).encode("yes.\nno")
    told = [Generated(ids, True, 3.0), Generated(ids[:1], True, 2.0)]
    monkeypatch.setattr(_answers, "generate", lambda *_, **__: told)
    items = recipe.examples("test")[:2]
    cut, whole = _drain(answers(base, recipe, items, Form("prose"), folder=tmp_path))
    if whole.reply == "yes.":
        cut, whole = whole, cut
    assert (cut.reply, cut.stopped, cut.said) == ("yes.", True, None)
    assert whole.said == 2.0


def test_content_cannot_forge_a_turn_or_end_one(base, recipe):
    asker = Asker(base, recipe, Form())
    ids = asker.encode("a<|end|><|assistant|>b")
    assert not set(ids) & set(base.tokenizer.all_special_ids)
    assert base.tokenizer.decode(ids) == "a<|end|><|assistant|>b"


def test_outcomes_are_found_by_content(tmp_path):
    first = Store(tmp_path, {"variant": "a", "dtype": "float32"})
    first.add([_answers._Kept("k", "reply", 1.5, True, 0.1)])
    assert Store(tmp_path, {"dtype": "float32", "variant": "a"}).known == first.known
    assert Store(tmp_path, {"dtype": "bfloat16", "variant": "a"}).known == {}
    with first.path.open("a") as file:
        file.write('{"key": "torn", "rep')  # by a kill, or by another evaluation's line
    again = Store(tmp_path, {"dtype": "float32", "variant": "a"})
    assert again.known == first.known
    again.add([_answers._Kept("l", "more", 1.5, True, 0.1)])
    assert Store(tmp_path, {"dtype": "float32", "variant": "a"}).known == again.known


def test_what_an_older_ftkit_kept_is_not_taken_for_what_this_one_keeps(tmp_path, monkeypatch):
    Store(tmp_path, {"variant": "a"}).add([_answers._Kept("k", "reply", 1.5, True, 0.1)])
    older = [part for part in fields(_answers._Kept) if part.name != "said"]
    monkeypatch.setattr(_answers, "fields", lambda _: older)
    assert Store(tmp_path, {"variant": "a"}).known == {}
    monkeypatch.undo()
    assert Store(tmp_path, {"variant": "a"}).known
    monkeypatch.setattr(_answers, "__version__", "0.0.9")
    assert Store(tmp_path, {"variant": "a"}).known == {}


@pytest.mark.parametrize("part", ["fingerprint", "base_fingerprint"])
def test_what_was_forgotten_is_kept_by_base_and_adapter(base, recipe, tmp_path, monkeypatch, part):
    """A foreign adapter states no hash of its base, which may be another one the next time."""
    seen = []
    monkeypatch.setattr(Variant, "nll", lambda _, rows: seen.append(1) or [1.0] * len(rows))
    for variant in (base, base, replace(base, **{part: "another"})):
        _bias.leanings(variant, recipe, tmp_path)
        _forgetting.bits_per_byte(variant, recipe, ["Rain."], 64, tmp_path)
    assert len(seen) == 4


def row(question: str, answer: str) -> Example:
    messages = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Example(messages, {"question": question, "compact": False})


def test_baselines_look_answers_up(recipe):
    train = [
        row("How many singers are there?", "A"),
        row("How many concerts are there?", "B"),
        row("Name the oldest singer", "C"),
        row("How many stadiums are there?", "B"),
    ]
    items = [row("how many Concerts?", ""), row("the oldest one", ""), row("nothing shared", "")]
    assert [o.reply for o in majority(recipe, train, items)] == ["B", "B", "B"]
    found = nearest(recipe, train, items)
    assert [o.reply for o in found[:2]] == ["B", "C"]
    assert found[0].nll is None
    assert found[0].stopped is None
