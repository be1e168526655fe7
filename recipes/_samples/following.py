"""Requests with instructions that a program can check, and answers that follow them.

After IFEval (arXiv:2311.07911), in wordings and rules of its own; `eval._instructions` checks them.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ftkit.config import read_toml

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
PAIRED = 0.3  # share of requests with a second instruction, about the form of the whole
FORMS = ("capitals", "small", "quotes")
FIRST = ("words", "most", "sentences", "commas", "letter", "count")  # what a form does not break


@dataclass(frozen=True)
class Request:
    """A request, what it instructs to, and an answer that does so.

    Attributes:
        text: of the user.
        answer: of the assistant.
        topic: which lies in one split alone.
        kinds: of the instructions.
        instructions: as graders read them, a JSON list.
    """

    text: str
    answer: str
    topic: str
    kinds: tuple[str, ...]
    instructions: str


Made = tuple[dict[str, Any], dict[str, str], str]  # a check, what fills the wording, an answer


def following(split: str, seed: int, count: int) -> list[Request]:
    """Draw different requests; no topic lies in two splits.

    Args:
        split: "train", "validation" or "test".
        seed: of the draw.
        count: how many at most; there are only so many.
    """
    draw, found, idle = random.Random(f"following {split} {seed}"), dict[str, Request](), 0
    kinds = list(_pieces()["instructions"])
    while len(found) < count and idle < 500:
        kind = kinds[len(found) % len(kinds)]
        made = _request(draw, split, kind)
        idle = idle + 1 if made.text in found else 0
        found.setdefault(made.text, made)
    return list(found.values())


def _request(draw: random.Random, split: str, kind: str) -> Request:
    """Draw a topic, one instruction and perhaps a second one."""
    pieces = _pieces()
    topic = draw.choice(sorted(pieces["topics"][split]))
    asks = pieces["ask"]["both"] + (pieces["ask"]["test"] if split == "test" else [])
    check, slots, answer = _MAKERS[kind](draw, topic, pieces["topics"][split][topic])
    checks, kinds = [check], [kind]
    told = [draw.choice(pieces["instructions"][kind]).format_map(slots)]
    if kind in FIRST and draw.random() < PAIRED:
        form = draw.choice(FORMS)
        check, slots, answer = _MAKERS[form](draw, topic, answer)
        checks, kinds = [*checks, check], [*kinds, form]
        told.append(draw.choice(pieces["instructions"][form]))
    text = " ".join([draw.choice(asks).format(x=topic), *told])
    return Request(text, answer, topic, tuple(kinds), json.dumps(checks))


@cache
def _pieces() -> dict[str, Any]:
    return read_toml(Path(__file__).with_suffix(".toml"))


def _cut(text: str, n: int) -> str:
    return " ".join(text.split()[:n]).rstrip(".") + "."


def _words(draw: random.Random, _: str, text: str) -> Made:
    n = draw.randint(3, 5)
    return {"rule": "words", "least": n, "most": n}, {"n": NUMBERS[n]}, _cut(text, n)


def _least(draw: random.Random, _: str, text: str) -> Made:
    n = draw.randint(6, 10)
    return {"rule": "words", "least": n}, {"n": NUMBERS[n]}, text


def _most(draw: random.Random, _: str, text: str) -> Made:
    n = draw.randint(3, 8)
    return (
        {"rule": "words", "most": n},
        {"n": NUMBERS[n]},
        _cut(text, 4) if n > 3 else _cut(text, 3),
    )


def _sentences(draw: random.Random, _: str, text: str) -> Made:
    n = draw.randint(2, 3)
    kept = ". ".join(text.removesuffix(".").split(". ")[:n]) + "."
    return {"rule": "sentences", "n": n}, {"n": NUMBERS[n]}, kept


def _list(draw: random.Random, _: str, text: str) -> Made:
    n = draw.randint(2, 3)
    lines = text.removesuffix(".").split(". ")[:n]
    return {"rule": "list", "n": n}, {"n": NUMBERS[n]}, "\n".join(f"- {line}" for line in lines)


def _letter(draw: random.Random, _: str, text: str) -> Made:
    first = text.split(". ")[0].removesuffix(".") + "."
    letter = draw.choice([one for one in "bcdfghklmpuvwy" if one not in first.lower()])
    return {"rule": "letter", "text": letter}, {"t": letter}, first


def _count(draw: random.Random, topic: str, _: str) -> Made:
    n = draw.randint(2, 4)
    answer = " and ".join([topic.capitalize(), *[topic] * (n - 1)]) + "."
    return {"rule": "count", "text": topic, "n": n}, {"t": topic, "n": NUMBERS[n]}, answer


def _starts(draw: random.Random, _: str, text: str) -> Made:
    word = draw.choice(_pieces()["pieces"]["openings"])
    first = text.split(". ")[0]
    answer = f"{word}, {first[0].lower()}{first[1:]}."
    return {"rule": "starts", "text": word}, {"t": word}, answer


def _ends(draw: random.Random, _: str, text: str) -> Made:
    words = draw.choice(_pieces()["pieces"]["endings"])
    answer = f"{text.split('. ')[0]}, {words}."
    return {"rule": "ends", "text": words}, {"t": words}, answer


def _question(_: random.Random, topic: str, text: str) -> Made:
    return {"rule": "question"}, {}, f"{text.split('. ')[0]}. Do you like {topic}?"


def _commas(_: random.Random, __: str, text: str) -> Made:
    return {"rule": "commas"}, {}, text.replace(",", "")


def _capitals(_: random.Random, __: str, text: str) -> Made:
    return {"rule": "capitals"}, {}, text.upper()


def _small(_: random.Random, __: str, text: str) -> Made:
    return {"rule": "small"}, {}, text.lower()


def _quotes(_: random.Random, __: str, text: str) -> Made:
    return {"rule": "quotes"}, {}, f'"{text}"'


_MAKERS: dict[str, Callable[[random.Random, str, str], Made]] = {
    "words": _words,
    "least": _least,
    "most": _most,
    "sentences": _sentences,
    "list": _list,
    "letter": _letter,
    "count": _count,
    "starts": _starts,
    "ends": _ends,
    "commas": _commas,
    "question": _question,
    "capitals": _capitals,
    "small": _small,
    "quotes": _quotes,
}
