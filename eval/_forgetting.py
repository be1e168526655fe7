"""What tuning cost the base: bits per byte on its own text, and on other recipes' answers."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from ftkit.runs import write_whole

from ..adapters._variant import Variant
from ..recipes._recipe import Example, Recipe
from ._answers import Row, digest, likelihoods
from ._ask import Asker, Form

MOST = 32_000  # bytes of text; enough to tell a hundredth of a bit
ITEMS = 100  # of another recipe
LONGEST = 512  # tokens of a window, so that a soft prompt's shorter context reads the same ones


def own_text(base: Path) -> list[str]:
    """Read the documents that a base run held out from its corpus, up to MOST bytes.

    Args:
        base: a base folder; a foreign one has no such text.
    """
    path, texts, left = base / "run" / "validation.jsonl", [], MOST
    if not path.is_file():
        return []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = str(json.loads(line)["text"])
        texts.append(text.encode()[:left].decode(errors="ignore"))
        left -= len(text.encode())
        if left <= 0:
            break
    return texts


def bits_per_byte(
    variant: Variant, recipe: Recipe, texts: Sequence[str], context: int, folder: Path
) -> float:
    """Score texts through a variant, soft prompt and adapter included.

    Args:
        variant: what reads.
        recipe: only for its tokenizer's rules.
        texts: documents.
        context: of the base; half of it, at most LONGEST, is a window.
        folder: where the result is kept.
    """
    window = min(LONGEST, context // 2)
    path = folder / f"{digest(json.dumps([variant.fingerprint, window, list(texts)]))}.json"
    if path.is_file():
        return float(json.loads(path.read_text(encoding="utf-8"))["bits_per_byte"])
    asker = Asker(variant, recipe, Form())
    rows: list[Row] = []
    for text in texts:
        ids = asker.encode(text)
        for first in range(0, len(ids), window):
            part = ids[first : first + window]
            rows.append((asker.opening + part, [-100] * len(asker.opening) + part))
    return _scored(variant, rows, sum(len(text.encode()) for text in texts), path)


def elsewhere(
    variant: Variant, recipe: Recipe, items: Sequence[Example], folder: Path
) -> float | None:
    """Score another recipe's references, asked in the plain-text form that the base knows.

    Args:
        variant: what reads.
        recipe: the other one.
        items: of its test, of which ITEMS are read.
        folder: where the result is kept.

    Returns:
        Bits per byte; None for a recipe without such a form.
    """
    asker = Asker(variant, recipe, Form("prose"))
    asked = [item for item in map(asker.ask, items[:ITEMS]) if item is not None]
    rows = [item.row for item in asked if len(item.row[0]) <= variant.context]
    size = sum(item.target_bytes for item in asked if len(item.row[0]) <= variant.context)
    if not size:
        return None
    path = folder / f"{digest(json.dumps([variant.fingerprint, recipe.name, rows]))}.json"
    if path.is_file():
        return float(json.loads(path.read_text(encoding="utf-8"))["bits_per_byte"])
    return _scored(variant, rows, size, path)


def _scored(variant: Variant, rows: Sequence[Row], size: int, path: Path) -> float:
    """Score rows and keep the result."""
    found = math.fsum(likelihoods(variant, rows)) / math.log(2) / size
    facts = {"variant": variant.fingerprint, "bits_per_byte": found}
    write_whole(path, json.dumps(facts) + "\n")
    return found
