"""instruct: any prompts with answers, labels found or given, and the two samples it ships."""

import json
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from ftkit.catalog import load
from ftkit.config import override, plain, read_toml, table
from ftkit.errors import FtkitError
from ftkit.eval._groups import Tuned, _recipes
from ftkit.recipes import instruct
from ftkit.recipes._check import check
from ftkit.recipes._mix import load as load_mixture
from ftkit.recipes._samples.code import functions
from ftkit.recipes._samples.sentiment import LABELS, clauses

PIECES = Path(instruct.__file__).parent / "_samples" / "sentiment.toml"
SPLITS = ("train", "validation", "test")
# What each function of the code sample returns, told from what of its list passes its test.
RETURNS = {
    "count": lambda given, holds: len(holds),
    "keep": lambda given, holds: list(holds),
    "drop": lambda given, holds: [x for x in given if x not in holds],
    "first": lambda given, holds: holds[0] if holds else None,
    "last": lambda given, holds: holds[-1] if holds else None,
    "any": lambda given, holds: len(holds) > 0,
    "all": lambda given, holds: len(holds) == len(given),
    "places": lambda given, holds: [given.index(x) for x in holds],
    "sum": lambda given, holds: sum(holds),
    "largest": lambda given, holds: sorted(holds)[-1] if holds else None,
    "squares": lambda given, holds: [x**2 for x in holds],
    "join": lambda given, holds: ", ".join(holds),
    "lengths": lambda given, holds: list(map(len, holds)),
    "capitals": lambda given, holds: list(map(str.upper, holds)),
}


def recipe(**values):
    return override(load("recipes", "instruct"), values, "recipe")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def told(folder: Path, rows: list[dict], name: str = "rows.jsonl") -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_every_function_of_the_code_sample_runs_and_is_right():
    """The code is run on its example; the result is worked out from `holds`, without the code."""
    every = list(functions())
    assert len(every) == 286
    for function in every:
        space: dict = {}
        exec(function.code, space)
        wanted = RETURNS[function.does](list(function.given), list(function.holds))
        assert space[function.name](list(function.given)) == wanted, function.name
        assert all(f" {function.name}(" in request for request in function.requests)
    assert len({function.code for function in every}) == len(every)
    asked = [request for function in every for request in function.requests]
    assert len(set(asked)) == 2 * len(every)


def test_an_answer_of_the_code_sample_is_one_of_those_functions():
    known = {function.code for function in functions()}
    rows = [row for split in SPLITS for row in recipe(sample="code").examples(split)]
    assert len(rows) > 500
    assert {row.reference for row in rows} <= known
    assert all("labels" not in row.meta for row in rows)


def test_no_clause_of_a_review_lies_in_two_splits_and_every_word_of_one_is_in_training():
    """So a test row is a new sentence of new clauses, and what it takes can be learned."""
    scenes = ["", *read_toml(PIECES)["scenes"]]
    said = {
        split: [c for scene in scenes for label in LABELS for c in clauses(split, scene, label)]
        for split in SPLITS
    }
    assert [len(said[split]) for split in SPLITS] == [1350, 164, 272]
    assert len({clause for part in said.values() for clause in part}) == 1350 + 164 + 272
    train = "\n".join(row.prompt[0]["content"].lower() for row in recipe().examples("train"))
    assert not [clause for clause in said["test"] if re.search(rf"\b{clause.lower()}\b", train)]
    known = set(re.findall(r"\w+", train))
    assert {word for clause in said["test"] for word in clause.lower().split()} <= known


@pytest.mark.parametrize("sample", ["sentiment", "code"])
def test_a_sample_is_whole(sample):
    """No unit in two splits, no row twice, the same again for the same seed, others for another."""
    made = recipe(sample=sample)
    parts = check(made)
    assert all(part.duplicates == 0 for part in parts.values())
    units = [{row.meta["unit"] for row in made.examples(split)} for split in SPLITS]
    assert sum(map(len, units)) == len(set.union(*units))
    rows = list(made.examples("train"))
    assert rows == list(recipe(sample=sample).examples("train"))
    assert rows != list(recipe(sample=sample, world_seed=1).examples("train"))
    assert len(rows) >= 400


