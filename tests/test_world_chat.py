"""The embedded chat world: what is told is asked back, nothing leaks, and checks can fail."""

import re
from collections import Counter
from typing import Any

import pytest

from ftkit.eval._checks import holds as passes
from ftkit.recipes._chat_world import Talk, corpus, items, prose
from ftkit.recipes._chat_world.lexicon import COMMON, PARTS, SPLITS, book, pools, share
from ftkit.recipes._chat_world.plans import CHARACTERS, TURNS, build
from ftkit.recipes.chat import whole_check
from tests.wordings import BOOKS, pattern, templates

# Of a hundred test talks.
LOOKING = {"recall": 20, "correction": 15, "back": 10}
OTHERS = {"unknown": 15, "instruction": 25, "greeting": 2, "leaving": 2, "small": 1, "open": 10}
WORD = re.compile(r"[\w']+")


@pytest.fixture(scope="module")
def train() -> list[Talk]:
    return list(items("train", 0, 1000))


@pytest.fixture(scope="module")
def test() -> list[Talk]:
    return list(items("test", 0, 500))


@pytest.fixture(scope="module")
def documents() -> list[str]:
    return list(corpus(0, 1_000_000))


def holds(check: dict[str, str], said: str) -> bool:
    return not check or passes(whole_check(check), said)


def text(talk: Talk) -> str:
    return "\n".join(m["content"] for m in talk.messages)


def reply(talk: Talk) -> str:
    return talk.messages[-1]["content"]


def users(talk: Talk) -> list[str]:
    return [message["content"] for message in talk.messages[::2]]


def all_sentences(node: Any) -> list[str]:
    if isinstance(node, str):
        return [node]
    parts = node.values() if isinstance(node, dict) else node
    return [line for part in parts for line in all_sentences(part)]


def wrong(talk: Talk) -> list[str]:
    """Return replies that look like an answer and are none."""
    check, said = talk.check, reply(talk)
    word = check.get("words", "").split("|")[0]
    if check["rule"] == "contains" and "pool" in check:
        rival = next(w for w in pools()[check["pool"]] if w != word)
        return [said.replace(word, rival), f"{said} Or {rival}.", said.replace(word, "it")]
    if check["rule"] == "contains":
        rivals = check.get("none", "Nobody").split("|")
        both = [f"{said} {rivals[0]}"] if "none" in check else []
        return [*(said.replace(word, rival) for rival in rivals), *both]
    if check["rule"] == "admits":
        value = pools()[check["pool"]][0]
        return [f"It is {value}.", f"{said} It is {value}.", "Yes, of course."]
    if check["rule"] == "exact":
        bare = said.rstrip(".")
        more = [bare.swapcase()] * ("case" in check) + [bare.replace(",", "")] * ("marks" in check)
        return [f"{bare} {bare}", bare.rsplit(" ", 1)[0] if " " in bare else "nothing", *more]
    if check["rule"] == "ends":
        return [f"{said} Yes.", check["words"]]
    swaps = [re.sub(rf"(?i)\b{word}\b", other, said) for other in check.get("none", "").split("|")]
    return [*swaps, "I see."] if "none" in check else ["I see."]


def test_the_same_seed_gives_the_same_world_and_fewer_talks_are_a_prefix() -> None:
    for split in SPLITS:
        items.cache_clear()
        many = items(split, 3, 80)
        items.cache_clear()
        assert items(split, 3, 30) == many[:30]
        assert items(split, 4, 30) != many[:30]
    assert list(corpus(3, 50_000)) == list(corpus(3, 50_000)) != list(corpus(4, 50_000))
    assert list(corpus(3, 20_000)) == list(corpus(3, 50_000))[: len(list(corpus(3, 20_000)))]


