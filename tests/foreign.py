"""Tokenizers and chat templates in the style of other families, made in a moment."""

import string
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from tests import small

FOLDER = Path(__file__).parent / "templates"
# Each template with its control tokens: what begins a text, what ends it, and what else steers.
CONTROL = {
    "qwen2": (None, "<|im_end|>", ["<|im_start|>", "<|endoftext|>"]),
    "qwen3": (None, "<|im_end|>", ["<|im_start|>", "<|endoftext|>"]),
    "llama3": ("<|begin_of_text|>", "<|eot_id|>", ["<|start_header_id|>", "<|end_header_id|>"]),
    "chatml": (None, "<|im_end|>", ["<|im_start|>"]),
    "zephyr": ("<s>", "</s>", []),
    "gemma": ("<bos>", "<eos>", ["<start_of_turn>", "<end_of_turn>"]),
    "mistral": ("<s>", "</s>", []),
    "phi": ("<s>", "<|endoftext|>", ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>"]),
    "alpaca": ("<s>", "</s>", []),
}
PLAIN = {"qwen3": ["<think>", "</think>"]}  # tokens that are not special
KINDS = ("bytes", "first", "always", "prepend")  # how a tokenizer treats the head of a text


def tokenizer(template: str, kind: str = "bytes") -> Any:
    """Train a BPE tokenizer for a template.

    Args:
        template: a file of tests/templates.
        kind: `bytes` as GPT-2 and after; `first` and `always` as SentencePiece, which puts a blank
            before the text, or before each part between control tokens; `prepend` as Llama 2's.
    """
    begin, end, rest = CONTROL[template]
    control = [token for token in (begin, end, *rest, "<pad>") if token]
    bpe = Tokenizer(models.BPE())
    if kind == "bytes":
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder, alphabet = decoders.ByteLevel(), pre_tokenizers.ByteLevel.alphabet()
    elif kind == "prepend":
        bpe.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
        bpe.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
        alphabet = [*string.printable, "▁"]
    else:
        bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=kind)
        bpe.decoder, alphabet = decoders.Metaspace(prepend_scheme=kind), [*string.printable, "▁"]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=control, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator([*small.TEXTS, "user assistant system [INST] "], trainer)
    swallow = template == "phi"
    bpe.add_special_tokens([AddedToken(token, rstrip=swallow, normalized=False) for token in rest])
    bpe.add_tokens([AddedToken(token, normalized=False) for token in PLAIN.get(template, [])])
    made = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=begin, eos_token=end, pad_token="<pad>"
    )
    made.chat_template = (FOLDER / f"{template}.jinja").read_text()
    return made
