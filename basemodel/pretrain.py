"""Pretraining: from documents to a published base, decided once, resumable at every checkpoint."""

import shutil
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ftkit.errors import Interrupted
from ftkit.runs import Run

from . import checkpoint
from .bigram import MOST, Bigram
from .budget import Pretrain, optimizer_of, settle
from .config import GPTConfig
from .corpus import Documents
from .curves import draw
from .device import Device, PeakMemory
from .fit import Plan, fit
from .induction import practice
from .interrupt import Interrupt
from .model import GPT
from .optim import Optimizer
from .prepare import Prepared, prepare
from .tokenizer import BOS, END, EOS, PAD, RESERVED
from .tokens import HELD, Rows
from .validate import Held

TOKENS = ".corpora"  # beside the runs: each finds there the tokens that another made


@dataclass(frozen=True)
class _Work(Prepared):
    """What the loop runs on."""

    config: GPTConfig


def pretrain(
    run: Run,
    settings: Pretrain,
    *,
    documents: Iterable[str] | None = None,
    sources: Sequence[str | Path] = (),
) -> Iterator[dict[str, Any]]:
    """Train a base from documents and publish it in the run folder.

    A run that has checkpoints goes on from the newest one, to the very weights that it would have
    reached without the break.

    Args:
        run: created, or taken up with `Run.resume`.
        settings: what the user chose; the same ones when going on.
        documents: the corpus itself, or
        sources: what --data says of where it lies; see `sources`.

    Yields:
        Records for a progress display. Work before the first step: {"event"}. Each step: {"step",
        "of", "loss", "lr", "tokens", "seconds", "tokens_per_second"}. Each check: {"step",
        "validation": {"nats", "bits_per_byte"}}.

    Raises:
        FtkitError: for a corpus that cannot be read or is too short.
        Interrupted: after Ctrl-C, when the state is saved.
        WorkError: when the loss is not finite.
    """
    began = time.perf_counter()
    with PeakMemory() as memory, Interrupt() as interrupt:

        def texts() -> Iterable[str]:
            return Documents(sources) if documents is None else list(documents)

        work = yield from _read(run, settings, texts, interrupt)
        if "decided" not in run.settings:
            spent = time.perf_counter() - began
            decided = settle(settings, work.config, spent) | {"corpus": work.key}
            run.update({**run.settings, "decided": decided})
        decided = run.settings["decided"]
        gpt = GPT(work.config, settings.seed).to(Device.read(decided).torch_device)
        facts = yield from _train(run, settings, work, gpt, decided, interrupt)
        draw(run.records(), run.inner / "curves.svg", f"Pretraining {run.path.name}")
        shutil.copyfile(work.corpus.folder / HELD, run.inner / HELD)

        def write(folder: Path) -> None:
            work.tokenizer.save(folder, work.config.max_position_embeddings)
            gpt.save_pretrained(folder)

        facts["seconds"] = round(facts["earlier"] + time.perf_counter() - began, 3)
        run.publish(write, {**facts, "peak_memory": memory.bytes})


class _Reading:
    """Documents, read anew in each iteration, which Ctrl-C ends."""

    def __init__(self, texts: Iterable[str], run: Run, interrupt: Interrupt) -> None:
        self.texts, self.run, self.interrupt = texts, run, interrupt

    def __iter__(self) -> Iterator[str]:
        for text in self.texts:
            _go_on(self.run, self.interrupt)
            yield text


def _read(
    run: Run,
    settings: Pretrain,
    open_texts: Callable[[], Iterable[str]],
    interrupt: Interrupt,
) -> Generator[dict[str, Any], None, _Work]:
    """Have the tokens of the corpus ready, and the model's shape."""
    shape = settings.shape()
    ready = yield from prepare(
        lambda: _Reading(open_texts(), run, interrupt),
        run.path.absolute().parent / TOKENS,
        vocab_size=shape.vocab_size,
        context=shape.max_position_embeddings,
        validation=settings.validation,
        key=run.settings.get("decided", {}).get("corpus", ""),
    )
    _go_on(run, interrupt)
    tokenizer = ready.tokenizer
    config = replace(
        shape,
        vocab_size=tokenizer.size,
        bos_token_id=tokenizer.id(BOS),
        pad_token_id=tokenizer.id(PAD),
        eos_token_id=(tokenizer.id(END), tokenizer.id(EOS)),
    )
    return _Work(ready.corpus, tokenizer, ready.key, config)


