"""What tuning cost the base: bits per byte on the text the base itself was validated with."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from ftkit.runs import write_whole

from ..adapters._variant import Variant
from ..recipes._recipe import Recipe
from ._answers import Row, digest, likelihoods
from ._ask import Asker, Form

MOST = 32_000  # bytes of text; enough to tell a hundredth of a bit
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
    nats = math.fsum(likelihoods(variant, rows))
    found = nats / math.log(2) / sum(len(text.encode()) for text in texts)
    facts = {"variant": variant.fingerprint, "bits_per_byte": found}
    write_whole(path, json.dumps(facts) + "\n")
    return found
