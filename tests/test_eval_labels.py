"""Labels: scored for every item, kept on disk under their names, and metrics known by hand."""

import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import small
import torch

from ftkit.adapters._variant import open_variant
from ftkit.catalog import load
from ftkit.eval._answers import Outcome, answers
from ftkit.eval._ask import Asker, Form
from ftkit.eval._evaluation import Evaluation
from ftkit.eval._labels import named
from ftkit.eval._samples import every_answer
from ftkit.eval._tally import Entry, build, grade
from ftkit.eval.word_overlap import common
from ftkit.recipes._recipe import Example

LABELS = ("bad", "good", "good enough")


def item(question: str, answer: str, labels: tuple[str, ...] = LABELS) -> Example:
    messages = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Example(messages, {"labels": labels} if labels else {}, question)


ITEMS = [item("Was it nice?", "good"), item("And the second one, was it?", "bad"), item("", "bad")]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return open_variant(small.base(tmp_path_factory.mktemp("labels") / "base"))


def drain(work) -> list[Outcome]:
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def by_hand(variant, prompt: list[int], text: list[int]) -> float:
    """Sum a continuation's negative log-likelihood, one row, by the model itself."""
    ids = torch.tensor([prompt + text])
    with torch.no_grad():
        logp = variant.model(ids).logits[0].log_softmax(-1)
    places = range(len(prompt) - 1, ids.shape[1] - 1)
    return -float(logp[places, ids[0, len(prompt) :]].sum())


@pytest.mark.parametrize("form", [Form(), Form(shots=1), Form("prose")], ids=lambda f: f.label)
def test_each_label_is_scored_with_its_end_behind_the_items_own_prompt(base, form, tmp_path):
    recipe, shots = replace(load("recipes", "instruct"), max_new_tokens=4), [item("So?", "good")]
    found = drain(answers(base, recipe, ITEMS, form, shots=shots, folder=tmp_path))
    asker = Asker(base, recipe, form, shots)
    end = asker.encode("\n") if form.kind == "prose" else [asker.renderer.end]
    for outcome, example in zip(found, ITEMS, strict=True):
        asked = asker.ask(example)
        assert list(outcome.labels) == list(LABELS)
        assert base.tokenizer.decode(asked.prompt).count("<|assistant|>good") == form.shots
        for label in LABELS:
            wanted = by_hand(base, asked.prompt, asker.encode(label) + end)
            assert outcome.labels[label] == pytest.approx(wanted, rel=1e-4)
        assert outcome.nll == pytest.approx(by_hand(base, asked.prompt, asked.target), rel=1e-4)


def test_a_label_that_begins_another_has_no_head_start(base, tmp_path):
    """Without its end, "good" would be likelier than "good enough" whatever the model thinks."""
    recipe = load("recipes", "instruct")
    asked = Asker(base, recipe, Form()).ask(ITEMS[0])
    short, long = asked.labels["good"], asked.labels["good enough"]
    assert short[:-1] == long[: len(short) - 1]
    assert short[-1] == long[-1] != long[len(short) - 1]


def test_other_labels_are_other_answers_on_disk(base, tmp_path):
    """What is kept under one set of labels does not answer for another, or for none."""
    recipe = replace(load("recipes", "instruct"), max_new_tokens=2)
    sizes = []
    for labels in (LABELS, LABELS, ("bad", "good"), ()):
        rows = [item("Was it nice?", "good", labels)]
        (found,) = drain(answers(base, recipe, rows, Form(), folder=tmp_path))
        assert tuple(found.labels) == labels
        (file,) = tmp_path.glob("*.jsonl")
        sizes.append(len(file.read_text().splitlines()))
    assert sizes == [2, 2, 3, 4]


def test_a_label_that_does_not_fit_the_context_counts_as_wrong(base, tmp_path):
    recipe = replace(load("recipes", "instruct"), max_new_tokens=2)
    asker = Asker(base, recipe, Form())
    room = base.context - len(asker.ask(item("", "bad")).prompt)
    rows = [item("!" * size, "bad") for size in (1, room - 1, room)]  # "!" is one token
    found = drain(answers(base, recipe, rows, Form(), folder=tmp_path))
    assert [outcome.asked for outcome in found] == [True, True, False]
    assert [len(outcome.labels) for outcome in found] == [3, 0, 0]
    metric = load("eval", "label_likelihood")
    assert [metric.grade(*pair).value for pair in zip(found[1:], rows[1:], strict=True)] == [0, 0]
    lookup = Outcome(0, "bad", "bad", stopped=None)
    assert metric.grade(lookup, rows[0]).value is None, "a baseline has no likelihoods"


