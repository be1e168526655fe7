"""How an item is put to a model: as a chat, after examples, or in the base's own plain text.

A form turns an example into the tokens of its prompt and of its reference. Contents are encoded
with special tokens off, so no text can forge a turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tokenizers import Tokenizer

from ..adapters._variant import Variant
from ..basemodel.rows import Allowed
from ..recipes._limits import Held, Limits
from ..recipes._recipe import Example, Recipe
from ..recipes._render import IGNORE, Renderer

FITTING = 0.9  # share of the items that must leave room for K examples, or K is made smaller


@dataclass(frozen=True)
class Form:
    """A way of asking.

    Attributes:
        kind: the tuned chat template, or the plain text that a base knows from pretraining.
        shots: training examples shown first, as earlier turns.
    """

    kind: Literal["chat", "prose"] = "chat"
    shots: int = 0

    @property
    def label(self) -> str:
        """How tables call it, behind the variant's name."""
        return "prose" if self.kind == "prose" else f"{self.shots}-shot" if self.shots else ""


@dataclass(frozen=True)
class Asked:
    """An item in tokens.

    Attributes:
        prompt: up to where the answer begins.
        target: the reference's tokens, without the one that ends a turn.
        target_bytes: the reference's length in UTF-8.
        stop: text that ends the answer; "" where a token does.
        shots: examples that stand before it.
        samples: how many answers to draw beside the greedy one.
        end: the tokens that end the reference's turn.
        labels: the tokens of each label or candidate that the item has, its end included.
        limits: how far the answer is held against what is asked.
        allowed: says so of its tokens; None where it is not.
    """

    prompt: list[int]
    target: list[int]
    target_bytes: int
    stop: str = ""
    shots: int = 0
    samples: int = 0
    end: list[int] = field(default_factory=list)
    labels: dict[str, list[int]] = field(default_factory=dict)
    limits: Limits = ""
    allowed: Allowed | None = field(default=None, compare=False)

    @property
    def row(self) -> tuple[list[int], list[int]]:
        """Ids and labels of the reference behind its prompt."""
        return self.behind(self.target)

    @property
    def rows(self) -> list[tuple[list[int], list[int]]]:
        """The row of the reference and one for each label."""
        return [self.row, *map(self.behind, self.labels.values())]

    def behind(self, text: list[int]) -> tuple[list[int], list[int]]:
        """Ids and labels of any tokens behind the prompt."""
        return self.prompt + text, [IGNORE] * len(self.prompt) + text


