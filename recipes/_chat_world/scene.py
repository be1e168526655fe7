"""Scenes: a conversation as prose, in quotation marks, between two characters."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from .lexicon import book
from .wording import sentence


@dataclass(frozen=True)
class Cast:
    """Who talks and who replies."""

    user: str
    reply: str

    def fill(self, template: str) -> str:
        """Put both into a sentence."""
        return sentence(template.format_map({"u": self.user, "r": self.reply}))


def cast(rng: Random) -> Cast:
    """Return a pair of characters."""
    return Cast(*str(rng.choice(book("scenes")["scene"]["pairs"])).split("|"))


def spoken(text: str, who: Cast, rng: Random) -> str:
    """Return what the first character says, with who said it.

    >>> spoken("It is late.", Cast("guest", "host"), Random(0)).startswith('"It is late," ')
    True
    """
    texts = book("scenes")["scene"]
    tags = texts["asked"] if text.endswith("?") else texts["said"]
    tag = str(rng.choice(tags)).format(u=who.user)
    return f'"{text[:-1]}," {tag}.' if text.endswith(".") else f'"{text}" {tag}.'


def replied(text: str, who: Cast, rng: Random) -> str:
    """Return what the second character replies, with who said it at the end."""
    tag = str(rng.choice(book("scenes")["scene"]["last"])).format(r=who.reply)
    text = text.removesuffix(".")
    return f'"{text}{"" if text.endswith("?") else ","}" {tag}.'


def opening(who: Cast, rng: Random) -> str:
    """Return the words before a reply, up to the opening quotation mark."""
    return who.fill(str(rng.choice(book("scenes")["scene"]["first"]))) + '"'


def scene(said: Sequence[tuple[str, str]], who: Cast, rng: Random) -> str:
    """Return turns of (words, reply) as one scene."""
    texts = book("scenes")["scene"]
    parts = [who.fill(rng.choice(texts["starts"]))] if rng.random() < 0.6 else []
    late, between = rng.random() < 0.25, rng.choice((0.0, 0.0, 0.15))
    for words, reply in said:
        if rng.random() < between:
            parts.append(who.fill(rng.choice(texts["between"])))
        parts.append(spoken(words, who, rng))
        told = replied(reply, who, rng) if late else f'{opening(who, rng)}{reply}"'
        parts.append(told)
    return (" " if rng.random() < 0.2 else "\n").join(parts)
