"""What a reader needs to reproduce a scorecard: settings, items, hardware and versions."""

import os
import platform
import shlex
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ftkit import __version__
from ftkit.config import as_set, table

from ..adapters._variant import FP32
from ..recipes._limits import SAID
from ..recipes._recipe import Example
from ._groups import Group
from ._metric import Metric
from ._statistics import RESAMPLES


def facts(group: Group, seed: int, wish: int, shots: int, dtype: str) -> dict[str, Any]:
    """Describe an evaluation.

    Args:
        group: what was evaluated.
        seed: of items, examples and bootstrap.
        wish: examples asked for in the few-shot row.
        shots: examples that fit.
        dtype: precision of the weights.
    """
    n = len(group.items)
    recipe = group.recipe
    words = [str(tuned.folder) for tuned in group.tuned] or [str(group.base)]
    words += ["--recipe", recipe.name]
    words += [word for source in recipe.data if recipe.whole for word in ("--data", source)]
    words += ["--on-bad-rows", recipe.on_bad_rows] if recipe.on_bad_rows == "skip" else []
    words += ["--limit", str(n)] if n != group.available else []
    words += ["--shots", str(wish), "--seed", str(seed)]
    words += ["--candidates", str(group.candidates)] if group.candidates else []
    words += ["--only", group.limits] if group.limits else []
    words += ["--dtype", dtype] if dtype != FP32 else []
    words += [f"--set=recipe.{name}={as_set(value)}" for name, value in group.settings.items()]
    drawn = f"; {group.candidates} more at temperature 1" if group.candidates else ""
    limited = f"; {SAID[group.limits]}" if group.limits else ""
    return {
        "command": shlex.join(["ftkit", "eval", *words]),
        "items": {"asked": n, "available": group.available},
        "base": {"path": group.base, "fingerprint": group.base_fingerprint},
        "recipe": table(group.recipe),
        "shots": {"wished for": wish, "shown": shots},
        "seed": seed,
        "resamples": RESAMPLES,
        "decoding": f"greedy, {dtype}{drawn}{limited}",
        "hardware": hardware(),
        "versions": versions(),
    }


def caveats(metrics: Mapping[str, Metric], items: Sequence[Example]) -> dict[str, str]:
    """Collect what a reader must know of how the metrics scored these items."""
    told = {name: metric.caveat(items) for name, metric in metrics.items()}
    return {name: words for name, words in told.items() if words}


def hardware() -> dict[str, Any]:
    """Name processor and accelerator."""
    found = {"processor": _processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    if torch.cuda.is_available():
        found["accelerator"] = torch.cuda.get_device_name()
    return found


def versions() -> dict[str, str]:
    """List the versions that can change a result."""
    known = {"ftkit": __version__, "python": platform.python_version()}
    known |= {name: version(name) for name in ("torch", "transformers", "peft", "sqlglot")}
    return known | {"sqlite": sqlite3.sqlite_version}


def _processor() -> str:
    """Name the processor as its maker does."""
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        if names:
            return names[0]
    return platform.processor() or platform.machine()
