"""Pretraining: from documents to a published base, decided once, resumable at every checkpoint."""

import math
import shutil
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ftkit.config import table
from ftkit.errors import FtkitError, Interrupted
from ftkit.runs import Run

from . import checkpoint
from .config import GPTConfig, preset
from .corpus import Documents, survey
from .curves import draw
from .device import COMPILE_GAIN, COMPILE_SECONDS, Device, PeakMemory, decide
from .fit import Plan, fit
from .induction import STEPS as PRACTICE
from .induction import practice
from .interrupt import Interrupt
from .model import GPT
from .optim import Group, Optimizer, hidden_matrices
from .tokenizer import BOS, END, EOS, LEAST, PAD, RESERVED, Tokenizer, train_tokenizer
from .tokens import HELD, Corpus, Rows, build
from .validate import Held

# What a run without a budget trains on.
BUDGETS = {"pico": 200_000, "nano": 2_200_000, "mini": 20_000_000}
MICRO = {"cpu": 4096, "mps": 8192, "cuda": 32768}  # tokens that a device computes at once
CHECKS = 10  # how often a run validates and saves
WARM, CALIBRATION_SECONDS = 2, 4.0  # updates before measuring, and how long to measure
MARGIN = 0.94  # the share of the time that training gets; checks, saving and publishing the rest


