"""What --dry-run prints: of a tuning by a few of its steps, of a pretraining from principles."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

BASELINE = 450 * 2**20  # a process with torch and transformers loaded, before any model
FLOATS_KEPT = 16  # values per token, layer and unit of width that wait for the backward pass


@dataclass(frozen=True)
class Work:
    """A piece of training, in numbers.

    Args:
        parameters: of the whole model.
        trainable: of those, how many move.
        tokens: that pass through the model in the whole training.
        batch: tokens that pass through it at once.
        width: of the residual stream.
        layers: blocks.
        labelled: tokens of a batch whose logits are made.
        vocabulary: logits of each.
    """

    parameters: int
    trainable: int
    tokens: int
    batch: int
    width: int
    layers: int
    labelled: int
    vocabulary: int

    @property
    def memory(self) -> int:
        """Bytes at the peak, roughly.

        >>> Work(4_000_000, 4_000_000, 0, 4096, 256, 4, 4096, 4096).memory // 2**20
        895
        """
        weights = 4 * self.parameters  # fp32
        training = (4 + 8) * self.trainable  # gradients, AdamW's two averages
        activations = 4 * self.batch * self.layers * self.width * FLOATS_KEPT
        logits = 2 * 4 * self.labelled * self.vocabulary  # them and their gradient
        return BASELINE + weights + training + activations + logits

    @property
    def seconds(self) -> float:
        """Seconds of arithmetic at the rate that the device reaches, roughly."""
        from ..basemodel.device import FLOPS, decide

        device = decide(parameters=self.parameters, tokens=self.tokens, width=self.width)
        cpu = device.device == "cpu"
        rate = FLOPS[f"cpu {device.dtype}"] * device.threads if cpu else FLOPS[device.device]
        return 6 * self.parameters * self.tokens / rate

    def words(self) -> str:
        """Put the numbers into a line or two."""
        return (
            f"{_size(self.parameters, self.trainable)}\n"
            f"{self.tokens:,} tokens, {self.batch:,} at a time\n"
            f"about {self.memory / 2**30:.1f} GiB of memory and {span(self.seconds)} of training"
        )


def span(seconds: float) -> str:
    """Put a time into words.

    >>> [span(20), span(95), span(7300)]
    ['20 s', '1.6 minutes', '2.0 hours']
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def tuning(
    recipe: Any, method: Any, base: str, plan: Any, *, minutes: float | None, **rest: Any
) -> str:
    """Work out a tuning by a few of its steps; nothing of them is kept."""
    from ..recipes._trial import trial

    found = trial(recipe, method, base, plan, minutes=minutes, **rest)
    budget = f"; --minutes {minutes:g} decided how many" if minutes is not None else ""
    head = f"{recipe.name} by {method.name} on {base}: {found.rows:,} rows"
    return (
        f"{head}\n{_size(found.parameters, found.trainable)}\n"
        f"{found.steps:,} steps of {found.places:,} tokens{budget}\n"
        f"about {found.memory / 2**30:.2f} GiB of memory and {span(found.seconds)} in all, "
        "by a few steps that were tried"
    )


def _size(parameters: int, trainable: int) -> str:
    share = f", {trainable:,} of them trained" if trainable < parameters else ""
    return f"{parameters:,} parameters{share}"


def pretraining(plan: Any, documents: Iterable[str]) -> str:
    """Work out a pretraining without training: reads the corpus once."""
    from ..basemodel.budget import MICRO
    from ..basemodel.corpus import survey
    from ..basemodel.device import decide

    if plan.base is None:
        shape, what = plan.shape(), plan.preset
    else:
        from ..basemodel.base import open_base

        shape, what = open_base(plan.base).config, plan.base
    row, read = plan.row(shape), list[int]()
    characters = survey(_counted(documents, read), plan.validation).characters
    dial = plan.dial
    device = decide(parameters=shape.parameters, width=shape.hidden_size)
    at_once = min(dial.batch, MICRO[device.device])
    work = Work(
        parameters=shape.parameters,
        trainable=shape.parameters,
        tokens=dial.tokens,
        batch=at_once,
        width=shape.hidden_size,
        layers=shape.num_hidden_layers,
        labelled=at_once,
        vocabulary=shape.vocab_size,
    )
    budget = (
        f"; --minutes {plan.minutes:g} takes as many as fit" if plan.minutes is not None else ""
    )
    head = f"{what} on {len(read):,} documents of {characters:,} characters"
    updates = f"updates of {dial.batch:,} tokens in rows of {row:,}"
    return f"{head}\n{updates}\n{work.words()}{budget}"


def _counted(documents: Iterable[str], read: list[int]) -> Iterator[str]:
    """Note the length of each document that passes."""
    for text in documents:
        read.append(len(text))
        yield text
