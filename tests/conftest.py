"""What every test shares: no network, fixed seeds, and small runs made once by the real code."""

import os

# Set before any library reads them: no network, no forked tokenizer threads, one torch thread
# whatever the user's shell says, for tests fork, and a forked process has no other threads to wait
# for: it would wait for ever.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_EVALUATE_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"

import atexit
import random
import shutil
import tempfile
from pathlib import Path

import pytest

# What tests read and unpack is no user's: it goes with them.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="ftkit-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    """Start each test from the same random state, whatever ran before it."""
    import numpy
    import torch

    random.seed(0)
    numpy.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base run folder made by the real pretraining, on a corpus of a moment; do not change it."""
    from ftkit import catalog
    from ftkit.basemodel.budget import Pretrain
    from ftkit.basemodel.pretrain import pretrain
    from ftkit.config import override, table
    from ftkit.runs import Run

    plan = Pretrain(preset="pico", tokens=30_000, batch=2048, context=512, vocab_size=768)
    world = override(catalog.load("recipes", "sql_qa"), {"characters": 120_000}, "recipe")
    out = tmp_path_factory.mktemp("runs") / "base"
    settings = {"command": "pretrain", "options": {"seed": 0}, "plan": table(plan)}
    for _ in pretrain(Run.create(out, settings), plan, documents=list(world.corpus())):
        pass
    return out


@pytest.fixture(scope="session")
def tiny_runs(tiny_base: Path) -> dict[str, Path]:
    """The tiny base and a run beside it by each of the demo's methods, of a few steps of SQL."""
    from ftkit import catalog
    from ftkit.cli.demo import Demo
    from ftkit.config import override, table
    from ftkit.recipes._tune import Tuning, tune
    from ftkit.runs import Run

    small = {"rows": 60, "tests": 20, "epochs": 1.0, "max_new_tokens": 24, "max_dropped": 1.0}
    recipe = override(catalog.load("recipes", "sql_qa"), small, "recipe")
    plan, made = Tuning(checks=1), {"base": tiny_base}
    for name in Demo().methods:
        method, out = catalog.load("adapters", name), tiny_base.parent / f"sql_qa-{name}"
        settings = {
            "command": "tune",
            "options": {"recipe": "sql_qa", "methods": [name], "base": str(tiny_base), "seed": 0},
            "recipe": table(recipe),
            "method": table(method),
            "plan": table(plan),
        }
        for _ in tune(Run.create(out, settings), recipe, method, str(tiny_base), plan):
            pass
        made[name] = out
    return made
