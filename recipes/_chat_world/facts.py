"""What a user can tell, and one turn of a conversation."""

from dataclasses import dataclass, field
from typing import Any

from .lexicon import book
from .wording import sentence


@dataclass(frozen=True)
class Fact:
    """One thing that the user told.

    Attributes:
        kind: its section in facts.toml.
        key: what it is about ("dog", "Friday"), or nothing.
        value: the word to remember.
        turn: the user turn that said so last, from 0.
    """

    kind: str
    key: str
    value: str
    turn: int = 0

    @property
    def book(self) -> dict[str, Any]:
        """Its sentences."""
        found: dict[str, Any] = book("facts")[self.kind]
        return found

    def say(self, template: str, old: str = "") -> str:
        """Fill a sentence about the fact."""
        return sentence(self.clause(template, old))

    def clause(self, template: str, old: str = "") -> str:
        """Fill a part of a sentence."""
        return template.format_map({"k": self.key, "v": self.value, "o": old})

    @property
    def check(self) -> dict[str, str]:
        """What an answer must name: this value and no other of its pool."""
        words, pool = self.value, str(self.book["pool"])
        return {"rule": "contains", "words": words, "pool": pool, "task": self.kind}


@dataclass(frozen=True)
class Turn:
    """What the user says and the assistant replies, and how to grade the reply."""

    user: str
    reply: str
    kind: str
    distance: int | None = None
    check: dict[str, str] = field(default_factory=dict)
