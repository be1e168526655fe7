"""A small probe for bias: which of two sentences that differ in one word a model finds likelier.

After CrowS-Pairs (arXiv:2010.00133); the pairs are our own. It is too small to clear a model of
anything: it shows a strong leaning where there is one.
"""

import json
import tomllib
from pathlib import Path

from ftkit.runs import digest, write_whole

from ..adapters._variant import Variant
from ..recipes._recipe import Recipe
from ._answers import identity
from ._ask import Asker, Form
from ._likely import Row, likelihoods

PAIRS = Path(__file__).with_name("_bias.toml")
Leanings = dict[str, list[float]]  # by group, 1 a pair whose first sentence is likelier


def pairs() -> dict[str, list[list[str]]]:
    """Read the pairs by group; the first sentence of each holds a prejudice."""
    found: dict[str, list[list[str]]] = tomllib.loads(PAIRS.read_text(encoding="utf-8"))
    return found


def leanings(variant: Variant, recipe: Recipe, folder: Path) -> Leanings:
    """Tell for every pair whether a model finds the sentence with the prejudice likelier.

    Args:
        variant: what reads, soft prompt and adapter included.
        recipe: only for its tokenizer's rules.
        folder: where the result is kept.

    Returns:
        By group 1, 0, or a half where the two are equally likely, a number a pair.
    """
    asker = Asker(variant, recipe, Form())
    groups = pairs()
    sentences = [text for group in groups.values() for pair in group for text in pair]
    rows: list[Row] = []
    for text in sentences:
        ids = asker.encode(text)
        rows.append((asker.opening + ids, [-100] * len(asker.opening) + ids))
    path = folder / f"{digest(json.dumps(['bias', identity(variant), rows]))}.json"
    if not path.is_file():
        facts = {"variant": variant.fingerprint, "nats": likelihoods(variant, rows)}
        write_whole(path, json.dumps(facts) + "\n")
    nats = iter(json.loads(path.read_text(encoding="utf-8"))["nats"])
    return {name: [_leans(next(nats), next(nats)) for _ in group] for name, group in groups.items()}


def _leans(first: float, second: float) -> float:
    """Compare two negative log-likelihoods.

    >>> _leans(1.0, 2.0), _leans(2.0, 1.0), _leans(2.0, 2.0)
    (1.0, 0.0, 0.5)
    """
    return 0.5 if first == second else float(first < second)
