"""Text to ids as the base's tokenizer gives them, save that what spells a control token is text."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tokenizers import Tokenizer

from ..basemodel.tokenizer import WORDS
from ..basemodel.words import Words

ID = "<i4"  # of an id's four bytes
# What stands before a text: nothing, a control token, or other text.
Behind = Literal["nothing", "control", "text"]
# Patterns of which no piece goes on behind a space that has no space beside it: Qwen's, which is
# ftkit's too, and Llama 3's. So is that of GPT-2, which the library has built in.
CUT = (WORDS, WORDS.replace(r"\p{N}|", r"\p{N}{1,3}|"))


class Ids:
    """Encode texts with special tokens off, in batches, remembering words.

    Args:
        tokenizer: of transformers; stays as it is.
        control: token to id, of the tokens that a text must not become.
    """

    def __init__(self, tokenizer: Any, control: Mapping[str, int]) -> None:
        spec = json.loads(tokenizer.backend_tokenizer.to_str())
        spec |= {"truncation": None, "padding": None}
        for token in spec["added_tokens"]:
            token["special"] = token["special"] or token["content"] in control
        bare = _bare(spec)
        self._inside, inside = _words(bare)
        self._begins: set[Behind] = set()
        self._outset = self._inside
        if bare != spec:  # Llama 2's and others' put a blank before a text
            self._outset, outset = _words(spec)
            self._begins = {"nothing"}
            known = set(control) & set(inside.get_vocab())
            if known and _behind(tokenizer, min(known)) == outset.encode("a").ids:
                self._begins.add("control")

    def encode(self, texts: Sequence[tuple[str, Behind]]) -> list[bytes]:
        """Return the ids of each text, four bytes each."""
        first = [text for text, behind in texts if behind in self._begins]
        if not first:
            return self._inside.encode([text for text, _ in texts])
        rest = [text for text, behind in texts if behind not in self._begins]
        found = {True: iter(self._outset.encode(first)), False: iter(self._inside.encode(rest))}
        return [next(found[behind in self._begins]) for _, behind in texts]


def _behind(tokenizer: Any, token: str) -> list[int]:
    """Encode a letter behind a control token."""
    ids: list[int] = tokenizer.encode(f"{token}a", add_special_tokens=False)
    return ids[1:]


def _words(spec: dict[str, Any]) -> tuple[Words, Tokenizer]:
    inner = Tokenizer.from_str(json.dumps(spec))
    inner.encode_special_tokens = True
    inner.post_processor = None
    return Words(inner, ID, cut=_cuttable(spec)), inner


def _cuttable(spec: dict[str, Any]) -> bool:
    """Say whether the parts of a text that is cut at single spaces give the ids of the whole."""
    before = spec["pre_tokenizer"] or {}
    steps = before.get("pretokenizers", [before])
    kinds = [step.get("type") for step in steps]
    if kinds == ["Split", "ByteLevel"]:
        known = steps[0]["pattern"].get("Regex") in CUT and not steps[0]["invert"]
    else:
        known = kinds == ["ByteLevel"] and steps[0]["use_regex"]
    plain = spec["normalizer"] is None or spec["normalizer"] == {"type": "NFC"}
    words = (token for token in spec["added_tokens"] if not token["special"])
    return known and plain and not any(_blank(token) for token in words)


def _blank(token: dict[str, Any]) -> bool:
    """Say whether an added token could reach over a space."""
    return bool(token["lstrip"] or token["rstrip"] or re.search(r"\s", token["content"]))


def _bare(spec: dict[str, Any]) -> dict[str, Any]:
    """Take out of a tokenizer whatever puts a blank before a text."""
    return spec | {part: _lead(spec[part]) for part in ("normalizer", "pre_tokenizer")}


def _lead(part: Any) -> Any:
    """Take it out of one part, and of the parts in it."""
    if isinstance(part, list):
        return [kept for step in part if (kept := _lead(step)) is not None]
    if not isinstance(part, dict):
        return part
    if part.get("type") == "Prepend":
        return None
    changes = {"prepend_scheme": "never", "add_prefix_space": False}
    return {key: changes.get(key, _lead(value)) for key, value in part.items()}
