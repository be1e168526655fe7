"""The chat world's sentences by share, for tests that look for held-out ones."""

import re
from typing import Any

from ftkit.recipes._chat_world.lexicon import book

BOOKS = ("facts", "small", "tasks", "back")


def templates(share: str, node: Any = None) -> list[str]:
    """Return all sentences of one share, wherever they stand in the TOML files."""
    if node is None:
        return [line for name in BOOKS for line in templates(share, book(name))]
    found = []
    for key, value in node.items():
        if isinstance(value, dict):
            found += templates(share, value)
        elif key == share:
            found += [line[0] if isinstance(line, list) else line for line in value]
    return found


def pattern(lines: list[str]) -> re.Pattern[str]:
    """Return what finds any of these sentences, slots filled in any way."""
    parts = [re.sub(r"\\\{\w\\\}", r"[\\w, ]+?", re.escape(t.rstrip(".?!"))) for t in lines]
    return re.compile(rf"(?<!\w)(?:{'|'.join(parts)})(?!\w)", re.IGNORECASE)
