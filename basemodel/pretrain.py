"""Pretraining: from documents to a published base, decided once, resumable at every checkpoint."""

import shutil
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ftkit.errors import FtkitError
from ftkit.runs import Run

from .base import Base, open_base
from .budget import Pretrain, flops, settle
from .card import Text, card
from .config import GPTConfig
from .corpus import Documents
from .curves import draw
from .device import Device, PeakMemory
from .group import Team, join, whole
from .interrupt import Interrupt
from .model import GPT
from .prepare import Learn, prepare
from .session import Work, stopped, train
from .tokenizer import BOS, END, EOS, PAD, Tokenizer
from .tokens import HELD, Corpus

TOKENS = ".corpora"  # beside the runs: each finds there the tokens that another made


def pretrain(
    run: Run,
    settings: Pretrain,
    *,
    documents: Iterable[str] | None = None,
    sources: Sequence[str | Path] = (),
    text: Text | None = None,
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
        sources: what --data says of where it lies; see `sources`.
        text: what the model card says of the corpus, where that is more than the sources.

    Yields:
        Records for a progress display. Work before the first step: {"event"}. Each step: {"step",
        "of", "loss", "lr", "tokens", "seconds", "tokens_per_second"}. Each check: {"step",
        "validation": {"nats", "bits_per_byte"}} and {"step", "sample"}.

    Raises:
        FtkitError: for a corpus that cannot be read or is too short, or a base that cannot be
            gone on from.
        Interrupted: after Ctrl-C, when the state is saved.
        WorkError: when the loss is not finite.
    """
    began, team = time.perf_counter(), join()
    with PeakMemory() as memory, Interrupt() as interrupt:

        def texts() -> Iterable[str]:
            found = Documents(sources) if documents is None else list(documents)
            return _Reading(found, run, interrupt)

        base = None if settings.base is None else open_base(settings.base)
        if team.first:
            work = yield from _read(run, settings, base, texts)
        key = team.agree(work.key if team.first else None)  # the others wait until all is read
        if not team.first:
            work = _open(run, settings, base, key)
        decided = _decide(run, settings, work, team, time.perf_counter() - began)
        device = Device.read(decided)
        device.use()  # before any weight is drawn: more threads round the first ones otherwise
        gpt = GPT(work.config, settings.seed) if base is None else GPT.from_pretrained(base.folder)
        gpt = gpt.to(device.torch_device)
        facts = yield from train(run, settings, work, gpt, decided, team, interrupt)
        if settings.shard:
            gpt = _whole(gpt)
        if not team.first:
            return
        said = _measured(run, work.config, decided, facts, team)
        said["seconds"] = round(facts["earlier"] + time.perf_counter() - began, 3)
        text = text or (Text(list(map(str, sources))) if sources else Text())
        about = card(str(run.path), work.config.family, said, text, settings.base)
        _publish(run, gpt, work, about, said | {"peak_memory": memory.bytes})


def _publish(run: Run, gpt: GPT, work: Work, about: str, said: Mapping[str, Any]) -> None:
    """Write the base's folder."""
    draw(run.records(), run.inner / "curves.svg", f"Pretraining {run.path.name}")
    shutil.copyfile(work.corpus.folder / HELD, run.inner / HELD)

    def write(folder: Path) -> None:
        gpt.save_pretrained(folder)
        if work.base is None:
            work.tokenizer.save(folder, work.config.max_position_embeddings)
        else:
            work.base.save_tokenizer(folder)
        (folder / "README.md").write_text(about, encoding="utf-8")

    run.publish(write, said)


class _Reading:
    """Documents, read anew in each iteration, which Ctrl-C ends."""

    def __init__(self, texts: Iterable[str], run: Run, interrupt: Interrupt) -> None:
        self.texts, self.run, self.interrupt = texts, run, interrupt

    def __iter__(self) -> Iterator[str]:
        for text in self.texts:
            if self.interrupt.asked:
                raise stopped(self.run)
            yield text


def _read(
    run: Run, settings: Pretrain, base: Base | None, texts: Callable[[], Iterable[str]]
) -> Generator[dict[str, Any], None, Work]:
    """Have the tokens of the corpus ready, and the model's shape."""
    shape = settings.shape() if base is None else base.config
    wanted = Learn(settings.tokenizer, shape.vocab_size) if base is None else base.tokenizer
    ready = yield from prepare(
        texts,
        _home(run),
        tokenizer=wanted,
        context=settings.row(shape),
        validation=settings.validation,
        key=run.settings.get("decided", {}).get("corpus", ""),
    )
    return _work(settings, base, ready.corpus, ready.tokenizer, ready.key)


def _open(run: Run, settings: Pretrain, base: Base | None, key: str) -> Work:
    """Open what the first process has read."""
    folder = _home(run) / key
    corpus = Corpus.open(folder)
    assert corpus is not None
    return _work(settings, base, corpus, base.tokenizer if base else Tokenizer.open(folder), key)


def _home(run: Run) -> Path:
    return run.path.absolute().parent / TOKENS


def _work(
    settings: Pretrain, base: Base | None, corpus: Corpus, tokenizer: Tokenizer, key: str
) -> Work:
    """Put the tokenizer's ids into the model's shape; a base has its own there."""
    if base is not None:
        return Work(corpus, tokenizer, base.config, key, base)
    config = replace(
        settings.shape(),
        vocab_size=tokenizer.size,
        bos_token_id=tokenizer.id(BOS),
        pad_token_id=tokenizer.id(PAD),
        eos_token_id=(tokenizer.id(END), tokenizer.id(EOS)),
    )
    return Work(corpus, tokenizer, config, key, None)


def _decide(run: Run, settings: Pretrain, work: Work, team: Team, spent: float) -> dict[str, Any]:
    """Settle device and length, or take up what an earlier session has settled."""
    decided = team.agree(run.settings.get("decided"))
    if decided is not None:
        Device.read(decided).there()
    base = work.base.fingerprint if work.base else ""
    if decided is None:
        decided = settle(settings, work.config, team.agree(spent), team)
        decided = team.agree(decided | {"corpus": work.key} | ({"base": base} if base else {}))
        if team.first:
            run.update({**run.settings, "decided": decided})
    if decided.get("base", "") != base:
        raise FtkitError(f"{settings.base} is not the base that the run began with")
    return dict(decided)


def _measured(
    run: Run, config: GPTConfig, decided: Mapping[str, Any], facts: Mapping[str, Any], team: Team
) -> dict[str, Any]:
    """Put together what `done` will say of the training."""
    # Sessions may have had other numbers of processes: the share is that of this one, if it made
    # any step; one that was killed while it was published is gone on with without.
    tokens, seconds = facts["here"] if facts["here"][0] else (facts["tokens"], facts["seconds"])
    reached = tokens / max(seconds, 1e-9) * flops(config, int(decided["context"]))
    return {
        "parameters": int(decided["parameters"]),
        "tokens": facts["tokens"],
        "training_seconds": round(facts["seconds"], 3),
        "tokens_per_second": round(facts["tokens"] / facts["seconds"], 1),
        "mfu": round(reached / (decided["peak_flops"] * team.size), 4),
        "validation": [row for row in run.records() if "validation" in row][-1]["validation"],
        # Somebody may have lost the log: that costs what it said, and not the run.
        "bigram": next((row["bigram"] for row in run.records() if "bigram" in row), None),
    }


def _whole(gpt: GPT) -> GPT:
    """Put a model together that was divided among processes."""
    alone = GPT(gpt.config)
    alone.load_state_dict({name: whole(value) for name, value in gpt.state_dict().items()})
    return alone
