"""The evaluation: finished runs in, one scorecard and report for each recipe and base out."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from ftkit.errors import FtkitError, Interrupted

from ..adapters._variant import FP32, open_variant
from ..basemodel.interrupt import Interrupt
from ._ahead import Ahead, possible
from ._evaluation import Evaluation, Record
from ._groups import Group
from ._scorecard import Scorecard
from ._summary import write_summary

OUTCOMES = ".outcomes"  # beside the report's folder, so that the next evaluation finds them


def evaluate_groups(
    groups: Sequence[Group],
    *,
    shots: int = 4,
    out: Path,
    seed: int = 0,
    dtype: str = FP32,
    two: bool = False,
) -> Iterator[Record]:
    """Evaluate runs against their base and the baselines, all of a group on the same items.

    Args:
        groups: of finished runs, as `collect` gives them.
        shots: training examples in the base's few-shot row, as many as fit; 0 leaves it out.
        out: receives scorecard.json, scorecard.md, report.html and answers.jsonl; several groups
            of runs have folders of their own there, and index.html, summary.md and summary.json.
        seed: draws examples, and seeds the bootstrap.
        dtype: precision of the weights that answer.
        two: let a second process ask half of the variants, where that pays.

    Yields:
        For a progress bar `{"done", "of"}`, for a line of text `{"event"}`, and for each group of
        runs one `{"scorecard": Scorecard, "out": Path}`, the last record of that group.

    Raises:
        FtkitError: for what the user can mend, such as a variant that equals its base; for a
            folder that cannot be opened before anything is asked.
        Interrupted: after Ctrl-C; what was answered is kept and not asked again.
    """
    if shots < 0:
        raise FtkitError(f"--shots takes 0 or more, not {shots}")
    _refuse(out)
    kept, places = out.parent / OUTCOMES, list[Path]()
    for group in groups:
        places.append(out if len(groups) == 1 else _place(out / group.name, places))
    evaluations = [
        Evaluation(group, list(filter(group.shares_base, groups)), shots, seed, kept, place, dtype)
        for group, place in zip(groups, places, strict=True)
    ]
    cards = list[tuple[Scorecard, Path]]()
    try:
        with Interrupt() as interrupt, ExitStack() as until:
            ahead = None
            # A base alone leaves a second process nothing to ask.
            tuned = any(group.tuned for group in groups)
            if two and tuned and possible([group.base for group in groups]):
                ahead = _divided(evaluations)
                until.callback(ahead.close)
            for group in groups:
                _try(group, dtype)
            if ahead is not None:
                ahead.begin()
            for evaluation in evaluations:
                for record in evaluation.run(ahead):
                    yield record
                    if interrupt.asked:
                        raise KeyboardInterrupt
                    if "scorecard" in record:
                        cards.append((record["scorecard"], evaluation.out))
            if len(groups) > 1:
                write_summary(cards, out)
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped; the answers so far are kept in {kept}: the same command goes on from them"
        ) from None


def _refuse(out: Path) -> None:
    """Refuse a place that no folder can be made at; nothing is made yet."""
    there = next(place for place in (out, *out.absolute().parents) if place.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise FtkitError(f"{out} cannot be made: {there} is no folder that can be written to")


def _divided(evaluations: Sequence[Evaluation]) -> Ahead:
    """Fork the second process: of all that is asked in a group it has the last half."""
    mine = dict[Path, Evaluation]()
    for evaluation in evaluations:
        assert evaluation.memory  # made here once, for both
        half = (evaluation.passes + 1) // 2
        mine |= {tuned.folder: evaluation for tuned in evaluation.group.tuned[-half:]}
    return Ahead(lambda folder: mine[folder].ask_ahead(folder), [*mine])


def _place(wanted: Path, taken: Sequence[Path]) -> Path:
    """Number equal names; what a stopped evaluation left there is written over."""
    names = [wanted, *(wanted.with_name(f"{wanted.name}-{n}") for n in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


def _try(group: Group, dtype: str) -> None:
    """Open each variant for a moment: what is damaged is refused before others were asked."""
    for tuned in group.tuned:
        if open_variant(tuned.folder, dtype=dtype).fingerprint == group.base_fingerprint:
            raise FtkitError(f"{tuned.folder} is its own base: nothing was tuned")
