"""A session: answers grow as they are made, and a conversation stays whole within the context."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import small
from click.testing import CliRunner

from ftkit.adapters._variant import Variant, open_variant
from ftkit.basemodel.generate import generate
from ftkit.cli._session import Session, growing, printable
from ftkit.cli._talk import ask_each
from ftkit.errors import FtkitError
from ftkit.recipes._flat import IGNORE
from ftkit.recipes._recipe import Example

NOTE = "\x1b[2mNote.\x1b[0m\n"  # dim


@dataclass(frozen=True)
class Talking(small.Counting):
    """A recipe that holds conversations."""

    turns: ClassVar[bool] = True
    notice: ClassVar[str] = "Not medical advice."

    def ask(self, text: str, database: Path | None = None) -> Example:
        system = {"role": "system", "content": "Be kind."}
        return Example((system, *super().ask(text).messages))


@dataclass(frozen=True)
class Shouting(Talking):
    def answer(self, reply: str, example: Example) -> str:
        return reply.strip().upper()


@pytest.fixture(scope="module")
def variant(tiny_runs: dict[str, Path]) -> Variant:
    return open_variant(tiny_runs["full"])


def talk(variant: Variant, monkeypatch: pytest.MonkeyPatch, *answers: str) -> tuple:
    """A session that gives these answers, and the list of prompts it was given."""
    prompts: list[str] = []
    question = {"role": "user", "content": "x"}

    def tokens(self: Session, prompt: list[int], room: int, example: object) -> list[int]:
        prompts.append(variant.tokenizer.decode(prompt))
        answer = {"role": "assistant", "content": answers[len(prompts) - 1]}
        learned = self.renderer.render([question, answer]).labels
        *said, _end = [token for token in learned if token != IGNORE]
        return said

    monkeypatch.setattr(Session, "_tokens", tokens)
    return Session(variant, Talking()), prompts


@pytest.mark.parametrize("options", [{}, {"temperature": 1.2, "seed": 5}])
@pytest.mark.parametrize("name", ["base", "full", "lora", "soft_prompt"])
def test_what_is_streamed_is_what_generate_says(tiny_runs, name: str, options: dict):
    session = Session.open(tiny_runs[name], None, raw=False, **options)
    made, tokenizer = session.variant, session.variant.tokenizer
    asked = ["The name", "Count the ships."]
    streamed = [list(session.reply(text)) for text in asked]
    if name == "base":
        prompts, stop, room = [session._plain(text) for text in asked], made.stops, 256
    else:
        examples = [session.recipe.ask(text) for text in asked]
        prompts = [session.renderer.prompt(example.prompt) for example in examples]
        stop, room = {*made.stops, session.renderer.end}, session.recipe.max_new_tokens
    replies = generate(
        made.decoder, prompts, max_new_tokens=room, stop=stop, pad=made.pad, **options
    )
    for place, (pieces, reply) in enumerate(zip(streamed, replies, strict=True)):
        text = tokenizer.decode(reply.ids, skip_special_tokens=True)
        whole = text if name == "base" else session.recipe.answer(text, examples[place])
        assert "".join(pieces) == printable(whole)
        assert len(pieces) > len(reply.ids)
        if name == "base" and not options:
            assert sum(map(bool, pieces)) > len(pieces) / 2


def test_half_characters_and_control_tokens_are_held_back():
    tokenizer = small.tokenizer()
    text = "naïve 😀, 医生 \ufffd?"
    ids = tokenizer.encode(text, add_special_tokens=False)
    ids[3:3] = [3, 6]  # system, end
    seen = list(growing(tokenizer, ids))
    assert seen[-1] == seen[-2] == text
    assert all(text.startswith(part) and part[-1:] != "\ufffd" for part in seen)
    assert len({part for part in seen if "😀" not in part}) > 5
    cut = ids[: ids.index(tokenizer.encode(",", add_special_tokens=False)[0]) - 1]
    *before, last = growing(tokenizer, cut)
    assert (before[-1], last) == ("naïve ", "naïve \ufffd")  # what a model left half stays half


def test_turns_stand_before_a_question(variant, monkeypatch):
    session, prompts = talk(variant, monkeypatch, "It is <|end|> fine.", "", "Yes.", "Hm.")
    for text in ("I have a cold.", "And a cough?", "Is it bad?"):
        pieces = list(session.reply(text))
    assert "".join(pieces) == "Yes."
    first = "<|bos|><|system|>Be kind.<|end|><|user|>I have a cold.<|end|><|assistant|>"
    assert prompts[0] == first
    assert prompts[1] == (
        f"{first}It is <|end|> fine.<|end|><|user|>And a cough?<|end|><|assistant|>"
    )
    # An exchange without an answer teaches only to say nothing: it is not kept.
    assert prompts[2] == prompts[1].replace("And a cough?", "Is it bad?")
    session.forget()
    list(session.reply("I have a cold."))
    assert prompts[3] == first


def test_a_question_stands_alone_where_the_recipe_has_no_turns(variant, monkeypatch):
    session, prompts = talk(variant, monkeypatch, "one", "two")
    session.recipe = small.Counting()
    for _ in range(2):
        list(session.reply("Count."))
    assert prompts[0] == prompts[1]
    assert session.history == []


def test_the_oldest_exchanges_go_when_the_context_is_full(variant, monkeypatch):
    session, prompts = talk(variant, monkeypatch, *[f"answer {n} " + "so " * 20 for n in range(40)])
    sizes = []
    for number in range(40):
        list(session.reply(f"question {number}"))
        assert prompts[-1].startswith("<|bos|><|system|>Be kind.<|end|><|user|>question ")
        sizes.append(prompts[-1].count("<|user|>"))
        assert sizes[-1] == prompts[-1].count("<|assistant|>") == number + 1 - session.forgotten
        assert f"<|user|>question {session.forgotten}<|end|>" in prompts[-1]
    assert sizes[:3] == [1, 2, 3]
    assert 3 < sizes[-1] < 30
    room = session.recipe.max_new_tokens
    example = session.recipe.ask("question")
    assert len(session._prompt(example)[0]) + room <= variant.context
    session.recipe = replace(session.recipe, max_new_tokens=variant.context)
    assert session._prompt(example)[1] == []  # no room for what the recipe allows: asked alone


def test_a_real_conversation_outgrows_the_context_and_says_so_once(variant, capfd):
    recipe = Talking(max_new_tokens=60)
    session = Session(variant, recipe, temperature=0.7, notice="Not medical advice.")
    ask_each(session, [f"How many singers are there in hall {number}?" for number in range(12)])
    out, err = capfd.readouterr()
    assert session.forgotten > 0
    assert out.count("\n") >= 12
    assert err == (
        "Not medical advice.\n"
        "(the conversation outgrew the model's 512 tokens: its beginning is forgotten)\n"
    )


def test_a_refused_question_leaves_the_conversation(variant):
    session = Session(variant, Talking(max_new_tokens=5), temperature=1.0)
    list(session.reply("Count."))
    before = list(session.history)
    assert len(before) == 1
    with pytest.raises(FtkitError, match=r"the prompt has \d+ tokens: the model reads 1 to 511"):
        session.reply("word " * 600)
    assert (session.history, session.forgotten, session.asked) == (before, 0, 1)


def test_a_stopped_answer_stays_as_far_as_it_was_shown(variant, monkeypatch):
    session, prompts = talk(variant, monkeypatch, "One, two, three.", "Go on.")
    pieces, shown = session.reply("Count."), ""
    while "two" not in shown:
        shown += next(pieces)
    pieces.close()
    list(session.reply("And?"))
    assert f"<|assistant|>{shown}<|end|><|user|>And?" in prompts[1]


def test_a_recipe_with_an_answer_of_its_own_shows_it_in_the_end(variant, monkeypatch):
    session, _ = talk(variant, monkeypatch, "yes, that many")
    session.recipe = Shouting()
    *before, last = session.reply("Count.")
    assert set(before) == {""}
    assert last == "YES, THAT MANY"


def test_a_query_appears_while_it_is_made(tiny_runs, monkeypatch):
    session = Session.open(tiny_runs["lora"], None, raw=False)
    said = "SELECT MAX( ships. tons) FROM ships WHERE name = 'a. b' ; x"
    ids = session.variant.tokenizer.encode(said, add_special_tokens=False)
    monkeypatch.setattr(Session, "_tokens", lambda self, prompt, room, example: ids)
    pieces = list(session.reply("Heaviest?"))
    assert "".join(pieces) == "SELECT MAX(ships.tons) FROM ships WHERE name = 'a. b'"
    assert sum(map(bool, pieces)) > 4


def test_a_decoder_that_takes_words_back_repeats_the_answer(variant, monkeypatch):
    class Wavering:
        def decode(self, ids: list[int], **options: object) -> str:
            return "do n" if len(ids) == 1 else "don't"

    monkeypatch.setattr(Session, "_tokens", lambda self, prompt, room, example: [1, 2])
    session = Session(replace(variant), Talking())
    assert session.renderer.end in variant.stops  # the template, the decoder are made before
    assert session.variant.decoder.context == 512
    session.variant.tokenizer = Wavering()
    assert "".join(session.reply("?")) == "do n\ndon't"
    assert session.history[-1][-1]["content"] == "don't"


@pytest.mark.parametrize(
    ("out", "error", "shown", "said"),
    [
        (False, False, "\nYes.\n", "Note.\n"),
        (True, True, "Yes.\n", f"{NOTE}(the model said nothing)\n{NOTE}{NOTE}"),
        (False, True, "\nYes.\n", f"{NOTE}(the model said nothing)\n{NOTE}{NOTE}"),
    ],
)
def test_a_terminal_is_told_of_an_empty_answer(
    variant, monkeypatch, capsys, out: bool, error: bool, shown: str, said: str
):
    session, _ = talk(variant, monkeypatch, "", "Yes.")
    session.notice = "Note."
    monkeypatch.setattr(sys.stdout, "isatty", lambda: out)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: error)
    ask_each(session, ["Count.", "Count."])
    assert capsys.readouterr() == (shown, said)


def test_the_notice_goes_to_the_error_stream_and_comes_with_raw_text_too(tiny_runs, monkeypatch):
    from ftkit.cli import ftkit
    from ftkit.recipes.sql_qa import SqlQa

    plain = CliRunner().invoke(ftkit, ["chat", str(tiny_runs["full"]), "-p", "Count."])
    monkeypatch.setattr(SqlQa, "notice", "Not medical advice.")
    for words in ([], ["--raw"]):
        result = CliRunner().invoke(ftkit, ["chat", str(tiny_runs["full"]), "-p", "Count.", *words])
        assert (result.exit_code, result.stderr) == (0, "Not medical advice.\n")
        assert words or result.stdout == plain.stdout
