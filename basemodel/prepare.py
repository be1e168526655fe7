"""From documents to tokens on disk: surveyed, a tokenizer learned, encoded; later runs find them.

Tokens lie in a folder whose name says all that they depend on, so that no run takes what is not
its own, and a run on the same text with the same tokenizer finds them whole.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftkit.errors import FtkitError

from .corpus import Survey, survey
from .encode import build, enough
from .tokenizer import FILE, Tokenizer, train_tokenizer
from .tokens import Corpus

FORMAT = 2  # of the files and the rules they are made by; raised when one changes


@dataclass(frozen=True)
class Learn:
    """A tokenizer that has yet to be learned from the corpus.

    Args:
        kind: bpe, word or char.
        size: how many tokens it may have.
    """

    kind: str
    size: int


@dataclass(frozen=True)
class Prepared:
    """Tokens that are ready.

    Args:
        corpus: the tokens.
        tokenizer: whose they are.
        key: name of their folder.
    """

    corpus: Corpus
    tokenizer: Tokenizer
    key: str


def prepare(
    documents: Callable[[], Iterable[str]],
    home: Path,
    *,
    tokenizer: Tokenizer | Learn,
    context: int,
    validation: float,
    key: str = "",
) -> Generator[dict[str, Any], None, Prepared]:
    """Find the tokens of a corpus, or make them.

    Args:
        documents: opens the corpus, which is read twice, and once more to learn a tokenizer; not
            called when `key` is found.
        home: the folder of folders of tokens.
        tokenizer: whose tokens, or what is to be learned.
        context: the least length, in tokens.
        validation: share of the documents that is held out.
        key: of tokens that must be the very same; "" for none.

    Yields:
        {"event"}: what is done next.

    Raises:
        FtkitError: for a corpus that cannot be read, changes while it is, is too short, or gives
            another key.
    """
    _may_write(home)
    if key and (corpus := Corpus.open(home / key)):
        owner = Tokenizer.open(home / key) if isinstance(tokenizer, Learn) else tokenizer
        return Prepared(enough(corpus, context), owner, key)
    yield {"event": "reading the corpus"}
    texts = documents()
    found = survey(texts, validation)
    learned: Path | None = None
    if isinstance(tokenizer, Learn):
        what = named(FORMAT, "tokenizer", found.digest, validation, tokenizer.kind, tokenizer.size)
        learned = home / what if not (home / what / FILE).is_file() else None
        tokenizer = yield from _learned(texts, found, home / what, tokenizer)
    made = named(FORMAT, "tokens", found.digest, validation, tokenizer.digest)
    if key not in ("", made):
        raise FtkitError(
            f"{home / key} is gone, and the corpus is not what it was when the run began: "
            "begin a new run"
        )
    if Corpus.open(home / made):
        yield {"event": f"tokens of an earlier run are used: {home / made}"}
    else:
        yield {"event": f"encoding {found.characters / 1e6:.1f} million characters"}
    try:
        return Prepared(build(texts, found, tokenizer, home / made, context), tokenizer, made)
    except FtkitError as problem:
        if learned and problem.exit_code == FtkitError.exit_code:  # refused, and not stopped
            _forget(learned)
        raise


def _may_write(home: Path) -> None:
    """Refuse a place for tokens that cannot be written to, before anything is read."""
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    if not os.access(there, os.W_OK):
        raise FtkitError(
            f"tokens cannot be kept in {home}: {there} may not be written to; choose another --out"
        )


def _learned(
    texts: Iterable[str], found: Survey, place: Path, learn: Learn
) -> Generator[dict[str, Any], None, Tokenizer]:
    """Find the tokenizer that an earlier run learned from this corpus, or learn it."""
    if (place / FILE).is_file():
        yield {"event": f"the tokenizer of an earlier run is used: {place}"}
    else:
        yield {"event": f"learning {learn.size} tokens"}
        train_tokenizer(found.sample(texts), learn.size, learn.kind).save(place, 0)
    return Tokenizer.open(place)


def _forget(place: Path) -> None:
    """Take away a tokenizer whose corpus was refused, and the folder of tokens if it was first."""
    shutil.rmtree(place, ignore_errors=True)
    with suppress(OSError):
        place.parent.rmdir()


def named(*what: object) -> str:
    """Make a folder's name of all that its content depends on.

    >>> named(1, "a") == named(1, "a"), named(1, "a") == named(1, "b"), len(named(1))
    (True, False, 32)
    """
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]
