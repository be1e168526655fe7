"""Made-up names: words of the whole lexicon in new places, so that only copying gets them right."""

from collections.abc import Container
from functools import cache
from random import Random

from sqlglot.dialects.sqlite import SQLite

from .domains import SPLITS, Entity, entities, identifier, plural

KEYWORDS = {word for phrase in SQLite.Tokenizer.KEYWORDS for word in phrase.split()} | {"CHECK"}


@cache
def bank() -> tuple[str, ...]:
    """Return the words that may stand in a name; those of no notebook come often, to be learned."""
    return tuple(
        word for split in SPLITS for word in _words(split) * (1 if split == "train" else 3)
    )


def _words(split: str) -> tuple[str, ...]:
    """Return the words of a split that the splits before it do not have."""
    before = [
        e for s in SPLITS if list(SPLITS).index(s) < list(SPLITS).index(split) for e in entities(s)
    ]
    known = {word for entity in before for word in _spelt(entity)}
    found = dict.fromkeys(word for entity in entities(split) for word in _spelt(entity))
    return tuple(word for word in found if word not in known)


def _spelt(entity: Entity) -> list[str]:
    phrases = [entity.one, entity.many]
    phrases += [phrase for column in entity.columns for phrase in column.phrases]
    return [word for phrase in phrases for word in phrase.split() if len(word) > 2]


def compound(rng: Random) -> dict[str, str]:
    """Return a phrase of one to three words put together anew and its name, singular and plural."""
    phrase = " ".join(rng.sample(bank(), rng.choice((1, 1, 1, 2, 2, 3))))
    many = plural(phrase)
    return {
        "phrase": phrase,
        "phrases": many,
        "name": identifier(phrase),
        "names": identifier(many),
    }


def invented(phrase: str, taken: Container[str], kept: frozenset[str], rng: Random) -> str:
    """Give a thing another name: a word of the lexicon, at times before the phrase's last word.

    Args:
        phrase: what it is called otherwise.
        taken: phrases that other things of the schema have already.
        kept: names that are kept for held-out schemas, in singular or plural.
        rng: the source of all choices.
    """
    while True:
        word = rng.choice(bank())
        made = word if rng.random() < 0.75 else f"{word} {phrase.split()[-1]}"
        forms = {identifier(made), identifier(plural(made))}
        plain = not {form.upper() for form in forms} & KEYWORDS
        if plain and not forms & kept and made not in taken:
            return made
