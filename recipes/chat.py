"""Conversations whose later turns depend on earlier ones: the embedded world, or real dialogues."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from ftkit.errors import FtkitError

from . import _chat_world
from ._read import Row
from ._recipe import Example, Prose, Recipe, Split
from ._rows import Rows, gather

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
        "turns_right", "context_recall", "repetition", "variety",
    )  # fmt: skip
    fields: ClassVar[tuple[str, ...]] = ("messages",)
    turns: ClassVar[bool] = True

    def examples(self, split: Split) -> list[Example]:
        """Give a split; a conversation never lies in two of them."""
        if not self.data:
            return self._world(split)
        found = self._rows().splits[split]
        if split == "test":
            return [example for whole in found for example in _asked(whole, self.longest)]
        return [example for whole in found for example in pieces(whole, self.longest)]

    def notes(self) -> tuple[str, ...]:
        """Say which rows of the sources are not used."""
        return self._rows().notes if self.data else ()

    def generate(self, seed: int, folder: Path) -> Iterator[dict[str, Any]]:
        """Yield whole conversations, as training has them."""
        for talk in _chat_world.drawn(seed):
            yield {"messages": list(talk.messages)}

    def corpus(self) -> Iterator[str]:
        """Yield the embedded corpus: scenes, lists and notes, never the chat form."""
        yield from _chat_world.corpus(self.world_seed, self.characters)

    def prose(self, example: Example) -> Prose:
        """Ask as the corpus tells: a scene that breaks off where the answer begins."""
        if self.data:
            said = [_spoken(message) for message in example.prompt]
            return Prose("\n".join([*said, 'The host said, "']), example.reference, '"')
        return Prose(*example.meta["prose"])

    def _world(self, split: Split) -> list[Example]:
        """Draw from the embedded world."""
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

    def documents(self) -> Iterator[str]:
        """Yield training dialogues as scenes, each whole."""
        if not self.data:
            yield from super().documents()
        for whole in self._rows().splits["train"] if self.data else ():
            yield "\n".join(_spoken(message) for message in whole.messages)

    def _rows(self) -> Rows:
        return _read(self.data, self.validation, self.whole)


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


@lru_cache(maxsize=2)
def _read(data: tuple[str, ...], validation: float, whole: bool) -> Rows:
    """Read real dialogues once, each a whole."""
    return gather(data, validation, whole, lambda row: [dialogue(row)])


def dialogue(row: Row) -> Example:
    """Take a dialogue from a row's `messages`; what stands behind the last answer is left out.

    Raises:
        FtkitError: for a row that is no dialogue, naming place and field.
    """
    found = row.fields.get("messages")
    if not isinstance(found, list) or not found:
        raise FtkitError(
            f"{row.where}: 'messages' is no list of turns; a row has messages with role and content"
        )
    messages: list[dict[str, str]] = []
    for number, turn in enumerate(found, 1):
        role, content = _turn(turn, f"{row.where}: message {number}")
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += f"\n{content}"
        else:
            messages.append({"role": role, "content": content})
    while messages and messages[-1]["role"] != "assistant":
        messages.pop()
    first = next((n for n, turn in enumerate(messages) if turn["role"] == "user"), None)
    if first is None or len(messages) < 2:
        raise FtkitError(f"{row.where}: no turn of the assistant follows one of the user")
    words = "\n".join(turn["content"] for turn in messages)
    unit = hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    system = [turn for turn in messages[:first] if turn["role"] == "system"][:1]
    place = Path(row.where.rpartition(":")[0]).parent.name
    return Example((*system, *messages[first:]), {"unit": unit, "place": place}, row.where)


def _turn(turn: Any, where: str) -> tuple[str, str]:
    """Check one turn."""
    fields = turn if isinstance(turn, dict) else {}
    role, content = fields.get("role"), fields.get("content")
    if role not in ("system", "user", "assistant"):
        raise FtkitError(f"{where}: 'role' is {role!r}, not system, user or assistant")
    if not isinstance(content, str) or not content.strip():
        raise FtkitError(f"{where}: 'content' is no text")
    return role, " ".join(content.split())


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
    return [Example((*system, *part), whole.meta | {"kind": "real"}, whole.where) for part in found]


def _asked(whole: Example, longest: int) -> list[Example]:
    """Cut a dialogue at one answer, the same one always, with as much before it as fits."""
    system, exchanges = _exchanges(whole.messages)
    place = int(whole.meta["unit"], 16) % len(exchanges)
    shown = list(exchanges[place])
    for exchange in reversed(exchanges[:place]):
        if sum(len(turn["content"]) for turn in (*shown, *exchange)) > longest:
            break
        shown = [*exchange, *shown]
    recall, distance = _looks_back(shown)
    facts = {"kind": "real", "recall": "|".join(recall), "distance": distance}
    features = (whole.meta["place"], *filter(None, [_far(distance)]))
    messages = (*system, *shown)
    return [Example(messages, whole.meta | facts | {"features": features}, whole.where)]


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
