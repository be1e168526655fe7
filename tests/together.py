"""What test_base_group trains in one process and in several: a script for each of several."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ftkit.basemodel import GPT, GPTConfig, checkpoint
from ftkit.basemodel.device import Device
from ftkit.basemodel.fit import Plan, fit
from ftkit.basemodel.group import join, whole
from ftkit.basemodel.optim import Group, Optimizer, hidden_matrices
from ftkit.errors import WorkError

ROOT = Path(__file__).parent.parent
CONFIG = GPTConfig(
    vocab_size=48,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=8,
    max_position_embeddings=32,
)
# Norms lie in 0.56 to 1: half the updates are clipped, so that a gradient's size and norm count,
# to which AdamW and Muon alone are blind.
PLAN = Plan(20, accumulate=4, clip=0.66)


@dataclass
class Part:
    ids_BT: Tensor
    labels_BT: Tensor
    where: str = ""

    @property
    def tokens(self) -> int:
        return int((self.labels_BT >= 0).sum())


def uneven(number: int) -> Part:
    """Two rows of very uneven lengths, 1 to 23 labels."""
    draw = torch.Generator().manual_seed(number)
    ids_BT = torch.randint(CONFIG.vocab_size, (2, 25), generator=draw)
    labels_BT = ids_BT[:, 1:].clone()
    for row, labels_T in enumerate(labels_BT, number * 2):
        labels_T[1 + (5 * row) % 23 :] = -100
    return Part(ids_BT[:, :-1], labels_BT, f"data.jsonl:{number}")


def nats(gpt: nn.Module, part: Part) -> Tensor:
    assert isinstance(gpt, GPT)
    return gpt.nats(part.ids_BT, part.labels_BT)


def broken(gpt: nn.Module, part: Part) -> Tensor:
    """A loss that is not finite in micro-batch 9, which is one process's alone."""
    return nats(gpt, part) * (float("nan") if part.where.endswith(":9") else 1.0)


@dataclass(frozen=True)
class Case:
    """A training: by which rule and engine, from which checkpoint and how far."""

    name: str
    rule: str = "adamw"
    shard: bool = False
    family: str = "qwen3"
    tied: bool = True
    steps: int = 20
    takes_up: str = ""  # a checkpoint that another case has saved
    fails: bool = False
    compiled: bool = False

    def run(self, folder: Path) -> None:
        """Train, and let the first process write losses, weights and a checkpoint."""
        group = join()
        gpt = GPT(replace(CONFIG, family=self.family, tie_word_embeddings=self.tied))
        if self.shard:
            group.shard(gpt, gpt.blocks, "nats")
        params = dict(gpt.named_parameters())
        optimizer = optimizer_of(gpt, self.rule)
        start = 0
        if self.takes_up:
            found = checkpoint.latest(folder / self.takes_up / "checkpoints")
            assert found is not None
            checkpoint.unpack(found.tensors, params, optimizer)
            start = found.step
        said = {"kinds": sorted({type(param.data).__name__ for param in params.values()})}
        losses, error = [], ""
        loss = broken if self.fails else nats
        if self.compiled:  # as a session does: the method, and not the module that is handed over
            made = Device(compile=True).compiled(gpt.nats)

            def loss(_: nn.Module, part: Part) -> Tensor:
                return made(part.ids_BT, part.labels_BT)

        try:
            for step in fit(gpt, uneven, loss, PLAN, optimizer, Device(), start):
                losses.append(step.loss)
                if step.number == self.steps:
                    break
        except WorkError as problem:
            error = str(problem)
        state = checkpoint.pack(params, optimizer)
        (folder / self.name).mkdir(exist_ok=True)
        if group.first:
            checkpoint.save(folder / self.name / "checkpoints", self.steps, state, {})
            save_file(
                {name: whole(value).clone() for name, value in state.items()},
                folder / self.name / "state.safetensors",
            )
        about = said | {"losses": losses, "error": error}
        (folder / self.name / f"{group.rank}.json").write_text(json.dumps(about))
        group.agree()  # the next case may take up what this one has saved


def optimizer_of(gpt: GPT, rule: str) -> Optimizer:
    if rule == "adamw":
        return Optimizer([Group(list(gpt.parameters()), 1e-2)])
    matrices, others = hidden_matrices(gpt, gpt.tables)
    return Optimizer([Group(matrices, 0.02, rule="muon"), Group(others, 5e-3)])


@dataclass(frozen=True)
class Ended:
    """What a case has left behind."""

    losses: list[float]
    error: str
    kinds: list[str]
    params: dict[str, Tensor]


def ended(folder: Path, name: str, rank: int = 0) -> Ended:
    about = json.loads((folder / name / f"{rank}.json").read_text())
    state = load_file(folder / name / "state.safetensors")
    params = {key: value for key, value in state.items() if key.startswith("param.")}
    return Ended(about["losses"], about["error"], about["kinds"], params)


def start(arguments: Sequence[str], size: int = 2) -> list[subprocess.Popen[str]]:
    """Start Python processes as torchrun does, without its own seconds of start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        subprocess.Popen(
            [sys.executable, *arguments],
            env=os.environ
            | shared
            | {"PYTHONPATH": str(ROOT), "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]


def finish(processes: list[subprocess.Popen[str]], seconds: float = 600) -> list[tuple[int, str]]:
    """Wait for the processes; return each one's exit code and what it said of errors."""
    try:
        said = [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, errors) for process, (_, errors) in zip(processes, said)]  # noqa: B905


if __name__ == "__main__":
    for settings in json.loads(sys.argv[2]):
        Case(**settings).run(Path(sys.argv[1]))
