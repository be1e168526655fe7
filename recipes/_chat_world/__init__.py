"""The embedded chat world: conversations that look back, and a corpus that holds the skill.

Everything is made from a seed by the lexicon and the grammar in this folder. Values (names, foods,
words ...) belong to one split each, whatever the seed, and so do some wordings of the questions;
the corpus holds all values, in random combinations, but no wording of validation or test.
"""

from .corpus import corpus
from .items import Talk, drawn, items
from .lexicon import pools
from .prose import prose

__all__ = ["Talk", "corpus", "drawn", "items", "pools", "prose"]
