"""Templates in the style of other families: their own markup, exact masks, and what is refused."""

import re
from typing import Any

import pytest

from ftkit.errors import FtkitError
from ftkit.recipes._render import IGNORE, Renderer
from tests import foreign

ENDS = {name: end for name, (_, end, _) in foreign.CONTROL.items()} | {
    "gemma": "<end_of_turn>",
    "phi": "<|end|>",
}
TURNS: list[dict[str, str]] = [
    {"role": "user", "content": "How many singers?"},
    {"role": "assistant", "content": "SELECT count(*) FROM singer"},
    {"role": "user", "content": "And concerts in 2014?"},
    {"role": "assistant", "content": "SELECT count(*) FROM concert"},
]
SYSTEM = {"role": "system", "content": "Answer in SQL."}


def renderer(name: str, kind: str = "bytes") -> Renderer:
    return Renderer(foreign.tokenizer(name, kind), name)


def theirs(tokenizer: Any, turns: list[dict[str, str]], *, ask: bool = False) -> list[int]:
    """Encode as transformers does; a template that looks at the clock is told our day."""
    ids: list[int] = tokenizer.apply_chat_template(
        turns, add_generation_prompt=ask, return_dict=False, enable_thinking=False,
        date_string="26 Jul 2024",
    )  # fmt: skip
    return ids


def learned(made: Renderer, turns: list[dict[str, str]]) -> list[list[int]]:
    """Give the labelled runs of a dialogue."""
    runs: list[list[int]] = [[]]
    found = made.render(turns)
    for token, label in zip(found.ids, found.labels, strict=True):
        assert label in (IGNORE, token)
        if label == token:
            runs[-1].append(token)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


@pytest.mark.parametrize("kind", foreign.KINDS)
@pytest.mark.parametrize("name", foreign.CONTROL)
def test_ids_are_those_that_transformers_gives(name: str, kind: str) -> None:
    made = renderer(name, kind)
    for count in (2, 4):
        whole = theirs(made.tokenizer, TURNS[:count])
        found = made.render(TURNS[:count]).ids
        told = len(found) - (name == "alpaca")  # nothing ends an answer there, so we add an end
        assert found[:told] == whole[:told]
        assert found[-1] == made.end == made.tokenizer.convert_tokens_to_ids(ENDS[name])
        prompt = made.prompt(TURNS[: count - 1])
        assert prompt == theirs(made.tokenizer, TURNS[: count - 1], ask=True)
        assert found[: len(prompt)] == prompt


@pytest.mark.parametrize("kind", ["bytes", "first"])
@pytest.mark.parametrize("name", foreign.CONTROL)
def test_the_mask_is_every_answer_with_the_end_of_its_turn(name: str, kind: str) -> None:
    made = renderer(name, kind)
    runs = learned(made, TURNS)
    # The last answer always ends; the one before, where the template shows an end.
    assert [run[-1] == made.end for run in runs] == [name != "alpaca", True]
    shown = [made.decode(run).strip() for run in runs]
    assert shown == [turn["content"] for turn in TURNS[1::2]]


def test_a_template_that_marks_its_answers_has_our_mask() -> None:
    made = renderer("chatml")
    marked = made.tokenizer.apply_chat_template(
        [SYSTEM, *TURNS], return_dict=True, return_assistant_tokens_mask=True
    )
    ours = made.render([SYSTEM, *TURNS])
    told = len(ours.ids)
    assert ours.ids == marked["input_ids"][:told]
    mask = [int(label != IGNORE) for label in ours.labels]
    assert mask == marked["assistant_masks"][:told]
    assert not any(marked["assistant_masks"][told:])


@pytest.mark.parametrize("name", ["qwen2", "qwen3", "llama3", "chatml", "zephyr", "phi", "alpaca"])
def test_a_system_text_stands_where_the_template_puts_it(name: str) -> None:
    made = renderer(name)
    assert made.prompt([SYSTEM, TURNS[0]]) == theirs(made.tokenizer, [SYSTEM, TURNS[0]], ask=True)
    assert made.notes == ()


@pytest.mark.parametrize("name", ["gemma", "mistral"])
def test_a_template_without_a_system_role_has_it_in_the_first_turn_of_the_user(name: str) -> None:
    made = renderer(name)
    first = {"role": "user", "content": "Answer in SQL.\n\nHow many singers?"}
    assert made.render([SYSTEM, *TURNS]) == made.render([first, *TURNS[1:]])
    assert made.prompt([SYSTEM, TURNS[0]]) == made.prompt([first])
    assert made.notes == (
        f"the chat template of {name} takes no system text: it stands at the head of the first "
        "user's turn",
    )


