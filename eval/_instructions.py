"""Instructions that a program can check, in the manner of IFEval (arXiv:2311.07911), in own words.

An instruction is a JSON object with a `rule` and what it needs. It imports nothing of ftkit, so
that `evaluate.load` can copy it beside the metrics. Rules:
  words: between `least` and `most` of them.    sentences: exactly `n`.    list: `n` lines with a
  dash, a star or a number, and nothing else.   capitals, small: no letter of the other case.
  letter: never `text`.    count: the word `text` exactly `n` times.    starts, ends: with the words
  `text`.    question: ends with a question mark.    commas: none.    quotes: around the whole.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

NUMBERS: dict[str, Sequence[str]] = {"sentences": ("n",), "list": ("n",), "count": ("n",)}
TEXTS = ("letter", "count", "starts", "ends")
ITEM = re.compile(r"\s*(?:[-*•]|\d+[.)])\s+\S")
Rule = Callable[[Mapping[str, Any], str], bool]


def followed(instructions: str, reply: str) -> list[bool]:
    """Say of each instruction whether a reply follows it; an empty one follows none.

    Args:
        instructions: a JSON list.
        reply: text of a model.

    Raises:
        ValueError: for a rule that does not exist or lacks what it needs.

    >>> followed('[{"rule": "words", "least": 2, "most": 3}, {"rule": "small"}]', "Rain again.")
    [True, False]
    """
    found: list[dict[str, Any]] = json.loads(instructions)
    for one in found:
        _refuse(one)
    text = reply.strip()
    return [bool(text) and RULES[one["rule"]](one, text) for one in found]


def row(outcome: Any, example: Any) -> tuple[str, str] | None:
    """Take the answer and what it was instructed to; None where that was nothing.

    Raises:
        ValueError: for instructions that cannot be checked, with the place of their row.
    """
    told = example.meta.get("instructions")
    if not told:
        return None
    try:
        followed(told, "")
    except ValueError as problem:
        raise ValueError(f"{example.where}: {problem}") from None
    return outcome.answer, told


def _refuse(one: Mapping[str, Any]) -> None:
    """Refuse an instruction that cannot be checked."""
    rule = one.get("rule")
    if rule not in RULES:
        raise ValueError(f"no rule {rule!r} for instructions: it is one of {', '.join(RULES)}")
    if rule == "words" and not {"least", "most"} & one.keys():
        raise ValueError("the rule 'words' needs 'least' or 'most'")
    numbers = [*NUMBERS.get(rule, ()), *({"least", "most"} & one.keys())]
    for name in numbers:
        if type(one.get(name)) is not int:
            raise ValueError(f"the rule {rule!r} needs a whole number as its {name!r}")
    if rule in TEXTS and not str(one.get("text", "")).strip():
        raise ValueError(f"the rule {rule!r} needs a 'text'")
    if rule == "count" and len(_words(str(one["text"]))) != 1:
        raise ValueError("the rule 'count' needs one word as its 'text'")


def _words(text: str) -> list[str]:
    return re.findall(r"\w+(?:['’-]\w+)*", text)


def _count(one: Mapping[str, Any], text: str) -> bool:
    wanted = [word.lower() for word in _words(str(one["text"]))]
    return bool([word.lower() for word in _words(text)].count(wanted[0]) == one["n"])


def _items(one: Mapping[str, Any], text: str) -> bool:
    lines = [line for line in text.splitlines() if line.strip()]
    return len(lines) == one["n"] and all(ITEM.match(line) for line in lines)


def _sides(text: str) -> list[str]:
    return [word.lower() for word in _words(text)]


def _starts(one: Mapping[str, Any], text: str) -> bool:
    wanted = _sides(str(one["text"]))
    return _sides(text)[: len(wanted)] == wanted


def _ends(one: Mapping[str, Any], text: str) -> bool:
    wanted = _sides(str(one["text"]))
    return _sides(text)[-len(wanted) :] == wanted


RULES: dict[str, Rule] = {
    "words": lambda one, text: one.get("least", 0) <= len(_words(text)) <= one.get("most", 10**9),
    "sentences": lambda one, text: len(re.findall(r"[.!?]+(?=\W*\s|\W*$)", text)) == one["n"],
    "list": _items,
    "capitals": lambda _, text: text == text.upper() != text.lower(),
    "small": lambda _, text: text == text.lower() != text.upper(),
    "letter": lambda one, text: str(one["text"]).lower() not in text.lower(),
    "count": _count,
    "starts": _starts,
    "ends": _ends,
    "question": lambda _, text: text.endswith("?"),
    "commas": lambda _, text: "," not in text,
    "quotes": lambda _, text: len(text) > 2 and text[0] in '"“' and text[-1] in '"”',
}
