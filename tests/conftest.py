"""What every test shares: no network, fixed seeds, and small runs made once by the real code."""

import os

# Set before any library reads them: no network, no forked tokenizer threads, few torch threads.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_EVALUATE_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import random

import pytest


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    """Start each test from the same random state, whatever ran before it."""
    import numpy
    import torch

    random.seed(0)
    numpy.random.seed(0)
    torch.manual_seed(0)