@dataclass(frozen=True)
class Pretrain:
    """What the user may set; the rest follows from the preset and the machine.

    Args:
        preset: the model's shape, a key of `config.PRESETS`.
        tokens: how many to train on; None takes the preset's.
        minutes: how long the whole run may take instead; becomes tokens once, by measuring.
        seed: of weights and order.
        context: tokens in a row; None takes the preset's.
        vocab_size: tokens of the tokenizer to learn; None takes the preset's.
        batch: tokens in an update.
        matrix_lr: Muon's learning rate, for hidden matrices.
        table_lr: AdamW's, for embeddings and norms.
        clip: largest norm of the gradient.
        warmup: share of the updates over which the rates rise.
        decay: share of the updates over which they fall to 0.
        validation: share of the documents that is held out.
    """

    preset: str = "nano"
    tokens: int | None = None
    minutes: float | None = None
    seed: int = 0
    context: int | None = None
    vocab_size: int | None = None
    batch: int = 2048
    matrix_lr: float = 0.015
    table_lr: float = 0.015
    clip: float = 1.0
    warmup: float = 0.02
    decay: float = 0.6
    validation: float = 0.01

    def __post_init__(self) -> None:
        if self.tokens is not None and self.minutes is not None:
            raise FtkitError("tokens and minutes are two ways to say how long: give one of them")
        for name in ("tokens", "minutes", "context", "batch", "matrix_lr", "table_lr"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise FtkitError(f"{name} is {value}: it must be above 0")
        if self.vocab_size is not None and self.vocab_size < LEAST:
            raise FtkitError(f"vocab_size is {self.vocab_size}: it must be {LEAST} or more")
        if not 0 <= self.validation <= 0.5:
            raise FtkitError(f"validation is {self.validation}: it must lie in 0 to 0.5")
        if self.seed < 0:
            raise FtkitError(f"seed is {self.seed}: it must be 0 or more")
        preset(self.preset)


@dataclass(frozen=True)
class _Work:
    """What the loop runs on."""

    corpus: Corpus
    tokenizer: Tokenizer
    config: GPTConfig


def pretrain(
    run: Run,
    settings: Pretrain,
    *,
    documents: Iterable[str] | None = None,
    sources: Sequence[Path] = (),
) -> Iterator[dict[str, Any]]:
    """Train a base from documents and publish it in the run folder.

    A run that has checkpoints goes on from the newest one, to the very weights that it would have
    reached without the break.

    Args:
        run: created, or taken up with `Run.resume`.
        settings: what the user chose; the same ones when going on.
        documents: the corpus itself, or
        sources: files and folders that hold it; see `corpus.Documents`.

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
        texts = Documents(sources) if documents is None else list(documents)
        work = yield from _read(run, settings, texts, interrupt)
        if "decided" not in run.settings:
            spent = time.perf_counter() - began
            run.update({**run.settings, "decided": _decide(settings, work.config, spent)})
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
        shutil.rmtree(work.corpus.folder)


def optimizer_of(gpt: GPT, settings: Pretrain) -> Optimizer:
    """Give Muon the hidden matrices and AdamW the rest, embeddings without weight decay."""
    tables = [gpt.model.embed_tokens.weight, gpt.head]
    matrices, others = hidden_matrices(gpt, tables)
    return Optimizer(
        [
            Group(matrices, settings.matrix_lr, rule="muon"),
            Group(others, settings.table_lr, rule="adamw"),
        ]
    )


def _read(
    run: Run, settings: Pretrain, texts: Iterable[str], interrupt: Interrupt
) -> Generator[dict[str, Any], None, _Work]:
    """Survey the corpus, learn the tokenizer, write the tokens; each once."""
    shape = preset(settings.preset, settings.vocab_size, settings.context)
    folder, context = run.inner / "corpus", shape.max_position_embeddings
    yield {"event": "reading the corpus"}
    found = survey(texts, settings.validation)
    _go_on(run, interrupt)
    if not (folder / "tokenizer_config.json").is_file():
        yield {"event": f"learning {shape.vocab_size} tokens"}
        sample = (text for text in texts if found.samples(text))
        train_tokenizer(sample, shape.vocab_size).save(folder, context)
        _go_on(run, interrupt)
    tokenizer = Tokenizer.open(folder)
    yield {"event": f"encoding {found.characters / 1e6:.1f} million characters"}
    corpus = build(texts, found, tokenizer, folder, context)
    _go_on(run, interrupt)
    config = replace(
        shape,
        vocab_size=tokenizer.size,
        bos_token_id=tokenizer.id(BOS),
        pad_token_id=tokenizer.id(PAD),
        eos_token_id=(tokenizer.id(END), tokenizer.id(EOS)),
    )
    return _Work(corpus, tokenizer, config)


def _go_on(run: Run, interrupt: Interrupt) -> None:
    if interrupt.asked:
        raise Interrupted(f"stopped; go on with: ftkit pretrain --resume --out {run.path}")


def _decide(settings: Pretrain, config: GPTConfig, spent: float) -> dict[str, Any]:
    """Settle device, precision and length once; what is settled goes into run.toml."""
    size, width, context = config.parameters, config.hidden_size, config.max_position_embeddings
    device = decide(parameters=size, width=width)
    rows = max(1, min(MICRO[device.device], settings.batch) // context)
    accumulate = max(1, round(settings.batch / (rows * context)))
    update = rows * accumulate * context
    tokens = settings.tokens or BUDGETS[settings.preset]
    if settings.minutes is not None:
        rate = _rate(settings, config, device, rows)
        tokens = max(update, round(rate * MARGIN * (settings.minutes * 60 - spent)))
    device = decide(parameters=size, width=width, tokens=tokens)
    if device.compile and settings.minutes is not None:
        tokens = round((tokens - rate * COMPILE_SECONDS) / (1 - COMPILE_GAIN))
    steps = max(1, round(tokens / update))
    return {
        **table(device),
        "parameters": size,
        "vocab_size": config.vocab_size,
        "context": context,
        "rows": rows,
        "accumulate": accumulate,
        "steps": steps,
        "tokens": steps * update,
        "practice": min(PRACTICE, steps // 10),
        "every": max(1, steps // CHECKS),
    }


def _rate(settings: Pretrain, config: GPTConfig, device: Device, rows: int) -> float:
    """Measure tokens a second on a model that is thrown away."""
    gpt = GPT(config).to(device.torch_device)
    shape = rows, config.max_position_embeddings
    ids_BT = torch.randint(config.vocab_size, shape, device=device.torch_device)
    batch = Rows(ids_BT, ids_BT, ids_BT.numel())
    optimizer, warm = optimizer_of(gpt, settings), 0.0

    def loss(_: torch.nn.Module, rows: Rows) -> torch.Tensor:
        return gpt.nats(rows.ids_BT, rows.labels_BT)

    for step in fit(gpt, lambda _: batch, loss, Plan(10_000), optimizer, device):
        if step.number == WARM:
            warm = step.seconds
        elif step.number > WARM and step.seconds - warm > CALIBRATION_SECONDS:
            break
    return (step.number - WARM) * batch.tokens / (step.seconds - warm)


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
    optimizer, params = optimizer_of(gpt, settings), dict(gpt.named_parameters())
    rows, context = int(decided["rows"]), int(decided["context"])
    held = Held(work.corpus.held(), work.tokenizer, context, rows)
    behind = _take_up(run, params, optimizer)
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
