"""Talks: whole conversations to learn from, and conversations cut where the answer is graded."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import count as endless
from random import Random

from .plans import build

DISTANCES = (1, 2, 3, 4, 5)
# Of a hundred talks: for kinds that look back, at each distance.
LOOKING = {"recall": 4, "correction": 3, "back": 2}
OTHERS = {"unknown": 15, "instruction": 25, "greeting": 2, "leaving": 2, "small": 1, "open": 10}


@dataclass(frozen=True)
class Talk:
    """One conversation, from the user's first words to a reply of the assistant.

    Attributes:
        messages: `{"role": ..., "content": ...}`, user and assistant in turn.
        unit: the conversation's id, unique over splits and seeds.
        kind: of the last user turn.
        distance: user turns between telling and asking where the kind looks back; 1 is the turn
            before.
        check: how to grade the last reply, by the rules of `eval._checks`; `pool` names a list of
            words of which no other may be said. Empty where nothing is graded.
    """

    messages: tuple[dict[str, str], ...]
    unit: str
    kind: str
    distance: int | None
    check: dict[str, str]


@cache
def plan(block: int) -> tuple[tuple[str, int | None], ...]:
    """Return the kinds and distances of a hundred talks, in an order of their own."""
    looking = [(kind, d) for kind, n in LOOKING.items() for d in DISTANCES for _ in range(n)]
    others = [(kind, None) for kind, n in OTHERS.items() for _ in range(n)]
    mixed: list[tuple[str, int | None]] = [*looking, *others]
    Random(f"plan {block}").shuffle(mixed)
    return tuple(mixed)


@lru_cache(maxsize=8)
def items(split: str, seed: int, count: int) -> tuple[Talk, ...]:
    """Return the first `count` talks of a split.

    Args:
        split: "train", "validation" or "test".
        seed: the world's seed.
        count: how many; a smaller count gives a prefix of a larger one.
    """
    found: dict[tuple[str, ...], Talk] = {}
    for index in range(count):
        talk = next(
            talk
            for again in range(100)
            if _words(talk := _talk(split, seed, index, again)) not in found
        )
        found[_words(talk)] = talk
    return tuple(found.values())


def drawn(seed: int) -> Iterator[Talk]:
    """Yield talks of the training split without end; now and then one comes twice."""
    for index in endless():
        yield _talk("train", seed, index, 0)


def _words(talk: Talk) -> tuple[str, ...]:
    return tuple(message["content"] for message in talk.messages)


def _talk(split: str, seed: int, index: int, again: int) -> Talk:
    kind, distance = plan(index // 100)[index % 100]
    unit = f"{split}-{seed}-{index}"
    chat = build(split, kind, distance, f"{unit}-{again}", full=split != "test")
    messages = [
        {"role": role, "content": text}
        for turn in chat.turns
        for role, text in (("user", turn.user), ("assistant", turn.reply))
    ]
    last = chat.turns[-1]
    return Talk(tuple(messages), unit, last.kind, last.distance, last.check)
