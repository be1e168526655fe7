"""The corpus beyond memory: the split, shards, batches by number, words that came before."""

import hashlib
import random
from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ftkit.basemodel import corpus as corpus_module
from ftkit.basemodel import encode, shards, tokens, words
from ftkit.basemodel.corpus import HELD_BYTES, survey
from ftkit.basemodel.encode import build
from ftkit.basemodel.shards import how_many
from ftkit.basemodel.tokenizer import LEAST, SPLITS, Tokenizer, train_tokenizer
from ftkit.basemodel.tokens import Corpus, pack
from ftkit.basemodel.words import BORDER, SPACE, Words, slices
from ftkit.errors import FtkitError

DOCUMENTS = [
    f"Note {n}: the {n % 7} singers of town {n} sang " + "songs, " * (n * n % 23)
    for n in range(600)
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(DOCUMENTS, 340)


def held_by_a_table(documents: list[str], validation: float) -> frozenset[bytes]:
    """The split with all digests in memory: what the split within bounds has to find."""
    sizes = {hashlib.sha256(text.encode()).digest(): len(text.encode()) for text in documents}
    sizes = {digest: size for digest, size in sizes.items() if size <= HELD_BYTES} or sizes
    room, held = HELD_BYTES, set[bytes]()
    for digest in sorted(sizes):
        room -= sizes[digest]
        if held and (int.from_bytes(digest[:8]) / 2**64 >= validation or room < 0):
            break
        held.add(digest)
    return frozenset(held)


@pytest.mark.parametrize("validation", [0.0, 0.01, 0.3, 0.5])
@pytest.mark.parametrize("longest", [3, 300, 30_000, 300_000])
def test_the_split_is_that_of_a_table_of_all_documents(validation: float, longest: int):
    for seed in range(1 if longest > 99_999 else 9):
        draw = random.Random(seed)
        texts = [f"{n} " + "é" * draw.randrange(longest) for n in range(60)]
        texts += draw.choices(texts, k=20)
        found = survey(texts, validation)
        assert found.held == held_by_a_table(texts, validation)
        digests = {hashlib.sha256(text.encode()).digest() for text in texts} - found.held
        assert found.sampled == min(digests, key=lambda digest: digest[8:16])


def test_a_document_larger_than_what_may_be_held_out_trains():
    large = [f"{n} " + "x" * HELD_BYTES for n in range(20)]
    for small in (["one"], ["one", "two"]):
        found = survey([*large, *small, *large], 0.5)
        assert all(map(found.trains, large))
        assert found.held == survey([*large[:1], *small], 0.5).held
    first, *others = sorted(large, key=lambda text: hashlib.sha256(text.encode()).digest())
    found = survey(large, 0.5)
    assert not found.trains(first)
    assert all(map(found.trains, others))
    assert found.sampled == min(
        (hashlib.sha256(text.encode()).digest() for text in others),
        key=lambda digest: digest[8:16],
    )


def test_a_sample_is_never_empty_and_never_too_long(monkeypatch: pytest.MonkeyPatch):
    found = survey(DOCUMENTS, 0.1)
    trained = [text for text in DOCUMENTS if found.trains(text)]
    assert list(found.sample(DOCUMENTS)) == trained
    monkeypatch.setattr(corpus_module, "SAMPLE", 10)
    (one,) = found.sample(DOCUMENTS)
    assert one in {text[:10] for text in trained}
    monkeypatch.setattr(corpus_module, "SAMPLE", found.characters // 3)
    part = list(found.sample(DOCUMENTS))
    assert sum(map(len, part)) <= found.characters // 3
    assert 100 < len(part) < 300
    assert set(part[:-1]) < set(trained)
    monkeypatch.setattr(corpus_module, "SAMPLE", found.characters)
    longer = survey([*DOCUMENTS, "x" * found.characters], 0.1)
    assert sum(map(len, longer.sample([*DOCUMENTS, "x" * found.characters]))) <= found.characters


def test_the_split_keeps_no_more_than_it_may_hold_out(monkeypatch: pytest.MonkeyPatch):
    made = list[corpus_module._Least]()

    class Seen(corpus_module._Least):
        def __init__(self, room: int) -> None:
            super().__init__(room)
            made.append(self)

    monkeypatch.setattr(corpus_module, "_Least", Seen)
    survey((f"{n:09} {'x' * 990}" for n in range(9_000)), 0.5)
    assert len(made[0].sorted()) == len(made[0]._heap) == HELD_BYTES // 1000


def test_the_digest_of_a_corpus_goes_by_texts_and_order():
    whole = survey(DOCUMENTS, 0.1).digest
    assert survey(DOCUMENTS, 0.3).digest == whole
    for other in (DOCUMENTS[::-1], DOCUMENTS[:-1], [*DOCUMENTS, DOCUMENTS[0]]):
        assert survey(other, 0.1).digest != whole


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make everything that is cut so small that this corpus is cut too."""
    monkeypatch.setattr(shards, "CHARACTERS", 6000)
    monkeypatch.setattr(shards, "FLUSH", 64)
    monkeypatch.setattr(encode, "GROUP", 1000)
    monkeypatch.setattr(encode, "SLICE", 50)
    monkeypatch.setattr(words, "ROOM", 300)


def read(corpus: Corpus, tokenizer: Tokenizer) -> list[list[list[int]]]:
    """Return the ids of each document of each shard."""
    return [
        [part.tolist() for part in np.split(corpus.ids(shard), corpus.starts(shard)[1:])]
        for shard in range(len(corpus.shards))
    ]


@pytest.mark.usefixtures("small")
def test_each_document_lies_whole_in_the_shard_of_its_hash(tmp_path: Path, tokenizer: Tokenizer):
    found = survey(DOCUMENTS, 0.1)
    corpus = build(DOCUMENTS, found, tokenizer, tmp_path / "x", 32)
    count = how_many(found.characters)
    assert len(corpus.shards) == count > 8
    wanted: list[list[list[int]]] = [[] for _ in range(count)]
    for text in DOCUMENTS:
        if found.trains(text):
            digest = hashlib.sha256(text.encode()).digest()
            ids = tokenizer.framed(tokenizer.encode(text))
            wanted[int.from_bytes(digest) % count].append(ids)
    assert read(corpus, tokenizer) == wanted
    flat = [ids for shard in wanted for ids in shard]
    assert corpus.tokens == sum(map(len, flat))
    assert np.array_equal(corpus.first(1000), np.concatenate(flat)[:1000])
    assert {file.name.split(".")[0] for file in (tmp_path / "x").glob("*.ids")} == {
        f"{shard:03}" for shard in range(count)
    }


@pytest.mark.usefixtures("small")
def test_an_epoch_of_shards_reads_each_document_once(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
):
    found = survey(DOCUMENTS, 0.1)
    corpus = build(DOCUMENTS, found, tokenizer, tmp_path / "x", 80)
    rows = tokens._rows(corpus, 80)
    size = sum(rows)
    assert (tmp_path / "x" / "rows-80.json").is_file()

    def epoch(number: int, which: Corpus = corpus) -> list[tuple[int, ...]]:
        found = [which.batch(n, 1, 80, 7) for n in range(number * size, (number + 1) * size)]
        return [(*row.ids_BT[0].tolist(), int(row.labels_BT[0, -1])) for row in found]

    def whole(rows: list[tuple[int, ...]]) -> Counter[tuple[int, ...]]:
        found: Counter[tuple[int, ...]] = Counter()
        for row in rows:
            starts = [place for place, token in enumerate(row) if token == tokenizer.frame.opening]
            for start, end in zip(starts, [*starts[1:], len(row)], strict=True):
                found[row[start:end]] += 1
        return found

    first = epoch(0)
    documents = [ids for shard in read(corpus, tokenizer) for ids in shard]
    short = Counter(tuple(ids) for ids in documents if len(ids) <= 81)
    assert len(short) > 400
    assert short - whole(first) == Counter()
    assert corpus.tokens <= size * 81 <= corpus.tokens * 1.3
    second = epoch(1)
    assert second != first
    # Shards come one after the other, each epoch in another order.
    order = [tokens._place(corpus, 80, 7, row)[0] for row in range(2 * size)]
    runs = [a for a, b in zip(order, [*order[1:], -1], strict=True) if a != b]
    assert sorted(runs[: len(rows)]) == list(range(len(rows)))
    assert runs[: len(rows)] != runs[-len(rows) :]
    # Nothing but the arguments matters: another object, no memory of what came before.
    for cache in (tokens._packed, tokens._order, tokens._rows):
        cache.cache_clear()
    fresh = Corpus.open(tmp_path / "x")
    assert fresh is not None
    assert epoch(1, fresh) == second
    assert tokens._packed.cache_info().maxsize == 2


@pytest.mark.parametrize("size", [5, 64, 200])
def test_rows_are_counted_without_packing(size: int):
    draw = random.Random(size)
    pieces = [(0, 0)]
    for _ in range(300):
        pieces.append((sum(pieces[-1]), draw.randint(1, size)))
    counts = Counter(length for _, length in pieces[1:])
    rows = pack(pieces[1:], size, draw)
    assert len(rows) == sum(1 for _ in tokens._shapes(counts, size))
    assert all(sum(length for _, length in row) == size for row in rows)


def test_a_shard_that_is_shorter_than_a_row_fills_one():
    assert pack([(0, 3), (3, 2)], 12, random.Random(0)) == [[(0, 3), (3, 2), (0, 5), (0, 2)]]


@pytest.mark.parametrize(("characters", "count"), [(0, 1), (2**24, 1), (2**26, 4), (10**11, 256)])
def test_the_number_of_shards(characters: int, count: int):
    assert how_many(characters) == count


def test_ids_above_65_536_are_wider(tmp_path: Path, tokenizer: Tokenizer, monkeypatch):
    monkeypatch.setattr(Tokenizer, "size", 2**16 + 1)
    corpus = build(DOCUMENTS, survey(DOCUMENTS, 0.1), tokenizer, tmp_path / "x", 32)
    assert corpus.ids(0).dtype == "uint32"


def test_a_frame_without_an_opening_is_kept(tmp_path: Path, tokenizer: Tokenizer, monkeypatch):
    monkeypatch.setattr(Tokenizer, "framed", lambda _, ids: [*ids, 9, 8])
    found = survey(DOCUMENTS, 0.1)
    corpus = build(DOCUMENTS, found, tokenizer, tmp_path / "x", 32)
    first = next(text for text in DOCUMENTS if found.trains(text))
    assert read(corpus, tokenizer)[0][0] == [*tokenizer.encode(first), 9, 8]


ODD = st.sampled_from(
    [*" \n\r\t\x0b\x1c\x85\xa0\u2028\u200b\u3000", *"aZé's1.,-'\u0301世😀\u0130", "'s", "  "]
)


@pytest.mark.parametrize("kind", SPLITS)
@settings(max_examples=100, deadline=None)
@given(text=st.lists(ODD | st.characters(codec="utf-8"), max_size=40).map("".join))
@example(text="a   \n\n   b x \n  \n y    \n")
@example(text="it's\n\n'll  do \n x  1 2 . 's\r\n a")
def test_parts_have_the_ids_of_the_whole(kind: str, text: str):
    tokenizer = TRAINED[kind]
    whole = tokenizer.encode(text)
    for parts in (slices(text, 1), SPACE.split(text)):
        assert list(chain.from_iterable(map(tokenizer.encode, parts))) == whole
    assert "".join(slices(text, 1)) == text
    memory = Words(tokenizer.inner, "<u2", cut=tokenizer.own)
    for _ in range(2):
        assert np.frombuffer(memory.encode([text])[0], "<u2").tolist() == whole


# With tokens for runs of space, which a cut in a wrong place would tear.
TAUGHT = ["it's a's é 's 12 . , \n\n a 世 's'll a   \n\n   b \r\n \t\n  c  d", "x \n  \n y    \n"]
TRAINED = {kind: train_tokenizer(5 * TAUGHT, LEAST + 80, kind) for kind in SPLITS}


def test_prose_is_cut_and_a_text_without_a_place_stays_whole():
    text = "One line, and\nanother of 12 words. " * 50
    assert max(map(len, slices(text, 100))) < 120
    assert len(SPACE.split(text)) > 250
    assert list(slices("x" * 5000, 100)) == ["x" * 5000]
    assert not BORDER.search("a\n b  c\n\n")


def test_what_is_remembered_is_bounded(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(words, "ROOM", 500)
    memory, most = Words(tokenizer.inner, "<u2", cut=tokenizer.own), 0
    for n in range(200):
        memory.encode([f"{n} words {n * 7} and {n * 13}"])
        most = max(most, sum(map(len, memory._known)))
    assert most < 600


def test_reading_ahead_hands_errors_on(tmp_path: Path, tokenizer: Tokenizer):
    found = survey(DOCUMENTS, 0.1)

    def broken():
        yield from DOCUMENTS
        raise FtkitError("a.txt:3: not UTF-8")

    with pytest.raises(FtkitError, match=r"a\.txt:3: not UTF-8"):
        build(broken(), found, tokenizer, tmp_path / "home" / "x", 32)
    assert list(tmp_path.iterdir()) == []
