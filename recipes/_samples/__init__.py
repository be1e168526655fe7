"""Samples of `instruct`: rows written for ftkit that show what the recipe is for.

Both are drawn by a seed from hand-written pieces. `sentiment` is a classification whose label
follows from the whole sentence, `code` asks for small Python functions.
"""

from ._sample import Sample
from .code import code
from .sentiment import sentiment

SAMPLES = {"sentiment": sentiment, "code": code}

__all__ = ["SAMPLES", "Sample"]