def test_roles_alternate_and_a_talk_fits_the_context(train: list[Talk], test: list[Talk]) -> None:
    lengths = Counter(len(talk.messages) // 2 for talk in train)
    assert set(lengths) == set(range(2, TURNS + 1))
    for talk in [*train, *test]:
        assert 2 <= len(talk.messages) <= 2 * TURNS
        roles = [m["role"] for m in talk.messages]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert sum(len(m["content"]) for m in talk.messages) <= CHARACTERS
        assert text(talk).isascii()
        assert not re.search(r'["{}<>]|  |[.,?]\.', text(talk)), text(talk)
        for message in talk.messages[1::2]:
            assert 1 <= len(WORD.findall(message["content"])) <= 15, message


def test_kinds_and_distances_are_as_promised(test: list[Talk]) -> None:
    kinds = LOOKING | OTHERS
    assert Counter(talk.kind for talk in test) == {kind: 5 * n for kind, n in kinds.items()}
    looking = Counter((talk.kind, talk.distance) for talk in test if talk.kind in LOOKING)
    assert looking == {(k, d): LOOKING[k] for k in LOOKING for d in (1, 2, 3, 4, 5)}
    assert all(talk.distance is None for talk in test if talk.kind not in LOOKING)
    tasks = Counter(talk.check["task"] for talk in test if talk.kind == "instruction")
    assert len(tasks) == 12
    assert min(tasks.values()) >= 2


def test_the_value_was_last_told_at_the_distance(test: list[Talk]) -> None:
    seen = 0
    for talk in test:
        if talk.kind in LOOKING and talk.check["rule"] == "contains":
            value = talk.check["words"]
            told = [i for i, said in enumerate(users(talk)) if value in WORD.findall(said)]
            assert len(users(talk)) - 1 - told[-1] == talk.distance, text(talk)
            seen += 1
    assert seen > 150


def test_a_corrected_value_was_told_and_is_no_answer(test: list[Talk]) -> None:
    corrected = [talk for talk in test if talk.kind == "correction"]
    for talk in corrected:
        value, pool = talk.check["words"], talk.check["pool"]
        said = users(talk)[len(users(talk)) - 1 - (talk.distance or 0)]
        old = [w for w in WORD.findall(said) if w in pools()[pool] and w != value]
        assert len(old) == 1, said
        assert not holds(talk.check, reply(talk).replace(value, old[0]))


def test_a_value_taken_back_is_never_given_again() -> None:
    corrected = 0
    for number in range(250):
        turns = build("train", "correction", 1 + number % 5, f"back {number}", full=True).turns
        for place, turn in enumerate(turns):
            later = " ".join(after.reply for after in turns[place + 1 :]).lower()
            said = [set(WORD.findall(turn.user)) & set(pool) for pool in pools().values()]
            fixed = turn.reply.startswith(("No problem, ", "Thank you, I changed", "I see, "))
            for both in [pair for pair in said if len(pair) == 2 and fixed][:1]:
                new = next(word for word in WORD.findall(turn.reply) if word in both)
                (old,) = both - {new}
                assert old.lower() not in WORD.findall(later), turns
                corrected += 1
    assert corrected >= 100


def test_references_pass_their_checks_and_wrong_replies_fail(
    train: list[Talk], test: list[Talk]
) -> None:
    rules = set()
    for talk in [*train, *test]:
        assert holds(talk.check, reply(talk)), (talk.check, reply(talk))
        if not talk.check:
            assert talk.kind in ("open", "small")
            continue
        rules.add(talk.check["rule"])
        for other in ["", *wrong(talk)]:
            assert not holds(talk.check, other), (talk.check, other)
    assert rules == {"contains", "any", "exact", "admits", "ends"}


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        ({"rule": "contains", "words": "Tom"}, "tom's dog", "tomorrow"),
        ({"rule": "any", "words": "three|3", "none": "two"}, "It is 3.", "two or three"),
        ({"rule": "exact", "text": "a b"}, "A, b.", "b a"),
        ({"rule": "exact", "text": "a, b", "marks": "yes"}, "A, b.", "a b"),
        ({"rule": "exact", "text": "SHIP", "case": "yes"}, "SHIP.", "Ship"),
        ({"rule": "admits", "pool": "pets"}, "I don't know.", "You have not told me, Rex."),
        ({"rule": "ends", "words": "lamp"}, "Here is a LAMP!", "a lamp"),
    ],
)
def test_rules(check: dict[str, str], good: str, bad: str) -> None:
    assert holds(check, good)
    assert not holds(check, bad)
    assert holds({}, bad)


def test_unknown_things_were_not_told_though_a_sibling_often_was(test: list[Talk]) -> None:
    unknown = [talk for talk in test if talk.kind == "unknown"]
    hard = 0
    for talk in unknown:
        earlier = " ".join(users(talk)[:-1])
        hard += bool(set(WORD.findall(earlier)) & set(pools()[talk.check["pool"]]))
        texts = book("facts")[talk.check["task"]]
        asked = [w for w in WORD.findall(users(talk)[-1]) if w in texts.get("keys", [])]
        told = [t.format(k=key, v=r"\w+") for key in asked for t in texts["tell"]["both"]]
        assert not any(re.search(line, earlier) for line in told), text(talk)
    assert 0.3 < hard / len(unknown) < 0.95


