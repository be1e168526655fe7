"""A dialogue in the pieces that training sees: the base's tokens by name, or the plain words."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from ._session import printable

IGNORE = -100  # the label of a token that is not learned
MOST = 600  # pieces of an example, and half the characters of a message; the middle is left out
HELD = 8  # tokens that may be read before the character they are parts of is whole


@dataclass(frozen=True)
class Piece:
    """A token, or several where a character is spread over them; without tokens a run of text.

    Args:
        text: what it says; a control token's name.
        learned: whether the loss falls on it.
        control: a control token, or a word that only the preview puts there.
        tokens: how many these are; 0 for plain text.
    """

    text: str
    learned: bool = False
    control: bool = False
    tokens: int = 0

    @property
    def shown(self) -> str:
        """The text with line breaks visible and with nothing that commands a terminal."""
        text = printable(self.text.replace("\r", "␍"))
        return text if self.control else text.replace("\n", "⏎\n")

    @property
    def number(self) -> str:
        """How many tokens a spread character takes, as a small number; "" for one."""
        return "".join(chr(0x2080 + int(digit)) for digit in str(self.tokens) * (self.tokens > 1))


def tokens(renderer: Any, messages: Sequence[dict[str, str]]) -> list[Piece]:
    """Put a dialogue into the base's tokens, as training does.

    Args:
        renderer: of the base's template, a `recipes._render.Renderer`.
        messages: ending in an answer.
    """
    row, tokenizer = renderer.render(messages), renderer.tokenizer
    ids, learned = list(row.ids), [label != IGNORE for label in row.labels]
    names = {token: str(added) for token, added in tokenizer.added_tokens_decoder.items()}

    def text(start: int, end: int) -> str:
        return str(tokenizer.decode(ids[start:end], clean_up_tokenization_spaces=False))

    pieces: list[Piece] = []
    start = read = 0  # what stands before a token can change its text: a window of two is decoded
    for place, token in enumerate(ids):
        end = place + 1
        if token in names:
            pieces.append(Piece(names[token], learned[place], True, 1))
            start, read = place, end
            continue
        said = text(start, end)[len(text(start, read)) :]
        goes_on = end < len(ids) and learned[end] == learned[place] and ids[end] not in names
        if said.endswith("\ufffd") and goes_on and end - read < HELD:
            continue
        pieces.append(Piece(said, learned[place], tokens=end - read))
        start, read = read, end
    return _cut(pieces)


def words(messages: Sequence[dict[str, str]]) -> list[Piece]:
    """Show a dialogue without a tokenizer: roles, contents and where an answer ends."""
    pieces = []
    for message in messages:
        learned = message["role"] == "assistant"
        pieces += [Piece(f"{message['role']}: ", control=True)]
        pieces += [replace(part, learned=learned) for part in _short(message["content"])]
        pieces += [Piece(" <end>", True, True)] if learned else []
        pieces += [Piece("\n", control=True)]
    return pieces[:-1]


def runs(pieces: Sequence[Piece]) -> list[tuple[bool, list[Piece]]]:
    """Group neighbours that are learned, or are not."""
    return [(learned, list(run)) for learned, run in groupby(pieces, lambda piece: piece.learned)]


def _cut(pieces: list[Piece]) -> list[Piece]:
    """Leave out the middle of a very long row."""
    if len(pieces) <= MOST:
        return pieces
    gap = sum(piece.tokens for piece in pieces[MOST // 2 : -MOST // 2])
    hidden = Piece(f"[… {gap:,} tokens not shown …]", control=True)
    return [*pieces[: MOST // 2], hidden, *pieces[-MOST // 2 :]]


def _short(text: str) -> list[Piece]:
    """Leave out the middle of a very long message."""
    if len(text) <= 2 * MOST:
        return [Piece(text)]
    gap = f"[… {len(text) - 2 * MOST:,} characters not shown …]"
    return [Piece(text[:MOST]), Piece(gap, control=True), Piece(text[-MOST:])]
