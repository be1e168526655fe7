"""What needs no model: the answer of the nearest training question, and the commonest answer.

A table without them cannot tell what was learned from what the questions give away. Nearness is
the cosine of word counts weighted by rarity (Salton & Buckley 1988).
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from ..recipes._recipe import Example, Recipe
from ._answers import Outcome

WORD = re.compile(r"\w+")


def majority(recipe: Recipe, train: Sequence[Example], items: Sequence[Example]) -> list[Outcome]:
    """Give every item the answer that training rows have most often.

    Args:
        recipe: takes the answer out of it, as out of a model's reply.
        train: training rows, at least one.
        items: what is asked.
    """
    reply = Counter(example.reference for example in train).most_common(1)[0][0]
    return [
        Outcome(index, reply, recipe.answer(reply, item), stopped=None)
        for index, item in enumerate(items)
    ]


def nearest(recipe: Recipe, train: Sequence[Example], items: Sequence[Example]) -> list[Outcome]:
    """Give every item the answer of the training row whose question shares the rarest words."""
    rows = [Counter(words(example)) for example in train]
    spread = Counter(word for row in rows for word in row)
    rarity = {word: math.log((1 + len(rows)) / (1 + n)) + 1 for word, n in spread.items()}
    postings: dict[str, tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))
    for place, row in enumerate(rows):
        weights = {word: n * rarity[word] for word, n in row.items()}
        length = math.hypot(*weights.values()) or 1.0
        for word, weight in weights.items():
            postings[word][0].append(place)
            postings[word][1].append(weight / length)
    index = {word: (np.array(where), np.array(weigh)) for word, (where, weigh) in postings.items()}
    outcomes = []
    for number, item in enumerate(items):
        close_R = np.zeros(len(rows))
        for word, n in Counter(words(item)).items():
            if word in index:
                where, weigh = index[word]
                close_R[where] += n * rarity[word] * weigh
        reply = train[int(close_R.argmax())].reference
        outcomes.append(Outcome(number, reply, recipe.answer(reply, item), stopped=None))
    return outcomes


def words(example: Example) -> list[str]:
    """Take the words of an example's question, or of its last user message."""
    question = example.meta.get("question") or example.prompt[-1]["content"]
    return WORD.findall(str(question).lower())
