"""Checkpoints of a run: safetensors and JSON, hashed, written aside and renamed, two kept."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import Parameter

from ftkit.errors import FtkitError, WorkError
from ftkit.runs import sha256, write_whole

from .group import divided_like, whole
from .optim import Optimizer

KEPT = 2
TENSORS, FACTS = "state.safetensors", "facts.json"
NAME = re.compile(r"step-\d{8,}")  # a copy that somebody put beside them is none


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint: the steps behind it, its tensors and facts.

    `passed_over` says which newer checkpoints were damaged and why.
    """

    step: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    passed_over: tuple[str, ...] = ()


def save(folder: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write a checkpoint so that it is there whole or not at all, and keep the last two.

    Args:
        folder: where the run's checkpoints lie.
        step: the updates that lie behind it.
        tensors: what to keep; see `pack`.
        facts: anything JSON can hold.
    """
    for torn in folder.glob(".writing-*"):  # left by processes that were killed
        shutil.rmtree(torn, ignore_errors=True)
    aside = folder / f".writing-{os.getpid()}"
    aside.mkdir(parents=True)
    # safetensors refuses tensors that share memory, and wants them in one piece on the CPU.
    kept = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    try:
        save_file(kept, aside / TENSORS)
    except SafetensorError as problem:  # a full disk, say
        shutil.rmtree(aside, ignore_errors=True)
        raise WorkError(f"{folder} cannot be written to: {problem}") from None
    with (aside / TENSORS).open("rb") as file:
        os.fsync(file.fileno())
    words = json.dumps({"step": step, "sha256": sha256(aside / TENSORS), "facts": dict(facts)})
    write_whole(aside / FACTS, json.dumps({"sha256": _hash(words), "content": words}))
    place = folder / f"step-{step:08d}"
    shutil.rmtree(place, ignore_errors=True)
    os.replace(aside, place)
    for old in _places(folder)[:-KEPT]:
        shutil.rmtree(old)


def latest(folder: Path) -> Checkpoint | None:
    """Read the newest checkpoint whose hashes hold; None when there is none.

    Args:
        folder: where the run's checkpoints lie.

    Raises:
        FtkitError: when there are some, and all of them are damaged.
    """
    passed_over: list[str] = []
    for place in reversed(_places(folder)):
        try:
            step, facts = _verify(place)
        except (OSError, ValueError, KeyError, RecursionError) as problem:
            passed_over.append(f"{place} is damaged ({problem}) and was passed over")
            continue
        return Checkpoint(step, load_file(place / TENSORS), facts, tuple(passed_over))
    if passed_over:
        raise FtkitError(f"no checkpoint can be gone on from: {'; '.join(passed_over)}")
    return None


def forget(folder: Path, after: int) -> None:
    """Remove checkpoints of later steps: they were damaged, and would take the place of good ones.

    Args:
        folder: where the run's checkpoints lie.
        after: the step that is gone on from.
    """
    for place in _places(folder):
        if int(place.name.removeprefix("step-")) > after:
            shutil.rmtree(place, ignore_errors=True)


def pack(params: Mapping[str, Parameter], optimizer: Optimizer) -> dict[str, Tensor]:
    """Gather all that training depends on: weights, optimizer and random state.

    What is divided among processes is put together, so all of them have to call this, and any
    number of them can go on from it.

    Args:
        params: the trained parameters by name.
        optimizer: the optimizer over them.
    """
    # One after another to the CPU: a device may hold its part of them all, and not all of them.
    tensors = {f"param.{name}": whole(param).detach().cpu() for name, param in params.items()}
    tensors |= {f"optim.{name}": value for name, value in optimizer.state().items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    if torch.backends.mps.is_available():
        tensors["random.mps"] = torch.mps.get_rng_state()
    return tensors


def unpack(
    tensors: Mapping[str, Tensor], params: Mapping[str, Parameter], optimizer: Optimizer
) -> None:
    """Put back what `pack` gathered.

    Args:
        tensors: a checkpoint's tensors.
        params: the same parameters by the same names.
        optimizer: a new optimizer over the same groups.
    """
    with torch.no_grad():
        for name, param in params.items():
            param.copy_(divided_like(tensors[f"param.{name}"].to(param.device), param))
    memory = {name: value for name, value in tensors.items() if name.startswith("optim.")}
    optimizer.load({name.removeprefix("optim."): value for name, value in memory.items()})
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])
    if "random.mps" in tensors and torch.backends.mps.is_available():
        torch.mps.set_rng_state(tensors["random.mps"])


def _places(folder: Path) -> list[Path]:
    return sorted(place for place in folder.glob("step-*") if NAME.fullmatch(place.name))


def _hash(words: str) -> str:
    return hashlib.sha256(words.encode()).hexdigest()


def _verify(place: Path) -> tuple[int, dict[str, Any]]:
    outer = json.loads((place / FACTS).read_text(encoding="utf-8"))
    words = outer.get("content") if isinstance(outer, dict) else None
    if not isinstance(words, str) or _hash(words) != outer.get("sha256"):
        raise ValueError(f"{FACTS} does not match its hash")
    content = json.loads(words)
    if sha256(place / TENSORS) != content["sha256"]:
        raise ValueError(f"{TENSORS} does not match its hash")
    return int(content["step"]), content["facts"]
