"""What needs no model: the answer of the nearest training question, and the commonest answer.

A table without them cannot tell what was learned from what the questions give away. Nearness is
the cosine of word counts weighted by rarity (Salton & Buckley 1988).
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from ..recipes._recipe import Example
from ._answers import Outcome

WORD = re.compile(r"\w+")


def majority(train: Sequence[Example], items: Sequence[Example]) -> list[Outcome]:
    """Give every item the answer that training rows have most often."""
    answer = Counter(example.reference for example in train).most_common(1)[0][0]
    return [Outcome(index, answer, answer) for index in range(len(items))]


def nearest(train: Sequence[Example], items: Sequence[Example]) -> list[Outcome]:
    """Give every item the answer of the training row whose question shares the rarest words."""
    rows = [Counter(words(example)) for example in train]
    spread = Counter(word for row in rows for word in row)
    rarity = {word: math.log((1 + len(rows)) / (1 + n)) + 1 for word, n in spread.items()}
    found: dict[str, tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))
    for place, row in enumerate(rows):
        weights = {word: n * rarity[word] for word, n in row.items()}
        length = math.hypot(*weights.values()) or 1.0
        for word, weight in weights.items():
            places, values = found[word]
            places.append(place)
            values.append(weight / length)
    index = {word: (np.array(places), np.array(values)) for word, (places, values) in found.items()}
    outcomes = []
    for number, example in enumerate(items):
        close_R = np.zeros(len(rows))
        for word, n in Counter(words(example)).items():
            if word in index:
                rows_with, weights_there = index[word]
                close_R[rows_with] += n * rarity[word] * weights_there
        answer = train[int(close_R.argmax())].reference
        outcomes.append(Outcome(number, answer, answer))
    return outcomes


def words(example: Example) -> list[str]:
    """Take the words of an example's question, or of its last user message."""
    question = example.meta.get("question") or example.prompt[-1]["content"]
    return WORD.findall(str(question).lower())