def test_pools_are_disjoint_and_no_sentence_holds_a_word_of_theirs() -> None:
    whole = {name: set(words) for name, words in pools().items() if name not in PARTS}
    words = Counter(word.lower() for pool in whole.values() for word in pool)
    assert [word for word, count in words.items() if count > 1] == []
    for part, pool in PARTS.items():
        assert set(pools()[part]) <= whole[pool]
    said = {w.lower() for n in BOOKS for t in all_sentences(book(n)) for w in WORD.findall(t)}
    assert said & set(words) - whole.keys() == set()
    for name in set(whole) - set(COMMON):
        shares = [set(share(name, split)) for split in SPLITS]
        assert sum(map(len, shares)) == len(set.union(*shares)) == len(whole[name])
        assert min(map(len, shares)) >= 4


@pytest.mark.parametrize("held", ["validation", "test"])
def test_held_out_values_are_in_the_corpus_and_in_no_training_talk(
    train: list[Talk], documents: list[str], held: str
) -> None:
    trained = {word.lower() for talk in train for word in WORD.findall(text(talk))}
    read = {word for document in documents for word in WORD.findall(document)}
    for name in set(pools()) - set(COMMON):
        values = set(share(name, held))
        assert not {value.lower() for value in values} & trained, name
        assert values <= read, name
        assert not values & set(share(name, "train"))


def test_splits_share_no_talk(train: list[Talk], test: list[Talk]) -> None:
    validation = items("validation", 0, 500)
    groups = [{text(talk) for talk in talks} for talks in (train, validation, test)]
    assert len(set.union(*groups)) == sum(map(len, groups))
    begun = {
        "\n".join(m["content"] for m in talk.messages[: 2 * n])
        for talk in train
        for n in range(1, TURNS + 1)
    }
    graded = {text(talk) for talk in test}
    assert not graded & begun
    crowded = [text(talk) for talk in items("test", 3, 500)]
    assert len(set(crowded)) == 500
    units = [talk.unit for talk in [*train, *validation, *test]]
    assert len(set(units)) == len(units)


def test_held_out_wordings_are_asked_in_their_split_only(
    train: list[Talk], test: list[Talk], documents: list[str]
) -> None:
    held = pattern(templates("test"))
    asked = [talk for talk in test if held.search(users(talk)[-1])]
    assert 0.3 < len(asked) / len(test) < 0.75
    for share_ in ("test", "validation"):
        held = pattern(templates(share_))
        for told in (*map(text, train), *documents[:800]):
            assert not (found := held.search(told)), found
    # About a third of the wordings of questions is held out.
    count = {s: len(templates(s)) for s in ("both", "train", "validation", "test", "corpus")}
    assert 0.2 < (count["test"] + count["validation"]) / sum(count.values()) < 0.4


def test_the_corpus_is_prose_and_varied(documents: list[str]) -> None:
    chat = re.compile(r"^\s*(user|assistant|human|bot)\b|<\||\b(User|Assistant):", re.M | re.I)
    assert not [d for d in documents if chat.search(d)]
    assert len(set(documents)) > 0.99 * len(documents)
    assert all(d.isascii() and len(d) < 2500 for d in documents)
    assert sum('"' in d for d in documents) > 0.5 * len(documents)
    assert sum('"' not in d for d in documents) > 0.3 * len(documents)
    assert 1_000_000 <= sum(map(len, documents)) < 1_002_500


def test_prose_breaks_off_inside_the_quotation_mark(test: list[Talk]) -> None:
    for talk in test:
        prompt, answer, stop = prose(talk)
        assert stop not in answer == reply(talk)
        assert prompt.endswith(stop)
        assert prompt.count(stop) % 2 == 1
        assert prompt.count("\n") == len(talk.messages) - 1
        assert users(talk)[-1].rstrip(".") in prompt.splitlines()[-2]
        assert prose(talk) == (prompt, answer, stop)


def test_open_questions_have_many_answers_in_training(train: list[Talk]) -> None:
    said: dict[str, list[str]] = {}
    asked = {line for part in book("small")["open"].values() for line in part["both"]}
    for talk in train:
        for ask, answer in zip(talk.messages[::2], talk.messages[1::2], strict=True):
            if ask["content"] in asked:
                said.setdefault(ask["content"], []).append(answer["content"])
    assert said.keys() == asked
    assert all(len(set(found)) >= min(8, 0.7 * len(found)) for found in said.values())
    assert len({a for answers in said.values() for a in answers}) > 100
