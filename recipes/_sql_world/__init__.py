"""The embedded SQL world: questions to filled databases, and a corpus that holds the skill.

Everything is made from a seed by the lexicon and the grammar in this folder. Splits are by domain,
whatever the seed: no table name, column set or question of a validation or test schema can occur in
the corpus or in tuning rows.
"""

from .corpus import corpus
from .items import Item, databases, drawn, features, held, items

__all__ = ["Item", "corpus", "databases", "drawn", "features", "held", "items"]