def test_a_sample_that_is_asked_for_more_than_there_is_ends(monkeypatch):
    """--set recipe.tests=1000000 would draw for ever."""
    monkeypatch.setattr(sys.modules["ftkit.recipes._samples.sentiment"], "IDLE", 9)
    assert 1000 < len(recipe(tests=10**7).examples("test")) < 10**5


def test_reviews_need_the_whole_sentence():
    """The clauses alone say little: half of the frames turn or outweigh what stands in them."""
    rows = list(recipe().examples("train"))
    assert Counter(row.reference for row in rows) == dict.fromkeys(LABELS, 1500)
    kinds = Counter(row.meta["features"][1] for row in rows)
    assert kinds["contrast"] > 800
    assert kinds["negation"] > 500
    assert rows[0].meta["labels"] == ("negative", "positive")
    assert rows[0].prompt[0]["content"].startswith("Is this review positive or negative?\n")


SPAM = [
    {"messages": [{"role": "user", "content": f"Mail {n}"}, {"role": "assistant", "content": a}]}
    for n, a in enumerate(["spam", "no spam"] * 20)
]


def test_few_short_answers_are_labels_and_a_note_says_so(tmp_path):
    made = recipe(data=told(tmp_path, SPAM))
    for split in SPLITS:
        assert {row.meta["labels"] for row in made.examples(split)} == {("no spam", "spam")}
    row = made.examples("train")[0]
    assert row.meta["features"] == (row.reference,)
    assert list(made.examples("train")[1:3]) == list(made.examples("train"))[1:3]
    assert made.notes() == (
        "2 answers, taken for labels: no spam, spam; --set recipe.labels= to say otherwise",
    )
    other = replace(made, labels=("",))
    assert other.notes() == ()
    assert all("labels" not in row.meta for row in other.examples("test"))
    assert recipe(labels="").labels == ("",)
    assert recipe(labels="spam, no spam").labels == ("spam", "no spam")
    both = load_mixture("instruct,chat", {"instruct.data": [str(tmp_path / "rows.jsonl")]})
    assert both.notes() == (f"instruct: {made.notes()[0]}",)


@pytest.mark.parametrize(
    "answers",
    [
        ["yes"] * 40,
        [f"label {n}" for n in range(21)] * 2,
        ["yes", "no"] * 10 + ["maybe"],
        ["yes", "a b c d e f"] * 20,
        ["yes", "x = 1\ny"] * 20,
    ],
    ids=["one", "many", "once", "long", "lines"],
)
def test_other_answers_are_no_labels(answers, tmp_path):
    rows = [{"question": f"Is it {n}?", "answer": answer} for n, answer in enumerate(answers)]
    made = recipe(data=told(tmp_path, rows))
    assert made.notes() == ()
    assert all("labels" not in row.meta for row in made.examples("test"))


def test_a_row_that_is_repeated_by_its_weight_is_one_row(tmp_path):
    rows = [{"question": f"Capital of country {n}?", "answer": f"City {n}"} for n in range(12)]
    assert instruct.few(recipe(data=told(tmp_path, rows) + "@3").examples("train")) == ()


def test_given_labels_are_checked(tmp_path):
    data = told(tmp_path, SPAM)
    made = recipe(data=data, labels="spam,no spam,unsure")
    assert made.examples("test")[0].meta["labels"] == ("spam", "no spam", "unsure")
    assert made.notes() == ()
    with pytest.raises(FtkitError, match=r"rows\.jsonl:2: 'no spam' is none of spam, unsure"):
        recipe(data=data, labels="spam,unsure").examples("train")
    with pytest.raises(FtkitError, match=r"'recipe\.labels' takes different words, not a,b,a"):
        recipe(labels="a,b,a")
    with pytest.raises(FtkitError, match=r"'recipe\.sample' cannot be 'cod': did you mean 'code'"):
        recipe(sample="cod")


