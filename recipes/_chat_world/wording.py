"""Wordings and values as one split may use them."""

import re
from random import Random
from typing import Any

from .lexicon import KEPT, book, members, share, strange

FILES = ("facts", "small", "tasks", "back", "scenes")
LOOSE = 0.08  # share of the training's user turns that are typed carelessly
PLAIN = ("What ", "Which ", "Where ", "Do ", "Can ", "My ", "Say ", "Please ", "Tell ", "How ")
STRANGE = 0.5  # share of the conversations to learn from in which values are out of place
OWN = 0.55  # how often a split that has wordings of its own uses them


def sentence(text: str) -> str:
    """Begin with a capital letter, and put "an" where it belongs.

    >>> sentence("there is a old lamp.")
    'There is an old lamp.'
    """
    text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)
    return text[0].upper() + text[1:]


class Voice:
    """One split's share of the language, with the choices of one conversation.

    Args:
        split: "train", "validation", "test" or "corpus".
        rng: the source of choices.
    """

    def __init__(self, split: str, rng: Random) -> None:
        """Take the split and the source of choices; no value is used yet."""
        self.split, self.rng = split, rng
        self.used: set[str] = set()
        self.learns = split in ("train", "corpus")
        self.odd = rng.random() if self.learns and rng.random() < STRANGE else 0.0

    def choose(self, shares: dict[str, list[Any]]) -> Any:
        """Return a wording that all splits know or one of the split's own."""
        own = shares.get(self.split)
        if own and self.rng.random() < OWN:
            return self.rng.choice(own)
        return self.rng.choice(shares["both"])

    def loosen(self, text: str) -> str:
        """Write now and then as people type: the last mark is missing, and the capital too."""
        if self.split != "train" or self.rng.random() >= LOOSE or text[-1] not in ".?":
            return text
        text = text[:-1]
        return text[0].lower() + text[1:] if text.startswith(PLAIN) else text

    def left(self, pool: str) -> list[str]:
        """Return the words of a pool that this conversation has not used."""
        return [word for word in share(pool, self.split) if word not in self.used]

    def room(self, pool: str) -> int:
        """Return how many words of a pool are left."""
        own = members(pool, self.split)
        return len(own) - sum(word in own for word in self.used)

    def value(self, pool: str) -> str:
        """Return a word that this conversation has not used.

        >>> Voice("test", Random(0)).value("days")
        'Sunday'
        """
        word = self.rng.choice(self.left(pool))
        if pool not in KEPT and self.odd and self.rng.random() < self.odd:
            word = self._strange(pool)
        self.used.add(word)
        return word

    def words(self, count: int) -> list[str]:
        """Return different words for an instruction, which may have been in another one."""
        return self.rng.sample(share("words", self.split), count)

    def _strange(self, pool: str) -> str:
        used = {word.lower() for word in self.used}
        while (word := strange(pool, self.split, self.rng)).lower() in used:
            pass
        return word

    def fill(self, template: str) -> str:
        """Fill every slot that names a pool, each with a word of its own.

        >>> Voice("train", Random(0)).fill("It rains.")
        'It rains.'
        """

        def put(match: re.Match[str]) -> str:
            if match[1] == "bright":
                return str(self.rng.choice(book("small")["words"]["bright"]))
            words = share(match[1], self.split)
            return self.rng.choice([w for w in words if w not in self.used] or words)

        return sentence(re.sub(r"\{(\w+)\}", put, template))
