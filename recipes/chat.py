"""Conversations whose later turns depend on earlier ones: the embedded world, or real dialogues."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..basemodel.record import BadRow
from . import _chat_world
from ._read import Row
from ._recipe import Example, Prose, Recipe, Split
from ._shapes import talk
from ._split import digest

SAMPLES = 5  # answers drawn to an open question, to see how much they vary
NAMED = re.compile(r"(?<![.!?] )(?<!^)\b[A-Z][a-z]+\b|\$?\b\d[\w:.,]*\w\b|\b\d\b")
Messages = Sequence[dict[str, str]]


@dataclass(frozen=True)
class Chat(Recipe):
    """Teach a base to hold a conversation and to look back in it.

    Args:
        rows: training conversations of the embedded world.
        tests: test conversations of the embedded world.
        characters: size of the embedded pretraining corpus.
        longest: characters of a piece of a real dialogue; longer ones are divided between turns.
    """

    epochs: float = 1.5
    rows: int = 2000
    tests: int = 320
    characters: int = 4_200_000
    longest: int = 1200
    max_new_tokens: int = 40
    metrics: ClassVar[tuple[str, ...]] = (
        # Where no turn can be checked, held-out replies' likelihood ranks.
        *("turns_right", "bits_per_byte", "context_recall", "repetition", "variety"),
        *("turns_lenient", "format_failure", "calibration"),
    )
    fields: ClassVar[tuple[str, ...]] = ("messages",)
    turns: ClassVar[bool] = True
    cuts: ClassVar[bool] = True

    def generate(self, seed: int, folder: Path) -> Iterator[dict[str, Any]]:
        """Yield whole conversations, as training has them."""
        for drawn in _chat_world.drawn(seed):
            yield {"messages": list(drawn.messages)}

    def corpus(self) -> Iterator[str]:
        """Yield the embedded corpus: scenes, lists and notes, never the chat form."""
        yield from _chat_world.corpus(self.world_seed, self.characters)

    def prose(self, example: Example) -> Prose:
        """Ask as the corpus tells: a scene that breaks off where the answer begins."""
        if self.data:
            said = [_spoken(message) for message in example.prompt]
            return Prose("\n".join([*said, 'The host said, "']), example.reference, '"')
        return Prose(*example.meta["prose"])

    def world(self, split: Split) -> list[Example]:
        """Draw from the embedded world; a conversation never lies in two splits."""
        checks = max(50, round(self.validation * self.rows))
        count = {"train": self.rows, "validation": checks, "test": self.tests}[split]
        talks = _chat_world.items(split, self.world_seed, count)
        return [
            Example(
                talk.messages,
                {
                    "unit": talk.unit,
                    "kind": talk.kind,
                    "check": whole_check(talk.check),
                    "distance": talk.distance,
                    "features": tuple(filter(None, [talk.kind, _far(talk.distance)])),
                    "samples": SAMPLES if talk.kind == "open" else 0,
                    "prose": _chat_world.prose(talk) if split != "train" else (),
                },
                f"world {split} {number}",
            )
            for number, talk in enumerate(talks, 1)
        ]

    def take(self, row: Row, test: bool = False) -> list[Example]:
        """Take a dialogue: in pieces to learn from, or cut at one answer to be asked."""
        messages = talk(row)
        if len(messages) < 2:
            raise BadRow(row.where, "no dialogue", "it is a text, and no dialogue to hold")
        unit = f"{digest(*(message['content'] for message in messages)):016x}"
        whole = Example(messages, {"unit": unit, "kind": "real"}, row.where)
        if test:
            return [_asked(whole, self.longest)]
        made = pieces(whole, self.longest)
        if len(made) > 1:
            row.odd.append(
                f"are divided between turns, being longer than {self.longest:,} characters"
            )
        return made

    def documents(self) -> Iterator[str]:
        """Yield training dialogues as scenes."""
        if not self.data:
            yield from super().documents()
        for example in self.examples("train") if self.data else ():
            yield "\n".join(_spoken(message) for message in example.messages)


def whole_check(check: dict[str, str]) -> str:
    """Write a check as graders read it: a pool of words to avoid is spelt out."""
    if not check:
        return ""
    own = {word.lower() for word in check.get("words", "").split("|")}
    pool = _chat_world.pools().get(check.get("pool", ""), ())
    avoided = [*filter(None, check.get("none", "").split("|"))]
    avoided += [word for word in pool if word.lower() not in own]
    rest = {key: value for key, value in check.items() if key not in ("pool", "task", "none")}
    return json.dumps(rest | {"none": "|".join(avoided)})


def _far(distance: int | None) -> str:
    return "" if distance is None else f"{distance} turn{'s' * (distance > 1)} back"


def pieces(whole: Example, longest: int) -> list[Example]:
    """Divide a dialogue into pieces of about `longest` characters, each from user to assistant."""
    system, exchanges = _exchanges(whole.messages)
    found: list[list[dict[str, str]]] = []
    for exchange in exchanges:
        size = sum(len(turn["content"]) for turn in (*(found[-1] if found else ()), *exchange))
        if found and size <= longest:
            found[-1] += exchange
        else:
            found.append(list(exchange))
    return [Example((*system, *part), whole.meta, whole.where) for part in found]


def _asked(whole: Example, longest: int) -> Example:
    """Cut a dialogue at one answer, the same one always, with as much before it as fits."""
    system, exchanges = _exchanges(whole.messages)
    place = int(whole.meta["unit"], 16) % len(exchanges)
    shown = list(exchanges[place])
    for exchange in reversed(exchanges[:place]):
        if sum(len(turn["content"]) for turn in (*shown, *exchange)) > longest:
            break
        shown = [*exchange, *shown]
    recall, distance = _looks_back(shown)
    place_name = Path(whole.where.rpartition(":")[0]).parent.name
    features = (place_name, *filter(None, [_far(distance)]))
    facts = {"recall": "|".join(recall), "distance": distance, "features": features}
    return Example((*system, *shown), whole.meta | facts, whole.where)


def _exchanges(messages: Messages) -> tuple[list[dict[str, str]], list[list[dict[str, str]]]]:
    """Part a dialogue into its system message and exchanges of a user's turn and an answer."""
    system = [turn for turn in messages if turn["role"] == "system"]
    rest = [turn for turn in messages if turn["role"] != "system"]
    return system, [rest[n : n + 2] for n in range(0, len(rest) - 1, 2)]


def _looks_back(messages: Messages) -> tuple[list[str], int | None]:
    """Find names and numbers of the answer that the user told before the last turn, and how far."""
    told = [turn["content"] for turn in messages[:-1] if turn["role"] == "user"]
    words = dict.fromkeys(NAMED.findall(messages[-1]["content"]))
    back = {
        word: len(told) - 1 - place
        for place, text in enumerate(told[:-1])
        for word in words
        if _has(text, word)
    }
    known = [word for word in back if not _has(told[-1], word)]
    return known, max((back[word] for word in known), default=None)


def _has(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


def _spoken(turn: dict[str, str]) -> str:
    """Tell a turn as a scene does."""
    who = {"user": "The visitor", "assistant": "The host"}.get(turn["role"], "A note")
    return f'{who} said, "{turn["content"]}"'


RECIPE = Chat()
