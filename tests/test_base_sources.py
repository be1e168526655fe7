"""Sources of text: every kind, packed and nested, weights, the Hub, and what cannot be read."""

import bz2
import gzip
import io
import json
import lzma
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest
import zstandard
from pyarrow import parquet

from ftkit.basemodel import record, unpack
from ftkit.basemodel.corpus import Documents
from ftkit.basemodel.texts import chunks
from ftkit.errors import FtkitError


def zst(data: bytes) -> bytes:
    """Pack as two frames, as parallel packers do."""
    half = len(data) // 2
    return b"".join(zstandard.compress(part) for part in (data[:half], data[half:]))


def tarred(**members: bytes) -> bytes:
    """Make a tar with a folder, a link and a device beside the members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind in (
            ("d", tarfile.DIRTYPE),
            ("l.txt", tarfile.SYMTYPE),
            ("n", tarfile.CHRTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "../../secret.txt"
            archive.addfile(info)
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def table(values: list[object], name: str = "text", kind: pyarrow.DataType | None = None) -> bytes:
    out = io.BytesIO()
    made = pyarrow.table({name: pyarrow.array(values, kind), "id": list(range(len(values)))})
    parquet.write_table(made, out, row_group_size=2)
    return out.getvalue()


TEXTS = ["one\ntext", "zwei ä", "three"]
ROWS = "".join(json.dumps({"text": text, "n": 1}) + "\n" for text in TEXTS).encode()
LIST = json.dumps([{"text": text} for text in TEXTS], indent=1).encode()
PLAIN = "zwei ä".encode()
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zst,
}
KINDS = {
    "a.jsonl": (ROWS, TEXTS),
    "a.ndjson": (ROWS, TEXTS),
    "a.json": (LIST, TEXTS),
    "lines.json": (ROWS, TEXTS),
    "a.txt": (PLAIN, ["zwei ä"]),
    "a.md": (PLAIN, ["zwei ä"]),
    "a.parquet": (table(list(TEXTS)), TEXTS),
    "a.tar": (tarred(**{"d/a.txt": PLAIN, "b.jsonl": ROWS, "c.pdf": b"%"}), ["zwei ä", *TEXTS]),
    "a.zip": (zipped(**{"d/a.txt": PLAIN, "b.parquet": table(["b"])}), ["zwei ä", "b"]),
}
CASES = [(name + ending, name, ending) for name in KINDS for ending in PACKERS]
CASES += [(f"a{short}", "a.tar", long) for short, long in (("x.tgz", ".gz"), ("y.txz", ".xz"))]


@pytest.mark.parametrize(("name", "kind", "packing"), CASES, ids=lambda value: str(value))
def test_every_kind_is_read_packed_or_not(tmp_path: Path, name: str, kind: str, packing: str):
    content, texts = KINDS[kind]
    (tmp_path / name).write_bytes(PACKERS[packing](content))
    documents = Documents([tmp_path / name])
    assert list(documents) == list(documents) == texts
    assert list(Documents([tmp_path])) == texts
    assert [file.name for file in tmp_path.iterdir()] == [name]  # nothing is unpacked to disk


def test_openwebtext_is_read_as_it_comes(tmp_path: Path):
    """A tar.xz of `*_data.xz`, each an xz-packed tar of .txt files, told by their first bytes."""
    parts = {
        f"openwebtext/urlsf_subset00-{n}_data.xz": lzma.compress(
            tarred(**{f"{m:07}-abc.txt": f"page {n} {m}".encode() for m in range(3)})
        )
        for n in range(2)
    }
    whole = tmp_path / "openwebtext.tar.xz"
    whole.write_bytes(lzma.compress(tarred(**parts, README=b"none", **{"._a.txt": b"\xff"})))
    pages = [f"page {n} {m}" for n in range(2) for m in range(3)]
    assert list(Documents([whole])) == pages
    inner = tmp_path / "urlsf_subset00-1_data.xz"
    inner.write_bytes(parts[f"openwebtext/{inner.name}"])
    assert list(Documents([inner])) == pages[3:]
    assert list(Documents([tmp_path])) == [*pages, *pages[3:]]


def test_archives_in_archives_of_every_kind(tmp_path: Path):
    inner = zipped(**{"a.txt.gz": gzip.compress(PLAIN)})
    (tmp_path / "a.zip").write_bytes(zipped(**{"in.tar.zst": zst(tarred(**{"in.zip": inner}))}))
    assert list(Documents([tmp_path])) == ["zwei ä"]


TORN = tarred(**{"a.txt": b"text " * 900})
ODD = {"a.txt": b"fine\nna\xefve\n"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.tar.gz", gzip.compress(tarred(**{"docs/b.jsonl": b'{"text": "a"}\n\n{"t"}'})),
         r"a\.tar\.gz!docs/b\.jsonl:3: not valid JSON"),
        ("a.zip", zipped(**{"b.tar": tarred(**ODD)}),
         r"a\.zip!b\.tar!a\.txt:2: not UTF-8 \(byte 0xef at place 3"),
        ("a.tar", TORN[:3000], r"a\.tar!a\.txt cannot be unpacked: unexpected end of data"),
        ("a.tar", TORN[: len(TORN) // 10240 * 10240 - 9200], r"a\.tar.* cannot be unpacked"),
        ("a.tar", b"no tar " * 99, r"a\.tar cannot be unpacked"),
        ("a.tar", tarred(), r"a\.tar is empty: there is no text in it"),
        ("a.zip", zipped(**ODD)[:-30], r"a\.zip cannot be unpacked: File is not a zip file"),
        ("a.txt.zst", zstandard.compress(b"text " * 999)[:-4],
         r"a\.txt\.zst cannot be unpacked: it ends before"),
        ("a.txt.zst", b"plain", r"a\.txt\.zst cannot be unpacked: "),
        ("a.tar.xz", lzma.compress(TORN)[:-20], r"a\.tar\.xz.* cannot be unpacked"),
        ("a.parquet", table(["a"], "content"),
         r'a\.parquet has no column "text": it has content, id'),
        ("a.parquet", table(["a", "b", None]),
         r'a\.parquet:3: "text" is null; it must be a string'),
        ("a.parquet", table([1, 2]), r'a\.parquet:1: "text" is a number; it must be a string'),
        ("a.parquet", b"PAR1 and no more", r"a\.parquet cannot be read as Parquet: "),
        ("a.tar", tarred(**{"b.parquet": b"none"}),
         r"a\.tar!b\.parquet cannot be read as Parquet: "),
        ("a.json", b'[{"text": "a"},\n{"txt": "b"}]',
         r'a\.json:2: a row of a corpus is \{"text"'),
        ("a.json", b'[{"text": "a"},\n{"text": 3}]',
         r'a\.json:2: "text" is a number; it must be a string'),
        ("a.json", b'[{"text": "a"}\n{"text": "b"}]', r"a\.json:2: not valid JSON \(Expecting ','"),
        ("a.json", b'[{"text": "a"},\n{"text": "b', r"a\.json:2: not valid JSON \(Unterminated"),
        ("a.json", b'[\n{"text":\n "a" "b"}]', r"a\.json:3: not valid JSON \(Expecting ','"),
        ("a.json", b'"text"', r'a\.json:1: a \.json file is a list of obj'),
        ("a.json", b"[]", r"a\.json is empty"),
        ("a.txt.bz2", bz2.compress(b"text"), r"a\.txt\.bz2 cannot be read: a source is a file"),
        ("notes", b"text", r"notes cannot be read: "),
        ("a.txt", b"fine\nall \xe2\x82", r"a\.txt:2: not UTF-8 \(byte 0xe2 at place 5 of the line"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, words: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FtkitError, match=words) as caught:
        list(Documents([tmp_path / name]))
    assert "\n" not in str(caught.value)


def test_an_encrypted_zip_is_named(tmp_path: Path):
    data = bytearray(zipped(**{"a.txt": b"text"}))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + place] |= 1
    (tmp_path / "a.zip").write_bytes(bytes(data))
    with pytest.raises(FtkitError, match=r"a\.zip cannot be unpacked: a\.txt is encrypted"):
        list(Documents([tmp_path]))


def test_what_must_be_held_in_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(unpack, "HELD", 1000)
    (tmp_path / "a.tar").write_bytes(tarred(**{"b.parquet": table(["x"]) + bytes(1000)}))
    with pytest.raises(FtkitError, match=r"a\.tar!b\.parquet has more than 0 MiB: .* unpack it"):
        list(Documents([tmp_path]))
    (tmp_path / "a.tar").unlink()
    (tmp_path / "b.parquet").write_bytes(table(["x" * 5000]))
    assert list(Documents([tmp_path])) == ["x" * 5000]


def cut_whole(text: str) -> list[str]:
    """The cut of a text that is in memory as a whole: what the cut of a stream has to be."""
    found, start = [], 0
    while len(text) - start > 4000:
        middle, end = start + 2000, start + 4000
        places = (text.rfind(border, middle, end) + len(border) for border in ("\n\n", "\n", " "))
        cut = next((place for place in places if place > middle), end)
        found.append(text[start:cut].strip("\n"))
        start = cut
    return [*found, text[start:].strip("\n")]


@pytest.mark.parametrize("block", [1, 7, 3999, 4000, 4001, 100_000])
def test_a_stream_is_cut_where_the_whole_text_would_be(block: int):
    parts = [f"{n} {'wörd ' * (n % 90)}end.{chr(10) * (n % 4)}" for n in range(400)]
    text = "".join([*parts, "x" * 9000])
    blocks = [text[first : first + block] for first in range(0, len(text), block)]
    assert list(chunks(blocks)) == cut_whole(text)


@pytest.mark.parametrize("block", [1, 2, 3, 5, 64])
def test_blocks_that_end_within_a_character_or_an_element(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
):
    monkeypatch.setattr(record, "BLOCK", block)
    texts = ["\ufeffä€😀" * 9, 'q"[{,]}\\n', "\\u00e9", "b"]
    (tmp_path / "a.txt").write_text("\ufeff" + texts[0] + "\nend", encoding="utf-8")
    (tmp_path / "b.json").write_text(
        json.dumps([{"n": [1, {"m": 2}], "text": text} for text in texts], indent=2)
    )
    assert list(Documents([tmp_path])) == [texts[0] + "\nend", *texts]
    (tmp_path / "a.txt").write_bytes("ä€\nö\n€ä".encode() + b"\xff")
    with pytest.raises(FtkitError, match=r"a\.txt:3: not UTF-8 \(byte 0xff at place 6 of"):
        list(Documents([tmp_path]))


def test_weights_take_halves_and_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    texts = [f"text {n}" for n in range(400)]
    for name in ("a.jsonl", "a.jsonl@2"):
        Path(name).write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    half = list(Documents(["a.jsonl@0.5"]))
    assert 160 < len(half) < 240
    assert half == [text for text in texts if text in set(half)] == list(Documents(["a.jsonl@.5"]))
    assert list(Documents(["a.jsonl@2.0"])) == [text for text in texts for _ in range(2)]
    both = list(Documents(["a.jsonl@2.5"]))
    assert both == [text for text in texts for _ in range(3 if text in set(half) else 2)]
    Path("a.jsonl@2").rename("plain@2.jsonl")
    assert list(Documents(["plain@2.jsonl"])) == texts  # a path that exists is that path
    for word in ("a.jsonl@0", "a.jsonl@x", "a.jsonl@-1", "a.jsonl@nan", "a.jsonl@"):
        with pytest.raises(FtkitError, match="the weight behind @ must be a number above 0"):
            Documents([word])


def test_a_data_set_of_the_hub_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "owner" / "name"
    place.mkdir(parents=True)
    (place / "train.jsonl").write_bytes(ROWS)
    (place / "test.jsonl").write_text('{"text": "held"}\n')
    assert list(Documents(["hub:owner/name"])) == TEXTS
    assert list(Documents(["hub:owner/name@2", "hub:owner/name::test"])) == [
        *(text for text in TEXTS for _ in range(2)),
        "held",
    ]
    assert list(Documents(["hub:owner/name:default:test@1"])) == ["held"]
    (place / "train.jsonl").write_text('{"content": "a", "n": 1}\n')
    with pytest.raises(FtkitError, match=r"name:1: a row of a corpus .*, not content, n"):
        list(Documents(["hub:owner/name"]))
    for word, said in [
        ("hub:owner/name::none", "Bad split: none"),
        ("hub:owner/name:none", "BuilderConfig 'none' not found"),
        ("hub:nobody/nothing", "."),
    ]:
        with pytest.raises(FtkitError, match=f"{word[:14]}.* cannot be read: .*{said}") as caught:
            list(Documents([word]))
        assert "\n" not in str(caught.value)
    with pytest.raises(FtkitError, match="hub:squad names no data set: the form is hub:OWNER/NAME"):
        Documents(["hub:squad"])


LARGE = """
import sys
from ftkit.basemodel.corpus import Documents
def peak():  # of this process alone: ru_maxrss is inherited from the one that started it
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
before = peak()
size = sum(map(len, Documents(sys.argv[1:])))
print(size, peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says it there")
@pytest.mark.parametrize("name", ["a.txt", "a.json.gz", "a.tar.zst"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str):
    """A file of 30 MB is read within 16 MiB, in a process of its own."""
    text = "".join(f"{n} some words of prose.\n\n" for n in range(12_000))
    content = {
        "a.txt": lambda: (text * 100).encode(),
        "a.json.gz": lambda: gzip.compress(
            json.dumps([{"text": part} for part in (text * 100).split("9 some words")]).encode(), 1
        ),
        "a.tar.zst": lambda: zst(tarred(**{f"{n}.txt": text.encode() for n in range(100)})),
    }[name]()
    (tmp_path / name).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", LARGE, tmp_path / name],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    size, grown = map(int, done.stdout.split())
    assert size > 25e6
    assert grown < 16 * 1024
