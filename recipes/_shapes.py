"""The shapes a row of conversation may have, each to the same checked messages (stand-in)."""

from typing import Any

from ftkit.errors import FtkitError

from ._read import Row

PAIRS = (("prompt", "completion"), ("question", "answer"), ("instruction", "output"))


def talk(row: Row) -> tuple[dict[str, str], ...]:
    """Read a row's conversation, ending in an answer."""
    fields: dict[str, Any] = row.fields
    if isinstance(fields.get("messages"), list):
        return tuple({"role": m["role"], "content": m["content"]} for m in fields["messages"])
    for asked, told in PAIRS:
        if asked in fields and str(fields.get(told) or "").strip():
            text = "\n".join(filter(None, [str(fields[asked]), str(fields.get("input") or "")]))
            return (
                {"role": "user", "content": text},
                {"role": "assistant", "content": str(fields[told])},
            )
    raise FtkitError(f"{row.where}: no conversation")
