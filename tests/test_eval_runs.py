"""Evaluating real small runs: everybody on the same items, kept answers, stops, refusals."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import tomli_w
import torch
from safetensors.torch import load_file, save_file

from ftkit.errors import FtkitError, Interrupted
from ftkit.eval import _answers
from ftkit.eval._evaluate import evaluate_groups
from ftkit.eval._groups import collect
from ftkit.recipes.sql_qa import SqlQa
from ftkit.runs import fingerprint

SMALL = {"limit": 8, "shots": 2}


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def evaluate_runs(runs, *, out, shots=4, **asked):
    """Evaluate folders, the way that the command does."""
    return evaluate_groups(collect(runs, **asked), out=out, shots=shots)


@pytest.fixture(scope="module")
def done(tiny_runs, tmp_path_factory):
    """One evaluation of all runs: its records, card and folder."""
    out = tmp_path_factory.mktemp("eval") / "eval"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        records = list(evaluate_runs(list(tiny_runs.values()), out=out, **SMALL))
    return SimpleNamespace(records=records, card=records[-1]["scorecard"], out=out)


def copy(run: Path, place: Path, weights=None, **options) -> Path:
    """Copy a run with other options and weights."""
    shutil.copytree(run, place)
    path = place / "run" / "run.toml"
    settings = tomllib.loads(path.read_text())
    for name, value in options.items():
        table, _, key = name.partition("__")
        settings[table][key] = value
    path.write_text(tomli_w.dumps(settings))
    if weights is not None:
        file = next(place.glob("*.safetensors"))
        save_file({name: weights(name, old) for name, old in load_file(file).items()}, file)
        facts = json.loads((place / "run" / "done").read_text())
        (place / "run" / "done").write_text(json.dumps(facts | {"fingerprint": fingerprint(place)}))
    return place


def test_every_variant_is_asked_the_same_items(done, tiny_runs):
    card = done.card
    assert [line.name for line in card.variants] == [
        "majority",
        "nearest",
        "base",
        f"base {card.facts['shots']['shown']}-shot",
        "base prose",
        "sql_qa-soft_prompt",
        "sql_qa-lora",
        "sql_qa-full",
    ]
    assert card.n == 8
    assert card.primary == "execution_accuracy"
    for line in card.variants:
        assert line.metrics["execution_accuracy"].n == 8
        assert line.metrics["bits_per_byte"].n == (
            0 if line.method in ("majority", "nearest") else 8
        )
    tuned = {line.method: line for line in card.variants[-3:]}
    assert list(tuned) == ["soft_prompt", "lora", "full"]
    for method, line in tuned.items():
        facts = json.loads((tiny_runs[method] / "run" / "done").read_text())
        assert line.cost.trainable_params == facts["trainable_params"]
        assert line.cost.seconds == facts["seconds"]
        assert line.cost.answers_per_second > 0
        assert line.fingerprints == (facts["fingerprint"],)
        assert line.seeds == (0,)
        assert line.forgetting.before != line.forgetting.after
        assert line.forgetting.before == pytest.approx(tuned["full"].forgetting.before)
        assert line.forgetting.text == "the base's own text"
        assert set(line.elsewhere) == {"chat", "medical", "instruct"}
        assert line.bias.share.n == 40
        assert line.cost.updates == facts["steps"]
        assert "## Scores: sql_qa" in (tiny_runs[method] / "README.md").read_text()
    lines = (done.out / "answers.jsonl").read_text().splitlines()
    assert [json.loads(line)["item"] for line in lines] == list(range(1, 9))
    assert set(json.loads(lines[0])["variants"]) == {line.name for line in card.variants}
    assert sorted(path.name for path in done.out.iterdir()) == [
        "answers.jsonl",
        "report.html",
        "scorecard.json",
        "scorecard.md",
    ]
    assert json.loads((done.out / "scorecard.json").read_text())["n"] == 8
    assert "Learning curves" in (done.out / "report.html").read_text()


def test_progress_counts_up_and_says_how_each_did(done):
    counts = [(r["done"], r["of"]) for r in done.records if "done" in r]
    assert {of for _, of in counts} == {8 * 6}
    assert [count for count, _ in counts] == sorted(count for count, _ in counts)
    assert counts[-1] == (48, 48)
    said = [r["event"] for r in done.records if "event" in r]
    assert any(text.startswith("few-shot: ") for text in said)
    assert sum("execution accuracy" in text for text in said) == 8


def test_a_second_evaluation_generates_nothing(done, tiny_runs, monkeypatch):
    monkeypatch.setattr(_answers, "generate", lambda *a, **k: pytest.fail("asked again"))
    out = done.out.with_name("eval-2")
    card = list(evaluate_runs(list(tiny_runs.values()), out=out, **SMALL))[-1]["scorecard"]
    assert card.json()["variants"] == done.card.json()["variants"]
    assert card.comparisons == done.card.comparisons


def test_another_metric_generates_nothing(done, tiny_runs, monkeypatch):
    monkeypatch.setattr(_answers, "generate", lambda *a, **k: pytest.fail("asked again"))
    monkeypatch.setattr(SqlQa, "metrics", (*SqlQa.metrics, "word_overlap", "repetition"))
    out = done.out.with_name("eval-3")
    card = list(evaluate_runs(list(tiny_runs.values()), out=out, **SMALL))[-1]["scorecard"]
    for ours, theirs in zip(card.variants, done.card.variants, strict=True):
        assert ours.metrics["word_overlap"].n == 8
        assert {name: ours.metrics[name] for name in theirs.metrics} == theirs.metrics


KILLED = """
import json, os, signal, sys
from pathlib import Path
from ftkit.eval import _answers
from ftkit.eval._evaluate import evaluate_groups
from ftkit.eval._groups import collect
from ftkit.recipes.sql_qa import SqlQa
from ftkit.runs import fingerprint
from killed import dies_at_touch

