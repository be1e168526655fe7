"""Methods beside each other on real rows: six of them, three recipes, several sizes and seeds.

    python bench/methods.py DATA OUT [--sizes 1000:3 10000:1 100:3] [--tokens N] [--only RECIPE]
    python bench/methods.py DATA OUT --collect results/methods.json --plot docs/methods.svg

A small base reads books, textbooks and rows of other sets as text, so that no row that is taught
was pretrained on. Every stage is an ordinary command in its own process, on one thread; what is
finished is passed over, so the script goes on where it stopped. A size counts lines of the
training files, from which held-out units and repeated rows go; which ones does not depend on the
seed. The test is the sets' own dev files.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from _figures import hardware  # first, for a bare clone
from _given import untrained

from ftkit.basemodel.corpus import Documents

HERE = Path(__file__).parent.parent  # a bare clone has to find itself
METHODS = ("full", "lora", "dora", "prefix", "soft_prompt", "ia3")
BELOW = ("dora", "soft_prompt")  # written below their points, as others lie close
TAUGHT = {
    "sql_qa": ("sql_qa/wikisql", "sql_qa/spider"),
    "medical": ("medical/medquad",),
    "chat": ("chat/sgd",),
}
READ = {  # by the base
    "sql_qa": ("sql_qa/wikisql_train_nodb",),
    "medical": ("medical/medical_meadow_small", "medical/med_safety_bench"),
    "chat": ("chat/topical_chat", "chat/mts_dialog"),
}
BOOKS = (("standardebooks", 3), ("openstax", 1))  # files of each
SHORT = {"medical": ("longest=300",), "chat": ("longest=600",)}  # characters
EPOCHS = {100: 10, 1000: 2, 10000: 1}
ASKED = {"sql_qa": 400, "medical": 200, "chat": 200}
SHOWN = 1000  # rows of the tunings whose quality is drawn against their parameters
SHAPE = {
    "hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
}  # fmt: skip


def ftkit(out: Path, *words: str) -> None:
    """Run a command in a folder, as it may leave notes beside it; stop when it fails."""
    command = [sys.executable, "-m", "ftkit", *words]
    print("ftkit", *words, flush=True)
    here = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    alone = os.environ | {"PYTHONPATH": here} | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    subprocess.run(command, check=True, env=alone, cwd=out)


def sources(data: Path, names: tuple[str, ...], weight: float = 1.0) -> list[str]:
    """Name sets as a command takes them."""
    return [word for name in names for word in ("--data", f"{data / name}@{weight:.6g}")]


def base(data: Path, out: Path, tokens: int) -> Path:
    """Pretrain the base: a tokenizer from what it reads, then the circuit's practice, then text."""
    place = out / "base"
    texts = []
    for recipe, names in READ.items():
        text = out / f"{recipe}.jsonl"
        if not text.exists():
            more = [word for pair in SHORT.get(recipe, ()) for word in ("--set", f"recipe.{pair}")]
            read = sources(data, names)
            ftkit(
                out,
                *("data", "--recipe", recipe, *read, "--on-bad-rows", "skip"),
                *("--prose", str(text), *more),
            )
        texts.append(str(text))
    for name, most in BOOKS:
        files = sorted((data / "pretrain" / name / "train").glob("*.txt.gz"))
        texts += [str(file) for file in files[:most]]
    raw = out / "raw"
    if not raw.exists():
        untrained(Documents(texts), raw, **SHAPE)
    if not (place / "run" / "done").exists():
        begun = ["--resume"] if (place / "run" / "run.toml").exists() else [
            *(word for text in texts for word in ("--data", text)),
            *("--base", str(raw), "--tokens", str(tokens), "--set", "plan.practice=100"),
            *("--set", "plan.matrix_lr=0.02", "--set", "plan.table_lr=0.006"),
        ]  # fmt: skip
        ftkit(out, "pretrain", "--out", str(place), *begun)
    return place


