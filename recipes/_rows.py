"""Rows of real data as examples: divided by the unit that leaks, duplicates dropped and counted."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ._read import Row, rows, source, split_files
from ._recipe import Example, Split
from ._split import divide, weighted

TEXT = 80  # characters from which on an answer is a text of its own
Take = Callable[[Row], list[Example]]


@dataclass
class Rows:
    """Examples by split, and what was left out on the way.

    Args:
        splits: the examples that are used.
        twice: how many repeated an earlier one word for word.
        apart: how many training examples belong to a unit that is held out.
    """

    splits: dict[Split, list[Example]] = field(
        default_factory=lambda: {"train": [], "validation": [], "test": []}
    )
    twice: int = 0
    apart: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, in words."""
        found = []
        if self.twice:
            found.append(f"{self.twice:,} rows that repeat an earlier one are left out")
        if self.apart:
            found.append(
                f"{self.apart:,} rows of documents or dialogues that are held out are left out"
            )
        return tuple(found)


def gather(data: tuple[str, ...], validation: float, whole: bool, take: Take) -> Rows:
    """Read sources and divide them.

    Args:
        data: `PATH[@WEIGHT]`; folders with train and dev files keep their own division, a plain
            file is divided by unit.
        validation: share of the units held out from training, and of a plain file for the test.
        whole: take all rows of plain files for the test.
        take: makes examples of a row, each with its `unit` in `meta`; refuses one that does not
            fit.

    Raises:
        FtkitError: naming file, line and field of the first row that does not fit.
    """
    found, seen = Rows(), set[tuple[str, ...]]()
    sources = [(place := source(word), split_files(place.path)) for word in data]
    # Held-out files of all sources first: of two equal rows the one that is asked stays.
    for _, files in sources:
        if "test" in files:
            found.splits["test"] += _fresh(files["test"], take, seen, found)
    train: list[tuple[list[Example], float]] = []
    for place, files in sources:
        rest: list[Example] = []
        if "all" in files:
            rest = _fresh(files["all"], take, seen, found)
            rest, held = ([], rest) if whole else divide(rest, _units(rest), validation, "test")
            found.splits["test"] += held
        elif "train" in files:
            rest = _fresh(files["train"], take, seen, found)
        train.append((rest, place.weight))
    asked = {str(example.meta["unit"]) for example in found.splits["test"]}
    told = {example.reference for example in found.splits["test"] if _telling(example)}
    checked: set[str] = set()
    for examples, _ in train:
        kept = [e for e in examples if e.meta["unit"] not in asked and e.reference not in told]
        _, held = divide(kept, _units(kept), validation, "validation")
        checked |= {str(example.meta["unit"]) for example in held}
        found.splits["validation"] += held
    for examples, weight in train:
        units = asked | checked
        kept = [e for e in examples if e.meta["unit"] not in units and e.reference not in told]
        found.apart += sum(e.meta["unit"] in asked or e.reference in told for e in examples)
        found.splits["train"] += weighted(kept, weight)
    return found


def _fresh(path: Path, take: Take, seen: set[tuple[str, ...]], found: Rows) -> list[Example]:
    """Take a file's rows, each content once."""
    examples = []
    for row in rows(path):
        for example in take(row):
            words = tuple(message["content"] for message in example.messages)
            if words in seen:
                found.twice += 1
            else:
                seen.add(words)
                examples.append(example)
    return examples


def _telling(example: Example) -> bool:
    """Say whether an answer is a text of its own, which documents may share, and no "Yes."."""
    return len(example.reference) >= TEXT


def _units(examples: list[Example]) -> list[str]:
    return [str(example.meta["unit"]) for example in examples]
