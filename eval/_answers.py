"""One pass over the items for each variant: replies and likelihoods, kept on disk.

Every metric reads these outcomes, so adding a metric generates nothing again, and an evaluation
that was stopped goes on. What is kept is found by content: the model's files, the item's tokens,
the settings and the precision.
"""

import json
import os
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from itertools import groupby
from pathlib import Path
from typing import Any

from ftkit import __version__
from ftkit.runs import digest, write_whole

from ..adapters._variant import Variant
from ..basemodel.generate import Generated, generate
from ..recipes._recipe import Example, Recipe
from ._ask import Asked, Asker, Form
from ._likely import numbers, scored

# Prompts at a time; outcomes are written after each batch. The more, the more of them begin alike
# and the better a processor multiplies, while their keys and values fit the memory.
LEAST, MOST, MEMORY = 64, 512, 2**29
Progress = Generator[dict[str, Any], None, list["Outcome"]]


@dataclass(frozen=True)
class Outcome:
    """What one variant made of one item.

    Attributes:
        index: the item's place.
        reply: the text as generated.
        answer: what the recipe takes out of the reply.
        nll: negative log-likelihood of the reference in nats; None where there is none.
        target_bytes: the reference's length in UTF-8.
        stopped: whether the model ended by itself; None where nothing was generated.
        seconds: the item's share of its batch's time.
        dtype: precision of the weights that answered.
        asked: False when the prompt did not fit the context, which counts as no answer.
        samples: answers drawn at temperature 1, where the item asks for some.
        labels: negative log-likelihood in nats of each answer that the item can have, its end
            included; empty where the item has no labels and no candidates.
        said: negative log-likelihood of the reply itself, without its end; None beside labels,
            and where the model said more, of which a text that ends answers left a part.
        right: 1.0 or 0.0 once a metric that judges has graded the answer.
    """

    index: int
    reply: str
    answer: str
    nll: float | None = None
    target_bytes: int = 0
    stopped: bool | None = None
    seconds: float = 0.0
    dtype: str = ""
    asked: bool = True
    samples: tuple[str, ...] = ()
    labels: Mapping[str, float] = field(default_factory=dict)
    said: float | None = None
    right: float | None = None


@dataclass(frozen=True)
class _Kept:
    """An outcome as it lies on disk, under the key of its item."""

    key: str
    reply: str
    nll: float | None
    stopped: bool
    seconds: float
    samples: list[str] = field(default_factory=list)
    labels: dict[str, float] = field(default_factory=dict)
    said: float | None = None


class Store:
    """Outcomes on disk: one file of JSON lines for each model and way of asking.

    Two evaluations may write one file; a line that either left torn is as if it were not there.

    Args:
        folder: where the files lie.
        identity: everything but the item that an outcome depends on; the file's first line.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        kept = [part.name for part in fields(_Kept)]
        # An older ftkit kept less, or answered otherwise.
        head = json.dumps({**identity, "kept": kept, "ftkit": __version__}, sort_keys=True)
        self.path = folder / f"{digest(head)}.jsonl"
        self.known: dict[str, _Kept] = {}
        if not self.path.exists():
            write_whole(self.path, head + "\n")
            return
        text = self.path.read_text(encoding="utf-8")
        if not text.endswith("\n"):  # torn by a kill
            with self.path.open("a", encoding="utf-8") as file:
                file.write("\n")
        for line in text.splitlines()[1:]:
            with suppress(ValueError, TypeError):
                outcome = _Kept(**json.loads(line))
                self.known[outcome.key] = outcome

    def add(self, found: Sequence[_Kept]) -> None:
        """Append outcomes; a kill loses at most the line it falls into."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(asdict(kept)) + "\n" for kept in found))
            file.flush()
            os.fsync(file.fileno())
        self.known |= {kept.key: kept for kept in found}


