"""A bigram model by counting: what the last token alone says of the next one.

The first step of a language model, and the loss that a GPT has to beat to show that it looks
further back. Counts are smoothed towards how often a token comes at all (MacKay and Peto, 1995,
"A hierarchical Dirichlet language model").
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

MOST = 20_000_000  # tokens that are counted at most, so that no training waits long for it
CHUNK = 4_000_000  # tokens counted at once
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Bigram:
    """Counts of tokens and of pairs of them.

    Args:
        pairs: codes first * vocabulary + second of the pairs that occur, ascending.
        counts: how often each does.
        alone: how often each token comes, one entry for each of the vocabulary.
    """

    pairs: Ints
    counts: Ints
    alone: Ints

    @staticmethod
    def count(ids: Any, vocabulary: int) -> "Bigram":
        """Count the pairs of a row of ids.

        >>> Bigram.count(np.array([1, 2, 1, 2, 0]), 3).counts.tolist()
        [2, 1, 1]
        """
        pairs, counts = np.empty(0, np.int64), np.empty(0, np.int64)
        alone = np.zeros(vocabulary, np.int64)
        size = min(len(ids), MOST)
        for first in range(0, size, CHUNK):
            part = np.asarray(ids[first : min(first + CHUNK + 1, size)], np.int64)
            codes, found = np.unique(part[:-1] * vocabulary + part[1:], return_counts=True)
            pairs, counts = _merged(pairs, counts, codes, found)
            alone += np.bincount(part[: min(CHUNK, len(part))], minlength=vocabulary)
        return Bigram(pairs, counts, alone)

    def nats(self, ids: Iterable[tuple[Tensor, Tensor]]) -> float:
        """Return the summed negative log-likelihood of labels, at the best of some strengths.

        Args:
            ids: batches of (ids_BT, labels_BT); -100 is no label.
        """
        firsts, seconds = [], []
        for ids_BT, labels_BT in ids:
            kept = labels_BT != -100
            firsts.append(ids_BT[kept])
            seconds.append(labels_BT[kept])
        first, second = torch.cat(firsts).numpy(), torch.cat(seconds).numpy()
        vocabulary = len(self.alone)
        code = first * vocabulary + second
        place = np.searchsorted(self.pairs, code).clip(max=len(self.pairs) - 1)
        both = np.where(self.pairs[place] == code, self.counts[place], 0)
        before = np.bincount(self.pairs // vocabulary, self.counts, vocabulary)[first]
        share = (self.alone[second] + 1) / (self.alone.sum() + vocabulary)
        return min(
            float(-np.log((both + strength * share) / (before + strength)).sum())
            for strength in STRENGTHS
        )


def _merged(pairs: Ints, counts: Ints, codes: Ints, found: Ints) -> tuple[Ints, Ints]:
    """Add up counts of equal pairs."""
    together, back = np.unique(np.concatenate([pairs, codes]), return_inverse=True)
    summed = np.zeros(len(together), np.int64)
    np.add.at(summed, back, np.concatenate([counts, found]))
    return together, summed