out, runs, moments = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
_answers.LEAST = _answers.MOST = 3  # more batches to die between
for moment in moments:
    child = os.fork()
    if not child:
        if moment:
            dies_at_touch(out.parent, moment)
        kept = (out.parent / ".outcomes").glob("*.jsonl")
        before = sum(file.read_bytes().count(b"\\n") - 1 for file in kept)
        made = _answers.generate
        asked = []
        _answers.generate = lambda *a, **k: asked.extend(a[1]) or made(*a, **k)
        groups = collect([Path(run) for run in runs], limit=8)
        for _ in evaluate_groups(groups, out=out, shots=2):
            pass
        print(json.dumps([before, len(asked)]), flush=True)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == (-signal.SIGKILL if moment else 0), (moment, status)
"""


@pytest.mark.slow
def test_an_evaluation_that_is_killed_again_and_again_goes_on(done, tiny_runs, tmp_path):
    """SIGKILL before the n-th file is touched, for several n; the last try asks only the rest."""
    out, runs = tmp_path / "eval", json.dumps([str(run) for run in tiny_runs.values()])
    told = subprocess.run(
        [sys.executable, "-c", KILLED, str(out), runs, json.dumps([2, 9, 20, 30, 0])],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent,
        env=os.environ | {"PYTHONPATH": f".{os.pathsep}tests"},
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    before, asked = json.loads(told.stdout)
    assert before > 8
    assert asked == 48 - before
    for ours, theirs in zip(*(
        (folder / "answers.jsonl").read_text().splitlines() for folder in (out, done.out)
    ), strict=True):  # fmt: skip
        found, wanted = (json.loads(line)["variants"] for line in (ours, theirs))
        assert [each["reply"] for each in found.values()] == [
            each["reply"] for each in wanted.values()
        ]


def test_a_stopped_evaluation_goes_on_to_the_same_card(done, tiny_runs, tmp_path):
    out = tmp_path / "eval"
    work = evaluate_runs(list(tiny_runs.values()), out=out, **SMALL)
    for record in work:
        if record.get("done") == 24:
            break
    with pytest.raises(Interrupted, match="the same command goes on") as caught:
        work.throw(KeyboardInterrupt)
    assert caught.value.exit_code == 130
    assert not out.exists()
    kept = sorted((tmp_path / ".outcomes").glob("*.jsonl"))
    assert len(kept) >= 3
    kept[0].write_text(kept[0].read_text() + '{"key": "torn')
    records = list(evaluate_runs(list(tiny_runs.values()), out=out, **SMALL))
    for ours, theirs in zip(records[-1]["scorecard"].variants, done.card.variants, strict=True):
        assert ours.metrics == theirs.metrics
    lines = kept[0].read_text().splitlines()
    assert lines.count('{"key": "torn') == 1, "what came after it has lines of its own"


def test_seeds_are_folded_and_other_settings_are_not(tiny_runs, tmp_path):
    def moved(_, old):
        return old + 0.02 * torch.randn_like(old)

    runs = [
        copy(tiny_runs["lora"], tmp_path / "a"),
        copy(tiny_runs["lora"], tmp_path / "b", moved, options__seed=1),
        copy(tiny_runs["lora"], tmp_path / "c", moved, options__seed=2, method__rank=4),
    ]
    out = tmp_path / "eval"
    card = list(evaluate_runs(runs, out=out, limit=6, shots=0))[-1]["scorecard"]
    lines = [line for line in card.variants if line.method == "lora"]
    assert [(line.name, line.seeds) for line in lines] == [("a (and 1 more)", (0, 1)), ("c", (2,))]
    assert lines[0].metrics["bits_per_byte"].spread > 0
    assert lines[1].metrics["bits_per_byte"].spread is None
    assert len(lines[0].fingerprints) == 2


def test_runs_with_other_items_have_a_card_of_their_own(tiny_runs, tmp_path):
    other = copy(tiny_runs["lora"], tmp_path / "other", recipe__world_seed=5)
    out = tmp_path / "eval"
    found = [
        record
        for record in evaluate_runs([tiny_runs["lora"], other], out=out, limit=4, shots=0)
        if "scorecard" in record
    ]
    assert [record["out"] for record in found] == [out / "sql_qa-base", out / "sql_qa-base-2"]
    assert found[0]["scorecard"].variants[-1].name == "sql_qa-lora"
    assert found[1]["scorecard"].variants[-1].name == "other"


def test_a_variant_that_is_its_base_is_refused(tiny_runs, tmp_path):
    def untrained(name, old):
        return torch.zeros_like(old) if "lora_B" in name else old

    idle = copy(tiny_runs["lora"], tmp_path / "idle", untrained)
    with pytest.raises(FtkitError, match="answers exactly as its base does"):
        list(evaluate_runs([idle], out=tmp_path / "eval", limit=4, shots=0))
    same = copy(tiny_runs["full"], tmp_path / "same")
    for file in tiny_runs["base"].rglob("*"):
        if file.is_file() and file.name != "run.toml":
            shutil.copy(file, same / file.relative_to(tiny_runs["base"]))
    with pytest.raises(FtkitError, match="same is its own base: nothing was tuned"):
        list(evaluate_runs([same], out=tmp_path / "eval", limit=4, shots=0))
    assert not (tmp_path / "eval").exists()


@pytest.mark.parametrize(
    ("folders", "settings", "message"),
    [
        (["nowhere"], {}, "no run at .*nowhere: there is no such folder"),
        (["."], {}, "is no run, model or adapter folder: it has no config.json"),
        ([], {}, "nothing to evaluate in no folders: tune a variant first"),
        ([], {"limit": 0}, "--limit takes 1 or more, not 0"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(folders, settings, message, tmp_path):
    runs = [tmp_path / folder for folder in folders]
    with pytest.raises(FtkitError, match=message):
        list(evaluate_runs(runs, out=tmp_path / "eval", **settings))


def test_fewer_examples_than_none_are_refused(tmp_path):
    with pytest.raises(FtkitError, match="--shots takes 0 or more, not -1"):
        list(evaluate_groups([], out=tmp_path / "eval", shots=-1))


def test_a_damaged_variant_is_refused_before_anybody_is_asked(tiny_runs, tmp_path):
    torn = copy(tiny_runs["lora"], tmp_path / "torn")
    weights = torn / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    runs = [tiny_runs["full"], torn, tiny_runs["soft_prompt"]]
    with pytest.raises(FtkitError, match="torn is damaged, or not of base"):
        list(evaluate_runs(runs, out=tmp_path / "eval", limit=4, shots=0))
    assert [path.name for path in tmp_path.iterdir()] == ["torn"]


def test_kept_answers_are_not_given_for_weights_that_were_changed(done, tiny_runs, tmp_path):
    changed = copy(tiny_runs["lora"], tmp_path / "changed")
    file = changed / "adapter_model.safetensors"
    save_file({name: 0.3 * old for name, old in load_file(file).items()}, file)
    *_, last = evaluate_runs([changed], out=done.out.parent / "again", **SMALL)
    lora = (
        next(v for v in c.variants if v.method == "lora") for c in (last["scorecard"], done.card)
    )
    assert len({variant.metrics["bits_per_byte"].mean for variant in lora}) == 2
    file.unlink()
    with pytest.raises(FtkitError, match="changed holds no weights: there is no adapter_model"):
        list(evaluate_runs([changed], out=done.out.parent / "more", **SMALL))
