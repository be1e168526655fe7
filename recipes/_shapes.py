"""Shapes of rows: which fields a row may have, recognised by their names, and what is refused.

The shapes are those of OpenAI (messages), ShareGPT (conversations), Stanford Alpaca (instruction),
TRL (prompt, completion), and of the data sets on the Hub that are named in docs/data.md.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..basemodel.record import BadRow, kind_of
from ._read import Row

ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "model", "bot"), "assistant"),
}
TURNS = {"messages": ("role", "content"), "conversations": ("from", "value")}
# A prompt's field to the fields in which its answer may stand.
PAIRS = {
    "instruction": ("output", "response"),
    "prompt": ("completion", "response", "answer", "output"),
    "question": ("answer", "response"),
    "input": ("output", "target"),
    "text": ("label", "summary"),
    "sentence": ("label",),
    "document": ("summary",),
    "article": ("highlights", "summary"),
    "source": ("target",),
}
SYSTEM = ("system", "system_prompt")  # what the system says, beside a prompt or its turns
ALONE = ("instruction", "prompt", "question")  # fields that name a prompt, whatever else is there
WHAT_FITS = (
    'a row is {"messages": [{"role", "content"} ...]}, {"conversations": [{"from", "value"} ...]}, '
    "instruction (input) output, prompt completion, question answer, or text"
)
SHOWN = 200  # characters of a row that a message quotes at most
Message = dict[str, str]


def talk(row: Row) -> tuple[Message, ...]:
    """Read a row of any shape as a dialogue that ends in an answer.

    Args:
        row: whose `odd` is told of a last turn that has no answer and is left out.

    Returns:
        Messages: perhaps one of the system, then user and assistant in turn. A row that has only
        `text` is one message of the assistant.

    Raises:
        BadRow: naming place, field, what is wrong and the shapes that fit.
    """
    fields = row.fields
    for name, keys in TURNS.items():
        if fields.get(name) is not None:
            return _dialogue(row, name, fields[name], keys)
    for asked, answers in PAIRS.items():
        if asked in fields and (asked in ALONE or any(name in fields for name in answers)):
            return _pair(row, asked, answers)
    if "text" in fields:
        return ({"role": "assistant", "content": words(row, "text")},)
    names = ", ".join(map(repr, fields)) or "no fields"
    raise BadRow(row.where, "no known shape", f"it has {names:.{SHOWN}}; {WHAT_FITS}")


def exchange(row: Row) -> tuple[str, str]:
    """Read a row of any shape as one question and its answer; what the system says is left out.

    Raises:
        BadRow: as `talk`, and for a dialogue of more than two turns.
    """
    messages = talk(row)
    if messages[0]["role"] == "system":
        row.odd.append("have a system's text that is not used")
        messages = messages[1:]
    if len(messages) != 2:
        what = f"it has {len(messages)} turns, not a question and its answer"
        raise BadRow(row.where, "not one question and answer", what)
    return messages[0]["content"], messages[1]["content"]


def words(row: Row, *names: str, needed: bool = True, fits: str = "it must be text") -> str:
    """Take a text field.

    Args:
        row: whose field.
        names: of the field; the first that the row has is taken.
        needed: refuse a row where it is missing, null or empty; else that is "".
        fits: what would be right, for the message.

    Raises:
        BadRow: when it is no text.
    """
    fields, name, value = row.fields, names[0], None
    for each in names:
        if (value := fields.get(each)) is not None:
            name = each
            break
    else:
        if not needed:
            return ""
    if isinstance(value, str) and ((text := value.strip()) or not needed):
        return text
    what = "missing" if name not in fields else kind_of(value)
    kind = f"'{name}' is {what if what in ('missing', 'null', 'empty') else 'no text'}"
    raise BadRow(row.where, kind, f"'{name}' is {what}; {fits}")


def _pair(row: Row, asked: str, answers: Sequence[str]) -> tuple[Message, ...]:
    """Read a prompt and an answer, each text or a list of turns."""
    fields = row.fields
    given = [name for name in answers if name in fields] or [answers[0]]
    answer = next((name for name in given if fields.get(name) is not None), given[0])
    if isinstance(fields[asked], list):  # TRL: both sides are turns
        turns = [*fields[asked], *_listed(row, answer)]
        return _dialogue(row, asked, turns, TURNS["messages"])
    prompt = words(row, asked)
    more = words(row, "input", "context", needed=False) if asked != "input" else ""
    prompt += f"\n\n{more}" if more else ""
    told = words(row, answer, fits=WHAT_FITS)
    both = {"role": "user", "content": prompt}, {"role": "assistant", "content": told}
    system = words(row, *SYSTEM, needed=False)
    return ({"role": "system", "content": system}, *both) if system else both


def _listed(row: Row, name: str) -> list[Any]:
    value = row.fields.get(name)
    if isinstance(value, list):
        return value
    raise BadRow(
        row.where, f"'{name}' is no list", f"'{name}' is no list of turns, as the prompt is"
    )


def _dialogue(row: Row, name: str, turns: Any, keys: tuple[str, str]) -> tuple[Message, ...]:
    """Check a list of turns; what stands behind the last answer is left out."""
    if not isinstance(turns, list) or not turns:
        raise BadRow(
            row.where, f"'{name}' is no list of turns", f"'{name}' is {kind_of(turns)}; {WHAT_FITS}"
        )
    system = words(row, *SYSTEM, needed=False)
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    for number, turn in enumerate(turns, 1):
        message = _turn(turn, keys, row.where, number)
        _in_turn(messages, message, row.where, number)
        messages.append(message)
    while messages and messages[-1]["role"] != "assistant":
        messages.pop()
        if messages:
            row.odd.append("the last turn has no answer and is left out")
    if not messages:
        raise BadRow(row.where, "no answer", "no turn of the assistant follows one of the user")
    return tuple(messages)


def _turn(turn: Any, keys: tuple[str, str], where: str, number: int) -> Message:
    """Read one turn; the names of the other shape are taken too."""
    place = f"message {number}"
    if not isinstance(turn, Mapping):
        raise BadRow(where, "a turn is no object", f"{place} is {kind_of(turn)}, not an object")
    said, content = (_either(turn, key) for key in zip(keys, ("role", "content"), strict=True))
    role = ROLES.get(said.lower()) if isinstance(said, str) else None
    if role is None:
        known = "system, user or assistant"
        told = f"{said!r:.{SHOWN}}"
        raise BadRow(where, "unknown role", f"{place}: '{keys[0]}' is {told}, not {known}")
    if isinstance(content, list):
        content = _pieces(content)
    if not isinstance(content, str):
        what = kind_of(content)
        raise BadRow(
            where, "content is no text", f"{place}: '{keys[1]}' is {what}; it must be text"
        )
    if not content.strip():
        kind = "empty answer" if role == "assistant" else "empty message"
        raise BadRow(where, kind, f"{place}, of the {role}, is empty")
    return {"role": role, "content": content.strip()}


def _either(turn: Mapping[str, Any], keys: tuple[str, str]) -> Any:
    return next((turn[key] for key in keys if key in turn), None)


def _pieces(content: list[Any]) -> Any:
    """Join a content of text parts; anything else in it is no text."""
    texts = [piece.get("text") for piece in content if isinstance(piece, Mapping)]
    plain = [text for text in texts if isinstance(text, str)]
    return "".join(plain) if len(plain) == len(content) else content


def _in_turn(messages: Sequence[Message], message: Message, where: str, number: int) -> None:
    """Refuse a turn out of turn: guessing who spoke would teach something else than was said."""
    role, before = message["role"], messages[-1]["role"] if messages else ""
    if role == "system" and messages:
        raise BadRow(
            where,
            "system message out of place",
            f"message {number} is of the system, which speaks first and once",
        )
    if role == before:
        raise BadRow(
            where,
            "roles do not alternate",
            f"messages {number - 1} and {number} are both of the {role}",
        )
    if role == "assistant" and before in ("", "system"):
        raise BadRow(
            where,
            "the assistant speaks first",
            f"message {number} is of the assistant; a dialogue begins with the user",
        )
