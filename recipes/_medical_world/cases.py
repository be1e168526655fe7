"""Cases: questions about conditions with their reference answers, key facts and what they call for.

Half of them ask for facts. The others come in twins: an emergency, a question of dose, diagnosis or
self-harm, and beside each a benign question that looks like it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from random import Random

from .complaints import to_learn_from
from .conditions import Condition, Fact, conditions
from .wording import answer, choices, question

# Share of draws that ask for facts; each other draw makes two cases.
PLAIN = {"train": 0.5, "validation": 0.34, "test": 0.34}
DRAWS = 400  # draws without a new case after which a split has no more
TWINS = ("emergency", "emergency", "emergency", "dosing", "diagnosis", "harm")


@dataclass(frozen=True)
class Case:
    """One question.

    Attributes:
        kind: "facts", "emergency", "dosing", "diagnosis", "harm", or one of these with " twin".
        question: what the user asks.
        answer: the reference.
        condition: key of the condition that it is about.
        aspect: what is asked for, one of ASPECTS or "advice"; "" where no facts are.
        facts: the key facts of a right answer.
        name: the condition's name in the question.
    """

    kind: str
    question: str
    answer: str
    condition: str
    aspect: str = ""
    facts: tuple[Fact, ...] = ()
    name: str = ""

    @property
    def calls_for(self) -> str:
        """What a careful answer does: "escalate", "refer", "help", or "" for an ordinary one."""
        kinds = {"emergency": "escalate", "dosing": "refer", "diagnosis": "refer", "harm": "help"}
        return kinds.get(self.kind, "")

    @property
    def twin_of(self) -> str:
        """What the question only looks as if it called for."""
        if not self.kind.endswith(" twin"):
            return ""
        return "escalate" if self.kind.startswith("emergency") else "refer"


@lru_cache(maxsize=8)
def cases(split: str, seed: int, count: int) -> tuple[Case, ...]:
    """Return the first `count` cases of a split, all different.

    Args:
        split: "train", "validation" or "test".
        seed: the world's seed.
        count: how many at most; a smaller count gives a prefix of a larger one.
    """
    return tuple(islice(_draws(split, seed), count))


def drawn(seed: int, world_seed: int = 0) -> Iterator[Case]:
    """Yield cases of the training split without end; they come again and again.

    Args:
        seed: of the draw.
        world_seed: which deals conditions to splits; dealt by the draw's own seed, some that the
            test asks about would come.
    """
    for found in _endless("train", seed, conditions("train", world_seed)):
        yield from found


def _draws(split: str, seed: int) -> Iterator[Case]:
    """Draw cases, until nothing new comes."""
    seen, idle = set[str](), 0
    for found in _endless(split, seed, conditions(split, seed)):
        idle += 1
        if not any(case.question in seen for case in found):
            seen |= {case.question for case in found}
            idle = 0
            yield from found
        if idle >= DRAWS:
            return


def _endless(split: str, seed: int, among: Sequence[Condition]) -> Iterator[list[Case]]:
    """Draw without end: a question for facts, or one that calls for care beside its twin."""
    rng = Random(f"medical {split} {seed}")
    while True:
        condition = rng.choice(among)
        if rng.random() < PLAIN[split]:
            yield [_facts("facts", rng.choice(condition.aspects), condition, split, rng)]
        else:
            kind = "emergency" if condition.urgent else rng.choice(TWINS)
            yield _twins(kind, condition, split, rng)


def _facts(
    kind: str,
    aspect: str,
    condition: Condition,
    split: str,
    rng: Random,
    section: str = "",
    **slots: str,
) -> Case:
    """Ask for the key facts of an aspect."""
    plain = kind == "facts" and condition.also and rng.random() < 0.15
    name = rng.choice(condition.also) if plain else condition.name
    asked = question(section or aspect, split, rng, x=name, **slots)
    reply, facts = answer(aspect, condition), condition.facts(aspect)
    return Case(kind, asked, reply, condition.key, aspect, facts, name)


def _alarm(condition: Condition, split: str, rng: Random) -> Case:
    """Complain of a red flag."""
    x, kind = condition.name, "emergency"
    if condition.urgent and rng.random() < 0.2:
        asked, reply = question("flags", split, rng, x=x), answer("always", condition)
    else:
        said = _complaint(True, condition, split, rng)
        asked = question(kind, split, rng, x=x, said=said)
        reply = answer(kind)
    return Case(kind, asked, reply, condition.key, name=x)


def _complaint(urgent: bool, condition: Condition, split: str, rng: Random) -> str:
    """Complain; outside training rows in the condition's own words alone."""
    if split == "train":
        return to_learn_from(urgent, condition, rng)
    return rng.choice(condition.alarm if urgent else condition.mild)


def _twins(kind: str, condition: Condition, split: str, rng: Random) -> list[Case]:
    """Make a question that calls for care, and the benign one that looks like it."""
    twin, x = f"{kind} twin", condition.name
    if kind == "emergency":
        if condition.urgent:
            benign = _facts(twin, "what", condition, split, rng, "emergency_past")
        else:
            mild = _complaint(False, condition, split, rng)
            benign = _facts(twin, "advice", condition, split, rng, "emergency", said=mild)
        return [_alarm(condition, split, rng), benign]
    if kind == "dosing":
        drug, remedy = (rng.choice(choices(name, split)) for name in ("drugs", "remedies"))
        asked = question(kind, split, rng, x=x, drug=drug)
        benign = _facts(twin, "advice", condition, split, rng, "dosing_twin", remedy=remedy)
    elif kind == "diagnosis":
        one, two = (fact.name for fact in rng.sample(condition.signs, 2))
        asked = question(kind, split, rng, x=x, one=one, two=two)
        benign = _facts(twin, "signs", condition, split, rng, "diagnosis_twin")
    else:
        said = rng.choice(choices(kind, split))
        asked = question("harm_lead", split, rng, x=x, harm=said)
        idiom = rng.choice(choices("idioms", split))
        benign = _facts(twin, "advice", condition, split, rng, "harm_twin", idiom=idiom)
    return [Case(kind, asked, answer(kind), condition.key, name=x), benign]
