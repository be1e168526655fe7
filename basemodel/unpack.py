"""Files, packed files and archives as streams of text: .gz, .xz, .zst, .tar and .zip, nested too.

Nothing is written to disk. A name says what a file is; where it has no ending, its first bytes do:
OpenWebText is a tar of xz-packed tars that are called `*_data.xz`.
"""

import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from ftkit.errors import FtkitError

ROWS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
KINDS = (".txt", ".md", *ROWS, ".tar", ".zip")
SHORT = {".tgz": ".tar.gz", ".txz": ".tar.xz", ".tzst": ".tar.zst"}
MAGIC = {
    ".gz": b"\x1f\x8b",
    ".xz": b"\xfd7zXZ\x00",
    ".zst": b"\x28\xb5\x2f\xfd",
    ".zip": b"PK\x03\x04",
    ".parquet": b"PAR1",
}
PACKED = (".gz", ".xz", ".zst")
WHAT_FITS = f"{', '.join(KINDS[:-1])} or {KINDS[-1]}, also with {', '.join(PACKED[:-1])} or .zst"
TAR_MAGIC = slice(257, 262)
BUFFER = 2**16
PIECE = 2**8  # bytes of .zst that are unpacked at once: they become 8 MiB at most
DEPTH = 8  # archives and packings within each other, at most: an archive may contain itself
HELD = 2**28  # bytes of a .zip or .parquet inside another file, which cannot be read in a stream


@dataclass(frozen=True)
class Part:
    """A stream that holds text.

    Args:
        where: file, or archive!member, for messages.
        kind: one of KINDS that is no archive.
        stream: unpacked.
    """

    where: str
    kind: str
    stream: io.BufferedReader


class Damaged(Exception):
    """What a packed file or an archive is that ends early or cannot be understood."""


def parts(file: Path) -> Iterator[Part]:
    """Open a file and everything in it, one after the other.

    Raises:
        FtkitError: while iterating, for what cannot be read or unpacked.
    """
    with reading(str(file)), _opened(file) as opened:
        yield from _inside(str(file), file.name, opened)


def holds_text(file: Path) -> bool:
    """Say whether a file is of a kind that may hold text, by its name or its first bytes."""
    name, kind = _read_name(file.name)
    if kind or PurePosixPath(name).suffix:
        return bool(kind)
    try:
        with reading(str(file)), _opened(file) as opened:
            return bool(_peeled(file.name, opened)[0])
    except FtkitError:  # what is packed and damaged is not passed over: who reads it will name it
        return name != _spelled(file.name)


