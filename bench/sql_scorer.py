"""How well the SQL scorer judges: golds against rewritings of themselves and wrong queries.

A rewriting means the same and must be right on every instance. A wrong query is the gold with one
thing broken; those that agree with the gold on the file agree by luck, and the table says how many
of them fewer and more instances find out.

python bench/sql_scorer.py --out results/bench/sql_scorer.json --spider FOLDER
"""

import argparse
import gzip
import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import sqlglot
from _figures import kept
from sqlglot import exp

from ftkit.eval._instances import Instances
from ftkit.eval._sql import Sql
from ftkit.eval._verdict import Judge
from ftkit.recipes._sql_world import databases, items

COUNTS = (0, 1, 2, 4, 6, 8)  # instances
FLIPPED = {exp.GT: exp.LT, exp.LT: exp.GT, exp.GTE: exp.LTE, exp.LTE: exp.GTE, exp.EQ: exp.EQ}
LOOSE = {exp.GT: exp.GTE, exp.GTE: exp.GT, exp.LT: exp.LTE, exp.LTE: exp.LT}
OTHERS = {exp.Max: exp.Min, exp.Min: exp.Max, exp.Avg: exp.Max, exp.Sum: exp.Avg}


def rewritten(gold: str) -> str:
    """Write a query otherwise: comparisons and joins turned round, BETWEEN and IN spelled out.

    >>> rewritten("SELECT a FROM t JOIN u ON t.i = u.i WHERE b > 3")
    'SELECT a FROM u JOIN t ON u.i = t.i WHERE 3 < b'
    """
    tree = sqlglot.parse_one(gold.rstrip("; "), read="sqlite")
    for test in list(tree.find_all(exp.Between)):
        low, high = (exp.paren(test.args[name].copy()) for name in ("low", "high"))
        least = exp.GTE(this=test.this.copy(), expression=low)
        most = exp.LTE(this=test.this.copy(), expression=high)
        test.replace(exp.paren(exp.And(this=least, expression=most)))
    for test in list(tree.find_all(*FLIPPED)):
        kind = FLIPPED[type(test)]
        test.replace(kind(this=test.expression.copy(), expression=test.this.copy()))
    for select in tree.find_all(exp.Select):
        source, joins = select.args.get("from_"), select.args.get("joins") or []
        plain = len(joins) == 1 and not joins[0].side and not joins[0].method
        if plain and not any(part.is_star for part in select.selects):
            first, second = source.this, joins[0].this
            source.set("this", second.copy())
            joins[0].set("this", first.copy())
    return tree.sql(dialect="sqlite")


def broken(gold: str) -> Iterator[tuple[str, str]]:
    """Yield what is broken, and the wrong query."""
    tree = sqlglot.parse_one(gold.rstrip("; "), read="sqlite")
    for name, change in _changes(tree):
        yield name, change.sql(dialect="sqlite")


def _changes(tree: exp.Expr) -> Iterator[tuple[str, exp.Expr]]:
    """Break one thing in a copy of the tree."""
    for place, node in enumerate(tree.walk()):
        copy = tree.copy()
        twin = next(n for number, n in enumerate(copy.walk()) if number == place)
        if isinstance(node, exp.Where):
            twin.pop()
            yield "WHERE lost", copy
        elif isinstance(node, exp.And | exp.Or):
            twin.replace(twin.this)
            yield "a condition lost", copy
        elif type(node) in LOOSE:
            twin.replace(LOOSE[type(node)](this=twin.this, expression=twin.expression))
            yield "> for >=", copy
        elif isinstance(node, exp.Distinct):
            if isinstance(node.parent, exp.Count):
                twin.replace(twin.expressions[0])
                yield "COUNT without DISTINCT", copy
            elif isinstance(node.parent, exp.Select):
                twin.parent.set("distinct", None)
                yield "DISTINCT lost", copy
        elif isinstance(node, exp.Count) and isinstance(node.this, exp.Column):
            twin.set("this", exp.Distinct(expressions=[twin.this]))
            yield "COUNT with DISTINCT", copy
        elif type(node) in OTHERS:
            twin.replace(OTHERS[type(node)](this=twin.this))
            yield "another aggregate", copy
        elif isinstance(node, exp.Ordered):
            twin.set("desc", not node.args.get("desc"))
            yield "the other direction", copy
        elif isinstance(node, exp.Limit) and node.expression.is_int:
            twin.set("expression", exp.Literal.number(int(node.expression.name) + 1))
            yield "another LIMIT", copy
        elif isinstance(node, exp.Union) and node.args.get("distinct"):
            twin.set("distinct", False)
            yield "UNION ALL", copy
        elif isinstance(node, exp.Group) and len(node.expressions) > 1:
            twin.expressions[-1].pop()
            yield "a group lost", copy


