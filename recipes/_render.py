"""Chat template to token ids and labels: loss on the answers and on the token that ends a turn.

What the template puts around contents is encoded with special tokens on, contents with special
tokens off: a row that holds `<|end|>` as text cannot forge a turn, in training or in use. Text is
cut where an answer begins and nowhere else, so a prompt has the ids that any tool would give it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftkit.errors import FtkitError

from ._flat import IGNORE, Packed, Rendered
from ._ids import ID, Behind, Ids
from ._template import Messages, Template

__all__ = ["IGNORE", "Messages", "Rendered", "Renderer"]
DOCUMENT = ("assistant",)  # the roles of a text to go on with pretraining on


@dataclass(frozen=True)
class _Piece:
    """What is encoded in one go: a control token, or text between two of them.

    Args:
        learned: its tokens have labels.
        token: the control token's id, or None.
        parts: strings of the template, and places of contents.
        behind: what stands before it.
    """

    learned: bool
    token: int | None = None
    parts: tuple[str | int, ...] = ()
    behind: Behind = "nothing"


class Renderer:
    """Turn dialogues into tokens by one tokenizer's template.

    Args:
        tokenizer: of the base; without a template it is given the plain one.
        name: the base's name, for messages.

    Raises:
        FtkitError: when nothing would end an answer, or the template takes no user and assistant.
    """

    def __init__(self, tokenizer: Any, name: str = "the base") -> None:
        self.tokenizer, self.name = tokenizer, name
        self._template = Template(tokenizer, name)
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
        self._control = self._controls()
        self._tokens = re.compile("|".join(map(self._blanks, self._longest_first())))
        self._ids = Ids(tokenizer, self._control)
        self._turn, self.end = self._turn_end()
        self._plans: dict[tuple[tuple[str, ...], bool], tuple[_Piece, ...]] = {}

    @property
    def stops(self) -> tuple[int, ...]:
        """The token that ends an answer, and the tokenizer's end of text."""
        return tuple(sorted({self.end, self.tokenizer.eos_token_id} - {None}))

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what was done to rows for this template's sake."""
        return self._template.notes

    def render(self, messages: Messages) -> Rendered:
        """Encode a dialogue that ends in an answer.

        Args:
            messages: roles and contents; every assistant's content is labelled and so is the token
                that ends its turn. One answer alone is a document: it stands in no template, only
                between the tokens that begin and end a text, and is labelled whole.

        Returns:
            Ids up to the end of the last turn, and labels. The ids of `prompt` are their prefix.

        Raises:
            FtkitError: when the template changes an answer or cannot render these roles.
        """
        return self.pack([messages])[0].open()

    def pack(self, dialogues: Sequence[Messages]) -> list[Packed]:
        """Encode many dialogues at once, as `render` does one."""
        return self._encode([self._filled(messages) for messages in dialogues])

    def prompt(self, messages: Messages) -> list[int]:
        """Encode the messages before an answer, up to where the answer begins.

        Args:
            messages: the dialogue so far, the last message being the user's; none for a document.
        """
        return self._encode([self._filled(messages, ask=True)])[0].open().ids

    def decode(self, ids: Sequence[int]) -> str:
        """Turn an answer's tokens into text, without special tokens."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def _filled(
        self, messages: Messages, *, ask: bool = False
    ) -> tuple[tuple[_Piece, ...], list[str]]:
        """Find the pieces of a dialogue and the contents that go into them."""
        roles = tuple(message["role"] for message in messages)
        full = (*roles, "assistant") if ask else roles
        if full == DOCUMENT:
            contents = [message["content"] for message in messages]
        else:
            contents = self._template.contents(messages, ask=ask)
        if (full, ask) not in self._plans:
            pieces = self._document(ask) if full == DOCUMENT else self._dialogue(full, ask)
            self._plans[full, ask] = pieces
        return self._plans[full, ask], contents

    def _encode(self, rows: Sequence[tuple[tuple[_Piece, ...], list[str]]]) -> list[Packed]:
        """Encode the texts of all rows together and put each row's tokens one behind the other."""
        texts: list[tuple[str, Behind]] = [
            (_text(piece, contents), piece.behind)
            for pieces, contents in rows
            for piece in pieces
            if piece.token is None
        ]
        encoded = iter(self._ids.encode(texts))
        found = []
        for pieces, _ in rows:
            ids = [
                next(encoded) if piece.token is None else np.array(piece.token, ID).tobytes()
                for piece in pieces
            ]
            learned = (
                (b"\1" if piece.learned else b"\0") * (len(part) // 4)
                for piece, part in zip(pieces, ids, strict=True)
            )
            found.append(Packed(b"".join(ids), b"".join(learned)))
        return found

    def _dialogue(self, roles: tuple[str, ...], ask: bool) -> tuple[_Piece, ...]:
        """Cut a pattern of roles into pieces; an answer is learned up to the end of its turn."""
        frame = self._template.frame(roles)
        roles = roles[1:] if frame.folded else roles
        spans: list[tuple[str | int, bool]] = []
        for place, role in enumerate(roles):
            before = frame.before[place]
            closes = self._closes(before) if place and roles[place - 1] == "assistant" else 0
            opens = max(closes, frame.opens.get(place, len(before)))
            spans += [(before[:closes], True), (before[closes:opens], False)]
            if ask and place == len(roles) - 1:
                return self._pieces(spans)
            spans += [(before[opens:], True), (place, role == "assistant")]
        spans.append((frame.before[-1][: self._closes(frame.before[-1])], True))
        ending = () if self._turn else (_Piece(True, self.end),)
        return (*self._pieces(spans), *ending)

    def _closes(self, text: str) -> int:
        """Count the characters behind an answer that belong to it: up to the end of its turn."""
        for match in self._tokens.finditer(text):
            if self._turn and self._turn in match.group():
                return match.end()
        return 0

    def _pieces(self, spans: Sequence[tuple[str | int, bool]]) -> tuple[_Piece, ...]:
        """Join what is encoded in one go; control tokens stand for themselves."""
        pieces: list[_Piece] = []
        for span, learned in spans:
            for part in [span] if isinstance(span, int) else self._split(span):
                if isinstance(part, str) and part in self._control:
                    pieces.append(_Piece(learned, self._control[part]))
                    continue
                last = pieces[-1] if pieces else None
                if last and last.token is None and last.learned == learned:
                    pieces[-1] = _Piece(learned, None, (*last.parts, part), last.behind)
                else:
                    behind: Behind = "text" if last else "nothing"
                    behind = "control" if last and last.token is not None else behind
                    pieces.append(_Piece(learned, None, (part,), behind))
        return tuple(pieces)

    def _split(self, text: str) -> list[str]:
        """Cut a template's text at its control tokens, with the blanks that these swallow."""
        found, start = [], 0
        for match in self._tokens.finditer(text):
            token = match.group()
            found += [
                text[start : match.start()],
                token if token in self._control else token.strip(),
            ]
            start = match.end()
        return [part for part in (*found, text[start:]) if part]

    def _document(self, ask: bool) -> tuple[_Piece, ...]:
        """Frame a text as pretraining does."""
        begin, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        opening = () if begin is None or begin == end else (_Piece(False, begin),)
        if ask:
            return opening
        text = _Piece(True, None, (0,), "control" if opening else "nothing")
        return (*opening, text, _Piece(True, self.end if end is None else end))

    def _controls(self) -> dict[str, int]:
        """List the tokens that steer: the special ones, and those that this template writes."""
        frame = self._template.frame(("user", "assistant"))
        found = {token: self.tokenizer.convert_tokens_to_ids(token) for token in self._named()}
        for number, token in self.tokenizer.added_tokens_decoder.items():
            if token.special or any(token.content in text for text in frame.before):
                found[token.content] = number
        return found

    def _named(self) -> list[str]:
        """List the tokens that the tokenizer gives a name, as its end of text."""
        return [str(token) for token in self.tokenizer.all_special_tokens]

    def _longest_first(self) -> list[str]:
        return sorted(self._control, key=len, reverse=True)

    def _blanks(self, token: str) -> str:
        """Make a pattern of a token and of the blanks that it swallows."""
        number = self._control[token]
        added = self.tokenizer.added_tokens_decoder.get(number)
        left, right = (getattr(added, side, False) for side in ("lstrip", "rstrip"))
        return (r"\s*" if left else "") + re.escape(token) + (r"\s*" if right else "")

    def _turn_end(self) -> tuple[str, int]:
        """Find the token that closes an answer: in the template's text, or the end of text."""
        closing = self._split(self._template.frame(("user", "assistant")).before[-1])
        for token in closing:
            if token in self._control:
                return token, self._control[token]
        if self.tokenizer.eos_token_id is None:
            raise FtkitError(
                f"the chat template of {self.name} closes an answer without a special token, and "
                "no token ends a text, so a tuned model could not stop"
            )
        return "", int(self.tokenizer.eos_token_id)


def _text(piece: _Piece, contents: Sequence[str]) -> str:
    return "".join(part if isinstance(part, str) else contents[part] for part in piece.parts)
