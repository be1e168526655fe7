"""How far a reply is held against what is asked, while it is written."""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

# Not at all, by the names that what is asked has, or by its texts as well.
Limits = Literal["", "names", "texts"]
SAID: dict[Limits, str] = {
    "": "",
    "names": "names of the schema only",
    "texts": "names of the schema and texts of the question only",
}


class Allows(Protocol):
    """The replies that there can be; what begins none, no longer text begins either."""

    def allows(self, text: str, whole: bool = False) -> bool:
        """Say whether one can begin so, or be so as a `whole`."""


class Held:
    """Hold tokens to the texts that there can be; one that adds no text is none of them.

    Many tokens are tried behind the same ones, and most fail at their first letter: what is found
    of a beginning is kept for the next token that begins so.

    Args:
        grammar: of the texts.
        decode: makes text of tokens.
        pieces: the text that a token adds, as far as it is known; shared by all that decode alike.
        stop: text that ends a reply, maybe in the midst of a token; "" for none.
    """

    def __init__(
        self,
        grammar: Allows,
        decode: Callable[[Sequence[int]], str],
        pieces: dict[int, str] | None = None,
        stop: str = "",
    ) -> None:
        self._grammar, self._decode, self._stop = grammar, decode, stop
        self._pieces = {} if pieces is None else pieces
        self._ids: Sequence[int] | None = None
        self._text = ""
        self._found: dict[str, bool] = {}

    def __call__(self, ids: Sequence[int], whole: bool) -> bool:
        """Say whether some ids may begin a reply, or be the whole of one."""
        if whole:
            return self._grammar.allows(self._decode(ids), True)
        if self._ids != ids[:-1]:
            self._ids, self._text, self._found = ids[:-1], self._decode(ids[:-1]), {}
        if self._stop and self._stop in self._text:
            return True
        piece = self._piece(ids)
        if piece is None:  # bytes that make a character with those before them
            return self._grammar.allows(self._decode(ids))
        if self._stop and self._stop in piece:
            return self._grammar.allows(self._text + piece.partition(self._stop)[0], True)
        return bool(piece) and all(self._begins(piece[:n]) for n in range(1, len(piece) + 1))

    def _begins(self, start: str) -> bool:
        if start not in self._found:
            self._found[start] = self._grammar.allows(self._text + start)
        return self._found[start]

    def _piece(self, ids: Sequence[int]) -> str | None:
        """Say what the last token adds to the text, where it leaves the rest as it is."""
        if not self._text or self._text.endswith("\ufffd"):
            text = self._decode(ids)
            return text[len(self._text) :] if text.startswith(self._text) else None
        if ids[-1] not in self._pieces:
            self._pieces[ids[-1]] = self._decode(ids)[len(self._text) :]
        return self._pieces[ids[-1]]
