"""How a conversation comes to its probing turn, at a chosen distance from the telling."""

from collections.abc import Callable
from random import Random

from .chat import Chat
from .facts import Fact
from .wording import Voice

TURNS = 7  # user turns at most
CHARACTERS = 1100  # at most, so that a conversation fits a context of 512 tokens
# What fills the turns between telling and asking; asking often, for that is what is learned.
FILLERS = {"tell": 5, "small": 1, "instruct": 2, "ask": 10, "unknown": 2, "open": 1, "correct": 3}
# Other weights in training rows: a reply that looks back teaches most.
DENSE = {"ask": 30, "unknown": 4, "correct": 6, "small": 0.5, "open": 2}
# A remark tells something too, so questions about the order of things go without.
STRICT = ("tell", "instruct", "ask", "unknown", "open")
QUIET = ("instruct", "ask", "unknown", "open")
LEAD = (4, 4, 3, 2, 1)  # weights of 0, 1, 2 ... turns before the telling


def build(split: str, kind: str, distance: int | None, key: str, full: bool) -> Chat:
    """Return a conversation with a probing turn of a kind.

    Args:
        split: whose words are used, see `Voice`.
        kind: of the probing turn.
        distance: user turns from telling to asking, for kinds that look back.
        key: the seed.
        full: let it go on after the probing turn.
    """
    for attempt in range(100):
        voice = Voice(split, Random(f"{key} {attempt}"))
        chat = Chat(voice)
        PLANS[kind](chat, distance or 1)
        if full:
            _go_on(chat)
        if sum(len(turn.user) + len(turn.reply) for turn in chat.turns) <= CHARACTERS:
            return chat
    raise AssertionError(f"{key}: no conversation is short enough")


def _go_on(chat: Chat) -> None:
    if chat.gone:
        return
    looking = chat.turns[-1].kind == "back"
    for _ in range(chat.rng.randint(0, TURNS - len(chat.turns))):
        _fill(chat, STRICT if looking else tuple(FILLERS))
    if len(chat.turns) < TURNS and chat.rng.random() < 0.25:
        chat.leave()
    if len(chat.turns) < 2:
        _fill(chat, QUIET)


def _fill(chat: Chat, names: tuple[str, ...], spare: Fact | None = None) -> None:
    """Add one turn of any of these sorts that leaves one fact alone."""
    others = [fact for fact in chat.facts if fact != spare]
    fresh = [fact for fact in others if fact not in chat.asked]
    fit = [fact for fact in others if fact not in chat.settled]
    able = {"ask": bool(fresh), "correct": bool(fit)}
    names = tuple(name for name in names if able.get(name, True))
    weights = FILLERS | DENSE if chat.voice.split == "train" else FILLERS
    name = chat.rng.choices(names, [weights[name] for name in names])[0]
    if name == "ask":
        chat.ask(chat.rng.choice(fresh))
    elif name == "correct":
        chat.correct(chat.rng.choice(fit))
    elif name == "instruct":
        chat.instruct(spare)
    elif name == "tell":
        chat.tell()
    elif name == "unknown":
        chat.unknown()
    elif name == "open":
        chat.open()
    else:
        chat.small()


def _lead(chat: Chat, room: int, names: tuple[str, ...] = tuple(FILLERS)) -> None:
    """Add some turns, no more than there is room for; the first may greet."""
    room = max(0, min(room, len(LEAD) - 1))
    for _ in range(chat.rng.choices(range(room + 1), LEAD[: room + 1])[0]):
        if not chat.turns and chat.rng.random() < 0.6:
            chat.greet()
        else:
            _fill(chat, names)


def _some(chat: Chat) -> None:
    """Lead in with something told, so that no two conversations are the same."""
    _lead(chat, 2)
    chat.tell()
    for _ in range(chat.rng.choice((0, 0, 1, 1, 2))):
        _fill(chat, tuple(FILLERS))


def _recall(chat: Chat, distance: int) -> None:
    _lead(chat, TURNS - 1 - distance)
    fact = chat.tell()
    for _ in range(distance - 1):
        _fill(chat, tuple(FILLERS), fact)
    chat.ask(fact)


def _correction(chat: Chat, distance: int) -> None:
    room = TURNS - 2 - distance
    before = chat.rng.randint(0, min(room, 2))
    _lead(chat, room - before)
    fact = chat.tell()
    for _ in range(before):
        _fill(chat, tuple(FILLERS), fact)
    fact = chat.correct(fact)
    for _ in range(distance - 1):
        _fill(chat, tuple(FILLERS), fact)
    chat.ask(fact)


def _back(chat: Chat, distance: int) -> None:
    able = ["last", "count"] + ["first"] * (distance > 1) + ["before"] * (distance > 2)
    which = chat.rng.choice(able)
    if which == "first":
        _first(chat, distance)
        return
    room = min(TURNS - 1 - distance, 3)
    least = which == "last" or chat.rng.random() < 0.8
    for _ in range(chat.rng.randint(min(room, least), room)):
        chat.tell()
    fact = chat.tell()
    if which == "before":
        _tell_within(chat, distance - 2, QUIET, fact)
        chat.back("last")
    else:
        for _ in range(distance - 1):
            _fill(chat, QUIET, fact)
    chat.back(which)


def _first(chat: Chat, distance: int) -> None:
    if chat.rng.random() < 0.5 and distance < TURNS - 1:
        chat.greet()
    _tell_within(chat, distance - 1, STRICT, chat.tell())
    chat.back("first")


def _tell_within(chat: Chat, turns: int, names: tuple[str, ...], spare: Fact) -> None:
    """Add some turns, one of which tells something more."""
    told = chat.rng.randrange(turns)
    for turn in range(turns):
        if turn == told:
            chat.tell()
        else:
            _fill(chat, names, spare)


def _unknown(chat: Chat, distance: int) -> None:
    _some(chat)
    chat.unknown()


def _instruction(chat: Chat, distance: int) -> None:
    _lead(chat, 4)
    chat.instruct()


def _greeting(chat: Chat, distance: int) -> None:
    # A bare greeting is the same in every split, one with a name is not.
    held = chat.voice.split in ("validation", "test")
    if held or chat.rng.random() < 0.5:
        chat.greet_named()
    else:
        chat.greet()


def _leaving(chat: Chat, distance: int) -> None:
    _some(chat)
    chat.leave()


def _small(chat: Chat, distance: int) -> None:
    _some(chat)
    chat.small()


def _open(chat: Chat, distance: int) -> None:
    _some(chat)
    chat.open()


PLANS: dict[str, Callable[[Chat, int], None]] = {
    "recall": _recall,
    "correction": _correction,
    "back": _back,
    "unknown": _unknown,
    "instruction": _instruction,
    "greeting": _greeting,
    "leaving": _leaving,
    "small": _small,
    "open": _open,
}