def test_metrics_of_labels_and_of_texts_keep_to_their_own_items():
    plain, labelled = item("Who?", "Lena", ()), item("Nice?", "good")
    given = Outcome(0, "good", "good", stopped=True, labels=dict.fromkeys(LABELS, 1.0))
    names = load("recipes", "instruct").metrics
    scored = [
        {name for name in names if load("eval", name).grade(given, one).value is not None}
        for one in (plain, labelled)
    ]
    free = {"word_overlap", "answer_match", "answer_named", "format_failure"}
    assert scored == [free, {n for n in names if n[0] in "lm"} | {"calibration"}]


@pytest.mark.parametrize(
    ("answer", "strict", "lenient", "fails", "reason"),
    [
        ("good", 1, 1, 0, "right"),
        ("Good.", 0, 1, 1, "more than the label: good"),
        ("It was good, I think", 0, 1, 1, "more than the label: good"),
        ("bad", 0, 0, 0, "wrong: bad"),
        ("good enough", 0, 0, 0, "wrong: good enough"),
        ("good or bad", 0, 0, 1, "no label"),
        ("goodness", 0, 0, 1, "no label"),
        ("", 0, 0, 1, "no label"),
    ],
)
def test_an_answer_is_the_label_or_names_it_or_fails(answer, strict, lenient, fails, reason):
    outcome = Outcome(0, answer, answer)
    found = [
        load("eval", name).grade(outcome, ITEMS[0])
        for name in ("label_accuracy", "label_lenient", "label_format")
    ]
    assert [score.value for score in found] == [strict, lenient, fails]
    assert found[0].reason == reason


def test_labels_are_found_as_words_and_the_longest_is_meant():
    assert named("GOOD\nenough!", LABELS) == {"good enough"}
    assert named("C++ or C", ["c", "c++"]) == {"c", "c++"}
    assert named("für gut", ["GUT", "schlecht"]) == {"GUT"}


def test_labels_that_differ_in_case_alone_and_one_that_training_never_has():
    """What is strictly right is right leniently too, and no format failure."""
    names = ("label_accuracy", "label_lenient", "label_format", "macro_f1")
    for right, labels in (("Yes", ("Yes", "yes")), ("new", LABELS)):
        outcome, asked = Outcome(0, right, right), item("?", right, labels)
        found = [load("eval", name).grade(outcome, asked).value for name in names]
        assert found == [1, 1, 0, 1]


def f1_by_hand(answers: Sequence[str], rights: Sequence[str]) -> float:
    """Average precision and recall's harmonic mean over labels, the long way round."""
    found = []
    for label in {*answers, *rights} - {""}:
        hits = sum(a == r == label for a, r in zip(answers, rights, strict=True))
        said, asked = list(answers).count(label), list(rights).count(label)
        precision, recall = hits / said if said else 0.0, hits / asked if asked else 0.0
        both = precision + recall
        found.append(2 * precision * recall / both if both else 0.0)
    return sum(found) / len(found)


def test_macro_f1_is_the_mean_of_its_pseudo_values_and_their_spread_is_its_own():
    draw, metric = random.Random(1), load("eval", "macro_f1")
    known = "\n".join(LABELS)
    rights = draw.choices(LABELS, [6, 3, 1], k=120)
    said = [r if draw.random() < 0.6 else draw.choice([*LABELS, "?"]) for r in rights]
    rows = [(answer, right, known) for answer, right in zip(said, rights, strict=True)]
    values = [score.value for score in metric.scores(rows)]
    blank = [answer.strip("?") for answer in said]
    assert sum(values) / 120 == pytest.approx(f1_by_hand(blank, rights))
    # Resampling the pseudo-values must spread as resampling items and computing F1 anew does.
    anew, means = [], []
    for _ in range(1500):
        drawn = draw.choices(range(120), k=120)
        anew.append(f1_by_hand([blank[n] for n in drawn], [rights[n] for n in drawn]))
        means.append(sum(values[n] for n in drawn) / 120)
    spreads = [math.sqrt(sum((x - sum(v) / 1500) ** 2 for x in v) / 1500) for v in (anew, means)]
    assert spreads[1] == pytest.approx(spreads[0], rel=0.1)


