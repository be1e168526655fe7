"""Answers as a reader meets them: items chosen for the report, and all of them as JSON lines."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ..recipes._recipe import Example
from ._metric import Score
from ._scorecard import BASELINES
from ._tally import Entry, Scores

SHOWN = 60  # items side by side, two thirds of them ones on which variants disagree
LONGEST = 600  # characters of one text; models that run on would fill the page
Graded = Sequence[tuple[Entry, Scores]]


@dataclass(frozen=True)
class Reply:
    """One variant's answer to a shown item."""

    variant: str
    method: str
    answer: str
    score: float | None
    reason: str

    @property
    def right(self) -> bool:
        """Whether it has all there is to have."""
        return self.score is not None and self.score >= 1

    @property
    def wrong(self) -> bool:
        """Whether it lacks some of that; an answer that nothing can be said of does not."""
        return self.score is not None and not self.right


@dataclass(frozen=True)
class Sample:
    """One item with what the variants made of it."""

    number: int
    question: str
    context: str
    reference: str
    replies: Sequence[Reply]

    @property
    def disputed(self) -> bool:
        """Whether models disagree; baselines nearly always differ and do not count."""
        return len({r.score for r in self.replies if r.method not in BASELINES}) > 1


def samples(
    items: Sequence[Example], entries: Graded, primary: str, marked: bool = True
) -> list[Sample]:
    """Choose items to show, spread over the whole set.

    Args:
        items: what was asked.
        entries: what was answered, one of each variant is shown.
        primary: the metric whose verdict is shown.
        marked: whether its scores say how right an answer is; else none is right or disputed.
    """
    first = {entry.key: (entry, scores[primary]) for entry, scores in reversed(entries)}
    shown = [first[key] for key in dict.fromkeys(entry.key for entry, _ in entries)]
    made = [_sample(place, item, shown, marked) for place, item in enumerate(items)]
    disputed = [sample for sample in made if sample.disputed]
    agreed = [sample for sample in made if not sample.disputed]
    most = max(SHOWN * 2 // 3, SHOWN - len(agreed))
    chosen = _spread(disputed, most)
    chosen += _spread(agreed, SHOWN - len(chosen))
    return sorted(chosen, key=lambda sample: sample.number)


def _sample(
    place: int, item: Example, shown: Sequence[tuple[Entry, Sequence[Score]]], marked: bool
) -> Sample:
    question = str(item.meta.get("question") or item.prompt[-1]["content"])
    prompt = item.prompt[-1]["content"]
    replies = [
        Reply(
            entry.name,
            entry.method,
            _cut(entry.outcomes[place].answer, LONGEST),
            scores[place].value if marked else None,
            _cut(scores[place].reason, 160),
        )
        for entry, scores in shown
    ]
    reference = str(item.meta.get("sql") or item.reference)
    earlier = [f"{message['role']}: {message['content']}" for message in item.prompt[:-1]]
    shown_before = prompt.removesuffix(question).strip() if prompt != question else ""
    context = "\n".join(filter(None, [*earlier, shown_before]))
    question, context, reference = (_cut(t, 5 * LONGEST) for t in (question, context, reference))
    return Sample(place + 1, question, context, reference, replies)


def _cut(text: str, most: int) -> str:
    """Shorten a text."""
    return text if len(text) <= most else f"{text[:most]} …"


def _spread(found: Sequence[Sample], most: int) -> list[Sample]:
    """Take at most so many, evenly."""
    if len(found) <= most:
        return list(found)
    return [found[place * len(found) // most] for place in range(most)]


def every_answer(items: Sequence[Example], entries: Graded, metrics: Sequence[str]) -> str:
    """List every item with every answer and score, a JSON line each.

    Args:
        items: what was asked.
        entries: what was answered.
        metrics: whose scores are listed; the reason is the first one's.
    """
    lines = []
    for place, item in enumerate(items):
        given = {
            entry.name: {
                "answer": entry.outcomes[place].answer,
                "reply": entry.outcomes[place].reply,
                **({"samples": drawn} if (drawn := entry.outcomes[place].samples) else {}),
                "scores": {name: scores[name][place].value for name in metrics},
                "reason": scores[metrics[0]][place].reason,
            }
            for entry, scores in entries
        }
        head = {"item": place + 1, "where": item.where, "prompt": item.prompt[-1]["content"]}
        lines.append(json.dumps(head | {"reference": item.reference, "variants": given}))
    return "\n".join(lines) + "\n"
