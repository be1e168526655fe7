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
from .bigram import Bigram
from .budget import Pretrain, flops, optimizer_of, settle
from .config import GPTConfig
from .corpus import Documents, Survey, survey
from .curves import draw
from .device import Device, PeakMemory
from .fit import Plan, fit
from .group import Team, join, whole
from .induction import practice
from .interrupt import Interrupt
from .model import GPT
from .optim import Optimizer
from .tokenizer import BOS, END, EOS, PAD, RESERVED, Tokenizer, train_tokenizer
from .tokens import HELD, Corpus, Rows, build
from .validate import Held


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

    Under torchrun every process calls this. The first one alone writes the run folder and yields
    records; the others need no documents, wait while it reads them, and compute along. The folder
    lies where all of them see it.

    Args:
        run: created, or taken up with `Run.resume`; `Run(path)` in the other processes.
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
    began, team = time.perf_counter(), join()
    with PeakMemory() as memory, Interrupt() as interrupt:
        if team.first:
            texts = Documents(sources) if documents is None else list(documents)
            work = yield from _read(run, settings, texts, interrupt)
        team.agree()  # the others wait until all is read
        if not team.first:
            work = _open(run, settings)
        decided = _decide(run, settings, work.config, team, time.perf_counter() - began)
        gpt = GPT(work.config, settings.seed).to(Device.read(decided).torch_device)
        facts = yield from _train(run, settings, work, gpt, decided, team, interrupt)
        if settings.shard:
            gpt = _whole(gpt)
        if not team.first:
            return
        draw(run.records(), run.inner / "curves.svg", f"Pretraining {run.path.name}")
        shutil.copyfile(work.corpus.folder / HELD, run.inner / HELD)

        def write(folder: Path) -> None:
            work.tokenizer.save(folder, work.config.max_position_embeddings)
            gpt.save_pretrained(folder)

        said = _measured(run, work.config, decided, facts, team)
        said["seconds"] = round(facts["earlier"] + time.perf_counter() - began, 3)
        run.publish(write, {**said, "peak_memory": memory.bytes})
        shutil.rmtree(work.corpus.folder)


def _read(
    run: Run, settings: Pretrain, texts: Iterable[str], interrupt: Interrupt
) -> Generator[dict[str, Any], None, _Work]:
    """Survey the corpus, learn the tokenizer, write the tokens; each once."""
    shape = settings.shape()
    folder, context = run.inner / "corpus", shape.max_position_embeddings
    yield {"event": "reading the corpus"}
    found = survey(texts, settings.validation)
    _go_on(run, interrupt)
    if not (folder / "tokenizer_config.json").is_file():
        yield {"event": f"learning {shape.vocab_size} tokens"}
        sample = (text for text in texts if found.samples(text))
        train_tokenizer(sample, shape.vocab_size, settings.tokenizer).save(folder, context)
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


def _open(run: Run, settings: Pretrain) -> _Work:
    """Open what the first process has read."""
    folder, shape = run.inner / "corpus", settings.shape()
    tokenizer = Tokenizer.open(folder)
    none = Survey(0, frozenset())
    corpus = build((), none, tokenizer, folder, shape.max_position_embeddings)
    return _Work(corpus, tokenizer, replace(shape, vocab_size=tokenizer.size))


def _decide(
    run: Run, settings: Pretrain, config: GPTConfig, team: Team, spent: float
) -> dict[str, Any]:
    """Settle device and length, or take up what an earlier session has settled."""
    decided = team.agree(run.settings.get("decided"))
    if decided is None:
        decided = team.agree(settle(settings, config, team.agree(spent), team))
        if team.first:
            run.update({**run.settings, "decided": decided})
    return dict(decided)


def _go_on(run: Run, interrupt: Interrupt) -> None:
    if interrupt.asked:
        raise Interrupted(f"stopped; go on with: ftkit pretrain --resume --out {run.path}")