def test_a_card_shows_macro_f1_beside_accuracy():
    """Answering the commonest label always is 3/4 right, and F1 says what that is worth."""
    items = [item(str(n), "good" if n % 4 else "bad", ("bad", "good")) for n in range(40)]
    likely = {"bad": 2.0, "good": 1.0}
    outcomes = [Outcome(n, "good", "good", stopped=True, labels=likely) for n in range(40)]
    names = ("label_accuracy", "macro_f1", "label_likelihood")
    metrics = {name: load("eval", name) for name in names}
    entry = Entry("base", "base", outcomes, "base")
    card = build("instruct", items, [(entry, grade(entry, items, metrics))], metrics, 0, {})
    means = [card.variants[0].metrics[name].mean for name in names]
    assert means == pytest.approx([0.75, (2 * 30 / 70) / 2, 0.75])  # F1 of "bad" is 0
    assert card.primary == "label_accuracy"


def test_answers_are_listed_by_what_concerns_them_alone():
    """Free text has no label, and no reason why a label was missed."""
    asked = item("?", "a dog", ())
    metrics = {name: load("eval", name) for name in ("label_accuracy", "word_overlap")}
    entry = Entry("base", "base", [Outcome(0, "a dog", "a dog")], "base")
    entries = [(entry, grade(entry, [asked], metrics))]
    told = json.loads(every_answer([asked], entries, ["word_overlap"]))["variants"]["base"]
    assert (told["scores"], told["reason"]) == ({"word_overlap": 1.0}, "all")


def test_without_metrics_of_its_own_a_recipe_is_ranked_by_bits_per_byte():
    """Not by the share of answers that end, which says nothing of what stands in them."""
    group = SimpleNamespace(recipe=SimpleNamespace(name="instruct", metrics=()))
    work = Evaluation(group, [], 0, 0, Path(), Path())
    with pytest.raises(AttributeError, match="train"):
        next(work.run(None))
    assert list(work.metrics) == ["bits_per_byte", "own_stop"]


def test_word_overlap_is_rouge_l():
    score = load("eval", "word_overlap").score
    # Lin 2004, section 3.1: against "police killed the gunman" these have recall 3/4 and 2/4.
    assert score("police kill the gunman", "police killed the gunman").value == 3 / 4
    assert score("the gunman kill police", "police killed the gunman").value == 2 / 4
    assert score("Police, KILLED", "police killed the gunman").value == pytest.approx(2 * 2 / 6)
    assert score("今日は雨", "今日は晴れ").value == pytest.approx(2 * 3 / 9)
    assert (score("", "a").value, score("a", "!").value) == (0.0, None)
    draw = random.Random(0)
    for _ in range(200):
        one, two = (draw.choices("abcd", k=draw.randrange(12)) for _ in range(2))
        assert common(one, two) == slowly(one, two)


def slowly(one: Sequence[str], two: Sequence[str]) -> int:
    """Find the length of the longest common subsequence by its definition."""
    size = [[0] * (len(two) + 1) for _ in range(len(one) + 1)]
    for i, a in enumerate(one):
        for j, b in enumerate(two):
            size[i + 1][j + 1] = size[i][j] + 1 if a == b else max(size[i][j + 1], size[i + 1][j])
    return size[-1][-1]


def test_answer_match_forgives_spelling_and_nothing_else():
    score = load("eval", "answer_match").score
    same = [("  the  Answer. ", "The answer"), ("“Paris”", "paris"), ("ﬁne", "fine")]
    same += [('"Ein Haus".', "ein haus")]
    other = [("x > 1", "x < 1"), ("answer", "the answer"), ("3.5", "35"), ("", "a")]
    other += [("!", "?"), ("2²", "22")]
    assert [score(*pair).value for pair in same] == [1.0] * 4
    assert [score(*pair).value for pair in other] == [0.0] * 6
