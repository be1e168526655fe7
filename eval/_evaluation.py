"""The evaluation of one group: everybody is asked the same items, then the card is written."""

import gc
import json
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ftkit import catalog
from ftkit.errors import FtkitError
from ftkit.runs import Run, write_whole

from ..adapters._variant import FP32, Variant, open_variant
from ..basemodel.device import decide
from ..recipes._recipe import Example
from ._ahead import Ahead
from ._answers import Outcome, answers
from ._ask import Form, fitting_shots
from ._baselines import majority, nearest
from ._bias import leanings
from ._card import write_cards
from ._facts import caveats, facts
from ._forgetting import Memory, worlds
from ._groups import Group, Tuned
from ._metric import Metric, Score
from ._plots import Curve, curve
from ._report import html
from ._samples import every_answer, samples
from ._scorecard import Cost, Reading, Scorecard
from ._tally import Entry, Scores, build, grade
from ._words import markdown, value

ALWAYS = ("own_stop", "bits_per_byte")  # metrics of every recipe
Record = dict[str, Any]


@dataclass
class Evaluation:
    """The work on one group."""

    group: Group
    others: Sequence[Group]
    wish: int
    seed: int
    kept: Path
    out: Path
    dtype: str = FP32
    metrics: dict[str, Metric] = field(default_factory=dict)
    entries: list[tuple[Entry, Scores]] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    shots: int = 0
    passed: int = 0
    base_outcomes: list[Outcome] = field(default_factory=list)
    threads: int = field(default_factory=torch.get_num_threads)  # of all processes together

    @cached_property
    def memory(self) -> Memory:
        """What is read to find what tuning cost the base."""
        # A world is read in the same way whatever else is evaluated.
        others = [(other.recipe, other.items) for other in self.others if other.recipe.data]
        others += worlds({self.group.recipe.name, *(other.name for other, _ in others)})
        return Memory(self.group.recipe, others, self.kept)

    @property
    def passes(self) -> int:
        """How often the items are asked: of the base in each form, and of each variant."""
        prose = self.group.recipe.prose(self.group.items[0]) is not None
        return 1 + bool(self.wish) + prose + len(self.group.tuned)

    def ask_ahead(self, folder: Path) -> None:
        """Ask a variant in another process: what `run` wants of it lies on disk then."""
        if not self.memory.texts:
            self.memory.look(opened(Path(self.group.base), self.dtype), Path(self.group.base))
        variant, recipe = opened(folder, self.dtype), self.group.recipe
        deque(answers(variant, recipe, self.group.items, Form(), folder=self.kept), 0)
        self.memory.read(variant)
        leanings(variant, recipe, self.kept)

    def run(self, ahead: Ahead | None) -> Iterator[Record]:
        """Ask everybody, then write the card."""
        recipe = self.group.recipe
        names = dict.fromkeys([*(recipe.metrics or ALWAYS[::-1]), *ALWAYS])  # the first ranks
        self.metrics = {name: catalog.load("eval", name) for name in names}
        train = self.group.train
        yield from self._baselines(train)
        yield from self._base(train)
        for tuned in self.group.tuned:
            for _ in ahead.until(tuned.folder) if ahead is not None else ():
                yield self._progress(0)
            yield from self._tuned(tuned)
        card = self._write()
        yield from ({"event": note} for note in write_cards(card, self.out))
        yield {"scorecard": card, "out": self.out}

    def _baselines(self, train: Sequence[Example]) -> Iterator[Record]:
        """Answer without a model."""
        for name, baseline in (("majority", majority), ("nearest", nearest)):
            if train:
                outcomes = baseline(self.group.recipe, train, self.group.items)
                yield self._add(Entry(name, name, outcomes, name))

    def _base(self, train: Sequence[Example]) -> Iterator[Record]:
        """Ask the base in every form there is for it."""
        group = self.group
        if not Path(group.base).is_dir() and not group.tuned:
            raise FtkitError(f"the base {group.base} is no folder")
        place = Path(group.base) if Path(group.base).is_dir() else self._moved()
        if place is None:
            yield {"event": f"the base {group.base} is no folder here: its own rows are left out"}
            return
        variant = opened(place, self.dtype)
        if group.base_fingerprint and variant.fingerprint != group.base_fingerprint:
            raise FtkitError(
                f"{place} is not the base that was tuned: its hash is "
                f"{variant.fingerprint[:12]}, not {group.base_fingerprint[:12]}"
            )
        self.memory.learn(variant, place)
        drawn = np.random.default_rng(self.seed).permutation(len(train))[: self.wish].tolist()
        examples = [train[index] for index in drawn]
        forms = [Form()]
        if self.wish:
            self.shots = fitting_shots(variant, group.recipe, group.items, examples)
            yield {
                "event": f"few-shot: {self.shots} of {self.wish} examples fit the base's context"
            }
        if self.shots:
            forms.append(Form(shots=self.shots))
        if group.recipe.prose(group.items[0]) is not None:
            forms.append(Form("prose"))
        for form in forms:
            outcomes = yield from self._ask(variant, form, examples)
            self.base_outcomes = self.base_outcomes or outcomes
            name = " ".join(filter(None, ["base", form.label]))
            entry = Entry(
                name, "base", outcomes, name, form=form.kind, shots=form.shots,
                cost=_cost(variant, outcomes), fingerprint=variant.fingerprint, folder=str(place),
                bias=leanings(variant, group.recipe, self.kept) if form == Form() else {},
            )  # fmt: skip
            yield self._add(entry)
        self.passed = self.passes - len(group.tuned)

    def _moved(self) -> Path | None:
        """Find a base that is not where the runs say, as the adapters' own opening does."""
        found = (open_variant(tuned.folder).base_path for tuned in self.group.tuned)
        return next((path for path in found if path.is_dir()), None)

    def _tuned(self, tuned: Tuned) -> Iterator[Record]:
        """Ask a variant, and let it read the base's own text."""
        variant = opened(tuned.folder, self.dtype)
        outcomes = yield from self._ask(variant, Form(), ())
        pairs = list(zip(outcomes, self.base_outcomes, strict=bool(self.base_outcomes)))
        if pairs and all(a.nll == b.nll and a.reply == b.reply for a, b in pairs):
            raise FtkitError(
                f"{tuned.folder} answers exactly as its base does: nothing was learned, or the "
                "adapter is not in use"
            )
        lost = self.memory.lost(variant)
        taken = {(entry.key, entry.seed) for entry, _ in self.entries}
        key = tuned.key if (tuned.key, tuned.seed) not in taken else str(tuned.folder)
        names = {entry.name for entry, _ in self.entries}
        entry = Entry(
            variant.name if variant.name not in names else str(tuned.folder),
            variant.method, outcomes, key, tuned.seed, cost=_cost(variant, outcomes),
            forgetting=lost.pop("", None), elsewhere=lost, fingerprint=variant.fingerprint,
            folder=str(tuned.folder), bias=leanings(variant, self.group.recipe, self.kept),
        )  # fmt: skip
        if tuned.settings:
            self.curves.append(curve(entry.name, Run(tuned.folder).records()))
        yield self._add(entry)

    def _ask(
        self, variant: Variant, form: Form, examples: Sequence[Example]
    ) -> Generator[Record, None, list[Outcome]]:
        """Make one pass over the items, counted among all passes."""
        pass_ = answers(
            variant, self.group.recipe, self.group.items, form, shots=examples, folder=self.kept
        )
        while True:
            try:
                record = next(pass_)
            except StopIteration as end:
                self.passed += 1
                outcomes: list[Outcome] = end.value
                return outcomes
            yield self._progress(record["done"])

    def _progress(self, done: int) -> Record:
        """Count what is done of this pass among all passes."""
        n = len(self.group.items)
        return {"done": self.passed * n + done, "of": self.passes * n}

    def _add(self, entry: Entry) -> Record:
        """Grade an entry and say how it did."""
        try:
            scores = grade(entry, self.group.items, self.metrics)
        except ValueError as problem:  # a database that cannot be opened
            raise FtkitError(str(problem)) from None
        self.entries.append((entry, scores))
        applying = [name for name in self.metrics if _applies(scores[name])]
        first = next(iter(applying or self.metrics))
        told = [first, *(name for name in applying if self.metrics[name].told)]
        unread = sum(not outcome.asked for outcome in entry.outcomes)
        left = f"; {unread} items do not fit its context and count as wrong" if unread else ""
        said = "; ".join(self._told(name, scores[name]) for name in told)
        return {"event": f"{entry.name}: {said}{left}"}

    def _told(self, name: str, scores: Sequence[Score]) -> str:
        """Say what the items that a metric applies to come to."""
        metric = self.metrics[name]
        known = [score.value for score in scores if score.value is not None]
        mean = sum(known) / len(known) if known else None
        found = value(mean, Reading(metric.title, metric.lower_is_better, metric.share))
        return f"{metric.title.lower()} {found}"

    def _write(self) -> Scorecard:
        """Write the files of this group, each whole; what no item can be scored by is left out."""
        every = [scores for _, scores in self.entries]
        useful = [name for name in self.metrics if any(_applies(s[name]) for s in every)]
        self.metrics = {name: self.metrics[name] for name in useful or self.metrics}
        group, primary = self.group, next(iter(self.metrics))
        known = facts(group, self.seed, self.wish, self.shots, self.dtype)
        known["hardware"]["threads"] = self.threads
        known["caveats"] = caveats(self.metrics, group.items)
        card = build(
            group.recipe.name, group.items, self.entries, self.metrics, self.seed, known,
            group.recipe.notice,
        )  # fmt: skip
        shown = samples(group.items, self.entries, primary, card.readings[primary].marks)
        answered = every_answer(group.items, self.entries, list(self.metrics))
        write_whole(self.out / "answers.jsonl", answered)
        write_whole(self.out / "scorecard.md", markdown(card))
        write_whole(self.out / "report.html", html(card, shown, self.curves))
        write_whole(self.out / "scorecard.json", json.dumps(card.json(), indent=1) + "\n")
        return card


def _applies(scores: Sequence[Score]) -> bool:
    return any(score.value is not None for score in scores)


def opened(folder: Path, dtype: str) -> Variant:
    """Open a variant on the device that is best here; the one before it is freed first."""
    gc.collect()
    variant = open_variant(folder, dtype=dtype)
    parameters = sum(parameter.numel() for parameter in variant.model.parameters())
    variant.model.to(decide(parameters=parameters).torch_device)
    return variant


def _cost(variant: Variant, outcomes: Sequence[Outcome]) -> Cost:
    """Read what a run says of its training, and how quickly it answered here."""
    seconds = sum(outcome.seconds for outcome in outcomes)
    known = variant.facts
    return Cost(
        trainable_params=variant.trainable_params,
        bytes=variant.bytes,
        seconds=known.get("seconds"),
        peak_memory=known.get("peak_memory"),
        tokens_per_second=known.get("tokens_per_second"),
        answers_per_second=len(outcomes) / seconds if seconds else None,
        updates=known.get("steps"),
    )
