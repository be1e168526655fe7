"""Tokens that a later run finds: by content alone, whole or not at all, whoever makes them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftkit.basemodel.corpus import Documents
from ftkit.basemodel.prepare import Learn, Prepared, prepare
from ftkit.basemodel.pretrain import TOKENS, pretrain
from ftkit.errors import FtkitError, Interrupted
from ftkit.runs import Run
from tests.test_base_pretrain import DOCUMENTS, TINY, begin

ROOT = Path(__file__).parent.parent


def prepared(home: Path, texts: Any = DOCUMENTS, **changed: Any) -> tuple[Prepared, list[str]]:
    """Prepare a corpus; return what is ready, and the first word of each event."""
    settings = {"tokenizer": Learn("bpe", 320), "context": 64, "validation": 0.01} | changed
    steps, said = prepare(lambda: texts, home, **settings), list[str]()
    while True:
        try:
            said.append(next(steps)["event"])
        except StopIteration as end:
            return end.value, said


def write(file: Path, texts: list[str]) -> str:
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return str(file)


def test_a_second_run_finds_tokens_and_tokenizer(tmp_path: Path):
    first, said = prepared(tmp_path)
    assert [line.split()[0] for line in said] == ["reading", "learning", "encoding"]
    again, said = prepared(tmp_path)
    assert said[1].startswith(f"the tokenizer of an earlier run is used: {tmp_path}")
    assert said[2] == f"tokens of an earlier run are used: {tmp_path / first.key}"
    assert (again.corpus, again.key) == (first.corpus, first.key)
    assert (tmp_path / first.key / "tokenizer.json").is_file()


def test_other_content_has_another_key(tmp_path: Path):
    places = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for place, texts in zip(places, (DOCUMENTS[:400], DOCUMENTS[400:]), strict=True):
        write(place, texts)
    a, b = map(str, places)
    home, usual = tmp_path / "home", prepared(tmp_path / "home")[0].key
    assert prepared(home, Documents([a, b]))[0].key == usual
    others = [
        prepared(home, Documents([b, a]))[0].key,
        prepared(home, Documents([a, f"{b}@2"]))[0].key,
        prepared(home, Documents([a, f"{b}@0.5"]))[0].key,
        prepared(home, DOCUMENTS[1:])[0].key,
        prepared(home, tokenizer=Learn("bpe", 330))[0].key,
        prepared(home, tokenizer=Learn("char", 320))[0].key,
        prepared(home, validation=0.2)[0].key,
    ]
    assert len({usual, *others}) == 8
    held = [prepared(home, Documents([a, f"{b}@3"]))[0].corpus.held()]
    assert len(held[0]) == len(set(held[0])) > 0  # each once, whatever the weight


def test_a_place_that_may_not_be_written_to_is_said_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(FtkitError, match=r"tokens cannot be kept in .*\.corpora: .* may not be"):
        prepared(tmp_path / ".corpora")


def test_a_torn_folder_is_not_taken(tmp_path: Path):
    first, _ = prepared(tmp_path)
    ids = next((tmp_path / first.key).glob("*.ids"))
    content = ids.read_bytes()
    for damage in (lambda: ids.write_bytes(content[:-2]), ids.unlink):
        damage()
        again, said = prepared(tmp_path)
        assert said[-1].startswith("encoding ")
        assert again.key == first.key
        assert ids.read_bytes() == content


@pytest.mark.parametrize("reading", [2, 3])
def test_a_corpus_that_changes_while_it_is_read_is_refused(tmp_path: Path, reading: int):
    class Changing:
        begun = 0

        def __iter__(self) -> Iterator[str]:
            self.begun += 1
            yield from DOCUMENTS[:-1] if self.begun == reading else DOCUMENTS

    texts = Changing()
    with pytest.raises(FtkitError, match=r"^the corpus changed while it was read: begin again$"):
        prepared(tmp_path / "home", texts)
    assert texts.begun == reading
    assert not list((tmp_path / "home").glob("*/facts.json"))
    assert not list((tmp_path / "home").glob(".*"))


MAKE = """
import json, sys, time
from pathlib import Path
from ftkit.basemodel.prepare import Learn, prepare
def slowly():
    for text in documents:
        time.sleep(float(sys.argv[3]))
        yield text
class Texts:
    def __iter__(self): return slowly()