def _opened(file: Path) -> io.BufferedReader:
    return _buffered(io.FileIO(file))


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Turn what the libraries say of a file that cannot be read into a sentence."""
    try:
        yield
    except (
        gzip.BadGzipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        tarfile.TarError,
        zipfile.BadZipFile,
        Damaged,
    ) as problem:
        raise FtkitError(f"{where} cannot be unpacked: {problem}") from None
    except OSError as problem:
        raise FtkitError(f"{where} cannot be read: {problem.strerror or problem}") from None


def first_line(problem: Exception) -> str:
    """Return what a library says of a problem, shortened to one line."""
    return (str(problem).strip() or type(problem).__name__).splitlines()[0].rstrip(". ")


def seekable(part: Part) -> IO[bytes]:
    """Return the stream itself when it is a file, else its content, held in memory.

    Raises:
        FtkitError: when there is too much to hold.
    """
    return _seekable(part.where, part.stream)


def _seekable(where: str, stream: io.BufferedReader) -> IO[bytes]:
    if isinstance(stream.raw, io.FileIO):
        return stream
    content = stream.read(HELD + 1)
    if len(content) > HELD:
        raise FtkitError(
            f"{where} has more than {HELD // 2**20} MiB: a .zip or .parquet inside another file "
            "is held in memory; unpack it first"
        )
    return io.BytesIO(content)


def _inside(where: str, name: str, stream: io.BufferedReader, depth: int = 0) -> Iterator[Part]:
    with reading(where):
        kind, stream = _peeled(name, stream)
        if kind not in (".tar", ".zip"):
            if kind:
                yield Part(where, kind, stream)
            return
        if depth == DEPTH:
            raise Damaged(f"it lies in {DEPTH} archives, one in the other, which is too deep")
        members = _tar(stream) if kind == ".tar" else _zip(_seekable(where, stream))
        for member, inner in members:
            yield from _inside(f"{where}!{member}", PurePosixPath(member).name, inner, depth + 1)


def _read_name(name: str) -> tuple[str, str]:
    """Take the packings off a name; say what kind of file it then names, "" for no known one."""
    name = _spelled(name)
    while name.endswith(PACKED):
        name = name.rpartition(".")[0]
    if name.startswith("._"):  # what macOS puts beside each file of an archive
        return name, ""
    return name, next((kind for kind in KINDS if name.endswith(kind)), "")


def _spelled(name: str) -> str:
    """Spell out the short endings of packed archives, all in small letters."""
    name = name.lower()
    short = next((short for short in SHORT if name.endswith(short)), "")
    return name.removesuffix(short) + SHORT.get(short, "")


def _peeled(name: str, stream: io.BufferedReader) -> tuple[str, io.BufferedReader]:
    """Unpack a stream until its kind is known; "" where it is none that holds text."""
    name, (bare, kind) = _spelled(name), _read_name(name)
    while name != bare:
        name, _, packing = name.rpartition(".")
        stream = _unpacked(f".{packing}", stream)
    for _ in range(0 if kind or PurePosixPath(bare).suffix else DEPTH):
        head = stream.peek(512)
        if head[TAR_MAGIC] == b"ustar":
            return ".tar", stream
        kind = next((kind for kind, magic in MAGIC.items() if head.startswith(magic)), "")
        if kind not in PACKED:
            break
        stream, kind = _unpacked(kind, stream), ""
    return kind, stream


def _unpacked(packing: str, stream: io.BufferedReader) -> io.BufferedReader:
    if packing == ".gz":
        return _buffered(gzip.GzipFile(fileobj=stream))
    return _buffered(lzma.LZMAFile(stream) if packing == ".xz" else _Zstd(stream))


def _buffered(stream: Any) -> io.BufferedReader:
    return io.BufferedReader(stream, BUFFER)


class _Strict(tarfile.TarInfo):
    """A header that may not be cut off: tarfile takes that for the end of the archive."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> "_Strict":
        try:
            return super().fromtarfile(tarfile)
        except (_TRUNCATED, _INVALID) as problem:
            raise Damaged(str(problem)) from None


_TRUNCATED = cast(type[Exception], vars(tarfile)["TruncatedHeaderError"])
_INVALID = cast(type[Exception], vars(tarfile)["InvalidHeaderError"])


def _tar(stream: io.BufferedReader) -> Iterator[tuple[str, io.BufferedReader]]:
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Strict) as archive:
        while (member := archive.next()) is not None:
            if member.isreg() and (inner := archive.extractfile(member)) is not None:
                yield member.name, _buffered(inner)
            cast(Any, archive).members.clear()  # else it remembers every one


def _zip(stream: IO[bytes]) -> Iterator[tuple[str, io.BufferedReader]]:
    with zipfile.ZipFile(stream) as archive:
        for member in archive.infolist():
            if member.is_dir() or stat.S_ISLNK(member.external_attr >> 16):
                continue
            try:
                inner = archive.open(member)
            except RuntimeError:
                words = "is encrypted, or packed in a way that is not known"
                raise Damaged(f"{member.filename} {words}") from None
            with inner:
                yield member.filename, _buffered(inner)


class _Zstd(io.RawIOBase):
    """Unpack .zst; zstandard's own reader takes a file that is cut off for one that ends."""

    def __init__(self, stream: IO[bytes]) -> None:
        import zstandard

        self._broken = zstandard.ZstdError
        self._make = zstandard.ZstdDecompressor().decompressobj
        self._stream, self._frame = stream, self._make()
        self._rest, self._ready, self._begun = b"", memoryview(b""), False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            packed = self._rest or self._stream.read(PIECE)
            if not packed:
                if self._begun:
                    raise Damaged("it ends before its end marker")
                return 0
            self._ready = memoryview(self._next(packed))
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def _next(self, packed: bytes) -> bytes:
        try:
            text = self._frame.decompress(packed)
        except self._broken as problem:
            raise Damaged(str(problem)) from None
        self._rest, self._begun = self._frame.unused_data, not self._frame.eof
        if self._frame.eof:
            self._frame = self._make()  # files may hold several frames
        return text
