"""One session of a pretraining: from the newest checkpoint on, with checks, samples, saving."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from ftkit.errors import Interrupted, WorkError
from ftkit.runs import Run

from . import checkpoint
from .base import Base
from .bigram import MOST, Bigram
from .budget import Pretrain, optimizer_of
from .config import GPTConfig
from .decoder import GPTDecoder
from .device import Device
from .dial import Dial
from .fit import Plan, fit
from .generate import generate
from .group import Team
from .induction import practice
from .interrupt import Interrupt
from .model import GPT
from .optim import Optimizer
from .tokenizer import RESERVED, Tokenizer
from .tokens import Corpus, Rows
from .validate import Held

SAVE_SECONDS = 600.0  # between two checkpoints at most, however far apart the checks are
SAMPLE = 40  # tokens of the text that is written at each check


@dataclass(frozen=True)
class Work:
    """What a pretraining works on.

    Args:
        corpus: the tokens.
        tokenizer: whose they are.
        config: the model's shape.
        key: name of the tokens' folder.
        base: what the model goes on from, if from anything.
    """

    corpus: Corpus
    tokenizer: Tokenizer
    config: GPTConfig
    key: str
    base: Base | None


def train(
    run: Run,
    settings: Pretrain,
    work: Work,
    gpt: GPT,
    decided: dict[str, Any],
    team: Team,
    interrupt: Interrupt,
) -> Generator[dict[str, Any], None, dict[str, Any]]:
    """Run the loop from the newest checkpoint on.

    Args:
        run: whose log and checkpoints are written.
        settings: what the user chose.
        work: corpus, tokenizer and shape.
        gpt: on the device, its weights those of a beginning.
        decided: what `budget.settle` has settled.
        team: the processes that train together.
        interrupt: looked at after each step.

    Yields:
        What `pretrain.pretrain` yields of steps and checks.

    Returns:
        Tokens and seconds in all, `earlier`, the seconds that lay behind this session, and `here`,
        the tokens and seconds of this session alone.

    Raises:
        Interrupted: after Ctrl-C, when the state is saved.
        WorkError: when the loss is not finite.
    """
    device, steps = Device.read(decided), int(decided["steps"])
    plan = Plan(steps, int(decided["accumulate"]), settings.clip, settings.warmup, settings.decay)
    if settings.shard:
        team.shard(gpt, gpt.blocks, "nats")
    params = dict(gpt.named_parameters())
    optimizer = optimizer_of(gpt, Dial(**decided["dial"]), device)
    rows, context = int(decided["rows"]), int(decided["context"])
    held = Held(work.corpus.held(), work.tokenizer, context, rows)
    behind = _take_up(run, params, optimizer, team)
    if team.first:
        yield from _opening(run, work, held, behind, decided)
    facts, nats = behind.facts, device.compiled(gpt.nats)

    def loss(_: torch.nn.Module, batch: Rows) -> torch.Tensor:
        # Each other shape, as practice has them, would be compiled anew.
        usual = batch.ids_BT.shape == (rows, context)
        return (nats if usual else gpt.nats)(batch.ids_BT, batch.labels_BT)

    batches = _stream(work, settings, decided, device)
    saver = _Saver(run, params, optimizer, team, behind.facts["wall"])
    step = None
    for step in fit(gpt.train(), batches, loss, plan, optimizer, device, start=behind.step):
        facts = {name: behind.facts[name] + getattr(step, name) for name in ("tokens", "seconds")}
        record = {"step": step.number, "loss": step.loss, "lr": step.lr, **facts}
        speed = step.tokens / step.seconds
        yield from _say(run, team, record, {"of": steps, "tokens_per_second": speed})
        due = step.number % int(decided["every"]) == 0 or step.number == steps
        if due and (team.first or settings.shard):  # what is divided computes in all or in none
            check = {"step": step.number, "validation": held.check(gpt, device)}
            yield from _say(run, team, check)
            if not settings.shard:
                yield from _say(run, team, {"step": step.number, "sample": sample(gpt, work)})
        stop = team.any(interrupt.asked)  # asked once: between two looks Ctrl-C might come
        if due or stop or saver.waited():
            saver.save(step.number, facts)
        if stop:
            team.agree()  # until the first process has saved
            raise stopped(run)
    here = (step.tokens, step.seconds) if step is not None else (0, 0.0)
    return facts | {"earlier": behind.facts["wall"], "here": here}


class _Saver:
    """Writes checkpoints, and knows when the last one was written.

    Args:
        run: whose checkpoints they are.
        params: the trained parameters by name.
        optimizer: the optimizer over them.
        team: the processes that train together; the first one writes.
        wall: seconds that lie behind this session.
    """

    def __init__(
        self,
        run: Run,
        params: Mapping[str, torch.nn.Parameter],
        optimizer: Optimizer,
        team: Team,
        wall: float,
    ) -> None:
        self.run, self.params, self.optimizer, self.team = run, params, optimizer, team
        self.saved = time.perf_counter()
        self.begun = self.saved - wall

    def waited(self) -> bool:
        """Say, in all processes alike, whether a checkpoint is due by the clock."""
        return self.team.any(time.perf_counter() - self.saved > SAVE_SECONDS)

    def save(self, number: int, facts: Mapping[str, float]) -> None:
        """Write a checkpoint of step `number`; all processes have to call this."""
        state = checkpoint.pack(self.params, self.optimizer)
        if self.team.first:
            wall = time.perf_counter() - self.begun
            checkpoint.save(self.run.checkpoints, number, state, {**facts, "wall": wall})
        self.saved = time.perf_counter()


def stopped(run: Run) -> Interrupted:
    """Say how a run that was stopped is gone on with."""
    return Interrupted(f"stopped; go on with: ftkit pretrain {run.resumed}")


def sample(gpt: GPT, work: Work) -> str:
    """Let the model write the beginning of a document, always by the same dice."""
    frame, training = work.tokenizer.frame, gpt.training
    opening = frame.closing if frame.opening is None else frame.opening
    (said,) = generate(
        GPTDecoder(gpt.eval()),
        [[opening]],
        max_new_tokens=SAMPLE,
        stop=(frame.closing,),
        pad=frame.pad,
        temperature=0.7,
        top_p=0.95,
    )
    gpt.train(training)
    return work.tokenizer.decode(said.ids)


def _opening(
    run: Run,
    work: Work,
    held: Held,
    behind: checkpoint.Checkpoint,
    decided: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    """Say what there is to beat, or what was damaged of what lies behind."""
    if not behind.step:
        bigram = held.bigram(Bigram.count(work.corpus.first(MOST), work.config.vocab_size))
        run.log({"step": 0, "bigram": bigram})
        yield {
            "event": f"a bigram model has {bigram['nats']:.3f} nats a token of the held-out text, "
            f"{bigram['bits_per_byte']:.3f} bits per byte"
        }
        yield {"event": _readings(work.corpus, decided)}
    yield from ({"event": note} for note in behind.passed_over)


def _readings(corpus: Corpus, decided: Mapping[str, Any]) -> str:
    """Say how long the text is, and how often that will be read."""
    times = int(decided["tokens"]) / corpus.tokens
    often = (
        f"they are read about {times:,.0f} times" if times > 1.5 else "they are read once or less"
    )
    return f"{corpus.tokens:,} tokens of text to train on: {often}"


def _say(
    run: Run, team: Team, record: Mapping[str, Any], shown: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Log a record and yield it, with what is only shown; the first process does."""
    if team.first:
        run.log(record)
        yield {**record, **(shown or {})}


def _stream(
    work: Work, settings: Pretrain, decided: Mapping[str, Any], device: Device
) -> Callable[[int], Rows]:
    """Say what each micro-batch holds: first practice in copying, then the corpus."""
    rows, context = int(decided["rows"]), int(decided["context"])
    practised = int(decided["practice"]) * int(decided["accumulate"])
    owned = len(RESERVED) if work.tokenizer.own else 0
    vocabulary = range(owned, min(work.tokenizer.size, work.config.vocab_size))

    def batches(number: int) -> Rows:
        if work.config.dropout:  # drawn from the global generator; who goes on has to draw the same
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
    step = found.step if found else 0
    if team.any(step != team.agree(step)):
        raise WorkError(f"the processes see different checkpoints in {run.checkpoints}")
    if team.first:
        run.truncate_log(found.step if found else -1)
        checkpoint.forget(run.checkpoints, after=step)
    if found is None:
        return checkpoint.Checkpoint(0, {}, {"tokens": 0, "seconds": 0.0, "wall": 0.0})
    checkpoint.unpack(found.tensors, params, optimizer)
    return replace(found, tensors={})  # as large as model and optimizer together
