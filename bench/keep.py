"""Keep a scorecard as a result: what it measured, with the stages' costs, and no path of a machine.

python bench/keep.py runs/demo/eval results/demo.json --title "ftkit demo, seed 0"
"""

import argparse
import json
from pathlib import Path
from typing import Any


def result(folder: Path, title: str, notes: str) -> dict[str, Any]:
    """Read a folder that `ftkit eval` or `ftkit demo` wrote.

    Args:
        folder: holds scorecard.json; stages.json is looked for beside the folder and above.
        title: what the tables call it.
        notes: what a reader must know of how it was measured; "" for nothing.
    """
    card = json.loads((folder / "scorecard.json").read_text(encoding="utf-8"))
    above = (
        folder.parent,
        folder.parent.parent,
    )  # of several recipes each has a folder below eval/
    root = next((place for place in above if (place / "stages.json").exists()), folder.parent)
    stages = root / "stages.json"
    kept = {"title": title, **({"notes": notes} if notes else {})}
    if stages.exists():
        found = json.loads(stages.read_text(encoding="utf-8"))
        costs = ("seconds", "peak_memory")
        kept["stages"] = {name: {k: stage[k] for k in costs} for name, stage in found.items()}
    kept |= _by_source(folder / "answers.jsonl", next(iter(card["readings"])))
    # Sources lie as DATA/task/set; where DATA is, is the machine's affair.
    sources = {Path(word).parent.parent for word in card["facts"].get("recipe", {}).get("data", [])}
    hidden = {str(root.resolve()): "runs", str(root): "runs"}
    hidden |= {str(place): "data" for place in sources if place.is_absolute()}
    base = Path(card["facts"].get("base", {}).get("path", ""))
    hidden |= {str(base.parent): "runs"} if base.is_absolute() else {}
    return kept | _plain(card, hidden) | kept


def _by_source(answers: Path, metric: str) -> dict[str, Any]:
    """Divide the first metric by the folder that each item came from, where there are several."""
    if not answers.exists():
        return {}
    found: dict[str, dict[str, list[float]]] = {}
    for line in answers.read_text(encoding="utf-8").splitlines():
        item = json.loads(line)
        source = Path(item["where"].rpartition(":")[0]).parent.name
        for name, given in item["variants"].items():
            scores = found.setdefault(source, {}).setdefault(name, [])
            if given["scores"][metric] is not None:  # where the metric applies
                scores.append(given["scores"][metric])
    if len(found) < 2:
        return {}
    means = {
        source: {"n": max(map(len, names.values()))}
        | {name: round(sum(scores) / len(scores), 4) for name, scores in names.items() if scores}
        for source, names in found.items()
    }
    return {"by_source": means}


def _plain(value: Any, hidden: dict[str, str]) -> Any:
    """Put other names in place of the folders that everything lies in."""
    if isinstance(value, dict):
        return {key: _plain(inner, hidden) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner, hidden) for inner in value]
    if isinstance(value, str):
        for place, name in hidden.items():
            value = value.replace(place, name)
    return value


def main() -> None:
    """Write the result file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--title", required=True)
    parser.add_argument("--notes", default="")
    given = parser.parse_args()
    text = json.dumps(result(given.folder, given.title, given.notes), indent=1)
    given.file.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
