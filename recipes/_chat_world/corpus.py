"""The pretraining corpus: scenes, quizzes, notes, errands carried out, lists and letters."""

from collections.abc import Callable, Iterator
from random import Random

from . import tasks
from .chat import Chat
from .facts import Fact, Turn
from .items import plan
from .lexicon import book, share
from .plans import build
from .scene import cast, scene
from .wording import Voice, sentence

WEIGHTS = {
    "scene": 40,
    "quiz": 28,
    "notes": 8,
    "errands": 16,
    "lists": 4,
    "letters": 4,
}  # of documents


def corpus(seed: int, characters: int) -> Iterator[str]:
    """Yield documents until they hold this many characters.

    Args:
        seed: the world's seed; documents of different seeds share the lexicon only.
        characters: the total length to reach.
    """
    made = number = 0
    while made < characters:
        key = f"corpus-{seed}-{number}"
        rng = Random(key)
        sort = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        text = _scene(number, key, rng) if sort == "scene" else _MAKERS[sort](rng)
        made, number = made + len(text), number + 1
        yield text


def _scene(number: int, key: str, rng: Random) -> str:
    kind, distance = plan(number // 100)[number % 100]
    chat = build("corpus", kind, distance, key, full=True)
    return scene([(turn.user, turn.reply) for turn in chat.turns], cast(rng), rng)


def _facts(chat: Chat, count: int) -> list[Fact]:
    """Return things that could be told, none of them the user's name."""
    kinds = [kind for kind in book("facts") if kind != "name"]
    for _ in range(count):
        chat.facts.append(chat.new_fact(kinds))
    return chat.facts


def _quiz(rng: Random) -> str:
    """Return a scene in which much is told at once and then all of it asked."""
    voice = Voice("corpus", rng)
    chat = Chat(voice)
    for _ in range(rng.randint(2, 5)):
        chat.facts.append(chat.new_fact(list(book("facts"))))
    told = [fact.say(voice.choose(fact.book["tell"])) for fact in chat.facts]
    for fact in rng.sample(chat.facts, rng.choice((0, 1, 1, 2))):
        told.append(chat.take_back(fact)[0])
    chat.turns.append(Turn(" ".join(told), rng.choice(book("scenes")["scene"]["heard"]), "small"))
    for fact in rng.sample(chat.facts, len(chat.facts)):
        chat.ask(fact)
        if rng.random() < 0.15:
            chat.unknown()
    return scene([(turn.user, turn.reply) for turn in chat.turns], cast(rng), rng)


def _notes(rng: Random) -> str:
    texts, voice = book("scenes")["notes"], Voice("corpus", rng)
    known: list[tuple[str, Fact]] = []
    for _ in range(rng.randint(2, 4)):
        name = voice.value("names")
        known += [(name, fact) for fact in _facts(Chat(voice), rng.randint(1, 3))]
    rng.shuffle(known)
    told = [_about(name, fact, 0) for name, fact in known]
    form = rng.choice(texts["questions"])
    asked = [
        form.format(q=_about(name, fact, 1), a=_about(name, fact, 2))
        for name, fact in rng.sample(known, rng.randint(1, min(4, len(known))))
    ]
    if rng.random() < 0.5:
        name, kinds = rng.choice(known)[0], [k for k in book("facts") if k != "name"]
        other = Chat(voice)
        other.facts = [fact for owner, fact in known if owner == name]
        strange = _about(name, other.new_fact(kinds), 1)
        asked.append(form.format(q=strange, a=rng.choice(texts["nobody"])))
        rng.shuffle(asked)
    title = [rng.choice(texts["titles"])] if rng.random() < 0.4 else []
    joint = "\n" if rng.random() < 0.5 else " "
    return "\n".join([*title, joint.join(told), *asked])


def _about(name: str, fact: Fact, part: int) -> str:
    """Return what is told, asked or answered about someone."""
    template = book("scenes")["notes"][fact.kind][part]
    return sentence(template.format_map({"n": name, "k": fact.key, "v": fact.value}))


def _errands(rng: Random) -> str:
    voice, who = Voice("corpus", rng), cast(rng)
    people = [f"the {who.user}", f"the {who.reply}", voice.value("names")]
    lines = [tasks.draw(voice).narrate(voice, rng.choice(people)) for _ in range(rng.randint(4, 9))]
    return ("\n" if rng.random() < 0.6 else " ").join(lines)


def _lists(rng: Random) -> str:
    texts, voice = book("scenes")["lists"], Voice("corpus", rng)
    name = voice.value("names")
    if rng.random() < 0.5:
        days = [day for day in share("days", "corpus") if rng.random() < 0.7] or ["Monday"]
        plans = {day: voice.value("activities") for day in days}
        head = rng.choice(texts["week"]).format(n=name)
        rows = [f"{day}: {plans[day]}" for day in days]
        picked = rng.sample(days, min(2, len(days)))
        return "\n".join([head, *rows, *(f"On {d} {name} will be {plans[d]}." for d in picked)])
    lines = []
    for pool, key in rng.sample((("foods", "shop"), ("words", "packed")) * 2, 3):
        words = ", ".join(voice.value(pool) for _ in range(rng.randint(2, 4)))
        lines.append(sentence(rng.choice(texts[key]).format(n=name, l=words)))
    return "\n".join(lines)


def _letters(rng: Random) -> str:
    voice = Voice("corpus", rng)
    texts, (writer, reader) = book("scenes")["lists"], (voice.value("names"), voice.value("names"))
    facts = _facts(Chat(voice), rng.randint(2, 5))
    told = " ".join(fact.say(voice.choose(fact.book["tell"])) for fact in facts)
    known = [
        sentence(f"{start} {f.clause(f.book['you'])}.")
        for start, f in zip(_STARTS, facts, strict=False)
    ]
    first, second = (rng.choice(texts["letter"]).format(n=name) for name in (reader, writer))
    back = " ".join(known[: rng.randint(1, len(known))])
    return f"{first}\n{told}\nYours, {writer}\n\n{second}\n{back}\nYours, {reader}"


_STARTS = ("You told me that", "You also told me that", "Then you told me that", "And")
_MAKERS: dict[str, Callable[[Random], str]] = {
    "quiz": _quiz,
    "notes": _notes,
    "errands": _errands,
    "lists": _lists,
    "letters": _letters,
}
