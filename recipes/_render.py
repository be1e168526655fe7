"""Chat template to token ids and labels: loss on the answers and on the token that ends a turn.

The template is rendered once for each pattern of roles with marks where contents go. What lies
between the marks is encoded with special tokens on, contents with special tokens off: a row that
holds `<|end|>` as text cannot forge a turn, in training or in use.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError
from tokenizers import Tokenizer

from ftkit.errors import FtkitError

IGNORE = -100
# For a base without a template: plain text that needs no new token. A turn ends in the base's own
# end of text; the answer begins a line, because a space would melt into its first word's token.
PLAIN = (
    "{{ start }}{% for message in messages %}"
    "{{ message['role'].capitalize() + ':\n' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:\n' }}{% endif %}"
)

Messages = Sequence[dict[str, str]]


@dataclass(frozen=True)
class Rendered:
    """Token ids and labels of a dialogue: a label is the id at its place, or -100."""

    ids: list[int]
    labels: list[int]

    @property
    def supervised(self) -> int:
        """How many tokens have a label."""
        return sum(label != IGNORE for label in self.labels)


@dataclass(frozen=True)
class _Frame:
    """What a template puts around the contents of one pattern of roles.

    Args:
        before: text before each content; the last entry closes the dialogue.
        prompt: how much of the text before the last content belongs to the prompt.
    """

    before: tuple[str, ...]
    prompt: int


class Renderer:
    """Turn dialogues into tokens by one tokenizer's template.

    Args:
        tokenizer: of the base; without a template it is given the plain one.
        name: the base's name, for messages.
    """

    def __init__(self, tokenizer: Any, name: str = "the base") -> None:
        self.tokenizer, self.name = tokenizer, name
        if not tokenizer.chat_template:
            tokenizer.chat_template = self._plain()
        self._content = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._content.encode_special_tokens = True
        for encoder in (self._content, tokenizer.backend_tokenizer):
            encoder.no_truncation()
            encoder.no_padding()
        self._frames: dict[tuple[str, ...], _Frame] = {}
        self._controls: dict[str, list[int]] = {}
        self._special = set(tokenizer.all_special_ids)
        self.end = self._turn_end()

    @property
    def stops(self) -> tuple[int, ...]:
        """The token that ends an answer, and the tokenizer's end of text."""
        return tuple(sorted({self.end, self.tokenizer.eos_token_id} - {None}))

    def render(self, messages: Messages) -> Rendered:
        """Encode a dialogue that ends in an answer.

        Args:
            messages: roles and contents; every assistant's content is labelled and so is the token
                that ends its turn.

        Returns:
            Ids up to the end of the last turn, and labels. The ids of `prompt` are their prefix.

        Raises:
            FtkitError: when the template changes a content or cannot render these roles.
        """
        frame = self._frame(tuple(message["role"] for message in messages))
        self._check(messages, frame)
        contents = self._contents(messages)
        ids, labels = self._opening(messages, frame, contents[:-1])
        skipped = frame.before[len(messages) - 1][frame.prompt :]
        answer = [*self._control(skipped), *contents[-1], self.end]
        return Rendered(ids + answer, labels + answer)

    def prompt(self, messages: Messages) -> list[int]:
        """Encode the messages before an answer, up to where the answer begins.

        Args:
            messages: the dialogue so far, the last message being the user's.
        """
        dialogue = [*messages, {"role": "assistant", "content": ""}]
        frame = self._frame(tuple(message["role"] for message in dialogue))
        return self._opening(dialogue, frame, self._contents(messages))[0]

    def decode(self, ids: Sequence[int]) -> str:
        """Turn an answer's tokens into text, without special tokens."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def _opening(
        self, messages: Messages, frame: _Frame, contents: list[list[int]]
    ) -> tuple[list[int], list[int]]:
        """Put together all that stands before the last content."""
        ids: list[int] = []
        labels: list[int] = []
        answered = False
        for place, content in enumerate([*contents, None]):
            last = content is None
            text = frame.before[place][: frame.prompt] if last else frame.before[place]
            control = self._control(text)
            ids += control
            labels += [IGNORE] * len(control)
            if answered:  # the turn's end follows its content
                where = len(ids) - len(control) + control.index(self.end)
                labels[where] = self.end
            if content is not None:
                ids += content
                answered = messages[place]["role"] == "assistant"
                labels += content if answered else [IGNORE] * len(content)
        return ids, labels

    def _contents(self, messages: Messages) -> list[list[int]]:
        """Encode contents with special tokens off."""
        texts = [message["content"] for message in messages]
        return [
            list(encoding.ids)
            for encoding in self._content.encode_batch(texts, add_special_tokens=False)
        ]

    def _control(self, text: str) -> list[int]:
        """Encode what the template puts between contents."""
        if text not in self._controls:
            self._controls[text] = self.tokenizer.encode(text, add_special_tokens=False)
        return self._controls[text]

    def _frame(self, roles: tuple[str, ...]) -> _Frame:
        """Render a pattern of roles with marks for contents, and cut at the marks."""
        if roles in self._frames:
            return self._frames[roles]
        assert roles[-1] == "assistant", roles
        marks = [f"\ue000{place}\ue001" for place in range(len(roles))]
        messages = [
            {"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)
        ]
        whole, opening = self._text(messages), self._text(messages[:-1], ask=True)
        pieces = re.split("\ue000[0-9]+\ue001", whole)
        if re.findall("\ue000[0-9]+\ue001", whole) != marks:
            raise FtkitError(f"the chat template of {self.name} changes or repeats contents")
        start = whole.index(marks[-1]) - len(pieces[-2])
        if not whole.startswith(opening) or len(opening) < start:
            raise FtkitError(
                f"the chat template of {self.name} asks for an answer in other words than it shows "
                "one: the prompt would not be a prefix of the training text"
            )
        prompt = len(opening) - start
        if prompt > len(pieces[-2]):
            raise FtkitError(f"the chat template of {self.name} begins the answer itself")
        self._frames[roles] = _Frame(tuple(pieces), prompt)
        return self._frames[roles]

    def _text(self, messages: Messages, *, ask: bool = False) -> str:
        """Render with the template, as text."""
        try:
            text: str = self.tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=ask, enable_thinking=False
            )
        except (TemplateError, ValueError, TypeError, KeyError) as problem:
            roles = ", ".join(message["role"] for message in messages)
            raise FtkitError(
                f"the chat template of {self.name} does not take the roles {roles}: {problem}"
            ) from None
        return text

    def _check(self, messages: Messages, frame: _Frame) -> None:
        """Refuse contents that the template would change: it would say one thing and we another."""
        contents = [message["content"] for message in messages]
        if all(text and text == text.strip() and "<" not in text for text in contents):
            return
        ours = frame.before[0] + "".join(
            content + after for content, after in zip(contents, frame.before[1:], strict=True)
        )
        if self._text(messages) != ours:
            raise FtkitError(f"the chat template of {self.name} changes the text {contents!r:.200}")

    def _turn_end(self) -> int:
        """Find the special token that closes an answer."""
        closing = self._control(self._frame(("user", "assistant")).before[-1])
        for token in closing:
            if token in self._special:
                return token
        raise FtkitError(
            f"the chat template of {self.name} closes an answer without a special token, "
            "so a tuned model could not stop"
        )

    def _plain(self) -> str:
        """Make the plain-text template for this tokenizer."""
        if self.tokenizer.eos_token is None:
            raise FtkitError(f"{self.name} has no chat template and no token that ends a text")
        bos = self.tokenizer.bos_token
        begins = bos and self.tokenizer.encode("a")[:1] == [self.tokenizer.bos_token_id]
        return PLAIN.replace("{{ start }}", "{{ bos_token }}" if begins else "")