def main() -> None:
    """Measure and keep."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--out", type=Path)
    words.add_argument("--spider", type=Path, help="folder with dev.jsonl.gz and databases/")
    words.add_argument("--every", type=int, default=1, help="take every so-manieth row")
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        files = databases("test", 0, place)
        sets = {"world test": [(item.sql, files[item.db_id]) for item in items("test", 0, 500)]}
        if given.spider is not None:
            sets["Spider dev"] = list(spider(given.spider, place))
        rows = [measured(name, pairs[:: given.every]) for name, pairs in sets.items()]
    heads = ["golds", "queries", "rewritings called wrong", "wrong queries", "agree on the file"]
    heads += [f"found out by {count}" for count in COUNTS[1:]] + ["ms a query"]
    for row in rows:
        print(*row, sep=" | ")
    notes = "Wrong queries are those whose rows differ on the file or on one of 8 instances."
    kept(given.out, "Verdicts on rewritten and on broken gold queries", heads, rows, notes=notes)


def spider(folder: Path, place: Path) -> Iterator[tuple[str, Path]]:
    """Yield Spider's golds with their databases."""
    with gzip.open(folder / "dev.jsonl.gz", "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            path = place / f"{row['db_id']}.sqlite"
            if not path.exists():
                packed = folder / "databases" / f"{path.name}.gz"
                with gzip.open(packed) as source, path.open("wb") as plain:
                    shutil.copyfileobj(source, plain)
            yield row["sql"], path


def measured(name: str, pairs: list[tuple[str, Path]]) -> list[str]:
    """Judge rewritings and broken queries of every gold; returns a row of the table."""
    sql = Sql()
    judges = {n: Judge(sql, str, Instances(n, 0) if n else None) for n in COUNTS}
    most, said, luck, wrong = COUNTS[-1], Counter[str](), Counter[int](), 0
    for gold, path in pairs:
        verdict = judges[most].verdict(rewritten(gold), gold, path)
        if not verdict.right:
            said["rewriting"] += 1
            print(f"{verdict.reason}: {gold} | {rewritten(gold)} | {path.name}")
    began, asked = time.perf_counter(), 0
    for gold, path in pairs:
        for kind, query in broken(gold):
            verdict = judges[most].verdict(query, gold, path)
            asked += 1
            if verdict.right:
                said[f"never: {kind}"] += 1
                continue
            wrong += 1
            if not verdict.reason.startswith("by luck"):
                continue
            for count in COUNTS:
                luck[count] += bool(judges[count].verdict(query, gold, path).right)
    seconds = (time.perf_counter() - began) / max(1, asked)
    sql.close()
    print(name, dict(said))
    found = [f"{100 * (1 - luck[count] / max(1, luck[0])):.1f} %" for count in COUNTS[1:]]
    counts = [len(pairs), said["rewriting"], wrong, luck[0]]
    return [name, *(f"{count:,}" for count in counts), *found, f"{1000 * seconds:.1f}"]


if __name__ == "__main__":
    main()
