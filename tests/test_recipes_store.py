"""What was read lies on disk: found again, made again, shared by processes, never half."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from test_recipes_read import ROWS, lines

from ftkit.config import override
from ftkit.errors import FtkitError
from ftkit.recipes import _rows, _store, _taken
from ftkit.recipes.medical import RECIPE as MEDICAL


def test_what_was_read_is_found_again_until_the_content_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cache = tmp_path / "r.jsonl", tmp_path / "cache"
    path.write_bytes(lines(ROWS))
    recipe = override(MEDICAL, {"data": [str(path)], "cache": str(cache)}, "recipe")
    first = [list(recipe.examples(split)) for split in ("train", "validation", "test")]
    _rows._gather.cache_clear()
    times = os.stat(path).st_mtime_ns + 10**9
    os.utime(path, ns=(times, times))  # touched, but the same

    def read(*_: Any) -> None:
        raise AssertionError("it was read anew")

    with monkeypatch.context() as patch:
        patch.setattr(_taken, "_take", read)
        for epochs in ("2.0", "5.0"):
            again = override(recipe, {"epochs": epochs, "on_bad_rows": "skip"}, "recipe")
            assert [list(again.examples(s)) for s in ("train", "validation", "test")] == first
        with pytest.raises(AssertionError):
            override(recipe, {"longest": "20"}, "recipe").examples("train")
    path.write_bytes(lines(ROWS[:-1]))
    assert sum(len(recipe.examples(s)) for s in ("train", "validation", "test")) == 29
    assert not [each for each in (cache / "rows").iterdir() if each.name.startswith(".")]


def test_few_stores_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_store, "KEPT", 2)
    for count in (10, 11, 12):
        (tmp_path / f"{count}.jsonl").write_bytes(lines(ROWS[:count]))
        made = {"data": [str(tmp_path / f"{count}.jsonl")], "cache": str(tmp_path / "cache")}
        assert override(MEDICAL, made, "recipe").found().rows == count
        time.sleep(0.02)
    assert len(list((tmp_path / "cache" / "rows").iterdir())) == 2


def test_a_store_that_was_taken_away_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_bytes(lines(ROWS))
    made = {"data": [str(tmp_path / "r.jsonl")], "cache": str(tmp_path / "cache")}
    recipe = override(MEDICAL, made, "recipe")
    first = list(recipe.examples("train"))
    shutil.rmtree(tmp_path / "cache" / "rows")
    assert list(recipe.examples("train")) == first


def test_stores_that_another_process_moves_meanwhile_do_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = Path.iterdir
    gone = [tmp_path / ".being-made", tmp_path / "taken-away"]
    monkeypatch.setattr(
        Path, "iterdir", lambda self: [*listed(self), *(gone if self == tmp_path else [])]
    )
    with _store.made(tmp_path / "mine") as folder:
        (folder / "rows").write_text("x")
    assert [path.name for path in listed(tmp_path)] == ["mine"]


def test_a_file_that_changes_while_it_is_read_is_refused_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = tmp_path / "r.jsonl", tmp_path / "other"
    path.write_bytes(lines(ROWS))
    other.write_bytes(lines(ROWS[:12]))
    recipe = override(MEDICAL, {"data": [str(path)], "cache": str(tmp_path / "cache")}, "recipe")
    take = _taken._take

    def saved(*row: Any) -> Any:
        if other.exists():
            other.rename(path)  # as editors save
        return take(*row)

    with monkeypatch.context() as patch:
        patch.setattr(_taken, "_take", saved)
        with pytest.raises(FtkitError, match=r"r\.jsonl changed while it was read: begin again"):
            recipe.examples("train")
    assert not list((tmp_path / "cache" / "rows").iterdir())
    assert sum(len(recipe.examples(s)) for s in ("train", "validation", "test")) == 12


@pytest.mark.parametrize(
    "name", ["rows.jsonl", "ends.npy", "codes.npy", "source.npy", "facts.json"]
)
@pytest.mark.parametrize("harm", ["junk", "cut", "gone"])
def test_a_damaged_store_is_made_again(tmp_path: Path, name: str, harm: str) -> None:
    path, cache = tmp_path / "r.jsonl", tmp_path / "cache"
    path.write_bytes(lines(ROWS))
    recipe = override(MEDICAL, {"data": [str(path)], "cache": str(cache)}, "recipe")
    whole = list(recipe.examples("train"))
    (store,) = (cache / "rows").iterdir()
    _rows._gather.cache_clear()
    file = store / name
    content = {"junk": b"junk", "cut": file.read_bytes()[:-9], "gone": b""}[harm]
    file.write_bytes(content)
    if harm == "gone":
        file.unlink()
    assert list(recipe.examples("train")) == whole


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_bytes(lines(ROWS))
    (tmp_path / "file").write_text("no folder")
    made = {"data": [str(tmp_path / "r.jsonl")], "cache": str(tmp_path / "file")}
    with pytest.raises(FtkitError, match=r"file cannot be written .*--set recipe\.cache=FOLDER"):
        override(MEDICAL, made, "recipe").examples("train")
