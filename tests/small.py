"""Small real models and tokenizers for the tests: made in a moment, by transformers itself."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from ftkit.adapters._quiet import quiet
from ftkit.catalog import load
from ftkit.config import table
from ftkit.recipes._recipe import Example, Recipe, Split
from ftkit.recipes._tune import Tuning, tune
from ftkit.runs import Run

NAMES = ["<|bos|>", "<|eos|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
TEMPLATE = (
    "{{ '<|bos|>' }}{% for m in messages %}{{ '<|' + m['role'] + '|>' }}"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] + '<|end|>' }}"
    "{% endgeneration %}{% else %}{{ m['content'] + '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
TEXTS = [
    "SELECT name FROM singer WHERE age > 30 ORDER BY name",
    "singer(id, name, age) concert(id, singer_id, year, stadium)",
    "How many singers are older than thirty? Which concert was in 2014?",
    "SELECT count(*) FROM concert WHERE year = 2014",
]


def tokenizer(template: str | None = TEMPLATE) -> Any:
    """Train a byte-level BPE tokenizer of 320 tokens with the reserved names."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=NAMES, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(TEXTS, trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<|bos|>",
        eos_token="<|eos|>",
        pad_token="<|pad|>",
        additional_special_tokens=NAMES[3:],
    )
    made.chat_template = template
    return made


def model(seed: int = 0, *, tied: bool = True, **changes: Any) -> Any:
    """Make a random Qwen3, 64 wide, 2 layers, with weights large enough to tell texts apart."""
    torch.manual_seed(seed)
    config = {
        "vocab_size": 320,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 256,
        "tie_word_embeddings": tied,
        "initializer_range": 0.2,
        "bos_token_id": 0,
        "eos_token_id": [6, 1],
        "pad_token_id": 2,
    }
    made = Qwen3ForCausalLM(Qwen3Config(**(config | changes)))
    made.generation_config.eos_token_id = [6, 1]
    made.generation_config.pad_token_id = 2
    return made.eval()


def base(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """Write a base folder with model and tokenizer."""
    with quiet():
        model(seed, **changes).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


@dataclass(frozen=True)
class Counting(Recipe):
    """A recipe that a random model learns in a second: how to count the rows of a table."""

    epochs: float = 6.0
    length: int = 96
    max_new_tokens: int = 24

    def examples(self, split: Split) -> list[Example]:
        """Ask about one of four tables, in one of three ways."""
        draw = random.Random(split)
        count = {"train": 120, "validation": 24, "test": 24}[split]
        return [self._example(draw, f"{split}:{number}") for number in range(1, count + 1)]

    def _example(self, draw: random.Random, where: str) -> Example:
        table = draw.choice(["singer", "concert", "stadium", "song"])
        ask = draw.choice(
            ["How many rows has {}?", "Count {}.", "What is the number of rows of {}?"]
        )
        messages = (
            {"role": "user", "content": ask.format(table)},
            {"role": "assistant", "content": f"SELECT count(*) FROM {table}"},
        )
        return Example(messages, {"unit": where}, where)


def tuned(folder: Path, base: Path, method: str, recipe: Recipe | None = None, **plan: Any) -> Run:
    """Tune a base by the real machinery."""
    how = load("adapters", method)
    settings = {"command": "tune", "method": {"name": method} | table(how)}
    run = Run.create(folder, settings)
    tuning = Tuning(**({"batch": 384, "checks": 4} | plan))
    for _ in tune(run, recipe or Counting(), how, str(base), tuning):
        pass
    return run


@dataclass(frozen=True)
class Unleaked(Counting):
    """As `Counting`, with questions of their own in each split."""

    def examples(self, split: Split) -> list[Example]:
        """Number the tables, so that no two splits ask about the same."""
        first, count = {"train": (0, 30), "validation": (30, 10), "test": (40, 10)}[split]
        return [
            Example(
                (
                    {"role": "user", "content": f"Count t{number}."},
                    {"role": "assistant", "content": f"SELECT count(*) FROM t{number}"},
                ),
                {"unit": str(number)},
                f"{split}:{number}",
            )
            for number in range(first, first + count)
        ]
