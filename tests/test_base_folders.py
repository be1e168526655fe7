"""Which files of a folder are a corpus, and what a source may be called and weigh."""

import gzip
import lzma
import os
from pathlib import Path

import pytest

from ftkit.basemodel.corpus import Documents
from ftkit.errors import FtkitError
from tests.test_base_pretrain import begin


def write(file: Path, text: str = "") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text or file.name)


def test_a_folder_leaves_out_what_is_hidden_and_what_a_run_wrote(tmp_path: Path):
    home = tmp_path / ".home"  # what lies above does not matter
    for name in ("a.txt", "deep/b.txt", "deep/run/c.txt", "runs/notes.txt"):
        write(home / name)
    for name in (".d.txt", ".git/e.txt", "deep/.corpora/f/g.jsonl", "runs/base/config.json"):
        write(home / name, "no text of a corpus")
    write(home / "runs/base/run/log.jsonl", "{}")
    write(home / "runs/base/run/run.toml")
    assert list(Documents([home])) == ["a.txt", "b.txt", "c.txt", "notes.txt"]


def test_a_run_that_is_begun_beside_its_text_is_no_text(tmp_path: Path):
    write(tmp_path / "a.txt")
    run = begin(tmp_path / "base")
    run.log({"step": 1})
    assert [file.name for file in run.inner.iterdir()] == ["run.toml", "log.jsonl"]
    assert list(Documents([tmp_path])) == ["a.txt"]


def test_one_blank_file_among_others_is_no_error(tmp_path: Path):
    for name, text in (("a.txt", "one"), ("b.txt", " \n"), ("c.jsonl", "\n"), ("d.json", "[]")):
        write(tmp_path / name, text)
    assert list(Documents([tmp_path])) == ["one"]
    (tmp_path / "a.txt").unlink()
    with pytest.raises(FtkitError, match=rf"^{tmp_path} is empty: there is no text in it$"):
        list(Documents([tmp_path]))


def test_endings_are_read_in_any_case(tmp_path: Path):
    (tmp_path / "A.TXT.GZ").write_bytes(gzip.compress(b"packed"))
    write(tmp_path / "B.Jsonl", '{"text": "row"}')
    assert list(Documents([tmp_path])) == ["packed", "row"]
    assert list(Documents([tmp_path / "A.TXT.GZ"])) == ["packed"]


def test_a_damaged_archive_in_a_folder_is_not_passed_over(tmp_path: Path):
    """Its name says only that it is packed, as those of OpenWebText do."""
    write(tmp_path / "a.txt")
    (tmp_path / "urlsf_data.xz").write_bytes(lzma.compress(b"x" * 900)[:-9])
    with pytest.raises(FtkitError, match=r"urlsf_data\.xz cannot be unpacked"):
        list(Documents([tmp_path]))


def test_a_pipe_is_refused_in_place_of_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(FtkitError, match=r"a\.txt is a pipe or a device"):
        Documents([tmp_path / "a.txt"])


@pytest.mark.parametrize("word", ["", "@2"])
def test_a_source_without_a_name_is_refused(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.txt")
    with pytest.raises(FtkitError, match=f'^--data "{word}" names nothing: it is a file, '):
        Documents([word])


def test_weights_have_a_bound(tmp_path: Path):
    write(tmp_path / "a.txt", "text")
    assert list(Documents([f"{tmp_path}@1000"])) == ["text"] * 1000
    for word in (f"{tmp_path}@1001", f"{tmp_path}@inf", f"{tmp_path}/at@home/a.txt"):
        with pytest.raises(FtkitError, match="above 0, 1000 at most, and there is no such file or"):
            Documents([word])
