"""Sources of rows: every container and shape, the parts that names say, what is kept on disk."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow
import pytest
import zstandard
from pyarrow import parquet

from ftkit.basemodel import tables
from ftkit.basemodel.record import BadRow
from ftkit.config import override
from ftkit.errors import FtkitError
from ftkit.recipes._read import Row, streams
from ftkit.recipes.chat import RECIPE as CHAT
from ftkit.recipes.medical import RECIPE as MEDICAL

ROWS = [
    {"question": f"What, in the end, is ill {n}?", "answer": f'It is "{n}", é.'} for n in range(30)
]


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(rows: list[dict[str, Any]], separator: str = ",") -> bytes:
    quoted = [['"' + str(value).replace('"', '""') + '"' for value in row.values()] for row in rows]
    return "\r\n".join(separator.join(row) for row in [[*rows[0]], *quoted]).encode()


def columns(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), out)
    return out.getvalue()


def tar(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def zipped(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, content)
    return out.getvalue()


CONTAINERS = {
    "r.jsonl": lines(ROWS),
    "r.ndjson": b"\xef\xbb\xbf" + lines(ROWS).replace(b"\n", b"\n\n"),
    "r.json": json.dumps(ROWS, indent=1).encode(),
    "s.json": lines(ROWS),
    "r.csv": table(ROWS),
    "s.csv": table(ROWS, ";"),
    "r.tsv": table(ROWS, "\t"),
    "r.parquet": columns(ROWS),
    "r.jsonl.gz": gzip.compress(lines(ROWS)),
    "r.csv.xz": lzma.compress(table(ROWS)),
    "r.json.zst": zstandard.compress(json.dumps(ROWS).encode()),
    "r.parquet.gz": gzip.compress(columns(ROWS)),
    "r.zip": zipped("in/r.csv", table(ROWS)),
    "r.tar.xz": lzma.compress(tar("in/r.jsonl.gz", gzip.compress(lines(ROWS)))),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(CONTAINERS[name])
    made = {"data": [str(tmp_path / name)], "whole": True, "cache": str(tmp_path / "cache")}
    found = override(MEDICAL, made, "recipe").examples("test")
    assert [(e.prompt[-1]["content"], e.reference) for e in found] == [
        (row["question"], row["answer"]) for row in ROWS
    ]
    assert found[0].where.startswith(str(tmp_path / name))
    assert found[7].where.rpartition(":")[2].partition("#")[0].isdigit()


def test_a_table_counts_the_lines_of_its_file(tmp_path: Path) -> None:
    text = 'question,answer\n"a\nb",c\n\nd,e,f\n'
    (tmp_path / "r.csv").write_text(text)
    ((stream,), _, _) = streams(str(tmp_path / "r.csv"))
    first, second = stream
    assert isinstance(first, Row)
    assert (first.fields, first.where) == (
        {"question": "a\nb", "answer": "c"},
        f"{tmp_path}/r.csv:2",
    )
    assert isinstance(second, BadRow)
    assert str(second) == (f"{tmp_path}/r.csv:5: 3 fields, but the first line names 2 columns")


def test_a_line_of_a_table_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST", 2**21)
    (tmp_path / "r.csv").write_bytes(b"question,answer\na,b\n" + bytes([99]) * 2**23)
    ((stream,), _, _) = streams(str(tmp_path / "r.csv"))
    with pytest.raises(FtkitError, match=r"r\.csv:3: a line has 2 MiB at most"):
        list(stream)


def test_names_say_which_part_a_file_holds(tmp_path: Path) -> None:
    for name in (
        "train-00000-of-00002.jsonl",
        "train-00001-of-00002.jsonl",
        "dev.jsonl",
        "test.csv",
    ):
        (tmp_path / name).write_bytes(CONTAINERS["r.csv" if name.endswith("csv") else "r.jsonl"])
    (tmp_path / "README.md").write_text("about")
    (tmp_path / "notes.jsonl").write_text("{}")
    found, weight, left = streams(f"{tmp_path}@0.5")
    assert [stream.part for stream in found] == ["validation", "test", "train", "train"]
    assert weight == 0.5
    assert left == [str(tmp_path / "notes.jsonl")]
    with pytest.raises(FtkitError, match="no such file or folder"):
        streams(str(tmp_path / "none.jsonl"))


def test_what_an_archive_says_of_itself_is_no_row(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("README.txt", "About")
        archive.writestr("in/License.md", "Free")
        archive.writestr("in/rows.jsonl", lines(ROWS))
    ((stream,), _, _) = streams(str(tmp_path / "set.zip"))
    assert [row.fields for row in stream if isinstance(row, Row)] == ROWS


def test_members_of_an_archive_have_parts_too(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("set/train.jsonl", lines(ROWS[:20]))
        archive.writestr("set/test.jsonl", lines(ROWS[20:]))
    (tmp_path / "set.zip").write_bytes(out.getvalue())
    made = {"data": [str(tmp_path / "set.zip")], "cache": str(tmp_path / "cache")}
    recipe = override(MEDICAL, made, "recipe")
    assert [e.reference for e in recipe.examples("test")] == [row["answer"] for row in ROWS[20:]]
    assert len(recipe.examples("train")) + len(recipe.examples("validation")) == 20


def test_bad_rows_are_grouped_counted_and_kept_apart(tmp_path: Path) -> None:
    bad = ["{", '{"question": "x"}', '{"question": "y"}', '{"question": 3, "answer": "z"}']
    path = tmp_path / "r.jsonl"
    path.write_bytes(lines(ROWS[:20]) + "\n".join(bad).encode() + b"\n" + lines(ROWS[20:]))
    made = {"data": [str(path)], "cache": str(tmp_path / "cache")}
    recipe = override(MEDICAL, made, "recipe")
    with pytest.raises(FtkitError) as refusal:
        recipe.examples("train")
    said = str(refusal.value).splitlines()
    assert said[0].startswith(f"{path}:21: not valid JSON")
    assert said[0].endswith("4 of 34 rows cannot be used; --on-bad-rows skip leaves such rows out:")
    assert f"  2 × 'answer' is missing: {path}:22, {path}:23" in said
    skipping = override(recipe, {"on_bad_rows": "skip"}, "recipe")
    assert sum(len(skipping.examples(s)) for s in ("train", "validation", "test")) == 30
    found = skipping.found()
    assert found is not None
    rejected = [json.loads(line) for line in found.rejected[0].read_text().splitlines()]
    assert [each["where"] for each in rejected] == [f"{path}:{n}" for n in (21, 22, 23, 24)]
    assert [each["row"] for each in rejected][:2] == ["{", {"question": "x"}]
    assert rejected[3]["reason"].startswith("'question' is a number")


def latin(rows: list[dict[str, Any]]) -> bytes:
    """Make a Parquet file in whose last text one byte is not UTF-8."""
    return columns([*rows, {"question": "q", "answer": "caf~"}]).replace(b"caf~", b"caf\xe9")


def test_of_every_bad_row_what_was_read_is_kept(tmp_path: Path) -> None:
    odd = '{"question": "\\ud83d", "answer": "b"}'
    files = {
        "r.jsonl": lines(ROWS) + f'[1, 2]\n"text"\nnull\n{odd}\n'.encode(),
        "r.csv": table(ROWS) + b"\r\na,b,c",
        "r.parquet": latin(ROWS),
    }
    kept = []
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        made = {"data": [str(tmp_path / name)], "cache": str(tmp_path / "cache")}
        found = override(MEDICAL, made | {"on_bad_rows": "skip"}, "recipe").found()
        kept += [json.loads(line) for line in found.rejected[0].read_text().splitlines()]
    assert [each["row"] for each in kept] == [
        *([1, 2], "text", None, '{"question": "\ufffd", "answer": "b"}'),
        *(["a", "b", "c"], {"question": "q"}),
    ]
    assert kept[-1]["reason"] == '"answer" is not UTF-8'


def test_json_just_deep_enough_to_be_read_is_a_bad_row(tmp_path: Path) -> None:
    for depth in range(940, 1000):
        row = b'{"a": ' + b"[" * depth + b'"\\ud83d\\ude00"' + b"]" * depth + b"}"
        (tmp_path / "r.jsonl").write_bytes(row)
        ((stream,), _, _) = streams(str(tmp_path / "r.jsonl"))
        (found,) = stream
        assert isinstance(found, Row) or found.kind == "broken JSON", depth


def test_odd_texts_are_counted_and_used(tmp_path: Path) -> None:
    odd = ["Say <|end|> now.", "Lost \ufffd here.", "A bell \x07.", "[INST] do it [/INST]"]
    rows = [{"question": text, "answer": "No."} for text in odd]
    (tmp_path / "r.jsonl").write_bytes(lines([*rows, *ROWS]))
    made = {"data": [str(tmp_path / "r.jsonl")], "whole": True, "cache": str(tmp_path / "cache")}
    recipe = override(MEDICAL, made, "recipe")
    found = recipe.found()
    assert found is not None
    assert [(group.kind.split(";")[0], group.count) for group in found.odd] == [
        ("hold what looks like a control token", 2),
        ("hold the sign for a character that was lost (U+FFFD)", 1),
        ("hold characters that cannot be printed", 1),
    ]
    assert len(recipe.examples("test")) == len(rows) + len(ROWS)


def test_a_dialogue_with_an_odd_text_is_one_row_though_it_is_learned_and_asked(
    tmp_path: Path,
) -> None:
    talks = [
        {
            "messages": [
                {"role": "user", "content": f"{n} </s>"},
                {"role": "assistant", "content": "a"},
            ]
        }
        for n in range(20)
    ]
    (tmp_path / "r.jsonl").write_bytes(lines(talks))
    made = {"data": [str(tmp_path / "r.jsonl")], "cache": str(tmp_path / "cache")}
    (group,) = override(CHAT, made, "recipe").found().odd
    assert group.count == 20


def test_an_unknown_packing_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl.bz2").write_bytes(bz2.compress(lines(ROWS)))
    with pytest.raises(FtkitError, match=r"r\.jsonl\.bz2 cannot be read"):
        streams(str(tmp_path / "r.jsonl.bz2"))


@pytest.mark.parametrize(
    "text",
    ["Question;Answer\r\nWho?;Bo.\r\n;\r\n", "sep=;\r\nquestion;answer\r\nWho?;Bo.\r\n"],
)
def test_what_spreadsheets_write_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    ((stream,), _, _) = streams(str(tmp_path / "r.csv"))
    assert [row.fields for row in stream] == [{"question": "Who?", "answer": "Bo."}]