class Asker:
    """Ask one variant in one form.

    Args:
        variant: whose tokenizer and template are used.
        recipe: for the plain-text form and the room an answer needs.
        form: the way of asking; fewer examples are shown where they do not fit.
        examples: training examples to show, the first ones first.
    """

    def __init__(
        self, variant: Variant, recipe: Recipe, form: Form, examples: Sequence[Example] = ()
    ) -> None:
        self.variant, self.recipe, self.form = variant, recipe, form
        self.examples = examples[: form.shots]
        self._pieces: dict[int, str] = {}
        self._sizes: list[int] = []  # tokens that the first 1, 2 ... examples add to a prompt
        self.renderer = Renderer(variant.tokenizer, variant.name)
        self._plain: Tokenizer = Tokenizer.from_str(variant.tokenizer.backend_tokenizer.to_str())
        self._plain.encode_special_tokens = True

    def ask(self, example: Example) -> Asked | None:
        """Put an example into tokens; None when its prompt alone fills the context."""
        asked = self._limited(self._put(example), example)
        texts = example.meta.get("labels") or example.meta.get("candidates")
        if asked is None or not texts:
            return asked
        said = {text: self._reply(example, text, asked.shots) for text in texts}
        return replace(asked, labels=said)

    def _limited(self, asked: Asked | None, example: Example) -> Asked | None:
        """Hold the answer against what is asked, where the item wants it and the recipe can."""
        limits: Limits = example.meta.get("limits", "")
        grammar = self.recipe.grammar(example, limits) if limits else None
        if asked is None or grammar is None:
            return asked
        allowed = Held(grammar, self.renderer.decode, self._pieces, asked.stop)
        return replace(asked, limits=limits, allowed=allowed)

    def _put(self, example: Example) -> Asked | None:
        """Put an example into tokens, without the labels."""
        if self.form.kind == "prose":
            asked = self._prose(example)
            return asked if asked and len(asked.prompt) < self.variant.context else None
        asked = self._chat(example, 0)
        for shots in range(self._fitting(example, len(asked.prompt)), 0, -1):
            shown = self._chat(example, shots)
            if self._leaves_room(len(shown.prompt)):
                return shown
        return asked if len(asked.prompt) < self.variant.context else None

    def _reply(self, example: Example, text: str, shots: int) -> list[int]:
        """Encode a text as the reply to an example, with what ends it."""
        messages = (*example.prompt, {"role": "assistant", "content": text})
        other = replace(example, messages=messages)
        asked = self._prose(other) if self.form.kind == "prose" else self._chat(other, shots)
        assert asked is not None
        return asked.target + asked.end

    def fitting(self, example: Example) -> int:
        """Count the examples that can be shown before this item."""
        return self._fitting(example, len(self._chat(example, 0).prompt))

    def encode(self, text: str) -> list[int]:
        """Encode plain text; what looks like a control token is text."""
        return list(self._plain.encode(text, add_special_tokens=False).ids)

    @property
    def opening(self) -> list[int]:
        """What stands before a text: the token that begins one, where the base has it."""
        begin = self.variant.tokenizer.bos_token_id
        return [] if begin is None else [int(begin)]

    def stops(self, text: str) -> tuple[int, ...]:
        """List the tokens that end an answer: the model's own, and those that begin with `text`."""
        if not text:
            return tuple(sorted({*self.variant.stops, *self.renderer.stops}))
        size = self._plain.get_vocab_size()
        words = self._plain.decode_batch([[token] for token in range(size)])
        ends = {token for token, word in enumerate(words) if word.startswith(text)}
        return tuple(sorted({*self.variant.stops, *ends}))

    def _leaves_room(self, size: int) -> bool:
        """Say whether an answer fits behind a prompt of this size."""
        return size + self.recipe.max_new_tokens <= self.variant.context

    def _fitting(self, example: Example, size: int) -> int:
        """Count the examples that fit beside a prompt; each adds the same to every prompt."""
        for shots in range(len(self._sizes), len(self.examples)):
            more = len(self._chat(example, shots + 1).prompt)
            self._sizes.append(more - size)
        return sum(self._leaves_room(size + more) for more in self._sizes)

    def _chat(self, example: Example, shots: int) -> Asked:
        """Ask in the chat template behind some examples; a system message comes once, first."""
        head = [message for message in example.prompt if message["role"] == "system"]
        shown = [
            message
            for shot in self.examples[:shots]
            for message in shot.messages
            if message["role"] != "system"
        ]
        rest = [message for message in example.messages if message["role"] != "system"]
        messages = [*head, *shown, *rest]
        rendered = self.renderer.render(messages)
        # The last labels are the answer's and its end's; the prompt is what stands before them.
        tail = next(n for n, label in enumerate(reversed(rendered.labels)) if label == IGNORE)
        start = len(rendered.ids) - tail
        size = len(example.reference.encode())
        samples = int(example.meta.get("samples", 0))
        prompt, target, end = rendered.ids[:start], rendered.ids[start:-1], rendered.ids[-1:]
        return Asked(prompt, target, size, shots=shots, samples=samples, end=end)

    def _prose(self, example: Example) -> Asked | None:
        """Ask in plain text, as the corpus would."""
        prose = self.recipe.prose(example)
        if prose is None:
            return None
        prompt = self.opening + self.encode(prose.prompt)
        size = len(prose.answer.encode())
        samples = int(example.meta.get("samples", 0))
        target, end = self.encode(prose.answer), self.encode(prose.stop)
        return Asked(prompt, target, size, prose.stop, samples=samples, end=end)


def fitting_shots(
    variant: Variant, recipe: Recipe, examples: Sequence[Example], shots: Sequence[Example]
) -> int:
    """Find how many examples can be shown: the most that fit beside nearly every item.

    Args:
        variant: the base.
        recipe: says how much room an answer needs.
        examples: the items to ask.
        shots: the training examples that are wished for.

    Returns:
        K, at most `len(shots)`; 0 when not even one fits.
    """
    asker = Asker(variant, recipe, Form(shots=len(shots)), shots)
    counts = [asker.fitting(example) for example in examples]
    for wish in range(len(shots), 0, -1):
        if sum(count >= wish for count in counts) >= FITTING * len(counts):
            return wish
    return 0
