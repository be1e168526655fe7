"""Real rows of the medical and the chat recipe: shapes, splits, duplicates, refusals."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from ftkit.config import override
from ftkit.errors import FtkitError
from ftkit.recipes._check import check
from ftkit.recipes._mix import Mixture, load, settings
from ftkit.recipes.chat import RECIPE as CHAT
from ftkit.recipes.chat import pieces
from ftkit.recipes.medical import RECIPE as MEDICAL
from ftkit.recipes.medical import cut

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"


def write(path: Path, rows: list[Any]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


def asked(number: int, focus: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "question": f"What is ill {number}?",
        "answer": f"Ill {number} is bad.",
        "focus": focus,
    } | more


def talk(number: int, turns: int = 3) -> dict[str, Any]:
    messages = []
    for turn in range(turns):
        messages.append({"role": "user", "content": f"My number is {number}{turn}."})
        messages.append({"role": "assistant", "content": f"Ok, {number}{turn}."})
    return {"messages": messages}


def units(examples) -> set[str]:
    return {example.meta["unit"] for example in examples}


def test_a_document_lies_in_one_split_and_duplicates_are_dropped_and_counted(
    tmp_path: Path,
) -> None:
    rows = [asked(n, f"ill {n // 4}") for n in range(80)]
    rows += rows[:3]
    recipe = override(MEDICAL, {"data": [write(tmp_path / "all.jsonl", rows)]}, "recipe")
    splits = [recipe.examples(split) for split in ("train", "validation", "test")]
    assert sum(map(len, splits)) == 80
    assert not units(splits[0]) & (units(splits[1]) | units(splits[2]))
    assert not units(splits[1]) & units(splits[2])
    assert recipe.notes() == ("3 rows that repeat an earlier one are left out",)
    check(recipe)


def test_rows_of_a_document_that_is_asked_are_not_trained_on(tmp_path: Path) -> None:
    write(tmp_path / "set" / "train.jsonl", [asked(n, f"ill {n // 2}") for n in range(40)])
    write(tmp_path / "set" / "dev.jsonl.gz", [asked(100, "ILL 3"), asked(101, "ill 200")])
    other = write(tmp_path / "more.jsonl", [asked(n + 200, f"Ill {n}") for n in range(40)])
    recipe = override(MEDICAL, {"data": [str(tmp_path / "set"), other]}, "recipe")
    train, test = recipe.examples("train"), recipe.examples("test")
    assert "ill 3" in units(test)
    assert not units(train) & units(test)
    apart = [note for note in recipe.notes() if "held out" in note]
    assert len(apart) == 1
    assert int(apart[0].split()[0]) >= 2  # both questions about ill 3 at least


def test_an_asked_row_stays_asked_whatever_the_order_and_its_answer_is_not_trained_on(
    tmp_path: Path,
) -> None:
    long = (
        "A long answer that two documents share word for word, as real collections do now and then."
    )
    rows = [asked(n, f"ill {n}") for n in range(30)]
    train = [asked(90, "ill 90", answer=long), *rows]
    dev = [asked(50, "ill 50", answer=long), *rows[:5]]
    write(tmp_path / "set" / "train.jsonl", [asked(n + 100, f"ill {n + 100}") for n in range(20)])
    write(tmp_path / "set" / "dev.jsonl", dev)
    sources = [write(tmp_path / "first.jsonl", train), str(tmp_path / "set")]
    for data in (sources, sources[::-1]):
        recipe = override(MEDICAL, {"data": data}, "recipe")
        tested = {example.prompt[-1]["content"] for example in recipe.examples("test")}
        assert {row["question"] for row in dev} <= tested
        for split in ("train", "validation"):
            for example in recipe.examples(split):
                assert example.prompt[-1]["content"] not in tested
                assert example.reference != long


def test_answers_end_with_a_whole_sentence() -> None:
    text = "Rest helps. " * 100
    assert cut(text, 600).endswith("helps.")
    assert 550 < len(cut(text, 600)) <= 600
    assert cut("a" * 50, 20) == "a" * 20
    assert cut("one two three", 9) == "one two"


def test_an_answer_that_is_cut_is_named(tmp_path: Path) -> None:
    rows = [asked(n, answer="Rest helps. " * (60 if n < 3 else 2)) for n in range(20)]
    recipe = override(MEDICAL, {"data": [write(tmp_path / "r.jsonl", rows)]}, "recipe")
    (group,) = recipe.found().odd
    assert (group.kind, group.count) == (
        "have an answer that is cut to whole sentences (600 characters)", 3,
    )  # fmt: skip


def test_a_safe_refusal_is_what_a_harmful_request_calls_for(tmp_path: Path) -> None:
    rows = [asked(n, "principle 1", safety="refuse") for n in range(20)] + [asked(99)]
    recipe = override(
        MEDICAL, {"data": [write(tmp_path / "r.jsonl", rows)], "whole": True}, "recipe"
    )
    found = recipe.examples("test")
    assert [example.meta["calls_for"] for example in found] == ["refer"] * 20 + [""]
    assert found[0].meta["facts"] == ""
    assert found[-1].meta["facts"] == "Ill 99 is bad."
    assert found[-1].meta["twin_of"] == "refer"
    assert len(units(found)) == 21


def test_a_dialogue_is_divided_between_turns_and_stays_in_one_split(tmp_path: Path) -> None:
    rows = [talk(n, 6) for n in range(30)]
    made = {"data": [write(tmp_path / "talks.jsonl", rows)], "longest": 70}
    recipe = override(CHAT, made, "recipe")
    train, test = recipe.examples("train"), recipe.examples("test")
    assert not units(train) & units(test)
    assert len(train) > len(units(train))
    for example in train:
        assert [m["role"] for m in example.messages[:2]] == ["user", "assistant"]
        assert example.messages[-1]["role"] == "assistant"
        assert sum(len(m["content"]) for m in example.messages) <= 70
    whole = [
        m for n in sorted(units(train)) for e in train if e.meta["unit"] == n for m in e.messages
    ]
    assert len(whole) == 12 * len(units(train))  # nothing is lost
    assert len(test) == len(units(test))  # each is asked once
    check(recipe)


def test_what_an_answer_needs_of_earlier_turns_is_found(tmp_path: Path) -> None:
    said = [
        {"role": "user", "content": "Send it to Sanuj, please."},
        {"role": "assistant", "content": "How much?"},
        {"role": "user", "content": "About 570 dollars."},
        {"role": "assistant", "content": "Now I send 570 dollars to Sanuj."},
    ]
    data = [write(tmp_path / "one.jsonl", [{"messages": said}])]
    metas = []
    for padding in range(12):  # where a dialogue is cut hangs on its words
        first = said[0] | {"content": said[0]["content"] + " Thanks." * padding}
        data = [write(tmp_path / f"{padding}.jsonl", [{"messages": [first, *said[1:]]}])]
        (example,) = override(CHAT, {"data": data, "whole": True}, "recipe").examples("test")
        metas.append((len(example.messages), example.meta["recall"], example.meta["distance"]))
    assert set(metas) == {(2, "", None), (4, "Sanuj", 1)}  # 570 stands in the last turn itself


@pytest.mark.parametrize(
    ("recipe", "row", "message"),
    [
        (
            MEDICAL,
            '{"question": "a"}',
            "1: 'answer' is missing; a row is {",
        ),
        (MEDICAL, {"question": "a", "answer": None}, "1: 'answer' is null"),
        (CHAT, {"words": "a"}, "1: it has 'words'; a row is {"),
        (CHAT, {"messages": []}, "1: 'messages' is a list; a row is {"),
        (CHAT, {"messages": [{"role": "tool", "content": "x"}]}, "1: message 1: 'role' is 'tool'"),
        (
            CHAT,
            {"messages": [{"role": "user", "content": 3}]},
            "1: message 1: 'content' is a number; it must be text",
        ),
        (CHAT, {"messages": ["hello"]}, "1: message 1 is text, not an object"),
        (CHAT, {"messages": [{"role": "user", "content": "x"}]}, "1: no turn of the assistant"),
        (CHAT, '{"messages": [', "1: not valid JSON"),
    ],
)
def test_rows_that_do_not_fit_are_refused_with_file_and_line(recipe, row, message, tmp_path: Path):
    data = [write(tmp_path / "rows.jsonl", [row])]
    with pytest.raises(FtkitError) as refusal:
        override(recipe, {"data": data}, "recipe").examples("train")
    assert str(refusal.value).startswith(f"{tmp_path / 'rows.jsonl'}:{message}")


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        ("au", "1: message 1 is of the assistant; a dialogue begins with the user"),
        ("uua", "1: messages 1 and 2 are both of the user"),
        ("uaa", "1: messages 2 and 3 are both of the assistant"),
        ("usa", "1: message 2 is of the system, which speaks first and once"),
        ("s", "1: no turn of the assistant follows one of the user"),
    ],
)
def test_a_turn_out_of_turn_is_refused(tmp_path: Path, roles: str, words: str) -> None:
    names = {"u": "user", "a": "assistant", "s": "system"}
    turns = [{"role": names[role], "content": role} for role in roles]
    data = [write(tmp_path / "r.jsonl", [{"messages": turns}])]
    with pytest.raises(FtkitError) as refusal:
        override(CHAT, {"data": data}, "recipe").examples("train")
    assert str(refusal.value).startswith(f"{tmp_path / 'r.jsonl'}:{words}")


def test_a_last_turn_without_an_answer_is_left_out_and_named(tmp_path: Path) -> None:
    said = [("system", "Be kind."), ("user", "Hi."), ("assistant", " Hello Bo. "), ("user", "Bye.")]
    rows = [{"conversations": [{"from": role, "value": text} for role, text in said]}]
    data = [write(tmp_path / "r.jsonl", rows)]
    recipe = override(CHAT, {"data": data, "whole": True}, "recipe")
    (example,) = recipe.examples("test")
    assert [(m["role"], m["content"]) for m in example.messages] == [
        ("system", "Be kind."), ("user", "Hi."), ("assistant", "Hello Bo."),
    ]  # fmt: skip
    assert recipe.notes() == (
        f"1 row: the last turn has no answer and is left out ({tmp_path / 'r.jsonl'}:1)",
    )
    assert pieces(example, 10)[0].messages == example.messages


def test_a_mixture_teaches_all_its_parts_and_gives_each_its_sources(tmp_path: Path) -> None:
    ill = write(tmp_path / "ill.jsonl", [asked(n) for n in range(30)])
    talks = write(tmp_path / "talks.jsonl", [talk(n) for n in range(30)])
    values = {"data": [talks, ill], "chat.epochs": "2", "medical.epochs": "0.5", "length": "256"}
    recipe = load("chat,medical", values)
    assert isinstance(recipe, Mixture)
    assert (recipe.name, recipe.length, recipe.notice) == ("chat,medical", 256, MEDICAL.notice)
    assert recipe.turns
    chat, medical = recipe.parts
    assert (chat.data, medical.data) == ((talks,), (ill,))
    rows = len(chat.examples("train")) * 2 + round(len(medical.examples("train")) * 0.5)
    assert len(recipe.examples("train")) == rows
    assert load("chat,medical", settings(recipe)) == recipe
    check(recipe)
    with pytest.raises(FtkitError, match="none of chat, medical takes this row, which has text"):
        load("chat,medical", {"data": [write(tmp_path / "x.jsonl", [{"text": "x"}])]})
    torn = write(tmp_path / "torn.jsonl", ["{", "[]", *(asked(n) for n in range(30))])
    skipping = load("chat,medical", values | {"data": [talks, torn], "on_bad_rows": "skip"})
    assert [(group.kind, group.count) for group in skipping.found().bad] == [
        ("broken JSON (medical)", 1), ("no object (medical)", 1),
    ]  # fmt: skip
    with pytest.raises(FtkitError, match=r"lost\.jsonl:1: not valid JSON"):
        load("chat,medical", {"data": [write(tmp_path / "lost.jsonl", ["{", "{"])]})
    with pytest.raises(FtkitError, match="--data brings no rows for medical"):
        load("chat,medical", {"data": [talks]})
    with pytest.raises(FtkitError, match=r"'recipe\.chat' is a recipe: set one of its own"):
        load("chat,medical", {"chat": "3"})
    with pytest.raises(FtkitError, match=r"unknown setting 'recipe\.chat\.row'"):
        load("chat,medical", {"chat.row": "1"})


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data sets are not here")
@pytest.mark.parametrize("name", ["medical/medquad", "chat/sgd", "chat/mts_dialog"])
def test_real_sets_are_read_whole(name: str) -> None:
    recipe = override(
        CHAT if name.startswith("chat") else MEDICAL, {"data": [str(SHARED / name)]}, "recipe"
    )
    parts = check(recipe)
    assert all(part.rows > 50 for part in parts.values())
    if name == "chat/sgd":
        looking = [e for e in recipe.examples("test") if e.meta["recall"]]
        assert len(looking) > 50
        assert {e.meta["distance"] for e in looking} >= {1, 2, 3}
