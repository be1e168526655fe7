"""One conversation in the making: what was told, and the turns that tell, ask and fill."""

from dataclasses import replace
from typing import Any

from . import tasks
from .facts import Fact, Turn
from .lexicon import NUMBER_WORDS, book
from .wording import Voice, sentence

SAME_POOL = 0.75  # how often a further thing told could be mistaken for one told before
FRAMED = 0.6  # share of questions and corrections put together of parts, where one learns
OWN_FIX = 0.4  # share of the other corrections that are in the words of the thing corrected
BOTH = 0.3  # how often two things are told at once (and one of them is answered), to learn from
HARD_UNKNOWN = 0.6  # how often what nobody told has a sibling that was told
REPEATED = 0.3  # how often an instruction asks for one word out of what was told


class Chat:
    """A conversation that grows turn by turn."""

    def __init__(self, voice: Voice) -> None:
        """Begin with nothing said."""
        self.voice, self.rng = voice, voice.rng
        self.turns: list[Turn] = []
        self.facts: list[Fact] = []
        self.settled: set[Fact] = set()  # corrected, so not to be corrected again
        self.asked: set[Fact] = set()
        self.named: set[Fact] = set()  # asked for in one word
        self.gone = False  # whether the user took leave

    def _add(self, user: str, reply: str, kind: str, distance: int | None, check: Any) -> None:
        user = self.voice.loosen(user)
        self.turns.append(Turn(user, reply, kind, distance, check))

    def new_fact(self, kinds: list[str]) -> Fact:
        """Return something of one of these kinds that was not told yet."""
        # A whole pool may be used up; then anything else will do.
        order = self.rng.sample(kinds, len(kinds)) + self.rng.sample(list(book("facts")), 12)
        kind = next(kind for kind in order if self._free(kind))
        texts, key = book("facts")[kind], ""
        if texts.get("keys"):
            key = self.rng.choice(self._keys(kind))
            self.voice.used.add(key)
        return Fact(kind, key, self._value(texts, key), len(self.turns))

    def _value(self, texts: dict[str, Any], key: str) -> str:
        return self.voice.value(texts.get("only", {}).get(key, texts["pool"]))

    def _keys(self, kind: str) -> list[str]:
        keys = book("facts")[kind]["keys"]
        if isinstance(keys, str):
            return self.voice.left(keys)
        return [key for key in keys if key not in self.voice.used]

    def _free(self, kind: str) -> bool:
        texts = book("facts")[kind]
        keys = texts.get("keys")
        if isinstance(keys, str):
            fresh = self.voice.room(keys) > 1
        elif keys:
            fresh = len(self._keys(kind)) > 1
        else:
            fresh = all(fact.kind != kind for fact in self.facts)
        return fresh and self.voice.room(texts["pool"]) > 1

    def tell(self, kinds: list[str] | None = None) -> Fact:
        """Let the user tell something new, often of a pool that was told from before."""
        kinds = kinds or list(book("facts"))
        if self.facts and self.rng.random() < SAME_POOL:
            pools = {f.book["pool"] for f in self.facts}
            kinds = [k for k in kinds if book("facts")[k]["pool"] in pools] or kinds
        fact = self.new_fact(kinds)
        if fact.kind == "name" and not self.turns and self.rng.random() < 0.7:
            return self.greet_named(fact)
        said = fact.say(self.voice.choose(fact.book["tell"]))
        if self.voice.learns and self.rng.random() < BOTH:
            self.facts.append(fact)
            fact = self.new_fact(kinds)
            said += " " + fact.say(self.voice.choose(fact.book["tell"]))
        self._add(said, fact.say(self.rng.choice(fact.book["ack"])), "small", None, {})
        self.facts.append(fact)
        return fact

    def greet_named(self, fact: Fact | None = None) -> Fact:
        """Let the user greet with a name."""
        fact = fact or self.new_fact(["name"])
        texts = book("small")["greeting"]
        check = {"rule": "any", "words": f"{texts['marks']}|{fact.value}", "task": "greeting"}
        said, reply = self.voice.choose(texts["named"]), self.rng.choice(texts["welcome"])
        self._add(fact.say(said), fact.say(reply), "greeting", None, check)
        self.facts.append(fact)
        return fact

    def greet(self) -> None:
        """Let the user greet."""
        texts = book("small")["greeting"]
        check = {"rule": "any", "words": texts["marks"], "task": "greeting"}
        self._add(
            self.voice.choose(texts["say"]),
            self.rng.choice(texts["reply"]),
            "greeting",
            None,
            check,
        )

    def leave(self) -> None:
        """Let the user take leave."""
        texts = book("small")["leaving"]
        reply = self.rng.choice(texts["reply"])
        names = [fact for fact in self.facts if fact.kind == "name"]
        if names and self.rng.random() < 0.5:
            reply = names[0].say(self.rng.choice(texts["known"]))
        check = {"rule": "any", "words": texts["marks"], "task": "leaving"}
        self._add(self.voice.choose(texts["say"]), reply, "leaving", None, check)
        self.gone = True

    def small(self) -> None:
        """Let the user say something that needs no memory."""
        said = {turn.user for turn in self.turns}
        shares = {
            share: [pair for pair in pairs if pair[0] not in said]
            for share, pairs in book("small")["small"].items()
        }
        user, *replies = self.voice.choose(shares)
        self._add(user, self.rng.choice(replies), "small", None, {})

    def open(self) -> None:
        """Let the user ask for something with many valid answers."""
        texts = self.rng.choice(list(book("small")["open"].values()))
        reply = self.voice.fill(self.rng.choice(texts["reply"]))
        self._add(self.voice.choose(texts), reply, "open", None, {})

    def instruct(self, spare: Fact | None = None) -> None:
        """Let the user give a small instruction, sometimes about what was told."""
        others = [fact for fact in self.facts if fact != spare and fact not in self.named]
        if others and self.rng.random() < REPEATED:
            self._one_word(self.rng.choice(others))
        else:
            task = tasks.draw(self.voice)
            self._add(task.say(self.voice), task.reply, "instruction", None, task.check)

    def _one_word(self, fact: Fact) -> None:
        said = self.voice.choose(book("tasks")["one"]).format(q=fact.clause(fact.book["one"]))
        check = {"rule": "exact", "text": fact.value, "task": "one"}
        self.named.add(fact)
        self._add(said, fact.say("{v}."), "instruction", None, check)

    def ask(self, fact: Fact) -> None:
        """Let the user ask for what was told."""
        kind = "correction" if fact in self.settled else "recall"
        said = fact.say(self._question(fact.book))
        reply = fact.say(self.rng.choice(fact.book["answer"]))
        self._add(said, reply, kind, len(self.turns) - fact.turn, fact.check)
        self.asked.add(fact)

    def correct(self, fact: Fact) -> Fact:
        """Let the user take a value back; the new one counts from here on."""
        said, new = self.take_back(fact)
        reply = new.say(self.rng.choice(book("back")["fix"]["ack"]), fact.value)
        self._add(said, reply, "small", None, {})
        return new

    def take_back(self, fact: Fact) -> tuple[str, Fact]:
        """Return words that take a value back, and the fact with the value meant."""
        new = replace(fact, value=self._value(fact.book, fact.key), turn=len(self.turns))
        texts, draw = book("back")["fix"], self.rng.random()
        if self.voice.learns and draw < FRAMED:
            text = f"{self.rng.choice(texts['leads'])} {self.rng.choice(texts['parts'])}"
        elif self.voice.learns and draw < FRAMED + (1 - FRAMED) * OWN_FIX:
            text = self.rng.choice(fact.book["fix"])
        else:
            text = self.voice.choose(texts["say"])
        self.facts[self.facts.index(fact)] = new
        self.settled.add(new)
        return new.say(text, fact.value), new

    def _question(self, texts: dict[str, Any]) -> str:
        """Return a question in one of the world's wordings, or put together, to learn from."""
        if not self.voice.learns or self.rng.random() >= FRAMED:
            return str(self.voice.choose(texts["ask"]))
        held = {_bare(line) for kept in ("validation", "test") for line in texts["ask"][kept]}
        frames = book("back")["frames"]
        while True:
            about = self.rng.choice(texts["about"])
            thing = frames["thing"] if about.startswith(("my ", "the ")) else []
            made = sentence(self.rng.choice(frames["any"] + thing).replace("{a}", about))
            if _bare(made) not in held:
                return made

    def unknown(self) -> None:
        """Let the user ask for what nobody told."""
        facts = book("facts")
        kinds = list(facts)
        if self.facts and self.rng.random() < HARD_UNKNOWN:
            pools = {fact.book["pool"] for fact in self.facts}
            kinds = [k for k in kinds if facts[k]["pool"] in pools] or kinds
        fact = self.new_fact(kinds)
        said = fact.say(self._question(fact.book))
        check = {"rule": "admits", "pool": str(fact.book["pool"]), "task": fact.kind}
        reply = fact.say(self.rng.choice(fact.book["unknown"]))
        self._add(said, reply, "unknown", None, check)

    def back(self, which: str) -> None:
        """Let the user ask for the first, last or earlier thing told, or how many they are."""
        fact = {"first": self.facts[0], "before": self.facts[-min(2, len(self.facts))]}.get(
            which, self.facts[-1]
        )
        if which == "count" and len(self.facts) >= len(NUMBER_WORDS):
            which = "last"
        texts, number = book("back")[which], len(self.facts)
        said, reply = self._question(texts), str(self.rng.choice(texts["answer"]))
        if which == "count":
            words = NUMBER_WORDS[number]
            rest = "|".join(w for w in NUMBER_WORDS if w != words)
            check = {"rule": "any", "words": f"{words}|{number}", "none": rest}
            reply = reply.format(n=f"{words} thing{'s' * (number > 1)}")
        else:
            rest = "|".join(f.value for f in self.facts if f.value != fact.value)
            check = {"rule": "contains", "words": fact.value, "none": rest}
            reply = sentence(reply.format(y=fact.clause(fact.book["you"])))
        check = {key: value for key, value in check.items() if value} | {"task": which}
        self._add(said, reply, "back", len(self.turns) - fact.turn, check)


def _bare(question: str) -> str:
    """Return a question without what only makes it polite."""
    return question.lower().removeprefix("please ").rstrip(".?! ").removesuffix(", please")
