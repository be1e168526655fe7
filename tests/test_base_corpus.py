"""The corpus: what is read or refused (with file and line), held out and batched."""

import gzip
import json
import lzma
import random
from collections import Counter
from pathlib import Path

import pytest
import torch

from ftkit.basemodel.corpus import Documents, survey
from ftkit.basemodel.encode import build
from ftkit.basemodel.tokenizer import BOS, END, Tokenizer, train_tokenizer
from ftkit.basemodel.tokens import Corpus, pack
from ftkit.errors import FtkitError

# The odd characters end a line for Python, not for JSON lines.
DOCUMENTS = [
    f"Note {n}: the {n % 7} singers of town {n} sang {n * n} songs.\u2028\x85" for n in range(120)
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(DOCUMENTS, 340)


# A whole header and end, with a body that is no deflate stream.
SPOILT = gzip.compress(b"text " * 999)[:12] + b"\xff" * 20 + gzip.compress(b"text " * 999)[-8:]


def test_files_folders_and_packed_files_give_their_documents(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"text": text, "id": 1}) + "\n" for text in ("ä", " ", "b"))
    (tmp_path / "a.jsonl").write_text(rows + "\n", encoding="utf-8")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.txt.gz").write_bytes(gzip.compress(b"\xef\xbb\xbfone text\n"))
    (tmp_path / "deep" / "c.jsonl.xz").write_bytes(lzma.compress(b'{"text": "packed"}\n'))
    (tmp_path / "deep" / "notes.rtf").write_text("left out")
    assert list(Documents([tmp_path])) == ["ä", "b", "one text", "packed"]
    twice = Documents([tmp_path / "a.jsonl", tmp_path / "deep"])
    assert list(twice) == list(twice) == ["ä", "b", "one text", "packed"]


def test_a_long_text_is_cut_at_paragraphs_and_loses_nothing(tmp_path: Path) -> None:
    paragraphs = [f"{n} " + "word " * (n % 90) + "end." for n in range(300)]
    (tmp_path / "book.txt").write_text("\n\n".join(paragraphs))
    found = list(Documents([tmp_path / "book.txt"]))
    assert len(found) > 10
    assert all(1500 < len(text) <= 4000 for text in found[:-1])
    assert [part for text in found for part in text.split("\n\n")] == paragraphs


def test_a_text_without_any_break_is_cut_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x" * 10_000)
    assert [len(text) for text in Documents([tmp_path / "a.txt"])] == [4000, 4000, 2000]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"", r"a\.txt is empty: there is no text in it"),
        ("a.jsonl", b"\n\n", r"a\.jsonl is empty"),
        ("a.jsonl", b'{"text": " "}\n', r"a\.jsonl is empty"),
        ("a.txt", b"fine\nna\xefve\n", r"a\.txt:2: not UTF-8 \(byte 0xef at place 3 of the line"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "b"\n', r"a\.jsonl:2: not valid JSON \("),
        ("a.jsonl", b'{"text": "a"}\n["b"]\n', r'a\.jsonl:2: a row of a corpus is \{"text"'),
        ("a.jsonl", b'{"txt": "a"}\n', r'a\.jsonl:1: a row of a corpus is \{"text"'),
        ("a.jsonl", b'\n{"text": null}\n', r'a\.jsonl:2: "text" is null; it must be a string'),
        ("a.jsonl", b'{"text": 3}\n', r'a\.jsonl:1: "text" is a number; it must be a string'),
        ("a.txt.gz", b"plain", r"a\.txt\.gz cannot be unpacked"),
        ("a.txt.gz", gzip.compress(b"text " * 999)[:-9], r"a\.txt\.gz cannot be unpacked"),
        ("a.jsonl.xz", b"plain", r"a\.jsonl\.xz cannot be unpacked"),
        ("a.txt.gz", SPOILT, r"a\.txt\.gz cannot be unpacked"),
        ("a.jsonl", b'{"text": "\\ud83d"}\n', r"a\.jsonl:1: it holds half of a"),
        ("a.pdf", b"%PDF", r"a\.pdf cannot be read: a source is a file \.txt, \.md, "),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FtkitError, match=words):
        list(Documents([tmp_path / name]))


def test_a_missing_file_and_a_folder_without_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(FtkitError, match=r"no such file or folder: .*nowhere\.txt"):
        Documents([tmp_path / "nowhere.txt"])
    with pytest.raises(FtkitError, match=r"holds no file of text: \.txt, \.md, \.jsonl, "):
        Documents([tmp_path])


def test_the_split_goes_by_content_alone() -> None:
    held = {text for text in DOCUMENTS if not survey(DOCUMENTS, 0.2).trains(text)}
    assert 10 < len(held) < 40
    mixed = [*DOCUMENTS[60:], *DOCUMENTS, *(f"new {n}" for n in range(50))]
    moved = survey(mixed, 0.2)
    assert {text for text in DOCUMENTS if not moved.trains(text)} == held