def answers(
    variant: Variant,
    recipe: Recipe,
    examples: Sequence[Example],
    form: Form,
    *,
    shots: Sequence[Example] = (),
    folder: Path,
) -> Progress:
    """Ask a variant every item once, greedily, and score the references.

    Args:
        variant: the model.
        recipe: how items are asked and answers taken out of replies.
        examples: the items.
        form: chat, chat behind examples, or plain text.
        shots: training examples for the second.
        folder: where outcomes are kept.

    Yields:
        `{"done", "of"}` after each batch.

    Returns:
        One outcome an item, in order.
    """
    asker = Asker(variant, recipe, form, shots)
    asked = [asker.ask(example) for example in examples]
    dtype = identity(variant)["dtype"]
    ends = {stop: asker.stops(stop) for stop in {item.stop for item in asked if item is not None}}
    store = Store(folder, _asked(variant, recipe, form, ends))
    keys = [_key(item) if item is not None else "" for item in asked]
    missing = {key: item for key, item in zip(keys, asked, strict=True) if item is not None}
    missing = {key: item for key, item in missing.items() if key not in store.known}
    answered = len(examples) - len(missing)
    yield {"done": answered, "of": len(examples)}
    size = _size(variant, recipe.max_new_tokens, list(missing.values()))
    # With samples a batch, behind which Ctrl-C is heard, is as much work as without.
    drawn = sum(item.samples for item in missing.values())
    at_once = max(1, size * len(missing) // max(1, len(missing) + drawn))
    for batch in _batches(missing, at_once):
        items = [missing[key] for key in batch]
        stops = ends[items[0].stop]
        store.add(_answer(variant, asker, recipe.max_new_tokens, batch, items, stops, size))
        answered += len(batch)
        yield {"done": answered, "of": len(examples)}
    return [
        _outcome(index, example, recipe, item, store.known.get(key), dtype)
        for index, (example, item, key) in enumerate(zip(examples, asked, keys, strict=True))
    ]


def _size(variant: Variant, room: int, items: Sequence[Asked]) -> int:
    """Choose how many items to ask at a time."""
    longest = room + max((len(item.prompt) for item in items), default=0)
    return min(MOST, max(LEAST, MEMORY // (longest * variant.decoder.token_bytes)))


def _batches(missing: Mapping[str, Asked], size: int) -> Iterator[list[str]]:
    """Batch items whose answers end alike, those of like length together."""
    order = sorted(missing, key=lambda key: (missing[key].stop, len(missing[key].prompt)))
    for _, alike in groupby(order, key=lambda key: missing[key].stop):
        keys = list(alike)
        yield from (keys[first : first + size] for first in range(0, len(keys), size))


def _answer(
    variant: Variant,
    asker: Asker,
    room: int,
    keys: Sequence[str],
    items: Sequence[Asked],
    ends: Sequence[int],
    size: int,
) -> list[_Kept]:
    """Generate and score one batch; of samples so many rows are made at a time."""
    began = time.perf_counter()
    with variant.decoder.remembering():
        replies = generate(
            variant.decoder,
            [item.prompt for item in items],
            max_new_tokens=room,
            stop=ends,
            pad=variant.pad,
            batch_size=len(items),
            likelihoods=True,
            allowed=[item.allowed for item in items],
        )
        numbers(variant, [reply.nats for reply in replies if reply.nats is not None])
        scores = scored(variant, items)
    each = (time.perf_counter() - began) / len(items)  # an answer's; samples are no answers
    samples = _samples(variant, asker, room, items, ends, size)
    kept = []
    for place, (key, item, reply) in enumerate(zip(keys, items, replies, strict=True)):
        text, ended = asker.renderer.decode(reply.ids), reply.stopped
        own = reply.nats if reply.ids and not item.labels else None
        if item.stop and item.stop in text:
            text, ended, own = text.partition(item.stop)[0], True, None
        nats, likely = scores.nlls.get(place), scores.labels.get(place, {})
        drawn = samples.get(place, [])
        kept.append(_Kept(key, text, nats, ended, each, drawn, likely, own))
    return kept


def _samples(
    variant: Variant,
    asker: Asker,
    room: int,
    items: Sequence[Asked],
    ends: Sequence[int],
    size: int,
) -> dict[int, list[str]]:
    """Draw the further answers that some items ask for; an item's do not depend on its batch."""
    wanted = [(place, one) for place, item in enumerate(items) for one in range(item.samples)]
    if not wanted:
        return {}
    drawn = generate(
        variant.decoder,
        [items[place].prompt for place, _ in wanted],
        max_new_tokens=room,
        stop=ends,
        pad=variant.pad,
        temperature=1.0,
        batch_size=size,
        places=[one for _, one in wanted],
        allowed=[items[place].allowed for place, _ in wanted],
    )
    found: dict[int, list[str]] = {}
    for (place, _), reply in zip(wanted, drawn, strict=True):
        found.setdefault(place, []).append(_ended(asker, items[place], reply))
    return found


def _ended(asker: Asker, item: Asked, reply: Generated) -> str:
    """Take a sample's text; one that ran on to the token limit is no answer."""
    text = asker.renderer.decode(reply.ids)
    if item.stop and item.stop in text:
        return text.partition(item.stop)[0]
    return text if reply.stopped else ""


def _outcome(
    index: int, example: Example, recipe: Recipe, item: Asked | None, kept: _Kept | None, dtype: str
) -> Outcome:
    """Put what is kept together with the item."""
    if item is None or kept is None:
        return Outcome(index, "", "", stopped=False, dtype=dtype, asked=False)
    answer = recipe.answer(kept.reply, example)
    return Outcome(
        index, kept.reply, answer, kept.nll, item.target_bytes, kept.stopped, kept.seconds, dtype,
        samples=tuple(recipe.answer(text, example) for text in kept.samples), labels=kept.labels,
        said=kept.said,
    )  # fmt: skip


def identity(variant: Variant) -> dict[str, str]:
    """Say whose numbers these are: the weights read, their precision and the device."""
    return {
        "variant": variant.fingerprint,
        "base": variant.base_fingerprint,
        "dtype": str(variant.model.dtype).removeprefix("torch."),
        "device": str(variant.decoder.device.type),
    }


def _asked(
    variant: Variant, recipe: Recipe, form: Form, ends: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """List what an outcome depends on beside its item's tokens."""
    return {
        **identity(variant),
        "form": asdict(form),
        "max_new_tokens": recipe.max_new_tokens,
        "stop": digest(json.dumps(ends, sort_keys=True)),
    }


def _key(item: Asked) -> str:
    """Name an item by its tokens: template, examples, wording and labels are all in them."""
    made = [item.prompt, item.target, item.stop]
    more = [part for part in (item.samples, item.labels, item.limits) if part]
    return digest(json.dumps([*made, *more]))
