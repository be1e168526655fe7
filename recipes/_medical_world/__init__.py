"""The embedded medical world: conditions, questions about them, and a corpus that knows them all.

The facts are general knowledge, written for ftkit; each condition says in what kind of source they
stand. Tuning rows are about some conditions and test rows about others, so a right answer to a test
question can only come from what pretraining read. It is for research on language models, and no
medical advice.
"""

from .cases import Case, cases, drawn
from .conditions import names, vocabulary
from .passages import corpus, helpline, opening

__all__ = ["Case", "cases", "corpus", "drawn", "helpline", "names", "opening", "vocabulary"]