def _go_on(run: Run, interrupt: Interrupt) -> None:
    if interrupt.asked:
        raise Interrupted(f"stopped; go on with: ftkit pretrain --resume --out {run.path}")


def _train(
    run: Run,
    settings: Pretrain,
    work: _Work,
    gpt: GPT,
    decided: dict[str, Any],
    interrupt: Interrupt,
) -> Generator[dict[str, Any], None, dict[str, Any]]:
    """Run the loop from the newest checkpoint on; returns what `done` will say."""
    device, steps = Device.read(decided), int(decided["steps"])
    plan = Plan(steps, int(decided["accumulate"]), settings.clip, settings.warmup, settings.decay)
    optimizer = optimizer_of(gpt, settings, device)
    params = dict(gpt.named_parameters())
    rows, context = int(decided["rows"]), int(decided["context"])
    held = Held(work.corpus.held(), work.tokenizer, context, rows)
    behind = _take_up(run, params, optimizer)
    if not behind.step:
        bigram = held.bigram(Bigram.count(work.corpus.first(MOST), work.config.vocab_size))
        run.log({"step": 0, "bigram": bigram})
        yield {
            "event": f"a bigram model has {bigram['nats']:.3f} nats a token of the held-out text"
        }
    yield from ({"event": note} for note in behind.passed_over)
    facts, nats = behind.facts, device.compiled(gpt.nats)

    def loss(_: torch.nn.Module, batch: Rows) -> torch.Tensor:
        # Each other shape, as practice has them, would be compiled anew.
        usual = batch.ids_BT.shape == (rows, context)
        return (nats if usual else gpt.nats)(batch.ids_BT, batch.labels_BT)

    batches = _stream(work, settings, decided, device)
    for step in fit(gpt, batches, loss, plan, optimizer, device, start=behind.step):
        facts = {name: behind.facts[name] + getattr(step, name) for name in ("tokens", "seconds")}
        record = {"step": step.number, "loss": step.loss, "lr": step.lr, **facts}
        run.log(record)
        yield {**record, "of": steps, "tokens_per_second": step.tokens / step.seconds}
        due = step.number % int(decided["every"]) == 0 or step.number == steps
        if due:
            check = {"step": step.number, "validation": held.check(gpt, device)}
            run.log(check)
            yield check
        if due or interrupt.asked:
            checkpoint.save(run.checkpoints, step.number, checkpoint.pack(params, optimizer), facts)
        _go_on(run, interrupt)
    return {
        "parameters": int(decided["parameters"]),
        "tokens": facts["tokens"],
        "training_seconds": round(facts["seconds"], 3),
        "tokens_per_second": round(facts["tokens"] / facts["seconds"], 1),
        "validation": [row for row in run.records() if "validation" in row][-1]["validation"],
        "bigram": next(row["bigram"] for row in run.records() if "bigram" in row),
        "earlier": behind.facts["seconds"],
    }


def _stream(
    work: _Work, settings: Pretrain, decided: Mapping[str, Any], device: Device
) -> Callable[[int], Rows]:
    """Say what each micro-batch holds: first practice in copying, then the corpus."""
    rows, context = int(decided["rows"]), int(decided["context"])
    practised = int(decided["practice"]) * int(decided["accumulate"])
    vocabulary = range(len(RESERVED), work.config.vocab_size)

    def batches(number: int) -> Rows:
        if settings.dropout:  # drawn from the global generator; who goes on has to draw the same
            torch.manual_seed(settings.seed * 1_000_003 + number)
        if number < practised:
            batch = practice(number, rows, context, vocabulary, settings.seed)
        else:
            batch = work.corpus.batch(number - practised, rows, context, settings.seed)
        return batch.to(device.torch_device)

    return batches


def _take_up(
    run: Run, params: Mapping[str, torch.nn.Parameter], optimizer: Optimizer
) -> checkpoint.Checkpoint:
    """Put the newest checkpoint's state in place and cut the log back to it."""
    found = checkpoint.latest(run.checkpoints)
    if found is None:
        run.truncate_log(0)
        return checkpoint.Checkpoint(0, {}, {"tokens": 0, "seconds": 0.0})
    run.truncate_log(found.step)
    checkpoint.unpack(found.tensors, params, optimizer)
    return found
