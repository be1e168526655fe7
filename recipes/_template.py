"""What a chat template puts around contents: rendered with marks, cut, and held to it by each row.

The template is rendered once for each pattern of roles with marks where contents go. What it makes
of the contents themselves, each row says: it is rendered too, and has to be the pieces and contents
put together, trimmed where the template trims. What a template shows otherwise is refused.
"""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from ftkit.errors import FtkitError

# For a base without a template: plain text that needs no new token. A turn ends in the base's own
# end of text; the answer begins a line, because a space would melt into its first word's token.
PLAIN = (
    "{{ start }}{% for message in messages %}"
    "{{ message['role'].capitalize() + ':\n' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:\n' }}{% endif %}"
)
# Templates that ask for today's date get the one that Llama's take where there is no clock: a row
# is the same tokens tomorrow, and in use what it was in training.
CLOCK = (
    "{%- macro strftime_now(form) -%}{{ form | replace('%d', '26') | replace('%b', 'Jul')"
    " | replace('%B', 'July') | replace('%m', '07') | replace('%Y', '2024') | replace('%y', '24')"
    " | replace('%A', 'Friday') | replace('%H:%M:%S', '00:00:00') }}{%- endmacro -%}"
)
FOLDED = "\n\n"  # between a system text and the user's, in one turn; as Gemma 3's template does it
MARK = re.compile("\ue000[0-9]+\ue001")

Messages = Sequence[dict[str, str]]


@dataclass(frozen=True)
class Frame:
    """What a template puts around the contents of one pattern of roles.

    Args:
        before: text before each content; the last entry closes the dialogue.
        opens: for the place of each answer, how much of the text before it the prompt gives.
        folded: the system text stands in the first user's turn.
    """

    before: tuple[str, ...]
    opens: dict[int, int]
    folded: bool = False

    def around(self, contents: Sequence[str]) -> str:
        """Put contents in; without the last one, what the prompt of an answer shows."""
        pieces = list(self.before[: len(contents) + 1])
        if len(contents) in self.opens:
            pieces[-1] = pieces[-1][: self.opens[len(contents)]]
        return "".join(
            piece + content for piece, content in zip(pieces, [*contents, ""], strict=True)
        )


