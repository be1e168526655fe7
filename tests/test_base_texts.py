"""Texts that are odd: too long, too deep, cut off, with a byte order mark or another line end."""

import codecs
import io
import json
import random
import zipfile
from pathlib import Path

import pytest
import zstandard

from ftkit.basemodel import record, records, unpack
from ftkit.basemodel.corpus import Documents
from ftkit.basemodel.texts import chunks
from ftkit.errors import FtkitError

MARK = codecs.BOM_UTF8
HUGE = b"9" * 5000
DEEP = b"[" * 200_000
HINT = r"; a \.json file is a list of objects, or one object on each line$"
PRETTY = json.dumps({"text": "a"}, indent=1).encode()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", b'[{"text": "a"}]\n\n, {"text": "b"}',
         r"a\.json:3: not valid JSON \(more behind the list\)"),
        ("a.json", b"[] []", r"a\.json:1: not valid JSON \(more behind"),
        ("a.json", b'[{"text": "a",\n"n": ' + HUGE + b"}]",
         r"a\.json:1: JSON that cannot be read \(a huge number\)$"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "a", "n": ' + HUGE + b"}",
         r"a\.jsonl:2: JSON that cannot be read \(a huge number\)$"),
        ("a.json", b"[1,\n" + DEEP, r"a\.json:1: a row of a corpus is"),
        ("a.json", b"[\n" + DEEP, r"a\.json:2: JSON that cannot be read \(too many brackets"),
        ("a.jsonl", b"\n" + DEEP, r"a\.jsonl:2: JSON that cannot be read \(too many brackets"),
        ("a.jsonl", MARK + b'{"text": "\xff"}', r"a\.jsonl:1: not UTF-8 \(byte 0xff at place 14"),
        ("a.txt", MARK + b"ten bytes \xff", r"a\.txt:1: not UTF-8 \(byte 0xff at place 14"),
        ("a.json", PRETTY, r"a\.json:1: not valid JSON \(Expecting .* at place 2\)" + HINT),
        ("a.json", b'{"text": "a"}\n{"text":', r"a\.json:2: not valid JSON .*" + HINT),
        ("a.json", b"3", r"a\.json:1: a \.json file is a list" ),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_what_is_odd_is_named(tmp_path: Path, name: str, content: bytes, words: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FtkitError, match=words) as caught:
        list(Documents([tmp_path]))
    assert "\n" not in str(caught.value)


def test_space_behind_a_list_is_nothing(tmp_path: Path):
    (tmp_path / "a.json").write_bytes(MARK + b' [ {"text": "a"} , {"text": "b"} ] \r\n\t\n')
    assert list(Documents([tmp_path])) == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.jsonl", r"a\.jsonl:2: a line has 0 MiB at most"),
        ("a.json", r"a\.json:2: an element has 0 MiB at most"),
    ],
)
def test_a_line_and_an_element_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
):
    monkeypatch.setattr(records, "MOST", 1000)
    monkeypatch.setattr(record, "BLOCK", 100)
    monkeypatch.setattr(records, "BLOCK", 100)
    start, join, end = ("", "\n", "") if name == "a.jsonl" else ("[", ",\n", "]")

    def write(size: int) -> None:
        rows = [json.dumps({"text": "x" * size}) for size in (900, size, 10)]
        (tmp_path / name).write_text(start + join.join(rows) + end)

    write(900)
    assert [len(text) for text in Documents([tmp_path])] == [900, 900, 10]
    write(10_000)
    documents = iter(Documents([tmp_path]))
    assert len(next(documents)) == 900
    with pytest.raises(FtkitError, match=words):
        next(documents)


def test_zeros_in_zst_are_unpacked_in_pieces():
    """A packed byte may become 32 KiB: what is held at once goes by what is unpacked."""
    size, most, found = 2**26, 0, 0
    packed = zstandard.compress(bytes(size))
    stream = unpack._Zstd(io.BytesIO(packed))
    buffer = bytearray(2**16)
    while count := stream.readinto(buffer):
        found += count
        most = max(most, len(stream._ready))
    assert found == size
    assert len(packed) < 4096
    assert most <= 2**23


def nested(depth: int) -> bytes:
    content = b"text"
    for name in ["a.txt", *["a.zip"] * (depth - 1)]:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)
        content = out.getvalue()
    return content


def test_archives_lie_in_each_other_to_a_depth(tmp_path: Path):
    (tmp_path / "b.zip").write_bytes(nested(8))
    assert list(Documents([tmp_path])) == ["text"]
    (tmp_path / "b.zip").write_bytes(nested(9))
    with pytest.raises(
        FtkitError, match=r"b\.zip(!a\.zip){8} cannot be unpacked: it lies in 8 arch"
    ):
        list(Documents([tmp_path]))


@pytest.mark.parametrize("block", [1, 7, 4001, 100_000])
def test_lines_that_end_as_in_windows_are_cut_at_paragraphs(block: int):
    draw = random.Random(1)
    paragraphs = [
        "\r\n".join(["some words of a line"] * draw.randint(1, 20)) + f" {n}" for n in range(300)
    ]
    text = "\r\n\r\n".join(paragraphs) + "\r\n"
    found = list(chunks(text[first : first + block] for first in range(0, len(text), block)))
    assert len(found) > 10
    assert [part for piece in found for part in piece.split("\r\n\r\n")] == paragraphs
