"""The tokenizer: byte-level BPE (arXiv:1508.07909), words or characters, with reserved tokens.

Text is split by Qwen 2's pattern, which llama.cpp knows by the name "qwen2": every digit is a token
of its own, and a mark belongs to the word behind it. So `crew_id` is two pieces, "crew" and "_id":
what follows "crew" says which name is copied, where a bare "_" would be followed by anything.

Words and characters are a BPE without merges over bytes: a piece that is in the vocabulary is one
token, any other falls into its bytes. So no text is lost, as it would be to an unknown token.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from ftkit import catalog
from ftkit.errors import FtkitError
from ftkit.runs import write_whole

FILE = "tokenizer.json"
BOS, EOS, PAD = "<|bos|>", "<|eos|>", "<|pad|>"
SYSTEM, USER, ASSISTANT, END = "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"
SPARES = tuple(f"<|spare_{number}|>" for number in range(25))
# The ids 0 to 31, from the start, so that tuning never has to resize a model.
RESERVED = (BOS, EOS, PAD, SYSTEM, USER, ASSISTANT, END, *SPARES)
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
ANY = r"[\s\S]"  # a code point; a dot would leave out the ends of lines
SPLITS = {"bpe": WORDS, "word": WORDS, "char": ANY}  # each kind of tokenizer and its pattern
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())  # how the 256 bytes are spelled
LEAST = len(RESERVED) + len(ALPHABET)
COUNTED = 1_000_000  # pieces that are counted at a time, at most
LONGEST = 64  # characters; what is longer is data and no word

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


@dataclass(frozen=True)
class Frame:
    """The ids that stand around documents: before one if anything, behind it, in place of none."""

    opening: int | None
    closing: int
    pad: int


class Tokenizer:
    """Text to ids and back, exactly; control tokens come from ids alone, never from text.

    Args:
        inner: the library's tokenizer.
        frame: what stands around documents; None for the reserved tokens.
    """

    def __init__(self, inner: tokenizers.Tokenizer, frame: Frame | None = None) -> None:
        # Without this a text that spells a control token would become one and could forge a turn.
        inner.encode_special_tokens = True
        self.inner = inner
        self.own = frame is None  # learned here, by a pattern that is known
        self.frame = frame or Frame(self.id(BOS), self.id(END), self.id(PAD))

    @property
    def digest(self) -> str:
        """Hash of all that its ids depend on, hexadecimal."""
        return hashlib.sha256(f"{self.frame} {self.inner.to_str()}".encode()).hexdigest()

    @property
    def size(self) -> int:
        """One more than the largest id: a vocabulary that was pruned has holes."""
        return max(self.inner.get_vocab().values()) + 1

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
        opening = [] if self.frame.opening is None else [self.frame.opening]
        return [*opening, *ids, self.frame.closing]

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
        write_whole(folder / FILE, self.inner.to_str(pretty=False))
        self.inner.encode_special_tokens = True
        write_whole(folder / "tokenizer_config.json", json.dumps(settings, indent=2) + "\n")
        write_whole(folder / "chat_template.jinja", CHAT_TEMPLATE)

    @staticmethod
    def open(folder: Path) -> "Tokenizer":
        """Open the tokenizer of a folder that ftkit wrote.

        Raises:
            FtkitError: when there is none, or it lacks a reserved token.
        """
        inner = read_file(folder)
        missing = [token for token in RESERVED if inner.token_to_id(token) is None]
        if missing:
            raise FtkitError(
                f"{folder / FILE} is not one of ftkit's tokenizers: it lacks {missing[0]}"
            )
        return Tokenizer(inner)


def read_file(folder: Path) -> tokenizers.Tokenizer:
    """Read a folder's tokenizer.json, anybody's, so that it gives every id of a text and no other.

    Raises:
        FtkitError: when there is none, or it is broken.
    """
    path = folder / FILE
    if not path.is_file():
        raise FtkitError(f"{folder} holds no tokenizer: there is no {FILE} in it")
    try:
        inner = tokenizers.Tokenizer.from_file(str(path))
    except Exception as problem:  # the library raises nothing narrower
        raise FtkitError(f"{path} cannot be read: {problem}") from None
    inner.no_truncation()  # the file keeps what its last user had set
    inner.no_padding()
    return inner


def check_kind(kind: str) -> None:
    """Refuse a kind of tokenizer that there is not.

    Raises:
        FtkitError: naming the nearest one.
    """
    if kind not in SPLITS:
        raise FtkitError(f"no tokenizer '{kind}'{catalog.nearest(kind, SPLITS)}")


def train_tokenizer(texts: Iterable[str], vocab_size: int, kind: str = "bpe") -> Tokenizer:
    """Learn a tokenizer from texts.

    Args:
        texts: the documents, read once.
        vocab_size: tokens wanted, at least LEAST; a short corpus gives fewer.
        kind: `bpe`; `word`, the most frequent pieces that BPE would start from, of those that come
            twice; or `char`, the most frequent code points. Each has all bytes beside.

    Raises:
        FtkitError: for an unknown kind, or a vocabulary too small to hold the bytes and the
            reserved tokens.
    """
    check_kind(kind)
    if vocab_size < LEAST:
        raise FtkitError(
            f"vocab_size is {vocab_size}: it must be {LEAST} or more "
            f"({len(RESERVED)} reserved tokens and {len(ALPHABET)} bytes)"
        )
    split = pre_tokenizers.Split(tokenizers.Regex(SPLITS[kind]), "isolated")
    spell = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence([split, spell])
    inner.decoder = decoders.ByteLevel()
    if kind != "bpe":
        inner.model = _whole(texts, vocab_size - LEAST, kind, split, spell)
        inner.add_special_tokens(list(RESERVED))
        return Tokenizer(inner)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(RESERVED),
        initial_alphabet=ALPHABET,
        show_progress=False,
    )
    inner.train_from_iterator(_lists(texts), trainer)
    return Tokenizer(inner)


def _lists(texts: Iterable[str]) -> Iterator[list[str]]:
    """Hand texts over in lists, which the trainer reads on all cores."""
    piece: list[str] = []
    for text in texts:
        piece.append(text)
        if len(piece) == 256:
            yield piece
            piece = []
    yield piece


def _whole(
    texts: Iterable[str],
    room: int,
    kind: str,
    split: pre_tokenizers.PreTokenizer,
    spell: pre_tokenizers.PreTokenizer,
) -> models.BPE:
    """Learn whole words or characters: a BPE that takes a known piece as it is and merges none."""
    if kind == "char":  # a string gives its characters without a pattern
        pieces = _frequent(texts, room, least=1)
    else:
        pieces = _frequent((_words(split, text) for text in texts), room, least=2)
    tokens = [*RESERVED, *ALPHABET, *(spell.pre_tokenize_str(piece)[0][0] for piece in pieces)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return models.BPE(vocab=vocabulary, merges=[], ignore_merges=True)


def _words(split: pre_tokenizers.PreTokenizer, text: str) -> Iterator[str]:
    """Yield the pieces of a text that are short enough for a word."""
    return (piece for piece, _ in split.pre_tokenize_str(text) if len(piece) <= LONGEST)


def _frequent(parts: Iterable[Iterable[str]], most: int, least: int) -> list[str]:
    """Find the most frequent pieces of more than one byte, those that are as frequent by bytes.

    Memory is bounded: when there are more than COUNTED different pieces, the rarer half is
    forgotten, and a piece of it that comes again is counted anew.

    Args:
        parts: the pieces of each document.
        most: how many to return.
        least: how often a piece has to come.
    """
    counts: Counter[str] = Counter()
    for pieces in parts:
        counts.update(pieces)
        if len(counts) > COUNTED:
            counts = Counter(dict(counts.most_common(COUNTED // 2)))
    found = [
        (-count, piece.encode(), piece)
        for piece, count in counts.items()
        if count >= least and len(piece.encode()) > 1
    ]
    return [piece for _, _, piece in sorted(found)[:most]]
