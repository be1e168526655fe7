"""The tokenizer: byte-level BPE (arXiv:1508.07909) with reserved tokens and a chat template.

Text is split by Qwen 2's pattern, which llama.cpp knows by the name "qwen2": every digit is a token
of its own, and a mark belongs to the word behind it. So `crew_id` is two pieces, "crew" and "_id":
what follows "crew" says which name is copied, where a bare "_" would be followed by anything.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from ftkit.errors import FtkitError
from ftkit.runs import write_whole

BOS, EOS, PAD = "<|bos|>", "<|eos|>", "<|pad|>"
SYSTEM, USER, ASSISTANT, END = "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"
SPARES = tuple(f"<|spare_{number}|>" for number in range(25))
# The ids 0 to 31, from the start, so that tuning never has to resize a model.
RESERVED = (BOS, EOS, PAD, SYSTEM, USER, ASSISTANT, END, *SPARES)
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LEAST = len(RESERVED) + 256  # the reserved tokens and a token for each byte

# The generation block marks what an answer is, for training: the text and the token that ends it.
CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- for message in messages -%}
{%- if message['role'] == 'assistant' -%}
<|assistant|>{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}
{%- elif message['role'] in ('user', 'system') -%}
{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}
{%- else -%}
{{- raise_exception("a message's role is system, user or assistant") -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}
"""


class Tokenizer:
    """Text to ids and back, exactly; control tokens come from ids alone, never from text."""

    def __init__(self, inner: tokenizers.Tokenizer) -> None:
        # Without this a text that spells a control token would become one and could forge a turn.
        inner.encode_special_tokens = True
        self.inner = inner
        self.opening, self.closing = self.id(BOS), self.id(END)  # what frames a document

    @property
    def size(self) -> int:
        """How many ids there are."""
        return int(self.inner.get_vocab_size())

    def id(self, token: str) -> int:
        """Return the id of a reserved token."""
        number = self.inner.token_to_id(token)
        assert number is not None, token
        return int(number)

    def encode(self, text: str) -> list[int]:
        """Turn text into ids; nothing is added in front or behind.

        >>> tokenizer = train_tokenizer(["a text"], LEAST)
        >>> tokenizer.decode(tokenizer.encode("é <|end|>"))
        'é <|end|>'
        """
        return list(self.inner.encode(text, add_special_tokens=False).ids)

    def framed(self, ids: Sequence[int]) -> list[int]:
        """Open and close a document's ids, as they stand in the training text."""
        return [self.opening, *ids, self.closing]

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """Turn several texts into ids, on all cores."""
        return [row.ids for row in self.inner.encode_batch(list(texts), add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        """Turn ids into text; control tokens are left out."""
        return str(self.inner.decode(list(ids), skip_special_tokens=True))

    def save(self, folder: Path, context: int) -> None:
        """Write what AutoTokenizer opens: tokenizer.json, its config and the chat template.

        Args:
            folder: made as needed.
            context: the model's context in tokens.
        """
        settings = {
            # transformers' plain fast tokenizer: it takes tokenizer.json as it is.
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BOS,
            "eos_token": END,
            "pad_token": PAD,
            "model_max_length": context,
            "clean_up_tokenization_spaces": False,
            "padding_side": "left",
            "chat_template": CHAT_TEMPLATE,
        }
        self.inner.encode_special_tokens = False  # AutoTokenizer decides that for itself
        write_whole(folder / "tokenizer.json", self.inner.to_str(pretty=False))
        self.inner.encode_special_tokens = True
        write_whole(folder / "tokenizer_config.json", json.dumps(settings, indent=2) + "\n")
        write_whole(folder / "chat_template.jinja", CHAT_TEMPLATE)

    @staticmethod
    def open(folder: Path) -> "Tokenizer":
        """Open the tokenizer of a folder that ftkit wrote.

        Raises:
            FtkitError: when there is none, or it lacks a reserved token.
        """
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise FtkitError(f"{folder} holds no tokenizer: there is no tokenizer.json in it")
        try:
            inner = tokenizers.Tokenizer.from_file(str(path))
        except Exception as problem:  # the library raises nothing narrower
            raise FtkitError(f"{path} cannot be read: {problem}") from None
        missing = [token for token in RESERVED if inner.token_to_id(token) is None]
        if missing:
            raise FtkitError(f"{path} is not one of ftkit's tokenizers: it lacks {missing[0]}")
        return Tokenizer(inner)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Learn a byte-level BPE from texts.

    Args:
        texts: the documents.
        vocab_size: tokens wanted, at least LEAST; a short corpus gives fewer.

    Raises:
        FtkitError: for a vocabulary too small to hold the bytes and the reserved tokens.
    """
    if vocab_size < LEAST:
        raise FtkitError(
            f"vocab_size is {vocab_size}: it must be {LEAST} or more "
            f"({len(RESERVED)} reserved tokens and 256 bytes)"
        )
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(RESERVED),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    inner.train_from_iterator(_pieces(texts), trainer)
    return Tokenizer(inner)


def _pieces(texts: Iterable[str]) -> Iterator[list[str]]:
    """Hand texts over in lists, which the trainer reads on all cores."""
    piece: list[str] = []
    for text in texts:
        piece.append(text)
        if len(piece) == 256:
            yield piece
            piece = []
    yield piece
