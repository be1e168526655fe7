"""A scorecard's worth of answers to real queries on a real database, right as often as asked."""

import sqlite3
from pathlib import Path

import numpy as np

from ftkit import catalog
from ftkit.eval._answers import Outcome
from ftkit.eval._scorecard import Cost, Forgetting
from ftkit.eval._tally import Entry, Scores, grade
from ftkit.recipes._recipe import Example

METRICS = ("execution_accuracy", "valid_sql", "exact_match", "own_stop", "bits_per_byte")
SCHEMA = "station(id int, name text, opened int)"
VARIANTS = {  # name -> method, share of right answers, parameters, bytes, seconds
    "majority": ("majority", 0.02, 0, 0, None),
    "nearest": ("nearest", 0.12, 0, 0, None),
    "base": ("base", 0.01, 0, 14_200_000, 92.0),
    "base 4-shot": ("base", 0.05, 0, 14_200_000, 92.0),
    "base prose": ("base", 0.22, 0, 14_200_000, 92.0),
    "sql_qa-soft_prompt": ("soft_prompt", 0.48, 5_120, 21_000, 34.0),
    "sql_qa-lora": ("lora", 0.78, 149_504, 605_000, 31.0),
    "sql_qa-full": ("full", 0.83, 3_541_000, 14_200_000, 29.0),
}
FEATURES = ["where", "count", "order", "group", "join", "nesting"]
HOSTILE = [
    "<script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title = 'owned'\">",
    "</code></dd></dl></style><svg onload=\"document.title='owned'\">",
    '"><iframe srcdoc="<script>parent.document.title=\'owned\'</script>"></iframe>',
    "{{ 7 * 7 }} {% raw %} &lt; <!-- ]]> \u202e \x00",
]


def metrics():
    return {name: catalog.load("eval", name) for name in METRICS}


def items(folder: Path, n: int) -> list[Example]:
    """Ask for stations by their number."""
    path = folder / "stations.sqlite"
    if not path.exists():
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE station (id INTEGER, name TEXT, opened INTEGER)")
            rows = [(k, f"Station {k}", 1900 + k) for k in range(1000)]
            connection.executemany("INSERT INTO station VALUES (?, ?, ?)", rows)
        connection.close()
    made = []
    for k in range(n):
        question = f"What is station {k} called?"
        sql = f"SELECT name FROM station WHERE id = {k}"
        messages = (
            {"role": "user", "content": f"{SCHEMA}\n{question}"},
            {"role": "assistant", "content": sql},
        )
        meta = {"question": question, "sql": sql, "database": str(path)}
        features = FEATURES[: 1 + k % len(FEATURES)]
        made.append(Example(messages, meta | {"features": features}, f"line {k + 1}"))
    return made


def outcomes(asked: list[Example], share: float, seed: int, looked_up: bool) -> list[Outcome]:
    """Answer right with this chance, else wrongly, brokenly or with something hostile."""
    rng = np.random.default_rng(seed)
    ease = np.random.default_rng(99).normal(0, 0.15, len(asked))
    found = []
    for k, item in enumerate(asked):
        wrong = ["SELECT name FROM station WHERE id = -1", "SELECT nam FROM station", *HOSTILE]
        right = rng.random() < share + ease[k] * (0.05 < share < 0.95)
        answer = item.meta["sql"].lower() if right else wrong[rng.integers(len(wrong))]
        nll = None if looked_up else float(rng.gamma(2.0, 20 * (1.05 - share)))
        stopped = None if looked_up else bool(rng.random() < 0.5 + share / 2)
        found.append(Outcome(k, answer, answer, nll, 40, stopped, 0.02, "float32"))
    return found


def entries(asked: list[Example], seed: int = 0) -> list[tuple[Entry, Scores]]:
    """Make every kind of variant, graded by the real metrics."""
    made = []
    known = metrics()
    for place, (name, (method, share, params, size, seconds)) in enumerate(VARIANTS.items()):
        looked_up = method in ("majority", "nearest")
        tuned = params > 0
        cost = Cost(params, size, seconds, None if looked_up else 1.1e9, 14_600 if tuned else None)
        entry = Entry(
            name=name,
            method=method,
            outcomes=outcomes(asked, share, seed + place, looked_up),
            key=name,
            seed=0 if tuned else None,
            form="prose" if "prose" in name else "chat",
            shots=4 if "4-shot" in name else 0,
            cost=cost,
            forgetting=Forgetting(1.094, 1.094 + params / 2e7, 64_000) if tuned else None,
            fingerprint="" if looked_up else f"{place:02d}{'3f6d123f2d5e' * 5}",
            folder="" if looked_up else f"runs/{name}",
        )
        made.append((entry, grade(entry, asked, known)))
    return made
