"""The pretraining corpus: passages on every condition, notes of a helpline, triage sheets.

All conditions are told of, those of test rows too: a base that has read nothing of a condition can
say nothing about it. Complaints of test conditions occur nowhere; their red flags do.
"""

import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random

from .complaints import to_learn_from
from .conditions import ASPECTS, Condition, Fact, conditions, everything
from .wording import agree, answer, capital, choices, listed

NOTES, SHEETS = 0.25, 0.2  # shares of documents that are notes of the helpline and triage sheets
USUAL = 0.6  # share of facts that are told in their usual wording
OPENINGS = {
    "what": "In short, {x} is",
    "signs": "Signs of {x} are",
    "care": "For {x},",
    "flags": "Red flags of {x} are",
    "who": "With {x}, see",
    "care_urgent": "With {x}, call the emergency number now. Until help comes,",
}


@cache
def lines() -> dict[str, tuple[str, ...]]:
    """Return the sections of passages.toml."""
    text = (Path(__file__).parent / "passages.toml").read_text(encoding="utf-8")
    return {section: tuple(found["lines"]) for section, found in tomllib.loads(text).items()}


def corpus(seed: int, characters: int) -> Iterator[str]:
    """Yield documents until they hold this many characters; every condition comes equally often.

    Args:
        seed: the world's seed.
        characters: the total length to reach.
    """
    rng, made = Random(f"medical corpus {seed}"), 0
    deck: list[Condition] = []
    while made < characters:
        sort = rng.random()
        if sort < NOTES:
            text = "\n".join(_note(rng, seed) for _ in range(rng.randint(2, 4)))
        elif sort < NOTES + SHEETS:
            text = _sheet(rng, seed)
        else:
            if not deck:
                deck = list(everything())
                rng.shuffle(deck)
            text = article(deck.pop(), rng)
        made += len(text)
        yield text


def article(condition: Condition, rng: Random) -> str:
    """Tell of one condition: what it is and some other aspects, in any order and wording."""
    names = [condition.name, condition.name, condition.name, *condition.also]
    parts = []
    told = ["what", *rng.sample(ASPECTS[1:], rng.randint(2, len(ASPECTS) - 1))]
    for aspect in rng.sample(told, len(told)):
        parts.append(_sentence(aspect, condition, rng.choice(names), rng))
        if aspect == "what" and condition.also and rng.random() < 0.5:
            also = {"x": condition.name, "also": rng.choice(condition.also)}
            parts.append(_say("also", rng, **also))
        if aspect == "signs" and rng.random() < 0.5:
            one, two = rng.sample(condition.signs, 2)
            said = {"x": condition.name, "one": _word(one, rng), "two": _word(two, rng)}
            parts.append(_say("one", rng, **said))
    if rng.random() < 0.15:
        parts.append(_say("source", rng, source=condition.source))
    title = _say("title", rng, x=condition.name)
    return f"{title}\n\n{' '.join(parts)}" if rng.random() < 0.4 else " ".join(parts)


def opening(aspect: str, name: str) -> str:
    """Begin a sentence that the corpus would end with the key facts of an aspect."""
    return agree(OPENINGS[aspect].format(x=name, X=capital(name)), name)


def helpline(question: str) -> str:
    """Begin a note of the helpline, up to where the nurse's answer begins."""
    note = lines()["note"][0].partition("{answer}")[0]
    return note.format(question=question)


def _sentence(aspect: str, condition: Condition, name: str, rng: Random) -> str:
    """State all key facts of an aspect."""
    facts = condition.facts(aspect)
    if aspect == "who":
        said = f"{condition.who.name} {condition.when.name}"
    elif aspect == "what":
        said = rng.choice(condition.what.wordings)
    else:
        said = _some(facts, rng)
    urgent = condition.urgent and aspect in ("care", "flags")
    return _say(f"{aspect}_urgent" if urgent else aspect, rng, x=name, facts=said)


def _some(facts: Sequence[Fact], rng: Random) -> str:
    """List facts, often in another order and in another wording."""
    order = rng.sample(facts, len(facts)) if rng.random() < 0.5 else facts
    return listed([_word(fact, rng) for fact in order])


def _word(fact: Fact, rng: Random) -> str:
    return fact.name if rng.random() < USUAL else rng.choice(fact.wordings)


def _call(rng: Random, seed: int) -> tuple[Condition, bool, str]:
    """Draw a caller's condition, one of the training rows', whether it is urgent, and the words."""
    condition = rng.choice(conditions("train", seed))
    urgent = condition.urgent or rng.random() < 0.5
    return condition, urgent, to_learn_from(urgent, condition, rng)


def _note(rng: Random, seed: int) -> str:
    """Write what a caller said and what the nurse made of it."""
    condition, urgent, said = _call(rng, seed)
    slots = {"x": condition.name, "said": said}
    slots["facts"] = listed([fact.name for fact in condition.care])
    if not condition.urgent and rng.random() < 0.25:
        one, two = (fact.name for fact in rng.sample(condition.signs, 2))
        words = {name: rng.choice(choices(f"{name}s", "train")) for name in ("drug", "idiom")}
        refusals = {name: answer(name) for name in ("dosing", "diagnosis", "harm")}
        return _say("refused", rng, one=one, two=two, **slots, **words, **refusals)
    if rng.random() < 0.3:
        return _say("plain" if urgent else "calm", rng, **slots)
    question = _say("question", rng, **slots)
    reply = answer("emergency" if urgent else "advice", condition)
    return rng.choice(lines()["note"]).format(question=question, answer=reply)


def _sheet(rng: Random, seed: int) -> str:
    """Write complaints with what the nurse made of each, and nothing else."""
    rows, form = [_say("sheets", rng)], rng.choice(lines()["sheet"])
    for _ in range(rng.randint(6, 12)):
        condition, urgent, said = _call(rng, seed)
        verdict = "an emergency" if urgent else "no emergency"
        rows.append(form.format(said=said, Said=capital(said), verdict=verdict, x=condition.name))
    return "\n".join(rows)


def _say(section: str, rng: Random, **slots: str) -> str:
    """Fill a line of a section; a slot with a capital begins a sentence."""
    large = {name.capitalize(): capital(text) for name, text in slots.items()}
    text = rng.choice(lines()[section]).format(**slots, **large)
    for name in ("x", "also"):
        text = agree(text, slots[name]) if name in slots else text
    return text
