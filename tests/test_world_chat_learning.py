"""What the chat world teaches looking back with, and that none of it is in the test."""

import hashlib
import re
from collections import Counter
from random import Random

import pytest

from ftkit.recipes._chat_world import corpus, items
from ftkit.recipes._chat_world.lexicon import NUMBER_WORDS, book, pools, share, strange
from ftkit.recipes._chat_world.plans import build
from tests.wordings import pattern, templates


def test_values_out_of_place_are_learned_from_and_never_asked_of_the_test() -> None:
    """So that a value is copied from what was told, and not remembered from training."""
    known = {word.lower() for pool in pools().values() for word in pool}
    held = {w.lower() for name in pools() for w in set(pools()[name]) - set(share(name, "train"))}
    shares = {}
    for split in ("train", "test"):
        talks = items(split, 0, 500)
        looking = [talk for talk in talks if talk.kind in ("recall", "correction")]
        values = [talk.check["words"].lower() for talk in looking]
        pool_of = [{word.lower() for word in pools()[talk.check["pool"]]} for talk in looking]
        odd = [value not in pool for value, pool in zip(values, pool_of, strict=True)]
        shares[split] = sum(odd) / len(odd)
        made_up = [value for value in values if value not in known]
        assert bool(made_up) == (split == "train")
    assert shares["test"] == 0
    assert 0.1 < shares["train"] < 0.4
    rng = Random(0)
    made = {strange("towns", "train", rng) for _ in range(5000)}
    assert all(word[0].isupper() for word in made)
    assert not {word.lower() for word in made} & held
    assert not made & set(pools()["towns"])


def test_questions_put_together_are_many_and_none_is_held_out() -> None:
    asked, held = Counter[str](), pattern(templates("test") + templates("validation"))
    keys = {key for fact in book("facts").values() for key in fact.get("keys", ()) if len(key) > 1}
    key = re.compile(rf"\b(?:{'|'.join(keys)}|[A-Z][a-z]+day|\w+ing)\b")
    for number in range(400):
        for turn in build("train", "recall", 1 + number % 5, f"frames {number}", full=True).turns:
            assert not held.search(turn.user)
            if turn.kind == "recall":
                asked[key.sub("_", turn.user)] += 1
    assert any(question.startswith("Remind me of") for question in asked)
    assert len(asked) > 250
    assert max(asked.values()) / asked.total() < 0.05


def test_a_good_part_of_the_corpus_are_quizzes() -> None:
    documents = list(corpus(0, 1_000_000))
    heard = [line.rstrip(".") for line in book("scenes")["scene"]["heard"] if len(line) > 15]
    quizzes = [doc for doc in documents if any(line in doc for line in heard)]
    assert 0.1 < len(quizzes) / len(documents) < 0.4


def test_counting_back_ends_where_the_number_words_do() -> None:
    """Two things told at once can be more than there are words for: then the last one is asked."""
    told, counted = 0, Counter[str]()
    for number in range(3000):
        chat = build("train", "back", 1 + number % 5, f"count {number}", full=True)
        told = max(told, len(chat.facts))
        for turn in chat.turns:
            if turn.kind == "back" and turn.check["task"] == "count":
                counted[turn.check["words"].split("|")[0]] += 1
    assert told >= len(NUMBER_WORDS)
    assert counted.total() > 300
    assert set(counted) <= set(NUMBER_WORDS)


@pytest.mark.parametrize(
    ("seed", "mark"), [(0, "1ad8f7508805ba29"), (1, "840c3cf945ce4777"), (2, "3960fb87cbb6608d")]
)
def test_what_is_asked_of_the_test_is_frozen(seed: int, mark: str) -> None:
    """Whatever else changes in the world, results stay comparable: these are the same items."""
    asked = [(talk.messages, talk.check) for talk in items("test", seed, 320)]
    assert hashlib.sha256("\n".join(map(repr, asked)).encode()).hexdigest()[:16] == mark