def tuned(data: Path, out: Path, start: Path, recipe: str, size: int, seeds: int) -> None:
    """Tune by every method with every seed on so many rows, and ask the sets' own questions."""
    names = TAUGHT[recipe]
    have = sum(_lines(data / name / "train.jsonl.gz") for name in names)
    place = out / str(size) / recipe
    settings = [f"recipe.{pair}" for pair in SHORT.get(recipe, ())]
    settings += [f"recipe.epochs={EPOCHS[size]}", "plan.batch=1024", "plan.held_out=96"]
    settings += ["recipe.max_new_tokens=96"]
    given = [word for setting in settings for word in ("--set", setting)]
    methods = [word for method in METHODS for word in ("--method", method)]
    ftkit(
        out,
        *("tune", "--recipe", recipe, *methods, "--seeds", str(seeds), "--base", str(start)),
        *sources(data, names, min(1.0, size / have)),
        *("--on-bad-rows", "skip", "--out", str(place), *given),
    )
    if not (place / "eval" / "scorecard.json").exists():
        runs = sorted(str(run.parent.parent) for run in place.glob("*/run/done"))
        ftkit(out, "eval", *runs, "--limit", str(ASKED[recipe]), "--out", str(place / "eval"))


def _lines(file: Path) -> int:
    import gzip

    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return sum(1 for _ in lines)


def collect(out: Path, before: list[dict[str, Any]]) -> dict[str, Any]:
    """Take out of the scorecards what each method came to on each recipe and size.

    Variants collected before, of recipes and sizes that the folder lacks, stay: the whole study is
    too long for one sitting.
    """
    cards = [
        (int(file.parts[-4]), json.loads(file.read_text(encoding="utf-8")))
        for file in sorted(out.glob("*/*/eval/scorecard.json"))
    ]
    new = [one for size, card in cards for one in read(size, card)]
    there = {(one["recipe"], one["rows"]) for one in new}
    found = new + [one for one in before if (one["recipe"], one["rows"]) not in there]
    found.sort(key=lambda one: ([*TAUGHT].index(one["recipe"]), one["rows"]))  # keeps their order
    return {
        "title": "Methods on real rows",
        "hardware": hardware(),
        "notes": "",
        "columns": [
            *("recipe", "rows", "method", "seeds", "trained", "measure", "score"),
            *("bits per byte", "forgotten", "s"),
        ],
        "rows": [cells(one) for one in found],
        "variants": found,
    }


def read(size: int, card: dict[str, Any]) -> list[dict[str, Any]]:
    """Read one scorecard: the tuned variants, the base in each form and the nearest answer."""
    # Bits per byte have a column of their own, and are what some recipes rank by.
    first = next(name for name, reading in card["readings"].items() if reading["share"])
    return [
        {
            "recipe": card["recipe"], "rows": size, "method": line["method"], "name": line["name"],
            "seeds": len(line["seeds"]), "n": card["n"], "ranks": card["readings"][first]["title"],
            "score": line["metrics"][first], "bits": line["metrics"]["bits_per_byte"],
            "trained": line["cost"]["trainable_params"], "seconds": line["cost"]["seconds"],
            "forgetting": line["forgetting"], "processor": hardware()["processor"],
        }
        for line in card["variants"]
        if line["method"] in ("base", "nearest", *METHODS)
    ]  # fmt: skip


def cells(one: dict[str, Any]) -> list[str]:
    """Put a variant into a row of the table."""
    tuned, bits = one["method"] in METHODS, one["bits"]
    mean, low, high = (one["score"][name] for name in ("mean", "low", "high"))
    words = "–"
    if mean is not None:
        spread = f" ±{100 * one['score']['spread']:.1f}" if one["seeds"] > 1 else ""
        words = f"{100 * mean:.1f}{spread} ({100 * low:.0f}–{100 * high:.0f})"
    lost = one["forgetting"]
    return [
        one["recipe"], f"{one['rows']:,}", one["method"] if tuned else one["name"],
        str(one["seeds"]) if tuned else "–", f"{one['trained']:,.0f}" if tuned else "–",
        one["ranks"], words,
        f"{bits['mean']:.3f} ({bits['low']:.2f}–{bits['high']:.2f})" if bits["mean"] else "–",
        f"{lost['after'] - lost['before']:+.3f}" if lost else "–",
        f"{one['seconds']:.0f}" if tuned else "–",
    ]  # fmt: skip


