"""Small instructions whose answer a program can check."""

from collections.abc import Callable
from dataclasses import dataclass

from .lexicon import NUMBER_WORDS, book, share
from .wording import Voice, sentence

WEIGHTS = {
    "say": 4,
    "repeat": 4,
    "inside": 4,
    "pick": 3,
    "join": 3,
    "reversed": 3,
    "count": 3,
    "longer": 3,
    "ends": 3,
    "sorted": 2,
    "capitals": 1,
}
# Answers of bare words begin with a lead: behind a space a word is the token that was read.
LED = ("say", "repeat", "pick", "join", "reversed", "count", "longer", "sorted", "capitals")
ORDINALS = {"first": 0, "second": 1, "last": -1}
_HIGHEST = 19  # counts stay below the lucky numbers


@dataclass(frozen=True)
class Task:
    """One instruction carried out.

    Attributes:
        name: its section in tasks.toml.
        slots: what fills the wording.
        bare: the right answer.
        reply: the same in the assistant's words.
        check: how to grade another one.
    """

    name: str
    slots: dict[str, str]
    bare: str
    reply: str
    check: dict[str, str]

    def say(self, voice: Voice) -> str:
        """Return the instruction in the split's words."""
        shares = book("tasks")[self.name]
        return sentence(str(voice.choose(shares)).format_map(self.slots))

    def narrate(self, voice: Voice, who: str) -> str:
        """Return the instruction as a sentence about someone who carried it out."""
        template: str = voice.rng.choice(book("tasks")[self.name]["narrated"])
        return sentence(template.format_map({**self.slots, "who": who, "r": self.bare}))


def draw(voice: Voice) -> Task:
    """Return a task."""
    name = voice.rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    slots, bare, check = _MAKERS[name](voice)
    reply = bare
    if name in LED:
        said = bare if name == "capitals" else bare[0].lower() + bare[1:]
        reply = f"{voice.rng.choice(book('tasks')['leads']['lines'])} {said}"
    return Task(name, slots, bare, reply, {**check, "task": name})


_Made = tuple[dict[str, str], str, dict[str, str]]


def _exact(text: str, **more: str) -> dict[str, str]:
    return {"rule": "exact", "text": text, **more}


def _say(voice: Voice) -> _Made:
    (word,), times = voice.words(1), voice.rng.randint(2, 4)
    reply = " ".join([word] * times)
    return {"a": word, "n": NUMBER_WORDS[times]}, reply, _exact(reply)


def _row(voice: Voice) -> list[str]:
    return voice.words(voice.rng.choice((2, 3, 3)))


def _sorted(voice: Voice) -> _Made:
    words = _row(voice)
    reply = ", ".join(sorted(words))
    return {"l": ", ".join(words)}, reply, _exact(reply)


def _reversed(voice: Voice) -> _Made:
    words = _row(voice)
    reply = ", ".join(words[::-1])
    return {"l": ", ".join(words)}, reply, _exact(reply)


def _capitals(voice: Voice) -> _Made:
    word = voice.rng.choice(share("loud", voice.split))
    return {"a": word}, word.upper(), _exact(word.upper(), case="yes")


def _repeat(voice: Voice) -> _Made:
    texts = book("tasks")["sentence"]
    a, b = voice.words(2)
    d, e = voice.rng.sample(texts["d"], 2)
    slots = {"a": a, "b": b, "d": d, "e": e, "p": voice.rng.choice(texts["p"])}
    text = sentence(voice.rng.choice(texts["lines"]).format_map(slots))
    return {"s": text[0].lower() + text[1:]}, f"{text}.", _exact(text)


def _count(voice: Voice) -> _Made:
    pairs = [(i, i + n) for i in range(1, _HIGHEST - 2) for n in (2, 3, 4, 5) if i + n <= _HIGHEST]
    # Numbers cannot be held out, pairs of them can.
    mine = {"validation": (0,), "test": (1, 2), "train": (3, 4, 5, 6, 7, 8, 9)}.get(voice.split)
    i, j = voice.rng.choice([p for p in pairs if mine is None or (p[0] + 2 * p[1]) % 10 in mine])
    reply = ", ".join(str(n) for n in range(i, j + 1))
    return {"i": str(i), "j": str(j)}, reply, _exact(reply)


def _longer(voice: Voice) -> _Made:
    words = share("words", voice.split)
    short = voice.rng.choice([w for w in words if len(w) <= 5])
    long = voice.rng.choice([w for w in words if len(w) >= len(short) + 3])
    a, b = voice.rng.sample((short, long), 2)
    return {"a": a, "b": b}, long, {"rule": "contains", "words": long, "none": short}


def _inside(voice: Voice) -> _Made:
    words, other = voice.words(3), voice.rng.random() < 0.5
    word = words.pop() if other else voice.rng.choice(words)
    texts, said = book("tasks")["inside"], ("no", "yes") if other else ("yes", "no")
    reply = voice.rng.choice(texts[said[0]]).format_map({"a": word})
    check = {"rule": "any", "words": said[0], "none": said[1]}
    return {"a": word, "l": ", ".join(words)}, reply, check


def _join(voice: Voice) -> _Made:
    words = voice.words(voice.rng.choice((2, 3, 3, 4)))
    reply = ", ".join(words)
    return {"w": " ".join(words)}, reply, _exact(reply, marks="yes")


def _ends(voice: Voice) -> _Made:
    word = voice.words(1)[0]
    reply = voice.rng.choice(book("tasks")["ends"]["reply"]).format_map({"a": word})
    return {"a": word}, sentence(reply), {"rule": "ends", "words": word}


def _pick(voice: Voice) -> _Made:
    words, which = voice.words(3), voice.rng.choice(list(ORDINALS))
    reply = words[ORDINALS[which]]
    rest = "|".join(word for word in words if word != reply)
    check = {"rule": "contains", "words": reply, "none": rest}
    return {"o": which, "l": ", ".join(words)}, reply, check


_MAKERS: dict[str, Callable[[Voice], _Made]] = {
    "say": _say,
    "sorted": _sorted,
    "reversed": _reversed,
    "capitals": _capitals,
    "repeat": _repeat,
    "count": _count,
    "longer": _longer,
    "inside": _inside,
    "join": _join,
    "ends": _ends,
    "pick": _pick,
}
