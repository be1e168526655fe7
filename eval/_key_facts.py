"""Key facts: which facts an answer states, by their known wordings or, without any, by its words.

It imports nothing of ftkit, so that `evaluate.load` can copy it beside the metrics. The answer is
cut at 1.5 times the reference's length first, so that listing everything does not pay.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

# What a metric of key facts is computed from, as `compare` takes it.
COLUMNS = dict.fromkeys(
    ("predictions", "references", "facts", "known", "questions", "names"), "string"
)
ROOM = 1.5  # an answer may be so many times as long as the reference
# "no fever" does not state a fever; "no late meals" is a fact by itself.
DENIED = re.compile(r"\b(?:no|not|never|without|neither|nor)\s$")
ANSWERED = re.compile(r"\b(no|never),", re.IGNORECASE)  # "No, rest is enough" states rest
WORD = re.compile(r"[a-z0-9][a-z0-9'-]*")
# Words that state nothing; a text without known facts is read as all of its other words.
_EMPTY = """
    a about after all also although am an and any are as at be because been before being
    between both but by can cannot could did do does doing down each either else ever every
    few for from had has have having he her here his how however i if in into is it its
    itself just least less like many may me might more most much must my near no nor not of
    off often on once one only or other our out over own per rather same she should since so
    some such than that the their them then there these they this those through thus to too
    under until up upon very was we were what when where which while who whom whose why will
    with within without would yes yet you your
"""
EMPTY = frozenset(_EMPTY.split())


@dataclass(frozen=True)
class Found:
    """What an answer states.

    Attributes:
        right: how many of the expected facts.
        wrong: how many others.
        expected: how many were expected.
    """

    right: int
    wrong: int
    expected: int


def row(outcome: Any, example: Any) -> tuple[Any, ...] | None:
    """Take what `compare` needs, in the order of COLUMNS; None where no facts are expected."""
    meta, question = example.meta, example.prompt[-1]["content"]
    if not meta.get("facts"):
        return None
    about = question, str(meta.get("names") or meta.get("name", ""))
    return outcome.answer, example.reference, meta["facts"], meta["known"], *about


def compare(
    answer: str, reference: str, facts: str, known: str, question: str, name: str = ""
) -> Found:
    """Find the facts that an answer states.

    Args:
        answer: what was said.
        reference: what bounds its length.
        facts: the expected ones, one a line, wordings divided by ` | `; a text when nothing is
            known.
        known: all facts that an answer can state, in the same form; "" takes every word for one.
        question: a fact that stands in it and is not expected counts for nothing.
        name: of what is asked about, several parted by `|`; saying one states nothing ("scarlet
            fever" is no fever).
    """
    said = cut(answer, reference)
    if not known:
        asked = content(question)
        wanted, stated = content(facts) - asked, content(said) - asked
        return Found(len(wanted & stated), len(stated - wanted), len(wanted))
    ids, pattern = _lexicon(known)
    plain = _without(ANSWERED.sub(r"\1;", said), name)  # further commas go
    named = _without(question, name)
    wordings = [[words.strip() for words in line.split("|")] for line in facts.splitlines()]
    wanted_ids = {ids[_plain(line[0])] for line in wordings if _plain(line[0]) in ids}
    asked_ids = {ids[hit] for hit in pattern.findall(named)} - wanted_ids
    hits = [hit for hit in pattern.finditer(plain) if not DENIED.search(plain[: hit.start()])]
    stated_ids = {ids[hit[0]] for hit in hits} - asked_ids
    return Found(len(wanted_ids & stated_ids), len(stated_ids - wanted_ids), len(wanted_ids))


def cut(answer: str, reference: str) -> str:
    """Take the words that end within ROOM times the reference's length.

    >>> cut("rest and water and tea and soup and honey", "rest and water")
    'rest and water and'
    """
    most = int(ROOM * len(reference))
    return answer if len(answer) <= most else answer[: most + 1].rpartition(" ")[0]


def content(text: str) -> set[str]:
    """Take the words that state something, in lower case.

    >>> sorted(content("It is a viral infection of the lungs."))
    ['infection', 'lungs', 'viral']
    """
    return {word for word in WORD.findall(text.lower()) if len(word) > 2} - EMPTY


@lru_cache(maxsize=4)
def _lexicon(known: str) -> tuple[dict[str, int], re.Pattern[str]]:
    """Index all wordings, and make a pattern that prefers the longer of two."""
    ids = {
        _plain(words): number
        for number, line in enumerate(known.splitlines())
        for words in line.split("|")
    }
    longest = sorted(ids, key=lambda words: (-len(words), words))
    return ids, re.compile(r"\b(?:" + "|".join(map(re.escape, longest)) + r")\b")


def _without(text: str, name: str) -> str:
    """Write text plainly, names in it left out, with or without their articles."""
    names = {re.sub(r"^(?:an?|the) ", "", _plain(one)) for one in name.split("|")} - {""}
    if not names:
        return _plain(text)
    longest = sorted(map(re.escape, names), key=len, reverse=True)
    return re.sub(rf"\b(?:{'|'.join(longest)})\b", "#", _plain(text))


def _plain(text: str) -> str:
    """Write text in lower case, with words a single space apart and no commas between them."""
    return " ".join(text.lower().replace(",", " ").split())
