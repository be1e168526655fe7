"""Write what documents repeat: docs/cli.md, the tree in ARCHITECTURE.md, the tables of results.

The first comes from the commands, the second from each file's first sentence, the third from the
files in results/: `results:NAME` marks a scorecard's table, `summary:NAME` the recipes NAME_* under
each other, `seeds:NAME` the same job under several seeds, NAME and NAME_seed*, `worlds:NAME` one
table of results/worlds.json, `bench:NAME` what a benchmark kept, `study:NAME` the same beside them.

`python docs/write.py` writes; with --check it only says what is out of date and ends with 1.
"""

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from ftkit import catalog  # noqa: E402 (a bare clone has to find itself first)
from ftkit.basemodel.config import PRESETS  # noqa: E402
from ftkit.basemodel.dial import DIALS  # noqa: E402
from ftkit.cli import ftkit  # noqa: E402

BARE = ("majority", "nearest", "base")  # methods that nothing was trained by
FLOORS = ("ftkit", "basemodel", "adapters", "recipes", "eval", "cli")
TREE = re.compile(r"(<!-- tree -->\n).*?(<!-- /tree -->)", re.DOTALL)
TABLE = re.compile(
    r"(<!-- (results|summary|seeds|bench|study|worlds):(\w+) -->\n).*?(<!-- /results -->)",
    re.DOTALL,
)
PRESETS_TABLE = re.compile(r"(<!-- presets -->\n).*?(<!-- /presets -->)", re.DOTALL)
PAGES = (  # that have such marks
    *("README.md", "docs/results.md", "docs/data_defects.md", "docs/worlds.md"),
    *("docs/methods.md", "docs/sql_scorer.md", "docs/statistics.md", "docs/testing.md"),
)


def command_line() -> str:
    """Render the help of every command as one page."""
    parts = ["# The command line\n\nWritten by `make docs` from the commands themselves.\n"]
    root = click.Context(ftkit, info_name="ftkit")
    for name, command in [
        ("", ftkit),
        *((n, catalog.load("cli", n)) for n in catalog.names("cli")),
    ]:
        context = click.Context(command, info_name=name, parent=root) if name else root
        context.max_content_width = context.terminal_width = 100
        title = f"ftkit {name}".strip()
        parts.append(f"\n## {title}\n\n```\n{command.get_help(context)}\n```\n")
    return "".join(parts)


def tree() -> str:
    """List every file of the floors with the first sentence of what it says of itself."""
    lines = ["```"]
    for floor in FLOORS:
        found = (
            p
            for p in sorted((ROOT / floor).rglob("*"), key=placed)
            if p.is_file() and first_words(p)
        )
        folder = None
        for path in found:
            here = path.parent.relative_to(ROOT).as_posix()
            if here != folder:
                lines.append(f"{here}/")
                folder = here
            lines.append(f"  {path.name:22} {first_words(path)}")
    return "\n".join([*lines, "```\n"])


def placed(path: Path) -> tuple[str, str]:
    """Sort files by folder first, then by name."""
    return path.parent.as_posix(), path.name


def first_words(path: Path) -> str:
    """Return a file's first sentence: its docstring's, or the comment on its first line."""
    if "__pycache__" in path.parts or path.suffix == ".typed":
        return ""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        text = ast.get_docstring(ast.parse(text)) or ""
        return " ".join(text.split("\n\n")[0].split()).rstrip(".")
    return text.splitlines()[0].strip("{#<!-/*} ").rstrip(".") or path.name


def table(card: dict[str, Any]) -> str:
    """Render a scorecard as a Markdown table, one row a variant.

    Args:
        card: the content of a scorecard.json; `title` and `notes` may stand beside it.
    """
    shown = [name for name, reading in card["readings"].items() if reading["share"]]
    heads = ["", *(card["readings"][name]["title"] for name in shown), "trained", "file", "time"]
    lines = [f"| {' | '.join(heads)} |", f"|{' ---: |' * len(heads)}".replace(" ---:", " ---", 1)]
    for line in card["variants"]:
        cells = [line["name"], *(score(line["metrics"][name]) for name in shown)]
        lines.append(f"| {' | '.join([*cells, *cost(line)])} |")
    return f"**{card.get('title', card['recipe'])}** {facts(card)}\n\n" + "\n".join(lines) + "\n"