def _train(
    run: Run,
    settings: Pretrain,
    work: _Work,
    gpt: GPT,
    decided: dict[str, Any],
    team: Team,
    interrupt: Interrupt,
) -> Generator[dict[str, Any], None, dict[str, Any]]:
    """Run the loop from the newest checkpoint on; returns tokens and seconds in all."""
    device, steps = Device.read(decided), int(decided["steps"])
    plan = Plan(steps, int(decided["accumulate"]), settings.clip, settings.warmup, settings.decay)
    if settings.shard:
        team.shard(gpt, gpt.blocks, "nats")
    params = dict(gpt.named_parameters())
    optimizer = optimizer_of(gpt, settings, device)
    rows, context = int(decided["rows"]), int(decided["context"])
    held = Held(work.corpus.held(), work.tokenizer, context, rows)
    behind = _take_up(run, params, optimizer, team)
    if team.first:
        yield from _opening(run, work, held, behind)
    facts, nats = behind.facts, device.compiled(gpt.nats)

    def loss(_: torch.nn.Module, batch: Rows) -> torch.Tensor:
        # Each other shape, as practice has them, would be compiled anew.
        usual = batch.ids_BT.shape == (rows, context)
        return (nats if usual else gpt.nats)(batch.ids_BT, batch.labels_BT)

    batches = _stream(work, settings, decided, device)
    for step in fit(gpt, batches, loss, plan, optimizer, device, start=behind.step):
        facts = {name: behind.facts[name] + getattr(step, name) for name in ("tokens", "seconds")}
        record = {"step": step.number, "loss": step.loss, "lr": step.lr, **facts}
        speed = step.tokens / step.seconds
        yield from _say(run, team, record, {"of": steps, "tokens_per_second": speed})
        due = step.number % int(decided["every"]) == 0 or step.number == steps
        if due and (team.first or settings.shard):  # what is divided computes in all or in none
            check = {"step": step.number, "validation": held.check(gpt, device)}
            yield from _say(run, team, check)
        interrupt.asked = team.any(interrupt.asked)
        if due or interrupt.asked:
            state = checkpoint.pack(params, optimizer)
            if team.first:
                checkpoint.save(run.checkpoints, step.number, state, facts)
        _go_on(run, interrupt)
    return facts | {"earlier": behind.facts["seconds"]}


def _opening(
    run: Run, work: _Work, held: Held, behind: checkpoint.Checkpoint
) -> Iterator[dict[str, Any]]:
    """Say what there is to beat, or what was damaged of what lies behind."""
    if not behind.step:
        bigram = held.bigram(Bigram.count(work.corpus.ids, work.config.vocab_size))
        run.log({"step": 0, "bigram": bigram})
        yield {
            "event": f"a bigram model has {bigram['nats']:.3f} nats a token of the held-out text"
        }
    yield from ({"event": note} for note in behind.passed_over)


def _say(
    run: Run, team: Team, record: Mapping[str, Any], shown: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Log a record and yield it, with what is only shown; the first process does."""
    if team.first:
        run.log(record)
        yield {**record, **(shown or {})}


def _measured(
    run: Run, config: GPTConfig, decided: Mapping[str, Any], facts: Mapping[str, Any], team: Team
) -> dict[str, Any]:
    """Put together what `done` will say of the training."""
    speed = facts["tokens"] / facts["seconds"]
    reached = speed * flops(config, int(decided["context"]))
    return {
        "parameters": int(decided["parameters"]),
        "tokens": facts["tokens"],
        "training_seconds": round(facts["seconds"], 3),
        "tokens_per_second": round(speed, 1),
        "mfu": round(reached / (decided["peak_flops"] * team.size), 4),
        "validation": [row for row in run.records() if "validation" in row][-1]["validation"],
        "bigram": next(row["bigram"] for row in run.records() if "bigram" in row),
    }


def _whole(gpt: GPT) -> GPT:
    """Put a model together that was divided among processes."""
    alone = GPT(gpt.config)
    alone.load_state_dict({name: whole(value) for name, value in gpt.state_dict().items()})
    return alone


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
    run: Run, params: Mapping[str, torch.nn.Parameter], optimizer: Optimizer, team: Team
) -> checkpoint.Checkpoint:
    """Put the newest checkpoint's state in place and cut the log back to it."""
    found = checkpoint.latest(run.checkpoints)
    if team.first:
        run.truncate_log(found.step if found else 0)
    if found is None:
        return checkpoint.Checkpoint(0, {}, {"tokens": 0, "seconds": 0.0})
    checkpoint.unpack(found.tensors, params, optimizer)
    return found
