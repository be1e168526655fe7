"""Questions about common conditions: the embedded world, or real questions with answers."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from . import _medical_world
from ._read import Row
from ._recipe import Example, Prose, Recipe, Split
from ._rivals import Ranked
from ._shapes import exchange, words

SENTENCE = re.compile(r"(?<=[.!?])\s")


@dataclass(frozen=True)
class Medical(Recipe):
    """Teach a base to answer about conditions, to escalate emergencies and to refer the rest.

    Args:
        rows: training questions of the embedded world.
        tests: test questions of the embedded world.
        characters: size of the embedded pretraining corpus.
        longest: characters of a real answer; a longer one ends with its last whole sentence there.
        rivals: wrong answers of its type that a test item's right one is ranked beside; 0 for none.
    """

    epochs: float = 3.0
    rows: int = 3000
    tests: int = 320
    characters: int = 4_200_000
    longest: int = 600
    rivals: int = 3
    metrics: ClassVar[tuple[str, ...]] = (
        *("key_fact_recall", "key_fact_precision"),
        *("escalation", "false_escalation", "referral", "false_referral"),
        *("rank_first", "reciprocal_rank", "facts_right", "facts_some", "format_failure"),
        "calibration",
    )
    fields: ClassVar[tuple[str, ...]] = ("question", "answer")
    notice: ClassVar[str] = "Not medical advice."

    def generate(self, seed: int, folder: Path) -> Iterator[dict[str, Any]]:
        """Yield questions about the conditions that training rows may ask about."""
        for case in _medical_world.drawn(seed, self.world_seed):
            yield {"question": case.question, "answer": case.answer, "focus": case.condition}

    def corpus(self) -> Iterator[str]:
        """Yield the embedded corpus: passages on every condition, helpline notes, triage sheets."""
        yield from _medical_world.corpus(self.world_seed, self.characters)

    def prose(self, example: Example) -> Prose | None:
        """Ask as the corpus tells: a sentence that facts end, or a note of the helpline."""
        if self.data:
            return Prose(f"{example.prompt[-1]['content']}\n", example.reference, "\n\n")
        meta = example.meta
        if meta["kind"] == "facts":
            aspect, reply = meta["aspect"], example.reference
            if aspect == "care" and reply.startswith("Call "):
                aspect = "care_urgent"
            opening = _medical_world.opening(aspect, meta["name"])
            return Prose(opening, f" {_facts_of(reply, meta['aspect'])}", ".")
        return Prose(_medical_world.helpline(example.prompt[-1]["content"]), example.reference, '"')

    def world(self, split: Split) -> list[Example]:
        """Draw from the embedded world; a condition never lies in two splits."""
        checks = max(50, round(self.validation * self.rows))
        count = {"train": self.rows, "validation": checks, "test": self.tests}[split]
        found = _medical_world.cases(split, self.world_seed, count)
        return [
            _example(
                case.question,
                case.answer,
                f"world {split} {number}",
                kind=case.kind,
                features=(case.aspect if case.kind == "facts" else case.kind,),
                unit=case.condition,
                aspect=case.aspect,
                name=case.name,
                names=_medical_world.names(case.condition),
                facts="\n".join(fact.line for fact in case.facts),
                known=_medical_world.vocabulary(),
                calls_for=case.calls_for,
                twin_of=case.twin_of,
            )
            for number, case in enumerate(found, 1)
        ]

    def examples(self, split: Split) -> Sequence[Example]:
        """Give a split; in the test right answers have rivals."""
        rows = super().examples(split)
        return Ranked(rows, self.rivals) if split == "test" and self.rivals > 0 else rows

    def take(self, row: Row, test: bool = False) -> list[Example]:
        """Take a question and its answer; a document is what the row calls its focus."""
        asked, told = exchange(row)
        told = " ".join(told.split())
        # Where every row has the same instruction, the question is what is laid beside it.
        question = words(row, "input", needed=False) or asked
        if question != asked and "instruction" in row.fields:
            row.odd.append("have an instruction that is not shown: the question is their input")
        answer = cut(told, self.longest)
        if answer != told:
            row.odd.append(
                f"have an answer that is cut to whole sentences ({self.longest:,} characters)"
            )
        refuse = words(row, "safety", needed=False) == "refuse"
        # There the focus is a principle, and no document.
        about = question if refuse else words(row, "focus", needed=False) or question
        facts = {
            "unit": " ".join(about.lower().split()),
            "focus": "" if refuse else words(row, "focus", needed=False) or "",
            "kind": "harmful" if refuse else "facts",
            "facts": "" if refuse else answer,
            "calls_for": "refer" if refuse else "",
            "twin_of": "" if refuse else "refer",
            "known": "",
            "features": (row.folder.name,),
        }
        return [_example(question, answer, row.where, **facts)]


def cut(answer: str, longest: int) -> str:
    """Take the whole sentences that lie in the first `longest` characters, at least one's part.

    Args:
        answer: words with one space between them.
        longest: characters.

    >>> cut("Rest helps. Drink a lot. See a doctor if it lasts.", 30)
    'Rest helps. Drink a lot.'
    """
    if len(answer) <= longest:
        return answer
    kept = SENTENCE.split(answer[: longest + 1])
    if len(kept) > 1:
        return " ".join(kept[:-1])
    return answer[:longest].rpartition(" ")[0] or answer[:longest]


def _example(question: str, answer: str, where: str, **meta: object) -> Example:
    """Lay a question out as a dialogue."""
    question = " ".join(question.split())
    messages = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Example(messages, {"question": question, **meta}, where)


def _facts_of(answer: str, aspect: str) -> str:
    """Take the facts out of a reference answer's sentence."""
    before = {"what": " (?:is|are) ", "signs": " are ", "care": ", ", "flags": " are "}
    facts = re.split(before.get(aspect, ", see "), answer, maxsplit=1)[-1].removesuffix(".")
    return facts.removesuffix(" can help")


RECIPE = Medical()
