"""Any prompts with answers: summaries, translation, code, or a classification by fixed labels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, Literal, overload

from ftkit.errors import FtkitError

from ..basemodel.record import BadRow
from ._read import Row
from ._recipe import Example, Prose, Recipe, Split
from ._rows import gather
from ._samples import SAMPLES
from ._shapes import talk

MOST = 20  # different answers that rows may have to be taken for a classification
WORDS = 5  # of such an answer at most


@dataclass(frozen=True)
class Instruct(Recipe):
    """Teach a base to answer prompts, by rows of any conversational shape.

    Args:
        sample: the embedded rows that are taught without `data`.
        rows: training rows of the sample, at most.
        tests: test rows of the sample, at most.
        labels: the answers that a classification allows; by default they are found in the training
            rows if these have few different answers, and `recipe.labels=` takes none for a label.
    """

    epochs: float = 4.0
    max_new_tokens: int = 96
    sample: Literal["sentiment", "code"] = "sentiment"
    rows: int = 3000
    tests: int = 240
    labels: tuple[str, ...] = ()
    metrics: ClassVar[tuple[str, ...]] = (
        *("label_accuracy", "label_lenient", "label_format", "label_likelihood", "macro_f1"),
        *("word_overlap", "answer_match", "answer_named", "format_failure", "calibration"),
    )

    def __post_init__(self) -> None:
        """Refuse labels that cannot be told apart."""
        super().__post_init__()
        object.__setattr__(self, "labels", tuple(label.strip() for label in self.labels))
        spelt = {" ".join(label.split()) for label in self.labels}
        if self.labels not in ((), ("",)) and ("" in spelt or len(spelt) < len(self.labels)):
            raise FtkitError(f"'recipe.labels' takes different words, not {','.join(self.labels)}")

    def world(self, split: Split) -> list[Example]:
        """Draw from a sample; no clause and no function lies in two splits."""
        checks = max(50, round(self.validation * self.rows))
        count = {"train": self.rows, "validation": checks, "test": self.tests}[split]
        drawn = SAMPLES[self.sample](split, self.world_seed, count)
        return [
            Example(
                (
                    {"role": "user", "content": row.request},
                    {"role": "assistant", "content": row.answer},
                ),
                {"unit": row.unit, "features": row.features},
                f"{self.sample} {split} {number}",
            )
            for number, row in enumerate(drawn, 1)
        ]

    def take(self, row: Row, test: bool = False) -> list[Example]:
        """Take a row's conversation; the same prompt never lies in two splits.

        Raises:
            BadRow: for an answer that is none of `labels`.
        """
        *asked, told = talk(row)
        if not asked:  # a text to go on with, which cannot be asked for
            return [Example((told,), {"unit": told["content"], "asked": False}, row.where)]
        if self.labels not in ((), ("",)) and told["content"] not in self.labels:
            known = ", ".join(self.labels)
            raise BadRow(row.where, "no label", f"'{told['content'][:40]}' is none of {known}")
        unit = " ".join(" ".join(turn["content"] for turn in asked).casefold().split())
        meta = {"unit": unit}
        if isinstance(text := row.fields.get("input"), str) and text.strip():
            meta["question"] = text.strip()  # what stands before it, many rows may share
        return [Example((*asked, told), meta, row.where)]

    def examples(self, split: Split) -> Sequence[Example]:
        """Give a split; where there are labels, every example says which."""
        rows, labels = super().examples(split), _labels(self)
        return Labelled(rows, labels) if labels else rows

    def decided(self) -> tuple[str, ...]:
        """Say which answers were taken for labels without being asked to."""
        labels = () if self.labels else _labels(self)
        said = (
            f"{len(labels)} answers, taken for labels: {', '.join(labels)}; "
            "--set recipe.labels= to say otherwise"
        )
        return (said,) if labels else ()

    def settled(self) -> Recipe:
        """Fix the labels, or that there are none."""
        return replace(self, labels=_labels(self) or ("",))

    def prose(self, example: Example) -> Prose:
        """Ask in plain text: the answer follows the prompt on the next line."""
        asked = "\n".join(message["content"] for message in example.prompt)
        return Prose(f"{asked}\n", example.reference, "\n" if "labels" in example.meta else "\n\n")


class Labelled(Sequence[Example]):
    """Rows of a classification, each with all labels in its `meta`.

    Args:
        rows: the examples, which are read one at a time.
        labels: all there are.
    """

    def __init__(self, rows: Sequence[Example], labels: tuple[str, ...]) -> None:
        self.rows, self.labels = rows, labels

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Example: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Example]: ...
    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return Labelled(self.rows[place], self.labels)
        row = self.rows[place]
        features = row.meta.get("features") or (row.reference,)
        return replace(row, meta=row.meta | {"labels": self.labels, "features": features})


def _labels(recipe: Instruct) -> tuple[str, ...]:
    """Say which labels a recipe's rows have; none in other rows than a classification's."""
    if recipe.labels:
        return () if recipe.labels == ("",) else recipe.labels
    return _found(recipe, str(gather(recipe).store.folder) if recipe.data else "")


@lru_cache(maxsize=8)
def _found(recipe: Instruct, store: str) -> tuple[str, ...]:
    """Find the labels of what a store holds, which is another when a file changes."""
    rows = Recipe.examples(recipe, "train") or Recipe.examples(recipe, "test")
    return few(rows)


def few(rows: Iterable[Example]) -> tuple[str, ...]:
    """Find the labels of rows: at most 20 short answers that differ, each of two rows or more.

    Args:
        rows: examples; reading ends at the first that shows that they are no classification.

    Returns:
        The answers in alphabetical order, or none.
    """
    places = dict[str, set[str]]()
    for row in rows:
        answer = row.reference
        if "\n" in answer or len(answer.split()) > WORDS:
            return ()
        known = places.setdefault(answer, set())
        if len(known) < 2:  # a row that a weight repeats is one row
            known.add(row.where)
        if len(places) > MOST:
            return ()
    often = all(len(known) > 1 for known in places.values())
    return tuple(sorted(places)) if len(places) > 1 and often else ()


RECIPE = Instruct()