def seeds(cards: list[dict[str, Any]]) -> str:
    """Render the same job under several seeds: the ranking metric of each variant, time, memory."""
    first = next(iter(cards[0]["readings"]))
    lines = [line for card in cards for line in card["variants"] if line["metrics"][first]["mean"]]
    names = list(dict.fromkeys(line["name"] for line in lines))  # those that are ever right
    rows = [f"| {' | '.join(['', *names, 'minutes', 'peak memory'])} |"]
    rows.append("| --- |" + " ---: |" * (len(names) + 2))
    for card in cards:
        by_name = {line["name"]: score(line["metrics"][first]) for line in card["variants"]}
        stages = card["stages"].values()
        minutes = sum(stage["seconds"] for stage in stages) / 60
        peak = max(stage["peak_memory"] for stage in stages) / 2**30
        cells = [
            f"seed {card['facts']['recipe']['world_seed']}",
            *(by_name[name] for name in names),
        ]
        rows.append(f"| {' | '.join([*cells, f'{minutes:.1f}', f'{peak:.2f} GiB'])} |")
    return "\n".join(rows) + "\n"


def summary(cards: list[dict[str, Any]]) -> str:
    """Render several recipes under each other: the ranking metric, the base in its best form."""
    size = {
        line["method"]: line["cost"]["trainable_params"]
        for card in cards
        for line in card["variants"]
        if line["method"] not in BARE
    }
    methods = sorted(size, key=lambda method: size[method])
    heads = ["recipe", "measure", "nearest answer", "base, best form", *methods]
    lines = [f"| {' | '.join(heads)} |", "| --- | --- |" + " ---: |" * (len(heads) - 2)]
    for card in cards:
        name, reading = next(iter(card["readings"].items()))
        cells = [f"{card['recipe']}, n = {card['n']}", reading["title"]]
        for method in ("nearest", "base", *methods):
            lines_of = [line for line in card["variants"] if line["method"] == method]
            own = [line for line in lines_of if line["name"].startswith(card["recipe"])]
            measures = [line["metrics"][name] for line in own or lines_of]  # mixtures stand aside
            known = [measure for measure in measures if measure["mean"] is not None]
            sign = -1 if reading["lower_is_better"] else 1
            best = max(known, key=lambda measure: sign * measure["mean"], default=None)
            cells.append(score(best, reading["share"]) if best else "–")
        lines.append(f"| {' | '.join(cells)} |")
    words: dict[str, list[str]] = {}
    for card in cards:
        words.setdefault("; ".join(filter(None, [machine(card), card.get("notes")])), []).append(
            card["recipe"]
        )
    said = [f"{', '.join(of)}: {found}" if len(words) > 1 else found for found, of in words.items()]
    made = next((card for card in cards if card.get("stages")), None)
    if made:
        stages = made["stages"].values()
        minutes = sum(stage["seconds"] for stage in stages) / 60
        peak = max(stage["peak_memory"] for stage in stages) / 2**30
        said.append(f"{minutes:.1f} minutes in all, {peak:.2f} GiB at most")
    text = ". ".join(["Shares in percent, 95 % intervals in brackets", *said])
    return "\n".join(lines) + f"\n\n{text}.\n"


def machine(card: dict[str, Any]) -> str:
    """Name what a result was measured on."""
    known = card["facts"]["hardware"]
    words = [f"{known['processor']}, {known['threads']} threads"]
    return "; ".join([*words, *(known[name] for name in ("accelerator",) if name in known)])


def facts(card: dict[str, Any]) -> str:
    """Say what the numbers rest on: items, intervals, machine."""
    words = [f"{card['n']} test items", "95 % intervals in brackets", machine(card)]
    return "; ".join([*words, *filter(None, [card.get("notes")])]) + "."