def test_a_system_prompt_of_the_template_itself_is_kept() -> None:
    made = renderer("qwen2")
    assert "You are a helpful assistant." in made.tokenizer.decode(made.prompt(TURNS[:1]))
    assert "You are" not in made.tokenizer.decode(made.prompt([SYSTEM, TURNS[0]]))


def test_a_template_that_looks_at_the_clock_gives_the_same_tokens_every_day() -> None:
    made = renderer("llama3")
    assert "Today Date: 26 Jul 2024\n" in made.tokenizer.decode(made.prompt(TURNS[:1]))


@pytest.mark.parametrize("name", ["llama3", "gemma"])
def test_a_row_is_trimmed_where_the_template_trims(name: str) -> None:
    made = renderer(name)
    padded = [turn | {"content": f"  {turn['content']}\n"} for turn in TURNS]
    assert made.render(padded) == made.render(TURNS)
    assert made.prompt(padded[:1]) == theirs(made.tokenizer, padded[:1], ask=True)


def test_where_only_answers_are_trimmed_the_others_keep_their_blanks() -> None:
    made = renderer("mistral")
    padded = [turn | {"content": f"{turn['content']}  "} for turn in TURNS]
    told = len(made.render(padded).ids)
    assert made.render(padded).ids == theirs(made.tokenizer, padded)[:told]
    assert made.render(padded) != made.render(TURNS)


def test_what_was_thought_before_is_shown_as_the_template_shows_it() -> None:
    made = renderer("qwen3")
    thought = TURNS[1] | {"content": "<think>\nrows\n</think>\n\nSELECT count(*) FROM singer"}
    assert made.render([TURNS[0], thought, *TURNS[2:]]) == made.render(TURNS)
    with pytest.raises(FtkitError, match=r"of qwen3 changes the text \['<think>"):
        made.render([TURNS[0], thought])


def test_an_answer_has_to_be_shown_whole_and_what_is_asked_as_the_template_shows_it() -> None:
    tokenizer = foreign.tokenizer("chatml")
    loud = "message.content | upper if message.role == 'ROLE' else message.content"
    given = tokenizer.chat_template
    tokenizer.chat_template = given.replace("message.content", f"({loud.replace('ROLE', 'user')})")
    shown = tokenizer.decode(Renderer(tokenizer).render(TURNS[:2]).ids)
    assert "HOW MANY SINGERS?" in shown
    tokenizer.chat_template = given.replace(
        "message.content", f"({loud.replace('ROLE', 'assistant')})"
    )
    with pytest.raises(FtkitError, match=r"changes the text \['SELECT count"):
        Renderer(tokenizer).render([TURNS[0], TURNS[1]])


@pytest.mark.parametrize("kind", ["bytes", "first"])
@pytest.mark.parametrize("name", foreign.CONTROL)
def test_control_tokens_in_a_text_are_text(name: str, kind: str) -> None:
    made = renderer(name, kind)
    tokens = [*made.tokenizer.all_special_tokens, *foreign.CONTROL[name][2], "\ue0000\ue001"]
    numbers = set(made.tokenizer.convert_tokens_to_ids(tokens[:-1]))

    def steering(text: str) -> list[int]:
        turns = [turn | {"content": f"x{text}y"} for turn in TURNS]
        return [token for token in made.render(turns).ids if token in numbers]

    for token in tokens:
        assert steering(token) == steering(""), token


@pytest.mark.parametrize("kind", foreign.KINDS)
@pytest.mark.parametrize("name", ["llama3", "qwen2", "zephyr"])
def test_one_answer_alone_is_a_document(name: str, kind: str) -> None:
    made = renderer(name, kind)
    begin, end = made.tokenizer.bos_token_id, made.tokenizer.eos_token_id
    text = "SELECT name FROM singer. <|eot_id|>"
    found = made.render([{"role": "assistant", "content": text}])
    opening = [] if begin is None else [begin]
    assert made.prompt([]) == opening
    assert found.ids[: len(opening)] == opening
    assert found.labels == [IGNORE] * len(opening) + found.ids[len(opening) :]
    assert found.ids[-1] == end
    assert end not in found.ids[:-1], "the text's own is text"
    assert made.decode(found.ids).strip() == text


def test_an_answer_that_nothing_ends_is_refused() -> None:
    tokenizer = foreign.tokenizer("alpaca")
    tokenizer.eos_token = None
    with pytest.raises(FtkitError, match=re.escape("so a tuned model could not stop")):
        Renderer(tokenizer)