def test_at_least_one_and_at_most_200_kb_are_held_out() -> None:
    few = survey(DOCUMENTS[:3], 0.0)
    assert len(few.held) == 1
    large = [f"{n} " + "x" * 9_990 for n in range(100)]
    assert 15 <= len(survey(large, 0.5).held) <= 21
    with pytest.raises(FtkitError, match="the corpus has 1 document: there must be two or more"):
        survey(["same", "same"], 0.1)


def read(corpus: Corpus, tokenizer: Tokenizer) -> list[str]:
    ids, starts = corpus.ids(0).tolist(), corpus.starts(0).tolist()
    parts = [ids[a:b] for a, b in zip(starts, [*starts[1:], len(ids)], strict=True)]
    assert all(part[-1] == tokenizer.id(END) for part in parts)
    return [tokenizer.decode(part) for part in parts]


def test_training_and_validation_hold_each_document_once(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    found = survey(DOCUMENTS, 0.1)
    corpus = build(DOCUMENTS, found, tokenizer, tmp_path, 32)
    assert corpus.ids(0).dtype == "uint16"
    assert corpus.shards == (len(corpus.ids(0)),) == (corpus.tokens,)
    held, trained = corpus.held(), read(corpus, tokenizer)
    assert sorted(held + trained) == sorted(DOCUMENTS)
    assert held == [text for text in DOCUMENTS if not found.trains(text)]
    again = build([], found, tokenizer, tmp_path, 32)  # finished before: taken as it is
    assert again == corpus


def test_batches_depend_on_number_and_seed_alone(tmp_path: Path, tokenizer: Tokenizer) -> None:
    corpus = build(DOCUMENTS, survey(DOCUMENTS, 0.1), tokenizer, tmp_path, 16)
    batches = [corpus.batch(number, 4, 16, seed=3) for number in range(60)]
    fresh = Corpus(tmp_path, corpus.dtype, corpus.shards)
    torch.manual_seed(99)
    for number in (59, 0, 31):
        again = fresh.batch(number, 4, 16, seed=3)
        assert torch.equal(again.ids_BT, batches[number].ids_BT)
        assert torch.equal(again.labels_BT, batches[number].labels_BT)
    assert batches[0].tokens == 4 * 16
    assert torch.equal(batches[0].ids_BT[:, 1:], batches[0].labels_BT[:, :-1])
    assert not torch.equal(batches[0].ids_BT, corpus.batch(0, 4, 16, seed=4).ids_BT)


def test_an_epoch_reads_every_document_once_and_whole(tmp_path: Path, tokenizer: Tokenizer) -> None:
    texts = [*DOCUMENTS, " ".join(DOCUMENTS[:40])]  # the last is longer than any row
    found = survey(texts, 0.05)
    assert found.trains(texts[-1])
    corpus = build(texts, found, tokenizer, tmp_path, 64)
    trained = {text for text in texts if text not in corpus.held()}

    def epoch(which: int, size: int) -> list[tuple[int, ...]]:
        rows = [corpus.batch(row, 1, 64, seed=0) for row in range(which * size, (which + 1) * size)]
        return [(*row.ids_BT[0].tolist(), int(row.labels_BT[0, -1])) for row in rows]

    def whole(rows: list[tuple[int, ...]]) -> Counter[str]:
        """Count the documents that stand in a row from <|bos|> to <|end|>."""
        found: Counter[str] = Counter()
        for row in rows:
            text = tokenizer.inner.decode(list(row), skip_special_tokens=False)
            found.update(part.split(END)[0] for part in text.split(BOS)[1:] if END in part)
        return found

    size = 1
    while whole(epoch(0, size)).keys() < trained - {texts[-1]}:
        size += 1
    rows = epoch(0, size)
    assert whole(rows) == Counter(trained - {texts[-1]})
    # The long one lies in pieces; little is read twice.
    assert corpus.tokens <= size * 65 <= corpus.tokens * 1.25
    assert whole(epoch(1, size)) == whole(rows)
    assert epoch(1, size) != rows


def test_packing_holds_each_piece_once_and_fills_every_row() -> None:
    draw = random.Random(5)
    pieces, start = [], 0
    for _ in range(500):
        pieces.append((start, draw.randint(2, 100)))
        start += pieces[-1][1]
    rows = pack(pieces, 100, draw)
    assert all(sum(length for _, length in row) == 100 for row in rows)
    found = Counter(piece for row in rows for piece in row)
    assert all(found[piece] >= 1 for piece in pieces)
    beginnings = [piece for row in rows for piece in row if piece not in set(pieces)]
    assert sum(length for _, length in beginnings) < 0.05 * start
    assert {first for first, _ in beginnings} <= {first for first, _ in pieces}


def test_a_corpus_shorter_than_the_context_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    texts = ["one text", "another text"]
    with pytest.raises(FtkitError, match=r"has \d+ tokens for training: it must have more than"):
        build(texts, survey(texts, 0.1), tokenizer, tmp_path, 32)
