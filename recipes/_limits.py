"""How far a reply is held against what is asked, while it is written."""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from ..basemodel.rows import Allowed

# Not at all, by the names that what is asked has, or by its texts as well.
Limits = Literal["", "names", "texts"]
SAID: dict[Limits, str] = {
    "": "",
    "names": "names of the schema only",
    "texts": "names of the schema and texts of the question only",
}


class Allows(Protocol):
    """The replies that there can be."""

    def allows(self, text: str, whole: bool = False) -> bool:
        """Say whether one can begin so, or be so as a `whole`."""


def held(grammar: Allows, decode: Callable[[Sequence[int]], str]) -> Allowed:
    """Hold tokens to the texts that there can be; one that adds no text is none of them.

    Args:
        grammar: of the texts.
        decode: makes text of tokens.
    """
    known: tuple[Sequence[int], str] = ((), "")  # many tokens are tried behind the same ones

    def allowed(ids: Sequence[int], whole: bool) -> bool:
        nonlocal known
        if whole:
            return grammar.allows(decode(ids), True)
        if known[0] != ids[:-1]:
            known = ids[:-1], decode(ids[:-1])
        text = decode(ids)
        return text != known[1] and grammar.allows(text)

    return allowed
