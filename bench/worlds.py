"""What the embedded worlds hold: wordings, and whether a test asks in new ones, features, facts.

A wording is a question with its names and values replaced. Beside the SQL world stand Spider's own
rows, where they are at hand.

python bench/worlds.py --out results/worlds.json --spider FOLDER
"""

import argparse
import gzip
import json
import re
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from _figures import kept

from ftkit.eval._hardness import LEVELS, hardness
from ftkit.recipes._chat_world import items as talks
from ftkit.recipes._chat_world import pools
from ftkit.recipes._chat_world.items import DISTANCES, Talk
from ftkit.recipes._medical_world import Case, cases
from ftkit.recipes._medical_world.complaints import PEOPLE, families
from ftkit.recipes._medical_world.conditions import ASPECTS, conditions, everything
from ftkit.recipes._medical_world.wording import sections
from ftkit.recipes._sql_world import Item, features, items
from ftkit.recipes._sql_world.items import FEATURES, schema_at
from ftkit.recipes.chat import RECIPE as CHAT
from ftkit.recipes.medical import RECIPE as MEDICAL
from ftkit.recipes.sql_qa import RECIPE as SQL

Table = dict[str, list[Any]]
AGREED = {"are": "is", "were": "was", "have": "has", "do": "does", "an": "a"}
NUMBER = re.compile(r"'[^']*'|\b\d[\w.-]*|\b(?:two|three|four|five|six|ten)\b")


def masked(text: str, names: Iterable[str], values: Iterable[str] = ()) -> str:
    """Replace names by N and values by V, and let verbs agree with one thing.

    >>> masked("What are the ages of all ships above 3?", ["ages", "ships"], ["3"])
    'what is the N of all N above V?'
    """
    text = _replaced(text.lower(), values, "V")
    text = _replaced(NUMBER.sub("V", text), names, "N")
    return " ".join(AGREED.get(word, word) for word in text.split())


def _replaced(text: str, words: Iterable[str], mark: str) -> str:
    found = sorted({word.lower() for word in words if word}, key=len, reverse=True)
    if not found:
        return text
    return re.sub(rf"(?<!\w)(?:{'|'.join(map(re.escape, found))})(?!\w)", mark, text)


def of_item(item: Item) -> str:
    """Return the wording of a question to a database."""
    *_, split, seed, index = item.db_id.split("_")
    tables = schema_at(split, int(seed), int(index))[1].tables
    names = [name for t in tables for name in (t.one, t.many)]
    names += [name for t in tables for f in t.fields for name in (f.words, f.many)]
    quoted = [value.strip("%") for value in re.findall(r"'([^']*)'", item.sql)]
    said = masked(item.question, names, [f"'{value}'" for value in quoted] + quoted)
    return re.sub(r"N(?: N)+", "N", said)  # a column behind its owner


def of_talk(text: str, words: Sequence[str]) -> str:
    """Return the wording of a turn; words of the lexicon are values, one behind the other too."""
    said = masked(text, (), words)
    return re.sub(r"V(?:(?:,| and|, and)? V)+", "V", said).rstrip(".?!")


def of_case(case: Case, said: re.Pattern[str], names: Sequence[str]) -> str:
    """Return the wording of a medical question; complaints and signs are values."""
    return masked(said.sub("V", case.question), names)


def wordings(
    train: Iterable[tuple[str, str]], test: Iterable[tuple[str, str]], also: Iterable[str] = ()
) -> Table:
    """Count wordings by intent, and the share of test rows whose wording training never has.

    Args:
        train: intent and wording of each training row.
        test: those of each test row.
        also: further wordings of the training rows.
    """
    asked, known = defaultdict(list), defaultdict(list)
    for found, rows in ((known, train), (asked, test)):
        for intent, wording in rows:
            found[intent].append(wording)
    seen = {wording for found in known.values() for wording in found} | set(also)
    rows = []
    for intent in [*sorted(known.keys() | asked.keys()), "all"]:
        mine, theirs = (
            [w for i, ws in found.items() if intent in ("all", i) for w in ws]
            for found in (known, asked)
        )
        new = sum(wording not in seen for wording in theirs)
        share = f"{100 * new / len(theirs):.0f} %" if theirs else "–"
        counts = (len(mine), len(set(mine)), len(theirs), len(set(theirs)))
        rows.append([intent.replace("_", " "), *(f"{n:,}" for n in counts), share])
    heads = ["intent", "training rows", "wordings", "test rows", "wordings", "new to training"]
    return {"columns": heads, "rows": rows}


def sql_wordings() -> Table:
    """Tell the wordings of the SQL world."""
    train, test = (
        [(item.intent, of_item(item)) for item in items(split, 0, count)]
        for split, count in (("train", SQL.rows), ("test", SQL.tests))
    )
    return wordings(train, test)