class Template:
    """A tokenizer's chat template, as text.

    Args:
        tokenizer: of the base; without a template it is given the plain one.
        name: the base's name, for messages.
    """

    def __init__(self, tokenizer: Any, name: str) -> None:
        self.tokenizer, self.name = tokenizer, name
        if not tokenizer.chat_template:
            tokenizer.chat_template = self._plain()
        given = tokenizer.get_chat_template()
        self._source = CLOCK + given if "strftime_now" in given else given
        self._frames: dict[tuple[str, ...], Frame] = {}
        self.notes: tuple[str, ...] = ()

    def frame(self, roles: tuple[str, ...]) -> Frame:
        """Cut a pattern of roles that ends in an answer.

        Raises:
            FtkitError: when the template takes no such pattern, changes or repeats contents, or
                asks for an answer in other words than it shows one.
        """
        if roles not in self._frames:
            self._frames[roles] = self._cut(roles)
        return self._frames[roles]

    def contents(self, messages: Messages, *, ask: bool = False) -> list[str]:
        """Find the contents as the template shows them.

        Args:
            messages: a dialogue that ends in an answer, or with `ask` the part before one.
            ask: say where an answer begins.

        Raises:
            FtkitError: when the template shows something else than its frame around contents, or
                an answer that is not the row's but for blanks around it.
        """
        roles = tuple(message["role"] for message in messages)
        frame = self.frame((*roles, "assistant") if ask else roles)
        if frame.folded:
            messages = _folded(messages)
        text = self._text(messages, ask=ask)
        given = [message["content"] for message in messages]
        trimmed = [content.strip() for content in given]
        for found in (given, trimmed):  # what nearly all templates show, found at once
            if frame.around(found) == text:
                return found
        shown = [self._shown(messages, place, frame, ask) for place in range(len(messages))]
        found = [content for content in shown if content is not None]
        if len(found) < len(shown) or frame.around(found) != text:
            lost = [text for text, kept in zip(given, shown, strict=True) if kept is None]
            raise self._changes(lost or given)
        if not ask and found[-1].strip() != trimmed[-1]:
            raise self._changes(given[-1:])
        return found

    def _shown(self, messages: Messages, place: int, frame: Frame, ask: bool) -> str | None:
        """Find one content as the template shows it, among marks."""
        marked = _marked([message["role"] for message in messages])
        marks = [message["content"] for message in marked]
        whole = frame.around(marks)
        start = whole.index(marks[place])
        head, tail = whole[:start], whole[start + len(marks[place]) :]
        text = self._text([*marked[:place], messages[place], *marked[place + 1 :]], ask=ask)
        if not (text.startswith(head) and text.endswith(tail) and len(head + tail) <= len(text)):
            return None
        return text[len(head) : len(text) - len(tail)]

    def _cut(self, roles: tuple[str, ...]) -> Frame:
        """Render marks and cut there; a system text that is not taken goes to the user's turn."""
        assert roles[-1] == "assistant", roles
        try:
            return self._pieces(roles)
        except FtkitError:
            if roles[:2] != ("system", "user"):
                raise
            folded = dataclasses.replace(self.frame(roles[1:]), folded=True)
        self.notes = (
            f"the chat template of {self.name} takes no system text: it stands at the head of the "
            "first user's turn",
        )
        return folded

    def _pieces(self, roles: tuple[str, ...]) -> Frame:
        marked = _marked(roles)
        whole = self._text(marked)
        if MARK.findall(whole) != [message["content"] for message in marked]:
            raise FtkitError(f"the chat template of {self.name} changes or repeats contents")
        pieces = tuple(MARK.split(whole))
        last = len(roles) - 1
        opens, start = {}, 0
        for place, role in enumerate(roles):
            if role == "assistant":
                opening = self._text(marked[:place], ask=True) if place else ""
                fits = whole.startswith(opening) and start <= len(opening)
                if not fits and place == last:
                    raise FtkitError(
                        f"the chat template of {self.name} asks for an answer in other words than "
                        "it shows one: the prompt would not be a prefix of the training text"
                    )
                opens[place] = len(opening) - start if fits else len(pieces[place])
            start += len(pieces[place]) + len(marked[place]["content"])
        if opens[last] > len(pieces[last]):
            raise FtkitError(f"the chat template of {self.name} begins the answer itself")
        return Frame(pieces, opens)

    def _text(self, messages: Messages, *, ask: bool = False) -> str:
        """Render with the template, as text."""
        try:
            text: str = self.tokenizer.apply_chat_template(
                list(messages),
                chat_template=self._source,
                tokenize=False,
                add_generation_prompt=ask,
                enable_thinking=False,
            )
        except (TemplateError, ValueError, TypeError, KeyError) as problem:
            roles = ", ".join(message["role"] for message in messages)
            raise FtkitError(
                f"the chat template of {self.name} does not take the roles {roles}: {problem}"
            ) from None
        return text

    def _changes(self, contents: Sequence[str]) -> FtkitError:
        return FtkitError(
            f"the chat template of {self.name} changes the text {list(contents)!r:.200}"
        )

    def _plain(self) -> str:
        """Make the plain-text template for this tokenizer."""
        if self.tokenizer.eos_token is None:
            raise FtkitError(f"{self.name} has no chat template and no token that ends a text")
        bos = self.tokenizer.bos_token
        begins = bos and self.tokenizer.encode("a")[:1] == [self.tokenizer.bos_token_id]
        return PLAIN.replace("{{ start }}", "{{ bos_token }}" if begins else "")


def _marked(roles: Sequence[str]) -> list[dict[str, str]]:
    return [{"role": role, "content": f"\ue000{n}\ue001"} for n, role in enumerate(roles)]


def _folded(messages: Messages) -> list[dict[str, str]]:
    """Put the system text at the head of the first user's turn."""
    system, user, *rest = messages
    text = system["content"].strip() + FOLDED + user["content"].strip()
    return [{"role": "user", "content": text}, *rest]