def test_rows_that_are_all_asked_bring_their_own_labels(tmp_path):
    """`ftkit eval --data` keeps no rows for training."""
    made = recipe(data=told(tmp_path, SPAM), whole=True)
    assert not made.examples("train")
    assert len(made.examples("test")) == 40
    assert made.examples("test")[0].meta["labels"] == ("no spam", "spam")


def test_other_rows_are_asked_with_the_labels_that_were_taught(tmp_path):
    """What `ftkit eval --data` does: its rows may show one label alone, or seem to be labels."""
    taught = recipe(data=told(tmp_path, SPAM))
    few = told(tmp_path, SPAM[::2], "few.jsonl")
    asked = _recipes(_tuned(taught), None, [few], tmp_path, None, {})[0]
    assert {example.meta["labels"] for example in asked.examples("test")} == {("no spam", "spam")}
    rows = [{"prompt": f"{n}?", "answer": f"a b {n}"} for n in range(30)]
    free = recipe(data=told(tmp_path, rows))
    spam = told(tmp_path, SPAM, "spam.jsonl")
    asked = _recipes(_tuned(free), None, [spam], tmp_path, None, {})[0]
    assert not any("labels" in example.meta for example in asked.examples("test"))


def _tuned(taught):
    return Tuned(Path("x"), {"options": {"recipe": "instruct"}, "recipe": plain(table(taught))})


def test_rows_of_any_shape_are_prompts_with_answers(tmp_path):
    rows = [
        {"prompt": "Say it in German: cat", "completion": "Katze, die Hauskatze im Allgemeinen"},
        {"instruction": "Translate.", "input": "dog", "output": "Hund"},
        {"question": "House?", "answer": "Haus"},
    ]
    made = recipe(data=told(tmp_path, rows), whole=True)
    asked = {row.prompt[-1]["content"]: row.reference for row in made.examples("test")}
    assert len(asked) == 3
    assert asked["House?"] == "Haus"
    prose = made.prose(made.examples("test")[0])
    assert prose.prompt.endswith("\n")
    assert prose.stop == "\n\n"


def test_plain_text_puts_the_label_on_the_next_line():
    row = recipe().examples("test")[0]
    prose = recipe().prose(row)
    assert (prose.prompt, prose.answer, prose.stop) == (
        row.prompt[0]["content"] + "\n", row.reference, "\n",
    )  # fmt: skip


def test_a_text_alone_is_learned_whole_and_never_asked(tmp_path):
    rows = [{"text": "Once upon a time."}] + [
        {"question": f"{n}?", "answer": "x " * 9} for n in range(30)
    ]
    made = recipe(data=told(tmp_path, rows))
    assert sum(len(made.examples(split)) for split in SPLITS) == 31
    (text,) = (e for s in ("train", "validation") for e in made.examples(s) if not e.prompt)
    assert text.messages == ({"role": "assistant", "content": "Once upon a time."},)


def test_rows_that_share_an_instruction_are_not_near_each_other(tmp_path):
    """Told apart by what differs, none is left out for repeating a question of the test."""
    say = "Say whether the mail is spam or no spam, in one word or two and nothing else."
    mails = [mail["messages"][0]["content"] for mail in SPAM]
    answers = [mail["messages"][1]["content"] for mail in SPAM]
    pairs = list(zip(mails, answers, strict=True))
    alpaca = [{"instruction": say, "input": mail, "output": answer} for mail, answer in pairs]
    system = [{"system": say, "question": mail, "answer": answer} for mail, answer in pairs]
    for name, rows in (("alpaca", alpaca), ("system", system)):
        made = recipe(data=told(tmp_path, rows, f"{name}.jsonl"))
        assert sum(len(made.examples(split)) for split in SPLITS) == 40
        units = [{row.meta["unit"] for row in made.examples(split)} for split in SPLITS]
        assert sum(map(len, units)) == 40
    assert alpaca[0]["input"] in {
        row.meta["question"]
        for row in recipe(data=told(tmp_path, alpaca), whole=True).examples("test")
    }
