"""Instructions that a program can check: each rule by answers on both sides, and the prompts."""

import json
import re

import pytest

from ftkit.catalog import load
from ftkit.config import override
from ftkit.eval._answers import Outcome
from ftkit.eval._instructions import RULES, followed
from ftkit.eval._loose import forms
from ftkit.recipes._recipe import Example

CASES = [
    ({"rule": "words", "least": 3, "most": 3}, "It's well-known here.", "It is well known here."),
    ({"rule": "words", "most": 2}, "Rain again.", "Rain, rain again."),
    ({"rule": "sentences", "n": 2}, 'He said no. "Go!"', "One e.g. two"),
    ({"rule": "list", "n": 2}, "- a\n\n- b c", "Here:\n- a\n- b"),
    ({"rule": "list", "n": 1}, "1. a", "-a"),
    ({"rule": "capitals"}, "RAIN, 2!", "RAIN, x"),
    ({"rule": "capitals"}, "RAIN", "22"),
    ({"rule": "small"}, "rain 2", "Rain"),
    ({"rule": "letter", "text": "E"}, "Rain falls.", "Rain fell."),
    ({"rule": "count", "text": "rain", "n": 2}, "Rain and rain.", "Rain, rain, rain."),
    ({"rule": "count", "text": "rain", "n": 1}, "The rain.", "The rainbow."),
    ({"rule": "starts", "text": "Well"}, "Well, yes.", "Oh well."),
    ({"rule": "ends", "text": "and so it goes"}, "No, and so it goes.", "And so it goes on."),
    ({"rule": "question"}, "Is it?", "Is it? Yes."),
    ({"rule": "commas"}, "no", "no, no"),
    ({"rule": "quotes"}, '"Yes."', '"Yes". No'),
]


@pytest.mark.parametrize(("check", "right", "wrong"), CASES)
def test_a_rule_passes_what_follows_it_and_nothing_else(check, right: str, wrong: str):
    assert followed(json.dumps([check]), right) == [True]
    assert followed(json.dumps([check]), wrong) == [False]
    assert followed(json.dumps([check]), " ") == [False]


def test_every_rule_is_tried_and_an_unknown_one_is_named():
    assert {check["rule"] for check, _, _ in CASES} == set(RULES)
    with pytest.raises(ValueError, match="no rule 'rhyme' for instructions: it is one of words, "):
        followed('[{"rule": "rhyme"}]', "a")


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ({"rule": "rhyme"}, "no rule 'rhyme' for instructions: it is one of words, "),
        ({"rule": "list"}, "the rule 'list' needs a whole number as its 'n'"),
        ({"rule": "words", "most": "3"}, "the rule 'words' needs a whole number as its 'most'"),
        ({"rule": "words"}, "the rule 'words' needs 'least' or 'most'"),
        ({"rule": "letter", "text": " "}, "the rule 'letter' needs a 'text'"),
        ({"rule": "count", "text": "so so", "n": 1}, "the rule 'count' needs one word as its"),
    ],
)
def test_what_cannot_be_checked_is_named_with_its_row(check, message):
    told = {"instructions": json.dumps([check])}
    words = ({"role": "user", "content": "Say."}, {"role": "assistant", "content": "Yes."})
    item = Example(words, told, "mine.jsonl:3")
    for kind in ("strict", "loose"):
        with pytest.raises(ValueError, match=re.escape(f"mine.jsonl:3: {message}")):
            load("eval", f"instructions_{kind}").grade(Outcome(0, "a", "a"), item)


def test_loose_forms_take_off_a_line_or_markup_and_no_more():
    strict, loose = (load("eval", f"instructions_{kind}") for kind in ("strict", "loose"))
    small = json.dumps([{"rule": "words", "most": 2}])
    for text, strictly, loosely in [
        ("Rain again.", 1, 1),
        ("Sure, here you are:\nRain again.", 0, 1),
        ("Rain again.\nAnything else for you?", 0, 1),
        ("Sure, here you are: rain again.", 0, 0),
    ]:
        found = [metric.score(text, small).value for metric in (strict, loose)]
        assert found == [strictly, loosely], text
    quoted = json.dumps([{"rule": "capitals"}])
    assert loose.score("**RAIN**\nx", quoted).value == 1
    assert forms("") == []
    assert loose.score("", small).value == 0
    both = json.dumps([{"rule": "capitals"}, {"rule": "commas"}])
    assert strict.score("RAIN, SUN", both).reason == "broken: 1 of 2"


def test_the_answers_of_the_embedded_prompts_follow_their_instructions():
    recipe = load("recipes", "following")
    rows = {split: recipe.examples(split) for split in ("train", "validation", "test")}
    assert [len(found) for found in rows.values()] == [1000, 50, 240]
    kinds = {kind for row in rows["test"] for kind in row.meta["features"]}
    assert len(kinds) == 14
    assert sum(len(row.meta["features"]) == 2 for row in rows["test"]) > 20
    for found in rows.values():
        for row in found:
            assert all(followed(row.meta["instructions"], row.reference)), row
        assert len({row.prompt[0]["content"] for row in found}) == len(found)
    topics = [{row.meta["unit"] for row in found} for found in rows.values()]
    assert len(set.union(*topics)) == sum(map(len, topics)), "no topic lies in two splits"
    # What nobody needs to be told to do would prove nothing: a plain answer breaks most of them.
    plain = "I like it, and I think that many people do."
    share = [all(followed(row.meta["instructions"], plain)) for row in rows["test"]]
    assert sum(share) < 0.2 * len(share)


def test_rows_of_ones_own_bring_their_instructions(tmp_path):
    rows = [
        {"prompt": f"Say {n}.", "answer": "YES", "instructions": [{"rule": "capitals"}]}
        for n in range(4)
    ]
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = {"data": [str(file)], "whole": True, "cache": str(tmp_path)}
    items = override(load("recipes", "following"), values, "recipe").examples("test")
    metric = load("eval", "instructions_strict")
    found = [metric.grade(Outcome(0, word, word), items[0]).value for word in ("NO", "no")]
    assert (len(items), found) == (4, [1, 0])
