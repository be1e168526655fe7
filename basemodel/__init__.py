"""The base model, built by hand: tokenizer, corpus, GPT, training loop, generation, export."""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import GPTConfig
    from .model import GPT

__all__ = ["GPT", "GPTConfig"]

_HOMES = {"GPT": "model", "GPTConfig": "config"}

# oneDNN and PyTorch's layer over it keep what they prepare for each shape of a matrix product, up
# to 5 MB a shape and 1024 shapes each: rows of many widths filled 4 GB. Read at the first product.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
os.environ.setdefault("LRU_CACHE_CAPACITY", "64")


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `import ftkit.basemodel` loads no PyTorch."""
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
