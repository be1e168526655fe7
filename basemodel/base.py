"""The base that a pretraining goes on from: a folder or a Hub id, its shape and its tokenizer."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftkit.errors import FtkitError
from ftkit.runs import WEIGHTS, Run, fingerprint

from .config import GPTConfig
from .export import GENERATION, read_config, read_json
from .tokenizer import FILE, Frame, Tokenizer, read_file
from .unpack import first_line

# What a tokenizer may consist of; the folder that is written gets those that are there.
TOKENIZER_FILES = (
    *(FILE, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("chat_template.jinja", "vocab.json", "merges.txt", "tokenizer.model"),
)
WANTED = ["*.json", "*.safetensors", "*.jinja", "*.txt", "tokenizer.model"]  # of a Hub id


@dataclass(frozen=True)
class Base:
    """A model to go on from.

    Args:
        folder: where it lies.
        config: its shape, which stays.
        tokenizer: its tokenizer, which stays.
        fingerprint: hash of configuration, tokenizer and weights.
    """

    folder: Path
    config: GPTConfig
    tokenizer: Tokenizer
    fingerprint: str

    def save_tokenizer(self, folder: Path) -> None:
        """Copy the tokenizer's files, and what the base says of generation, as they are."""
        for name in (*TOKENIZER_FILES, GENERATION):
            if (self.folder / name).is_file():
                shutil.copyfile(self.folder / name, folder / name)


def open_base(place: str) -> Base:
    """Open the base at a place.

    Args:
        place: a folder in the Hugging Face layout, ours or not, or a Hub id such as `owner/name`,
            also with `hub:` in front.

    Raises:
        FtkitError: when there is none, it is an adapter, an unfinished run or without weights, or
            the GPT cannot represent it.
    """
    folder = _folder(place)
    if (folder / "run" / "run.toml").is_file():
        Run.open(folder)
    if (folder / "adapter_config.json").is_file():
        raise FtkitError(f"{place} is an adapter: give the base it was tuned from")
    config = read_config(folder)
    if not any(folder.glob(f"*{WEIGHTS}")):
        raise FtkitError(f"{place} holds no {WEIGHTS} file: save it with save_pretrained")
    tokenizer = _tokenizer(folder, config)
    if tokenizer.size > config.vocab_size:
        raise FtkitError(
            f"{place}: its tokenizer has ids up to {tokenizer.size - 1}, its model "
            f"{config.vocab_size} rows"
        )
    return Base(folder, config, tokenizer, fingerprint(folder))


def _folder(place: str) -> Path:
    """Find the folder, or bring what a Hub id names into the Hub's own cache."""
    path, name = Path(place), place.removeprefix("hub:")
    if path.is_dir():
        return path
    if path.exists():
        raise FtkitError(f"{place} is a file: a base is a folder")
    owner, _, rest = name.partition("/")
    if not rest or "/" in rest or owner in ("", ".", ".."):
        raise FtkitError(
            f"no base model at {place}: there is no such folder, and a base of the Hub is called "
            "OWNER/NAME"
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=WANTED))
    except Exception as problem:  # the network's, the Hub's and the library's own, of any kind
        raise FtkitError(
            f"no base model at {place}: there is no such folder, and the Hub gave none "
            f"({first_line(problem)})"
        ) from None


def _tokenizer(folder: Path, config: GPTConfig) -> Tokenizer:
    """Read a tokenizer, ours or not, and find out which of its tokens frame a document."""
    inner = read_file(folder)
    named: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            named |= read_json(folder / name)

    def number(name: str) -> int | None:
        token = named.get(name)
        word = token.get("content") if isinstance(token, dict) else token
        return None if word is None else inner.token_to_id(str(word))

    ends = [number("eos_token"), *config.eos_token_id]
    closing = next((end for end in ends if end is not None), None)
    if closing is None:
        raise FtkitError(f"{folder} names no eos_token: a document has to end with one")
    opening = number("bos_token")
    pad = number("pad_token")
    # GPT-2 has one token for both: a document is closed by it, and so the next one is opened.
    frame = Frame(None if opening == closing else opening, closing, closing if pad is None else pad)
    return Tokenizer(inner, frame)
