"""Quiet libraries: progress bars that cut into ours, and what PEFT says to itself."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' bars off the terminal while a folder is read or written."""
    import transformers

    logging: Any = transformers.logging
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # PEFT asks transformers 5 by an old name whether activations are checkpointed.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            # It sees how GPT-2's layers lie, and sets this option right by itself.
            warnings.filterwarnings("ignore", "fan_in_fan_out is set to", UserWarning)
            # What is learned of a tied head is merged apart from the embeddings (`untie`).
            tied = "Model (has|with) `tie_word_embeddings=True`|Input and output embeddings are no"
            warnings.filterwarnings("ignore", tied, UserWarning)
            yield
    finally:
        if bars:
            logging.enable_progress_bar()