documents = json.loads(sys.argv[2])
print("ready", flush=True)
while not Path(sys.argv[4]).exists():
    time.sleep(0.005)
wanted = {"tokenizer": Learn("bpe", 320), "context": 64, "validation": 0.01}
for event in prepare(Texts, Path(sys.argv[1]), **wanted):
    print(event["event"], flush=True)
"""


def make(home: Path, pause: float, sign: Path) -> "subprocess.Popen[str]":
    """Start a process that says when it is ready, and begins when there is a file for a sign."""
    return subprocess.Popen(
        [sys.executable, "-c", MAKE, str(home), json.dumps(DOCUMENTS), str(pause), str(sign)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_killed_process_leaves_nothing_that_is_taken(tmp_path: Path):
    process = make(tmp_path, 0.002, tmp_path)
    assert process.stdout is not None
    while not process.stdout.readline().startswith("encoding"):
        assert process.poll() is None
    until = time.monotonic() + 60
    while not (asides := list(tmp_path.glob(".*"))):
        assert time.monotonic() < until
    process.kill()
    process.communicate()
    assert list(tmp_path.glob(".*")) == asides
    _, said = prepared(tmp_path)
    assert said[-1].startswith("encoding ")
    assert list(tmp_path.glob(".*")) == []  # what the killed one left goes, too


def test_two_processes_at_once_both_end_well(tmp_path: Path):
    sign = tmp_path / "begin"
    both = [make(tmp_path / "home", 0.001, sign) for _ in range(2)]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    sign.touch()
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert all("encoding" in each for each in said)
    _, now = prepared(tmp_path / "home")
    assert now[-1].startswith("tokens of an earlier run are used")
    assert list((tmp_path / "home").glob(".*")) == []


def test_a_refused_corpus_leaves_no_tokens(tmp_path: Path):
    with pytest.raises(FtkitError, match="it must have more than the context, which is 64"):
        prepared(tmp_path / "home", ["one", "two"])
    assert not list((tmp_path / "home").glob("*/facts.json"))
    assert not list((tmp_path / "home").glob(".*"))


def stopped(out: Path, data: str, at: int | str = 2) -> None:
    """Begin a run on a file and press Ctrl-C at a step, or when an event begins so."""
    for row in pretrain(begin(out), TINY, sources=[data]):
        if row.get("step") == at or row.get("event", "").startswith(str(at)):
            os.kill(os.getpid(), signal.SIGINT)


def test_going_on_reads_no_corpus_again(tmp_path: Path):
    data = write(tmp_path / "a.jsonl", DOCUMENTS)
    with pytest.raises(Interrupted):
        stopped(tmp_path / "runs" / "base", data)
    run = Run.resume(tmp_path / "runs" / "base")
    key = run.settings["decided"]["corpus"]
    assert (tmp_path / "runs" / TOKENS / key / "facts.json").is_file()
    Path(data).unlink()
    rows = list(pretrain(run, TINY, sources=[data]))
    assert rows[-1]["step"] == 32
    assert not any("reading" in row.get("event", "") for row in rows)


def test_going_on_without_its_tokens_makes_the_same_or_none(tmp_path: Path):
    data = write(tmp_path / "a.jsonl", DOCUMENTS)
    out = tmp_path / "runs" / "base"
    with pytest.raises(Interrupted):
        stopped(out, data)
    shutil.rmtree(tmp_path / "runs" / TOKENS)
    write(tmp_path / "a.jsonl", DOCUMENTS[1:])
    with pytest.raises(FtkitError, match=r"is gone, and the corpus is not what it was when the"):
        list(pretrain(Run.resume(out), TINY, sources=[data]))
    write(tmp_path / "a.jsonl", DOCUMENTS)
    assert list(pretrain(Run.resume(out), TINY, sources=[data]))[-1]["step"] == 32


@pytest.mark.parametrize("at", ["reading", "learning", "encoding"])
def test_ctrl_c_ends_each_reading_of_the_corpus(tmp_path: Path, at: str):
    data = write(tmp_path / "a.jsonl", DOCUMENTS)
    with pytest.raises(Interrupted, match="go on with: ftkit pretrain --resume"):
        stopped(tmp_path / "runs" / "base", data, at)
    assert not list((tmp_path / "runs").glob(f"{TOKENS}/*/facts.json"))
    assert not list((tmp_path / "runs").glob(f"{TOKENS}/.*"))
