"""One dial, the size: how long a preset is trained, in what batches and at which rates.

Pico and nano are measured (docs/findings.md); the larger ones follow what others publish: batches
that grow with the run (arXiv:1812.06162), Muon's rate nearly the same at every width and AdamW's
falling with it (arXiv:2203.03466), some 20 tokens a parameter (arXiv:2203.15556) from small on.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Dial:
    """What follows from a preset, each of which the user may set otherwise.

    Args:
        tokens: to train on, practice among them.
        batch: tokens in an update.
        matrix_lr: Muon's learning rate, for hidden matrices.
        table_lr: AdamW's, for embeddings and norms.
        practice: updates of practice in copying, before the corpus; see `induction`.
        context: tokens in a row when going on from a base that reads more at once.
    """

    tokens: int
    batch: int
    matrix_lr: float
    table_lr: float
    practice: int = 100
    context: int = 1024


DIALS = {
    "pico": Dial(500_000, 2048, 0.03, 0.03, practice=0),
    "nano": Dial(3_500_000, 2048, 0.015, 0.015),
    "mini": Dial(20_000_000, 4096, 0.015, 0.01),
    "small": Dial(600_000_000, 32_768, 0.015, 0.008),
    "gpt2": Dial(2_500_000_000, 262_144, 0.02, 0.004),
}
# Going on from trained weights: at a fresh model's rates they would be washed away.
AGAIN = Dial(1_000_000, 4096, 0.003, 0.001, practice=0)
