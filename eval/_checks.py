"""Checks of a reply by program: a small JSON object with a rule, strict and with word boundaries.

It imports nothing of ftkit, so that `evaluate.load` can copy it beside the metrics. Alternatives
and several words are parted by `|`. Rules:
  contains: all of `words`, and nothing of `none`.
  any: at least one of `words`, and nothing of `none`.
  exact: the words of `text` and no others, behind a lead such as "Gladly:" if there is one; `case`
    and `marks` make these count too.
  admits: says that it was not told, and nothing of `none`.
  ends: at least three words, the last of which is `words`.
"""

import json
import re
from collections.abc import Callable, Mapping

ADMISSIONS = (
    "not told|never told|did not tell|have not said|did not say|not mentioned|do not know|"
    "don't know|haven't told|didn't tell|haven't said|didn't say|haven't mentioned|no idea"
)


def holds(check: str, reply: str) -> bool:
    """Say whether a reply passes a check.

    >>> holds('{"rule": "contains", "words": "Lena", "none": "Emma"}', "Your name is Lena.")
    True
    >>> holds('{"rule": "contains", "words": "Lena", "none": "Emma"}', "Lena or Emma.")
    False
    >>> holds('{"rule": "exact", "text": "pear pear"}', "Pear, pear.")
    True
    """
    found: dict[str, str] = json.loads(check)
    return _RULES[found["rule"]](found, reply)


def has(text: str, phrase: str) -> bool:
    """Say whether a text has a phrase at word boundaries, in any case."""
    return re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", text, re.IGNORECASE) is not None


def _parts(check: Mapping[str, str], key: str) -> list[str]:
    return [part for part in check.get(key, "").split("|") if part]


def _clean(check: Mapping[str, str], reply: str) -> bool:
    return not any(has(reply, word) for word in _parts(check, "none"))


def _contains(check: Mapping[str, str], reply: str) -> bool:
    return all(has(reply, word) for word in _parts(check, "words")) and _clean(check, reply)


def _any(check: Mapping[str, str], reply: str) -> bool:
    return any(has(reply, word) for word in _parts(check, "words")) and _clean(check, reply)


def _admits(check: Mapping[str, str], reply: str) -> bool:
    return any(has(reply, phrase) for phrase in ADMISSIONS.split("|")) and _clean(check, reply)


def _exact(check: Mapping[str, str], reply: str) -> bool:
    sides = []
    for text in (check["text"], reply.partition(": ")[2] or reply):
        kept = text if check.get("case") else text.lower()
        kept = kept.strip().rstrip(".!") if check.get("marks") else re.sub(r"[^\w\s]", " ", kept)
        sides.append(kept.split())
    return sides[0] == sides[1]


def _ends(check: Mapping[str, str], reply: str) -> bool:
    words = re.findall(r"\w+", reply.lower())
    return len(words) >= 3 and words[-1] == check["words"].lower()


_RULES: dict[str, Callable[[Mapping[str, str], str], bool]] = {
    "contains": _contains,
    "any": _any,
    "exact": _exact,
    "admits": _admits,
    "ends": _ends,
}