def sql_features(spider: Path | None) -> Table:
    """Tell which features and levels queries have, beside Spider's."""
    columns = {
        f"world {split}": [item.sql for item in items(split, 0, count)]
        for split, count in (("train", SQL.rows), ("test", SQL.tests))
    }
    for part in ("train", "dev") if spider is not None else ():
        with gzip.open(spider / f"{part}.jsonl.gz", "rt", encoding="utf-8") as file:
            columns[f"Spider {part}"] = [json.loads(line)["sql"] for line in file]
    found = {name: (len(sqls), _counted(sqls)) for name, sqls in columns.items()}
    names = [*LEVELS, "nesting", *(name for name, _ in FEATURES)]
    rows = [["queries", *(f"{count:,}" for count, _ in found.values())]]
    for name in names:
        shares = (f"{100 * told[name] / count:.1f} %" for count, told in found.values())
        rows.append([name, *shares])
    return {"columns": ["", *found], "rows": rows}


def _counted(sqls: Sequence[str]) -> Counter[str]:
    """Count levels and features."""
    told: Counter[str] = Counter()
    for sql in sqls:
        told.update([hardness(sql), *features(sql)])
    return told


def chat_wordings() -> Table:
    """Tell the wordings of the chat world: those of the graded turns; all others are seen too."""
    words = sorted({word for pool in pools().values() for word in pool})
    train, test = talks("train", 0, CHAT.rows), talks("test", 0, CHAT.tests)
    turns = {m["content"] for talk in train for m in talk.messages if m["role"] == "user"}
    asked = [
        [(talk.kind, of_talk(talk.messages[-2]["content"], words)) for talk in found]
        for found in (train, test)
    ]
    return wordings(*asked, also={of_talk(turn, words) for turn in turns})


def chat_distances() -> Table:
    """Tell how many test talks look back how far."""
    found: Sequence[Talk] = talks("test", 0, CHAT.tests)
    told = Counter((talk.kind, talk.distance) for talk in found)
    rows = [
        [kind, *(f"{told[kind, d]:,}" if told[kind, d] else "–" for d in (None, *DISTANCES))]
        for kind in sorted({talk.kind for talk in found})
    ]
    return {"columns": ["kind", "no distance", *(f"{d} back" for d in DISTANCES)], "rows": rows}


def medical_wordings() -> Table:
    """Tell the wordings of the medical world."""
    names = [name for c in everything() for name in (c.name, *c.also)]
    texts = [text for c in everything() for text in (*c.alarm, *c.mild)]
    texts += [fact.name for c in everything() for fact in c.signs]
    for lists in ("harm", "idioms", "drugs", "remedies"):
        texts += [line for lines in sections()[lists].values() for line in lines]
    said = [re.escape(text) for text in texts]
    people = "|".join(who for who, _ in PEOPLE)
    for urgent in (True, False):
        for mine, theirs in families(urgent):
            said += map(re.escape, mine)
            said += [
                re.sub(r"\\\{\w+\\\}", r"\\w+", re.escape(t).replace(r"\{s\}", f"(?:{people})"))
                for t in theirs
            ]
    pattern = re.compile("|".join(sorted(said, key=len, reverse=True)), re.IGNORECASE)
    asked = [
        [
            (case.aspect if case.kind == "facts" else case.kind, of_case(case, pattern, names))
            for case in cases(split, 0, count)
        ]
        for split, count in (("train", MEDICAL.rows), ("test", MEDICAL.tests))
    ]
    return wordings(*asked)


def medical_facts() -> Table:
    """Tell how many facts the medical world knows of a condition."""
    rows = []
    for aspect in ASPECTS:
        known = [c.facts(aspect) for c in everything() if aspect in c.aspects]
        counts = [len(facts) for facts in known]
        spelt = [len(fact.wordings) for facts in known for fact in facts]
        means = [f"{statistics.mean(found):.1f}" for found in (counts, spelt)]
        row = [aspect, f"{len(known)}", means[0], f"{min(counts)} to {max(counts)}", means[1]]
        rows.append(row)
    whole = [sum(len(c.facts(aspect)) for aspect in c.aspects) for c in everything()]
    dealt = ", ".join(f"{len(conditions(s, 0))} {s}" for s in ("train", "validation", "test"))
    mean = f"{statistics.mean(whole):.1f}"
    rows.append([f"all ({dealt})", f"{len(whole)}", mean, f"{min(whole)} to {max(whole)}", ""])
    heads = ["aspect", "conditions", "facts of one", "fewest to most", "wordings of a fact"]
    return {"columns": heads, "rows": rows}


TABLES: dict[str, Callable[[], Table]] = {
    "sql_wordings": sql_wordings,
    "chat_wordings": chat_wordings,
    "chat_distances": chat_distances,
    "medical_wordings": medical_wordings,
    "medical_facts": medical_facts,
}


def main() -> int:
    """Measure, and write what docs/worlds.md shows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("results/worlds.json"))
    parser.add_argument("--spider", type=Path, help="folder with train.jsonl.gz and dev.jsonl.gz")
    told = parser.parse_args()
    found = {"sql_features": sql_features(told.spider)} | {n: make() for n, make in TABLES.items()}
    kept(told.out, "The embedded worlds, seed 0", [], [], tables=found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