def draw(variants: list[dict[str, Any]], path: Path) -> None:
    """Draw quality against trained parameters and against rows, a column for each recipe."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    there = [recipe for recipe in TAUGHT if any(one["recipe"] == recipe for one in variants)]
    figure = Figure(figsize=(4 * len(there), 8), layout="constrained")
    axes = figure.subplots(3, len(there), squeeze=False)
    colours = dict(zip(METHODS, ("C3", "C0", "C2", "C4", "C1", "C5"), strict=True))
    for column, recipe in enumerate(there):
        mine = [one for one in variants if one["recipe"] == recipe]
        for method, colour in colours.items():
            own = [one for one in mine if one["method"] == method]
            for row, kind in enumerate(("score", "bits")):
                for one in (one for one in own if one["rows"] == SHOWN):
                    _point(axes[row][column], one["trained"], one[kind], colour, method)
            if own:
                sizes, bits = zip(*((one["rows"], one["bits"]["mean"]) for one in own), strict=True)
                axes[2][column].plot(sizes, bits, color=colour, marker="o", label=method)
        axes[0][column].set_title(recipe)
        axes[0][column].set_ylabel(mine[0]["ranks"])
        for row in (1, 2):
            axes[row][column].set_ylabel("bits per byte (lower is better)")
        for row, below in enumerate(("trained parameters", "trained parameters", "training rows")):
            axes[row][column].set_xscale("log")
            axes[row][column].set_xlabel(below)
    handles, names = axes[2][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names))
    with matplotlib.rc_context({"svg.hashsalt": "ftkit"}):  # the same figures draw the same file
        figure.savefig(path, format="svg", metadata={"Date": None})


def _point(axes: Any, x: float, measure: dict[str, Any], colour: str, name: str) -> None:
    """Draw a mean with its interval and its name."""
    if measure["mean"] is None:
        return
    below, above = measure["mean"] - measure["low"], measure["high"] - measure["mean"]
    axes.errorbar([x], [measure["mean"]], [[below], [above]], fmt="o", color=colour, capsize=2)
    away = (4, -10 if name in BELOW else 4)
    axes.annotate(name, (x, measure["mean"]), away, textcoords="offset points", fontsize="small")


def main() -> None:
    """Run what is missing of the study, or collect what it came to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sizes", nargs="+", default=["1000:3", "10000:1", "100:3"])
    parser.add_argument("--tokens", type=int, default=6_000_000)
    parser.add_argument("--only", help="a recipe")
    parser.add_argument("--collect", type=Path, help="write what is there into this file")
    parser.add_argument("--plot", type=Path, help="draw it as an SVG")
    parser.add_argument("--notes", default="", help="what a reader must know of the run")
    said = parser.parse_args()
    said.data, said.out = said.data.resolve(), said.out.resolve()
    said.out.mkdir(parents=True, exist_ok=True)
    if said.collect:
        there = json.loads(said.collect.read_text("utf-8")) if said.collect.exists() else {}
        found = collect(said.out, there.get("variants", []))
        found["notes"] = said.notes
        text = json.dumps(found, indent=1, ensure_ascii=False)
        said.collect.write_text(text + "\n", encoding="utf-8")
        if said.plot:
            draw(found["variants"], said.plot)
        return
    torch.set_num_threads(1)
    sizes = [each.partition(":") for each in said.sizes]
    if unknown := {size for size, _, _ in sizes} - set(map(str, EPOCHS)):
        parser.error(f"--sizes knows {', '.join(map(str, EPOCHS))} rows, not {min(unknown)}")
    start = base(said.data, said.out, said.tokens)
    for size, _, seeds in sizes:
        for recipe in [said.only] if said.only else TAUGHT:
            tuned(said.data, said.out, start, recipe, int(size), int(seeds or 1))


if __name__ == "__main__":
    main()