def score(value: dict[str, Any], share: bool = True) -> str:
    """Render a mean with its interval and the spread between seeds; a share in percent."""
    if value["mean"] is None:
        return "–"
    if not share:
        return f"{value['mean']:.2f} ({value['low']:.2f}–{value['high']:.2f})"
    spread = f" ±{100 * value['spread']:.1f}" if value.get("spread") is not None else ""
    return f"{100 * value['mean']:.1f}{spread} ({100 * value['low']:.0f}–{100 * value['high']:.0f})"


def cost(line: dict[str, Any]) -> list[str]:
    """Render trained parameters, bytes and seconds; a baseline has none."""
    known = line["cost"]
    return [
        f"{known['trainable_params']:,.0f}" if known["trainable_params"] else "–",
        f"{known['bytes'] / 1e6:.2f} MB" if known["bytes"] else "–",
        f"{known['seconds']:.0f} s" if known["seconds"] and line["method"] != "base" else "–",
    ]


def measured(figures: dict[str, Any]) -> str:
    """Make a table of what a benchmark kept; see bench/_figures.py."""
    found = figures["hardware"]
    unit = f"bfloat16 by {found['bfloat16']}" if found["bfloat16"] else "no bfloat16 arithmetic"
    machine = f"{found['processor']}, {unit}; torch {found['torch']}."
    head = f"**{figures['title']}.** {figures['notes'].strip()} {machine}"
    return f"{head}\n\n{plain(figures)}"


def plain(figures: dict[str, Any]) -> str:
    """Render rows below their heads."""
    rows = [figures["columns"], ["---"] * len(figures["columns"]), *figures["rows"]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def presets() -> str:
    """Make a table of the sizes that `ftkit pretrain` offers."""
    lines = [
        "| preset | parameters | width | layers | heads | vocabulary | context | tokens | batch |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, shape in PRESETS.items():
        dial = DIALS[name]
        sizes = [shape.hidden_size, shape.num_hidden_layers, shape.num_attention_heads]
        sizes += [shape.vocab_size, shape.max_position_embeddings]
        cells = [name, f"{shape.parameters / 1e6:.1f}M", *(f"{size:,}" for size in sizes)]
        lines.append(f"| {' | '.join([*cells, f'{dial.tokens / 1e6:g}M', f'{dial.batch:,}'])} |")
    return "\n".join(lines) + "\n"


def filled(text: str) -> str:
    """Fill every marked place of a page from the result files."""

    def fill(match: re.Match[str]) -> str:
        kind, name = match.group(2), match.group(3)
        ways = {"results": f"{name}.json", "summary": f"{name}_*.json", "seeds": f"{name}*.json"}
        ways |= {"bench": f"bench/{name}.json", "study": f"{name}.json", "worlds": "worlds.json"}
        cards = [
            json.loads(file.read_text(encoding="utf-8"))
            for file in sorted((ROOT / "results").glob(ways[kind]))
        ]
        if not cards:
            raise SystemExit(f"a page shows results/{ways[kind]}, and there is none")
        made = {"results": lambda: table(cards[0]), "summary": lambda: summary(cards)}
        made["bench"] = made["study"] = lambda: measured(cards[0])
        made["worlds"] = lambda: plain(cards[0]["tables"][name])
        return match.group(1) + made.get(kind, lambda: seeds(cards))() + match.group(4)

    return TABLE.sub(fill, text)


def main() -> int:
    """Write the pages, or with --check compare them."""
    wanted = {ROOT / "docs" / "cli.md": command_line()}
    plan = ROOT / "ARCHITECTURE.md"
    wanted[plan] = TREE.sub(
        lambda match: match.group(1) + tree() + match.group(2), plan.read_text(encoding="utf-8")
    )
    guide = ROOT / "docs" / "pretrain.md"
    wanted[guide] = PRESETS_TABLE.sub(
        lambda match: match.group(1) + presets() + match.group(2), guide.read_text(encoding="utf-8")
    )
    for page in PAGES:
        wanted[ROOT / page] = filled((ROOT / page).read_text(encoding="utf-8"))
    for path, text in wanted.items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if "--check" in sys.argv[1:]:
            sys.stderr.write(f"{path.name} is out of date: run `make docs`\n")
            return 1
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
