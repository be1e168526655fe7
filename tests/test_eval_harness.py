"""lm-evaluation-harness opens what ftkit writes, and finds the BLiMP score that ftkit finds."""

import gzip
import json
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
lm_eval: Any = pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")  # those of the harness

DRAWN = """task: drawn
dataset_path: json
dataset_kwargs: {data_files: {train: PAIRS}}
validation_split: train
output_type: generate_until
doc_to_text: "{{sentence_good}}"
doc_to_target: "{{sentence_bad}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 8, do_sample: false}
metric_list: [{metric: exact_match}]
"""


def pairs() -> list[dict[str, str]]:
    """Sentences whose verbs agree with their subjects, and others."""
    nouns = ("singer", "table", "schema", "question", "concert", "name", "value", "row")
    verbs = ("sleep", "sing", "order", "count", "join", "select")
    return [
        {
            "sentence_good": f"The {noun}{'s' * many} {verb}{'s' * (not many)} here.",
            "sentence_bad": f"The {noun}{'s' * many} {verb}{'s' * many} here.",
            "UID": "agreement", "field": "syntax",
        }
        for noun, verb, many in product(nouns, verbs, (False, True))
    ]  # fmt: skip


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of task files: that of the page, and one that generates."""
    folder = tmp_path_factory.mktemp("tasks")
    shared = ROOT.parent / "shared" / "data" / "eval" / "blimp" / "dev.jsonl.gz"
    lines = [json.dumps(pair) for pair in pairs()]
    if shared.is_file():
        lines = gzip.decompress(shared.read_bytes()).decode().splitlines()[::100]
    (folder / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    with gzip.open(folder / "pairs.jsonl.gz", "wt") as file:
        file.write("\n".join(lines) + "\n")
    page = (ROOT / "docs" / "other_benchmarks.md").read_text()
    told = page.split("```yaml\n")[1].split("```")[0]
    for name, text in (("ftkit_blimp", told), ("drawn", DRAWN)):
        text = text.replace("PAIRS", str(folder / "pairs.jsonl"))
        (folder / f"{name}.yaml").write_text(text)
    return folder


def asked(tasks: Path, name: str, limit: int | None = None, **model: str) -> Any:
    """Let the harness evaluate a folder."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    return lm_eval.simple_evaluate(
        model="hf", model_args={"dtype": "float32", **model}, tasks=[name], device="cpu",
        batch_size=16, task_manager=manager, limit=limit, log_samples=True, bootstrap_iters=0,
    )  # fmt: skip


def test_its_blimp_score_is_ours(
    tiny_base: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    import knows

    theirs = asked(tasks, "ftkit_blimp", pretrained=str(tiny_base))
    ours = knows.blimp(knows.Reader(tiny_base), tasks / "pairs.jsonl.gz", None)["all"]
    found = theirs["results"]["ftkit_blimp"]["acc,none"]
    assert theirs["n-samples"]["ftkit_blimp"]["effective"] == ours["n"] >= 96
    assert ours["mean"] == pytest.approx(found, abs=5e-5)  # ours is rounded
    assert 0.0 < found < 1.0
    sys.modules.pop("knows")


@pytest.mark.parametrize("method", ["base", "full", "lora", "soft_prompt"])
def test_it_runs_every_folder_unchanged(
    tiny_runs: dict[str, Path], tasks: Path, method: str
) -> None:
    folder = str(tiny_runs[method])
    whole = method in ("base", "full")
    model = {"pretrained": folder if whole else str(tiny_runs["base"])}
    model |= {} if whole else {"peft": folder}
    scored = asked(tasks, "ftkit_blimp", limit=40, **model)["samples"]["ftkit_blimp"]
    assert len(scored) == 40
    if not whole:
        base = asked(tasks, "ftkit_blimp", limit=40, pretrained=str(tiny_runs["base"]))
        assert [each["resps"] for each in scored] != [
            each["resps"] for each in base["samples"]["ftkit_blimp"]
        ]


def test_its_greedy_text_is_ours(tiny_base: Path, tasks: Path) -> None:
    from ftkit.adapters._variant import open_variant
    from ftkit.basemodel.generate import generate

    found = asked(tasks, "drawn", limit=12, pretrained=str(tiny_base))["samples"]["drawn"]
    variant = open_variant(tiny_base)
    prompts = [variant.tokenizer(each["doc"]["sentence_good"])["input_ids"] for each in found]
    made = generate(variant.decoder, prompts, max_new_tokens=8, stop=variant.stops, pad=variant.pad)
    for each, reply in zip(found, made, strict=True):
        text = variant.tokenizer.decode(reply.ids, skip_special_tokens=True)
        assert each["resps"][0][0] == text.split("\n")[0]
