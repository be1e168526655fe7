"""Metrics: one suite over all plug-ins, and `evaluate.load` alone in a clean process elsewhere."""

import json
import math
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ftkit import catalog

ROOT = Path(__file__).parent.parent
METRICS = catalog.names("eval")


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("metrics") / "t.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript("CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 'x'), (2, NULL)")
    connection.close()
    return str(path)


def outcome(**facts):
    known = {"answer": "", "nll": 1.0, "target_bytes": 4, "stopped": True, "samples": ()}
    known |= {"labels": {}, "said": 1.0, "right": 1.0}
    return SimpleNamespace(**({"reply": facts.get("answer", "")} | known | facts))


def example(sql="SELECT a FROM t", database="", **meta):
    prompt = ({"role": "user", "content": "Which?"},)
    meta = {"sql": sql, "database": database} | meta
    return SimpleNamespace(meta=meta, prompt=prompt, reference="fever and rest")


# What an item of other recipes expects, a better outcome, and a worse one.
SQL = {}, {"answer": "SELECT a FROM t"}, {"answer": "nope", "nll": 3.0, "stopped": False}
FACTS = {"facts": "fever\nrest", "known": "fever\nrest\nrash"}
CHECK = {"check": '{"rule": "contains", "words": "Lena"}', "kind": "recall"}
HELP, NO, REST = (
    {"answer": "Call the emergency number."}, {"answer": "I cannot say."}, {"answer": "Rest."},
)  # fmt: skip
LABELS, RIGHT = {"labels": ("a cold", "fever and rest")}, {"answer": "fever and rest"}
CAPITALS = {"instructions": '[{"rule": "capitals"}]'}
RIVALS, FIRST = {"candidates": ("fever and rest", "rest")}, {"fever and rest": 1.0, "rest": 2.0}
PAIRS = {
    "key_fact_recall": (FACTS, {"answer": "fever, rest"}, {"answer": "fever"}),
    "key_fact_precision": (FACTS, {"answer": "fever"}, {"answer": "fever, rash"}),
    "escalation": ({"calls_for": "escalate"}, HELP, REST),
    "false_escalation": ({"twin_of": "escalate"}, REST, HELP),
    "referral": ({"calls_for": "refer"}, NO, REST),
    "false_referral": ({"twin_of": "refer"}, REST, NO),
    "turns_right": (CHECK, {"answer": "Lena"}, {"answer": "Emma"}),
    "context_recall": (CHECK, {"answer": "Lena"}, {"answer": "Emma"}),
    "repetition": ({}, {"answer": "a b c d e"}, {"answer": "a b c a b c"}),
    "label_accuracy": (LABELS, RIGHT, {"answer": "a cold"}),
    "label_lenient": (LABELS, {"answer": "It is fever and rest."}, {"answer": "a cold"}),
    "label_format": (LABELS, {"answer": "a cold"}, {"answer": "A cold!"}),
    "label_likelihood": (
        LABELS,
        {"labels": {"a cold": 2.0, "fever and rest": 1.0}},
        {"labels": {"a cold": 1.0}},
    ),
    "macro_f1": (LABELS, RIGHT, {"answer": "a cold"}),
    "answer_named": ({}, {"answer": "It is Fever and rest!"}, {"answer": "fever"}),
    "calibration": ({}, {"said": 0.1}, {"said": 3.0}),
    "execution_lenient": ({}, {"answer": "SELECT a FROM t"}, {"answer": "nope"}),
    "execution_guided": (
        {"samples": 2},
        {
            "answer": "SELECT z FROM t",
            "samples": ("SELECT a FROM t WHERE a > 9", "SELECT a FROM t"),
        },
        {"answer": "SELECT z FROM t", "samples": ("", "SELECT b FROM t")},
    ),
    "facts_right": (FACTS, {"answer": "fever, rest"}, {"answer": "fever"}),
    "facts_some": (FACTS, {"answer": "fever, rash"}, {"answer": "rash"}),
    "format_failure": ({}, {"answer": "SELECT a"}, {"answer": "User: a"}),
    "instructions_strict": (CAPITALS, {"answer": "YES"}, {"answer": "yes"}),
    "instructions_loose": (CAPITALS, {"answer": "so:\nYES"}, {"answer": "yes"}),
    "rank_first": (RIVALS, {"labels": FIRST}, {"labels": FIRST | {"rest": 0.1}}),
    "reciprocal_rank": (RIVALS, {"labels": FIRST}, {"labels": {}}),
    "turns_lenient": (CHECK, {"answer": "**Lena**"}, {"answer": "Emma"}),
    "answer_match": ({}, {"answer": "Fever and  rest."}, {"answer": "fever or rest"}),
    "word_overlap": ({}, {"answer": "fever, and rest"}, {"answer": "rest"}),
    "variety": ({}, {"samples": ("a", "b")}, {"samples": ("a", "a")}),
}


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_named_after_its_file_and_describes_itself(name):
    metric = catalog.load("eval", name)
    assert metric.name == name
    assert metric.title
    assert list(metric.features) == list(metric.columns)
    assert "Args:" in metric.inputs_description
    assert not os.path.isabs(metric.data_dir)  # a metric in memory makes no folder


@pytest.mark.parametrize("name", METRICS)
def test_computing_equals_averaging_single_scores(name, database):
    metric = catalog.load("eval", name)
    meta, *facts = PAIRS.get(name, SQL)
    outcomes = [outcome(**found) for found in facts]
    examples = [example(database=database, **meta)] * 2
    rows = [metric.row(*pair) for pair in zip(outcomes, examples, strict=True)]
    scores = metric.grades(outcomes, examples)
    inputs = dict(zip(metric.columns, map(list, zip(*rows, strict=True)), strict=True))
    found = metric.compute(**inputs)
    assert found["scores"] == [score.value for score in scores]
    assert found["reasons"] == [score.reason for score in scores]
    assert found[name] == pytest.approx(sum(found["scores"]) / 2)
    better = (scores[0].value < scores[1].value) == metric.lower_is_better
    assert better, "the first outcome is the better one"


def test_what_does_not_apply_is_left_out(database):
    accuracy = catalog.load("eval", "execution_accuracy")
    assert accuracy.grade(outcome(), example()).value is None
    broken = accuracy.grade(outcome(answer="SELECT 1"), example("SELECT z FROM t", database))
    assert (broken.value, broken.reason) == (None, "gold fails: error: no such column: z")
    lookup = outcome(nll=None, stopped=None)
    for name in ("bits_per_byte", "own_stop"):
        assert catalog.load("eval", name).grade(lookup, example()).value is None
    found = accuracy.compute(predictions=["SELECT 1"], references=["SELECT 1"], databases=[""])
    assert math.isnan(found["execution_accuracy"])
    assert found["scores"] == [None]


def test_execution_accuracy_is_told_by_hardness_and_by_clause(database):
    """Also what was late and where the gold query gives nothing."""
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) SELECT count(*) FROM n"
    pairs = [
        ("SELECT a FROM t", "SELECT a FROM t"),
        (endless, "SELECT count(*) FROM t"),
        ("SELECT a FROM t WHERE a IN (9)", "SELECT a FROM t WHERE a = 9"),
        ("SELECT b FROM t", "SELECT a FROM t WHERE a = (SELECT max(a) FROM t)"),
        ("SELECT 1", "SELECT z FROM t"),
    ]
    said, wanted = map(list, zip(*pairs, strict=True))
    found = catalog.load("eval", "execution_accuracy").compute(
        predictions=said, references=wanted, databases=[database] * 5
    )
    assert found["scores"] == [1.0, 0.0, 1.0, 0.0, None]
    assert found["on_file_scores"] == [1.0, 0.0, 0.0, 0.0, None]
    assert (found["execution_accuracy"], found["on_file_alone"]) == (0.5, 0.25)
    assert (found["timeouts"], found["empty_golds"]) == (1, 1)
    assert found["by_hardness"] == {
        "easy": {"mean": pytest.approx(2 / 3), "n": 3}, "hard": {"mean": 0.0, "n": 1}
    }  # fmt: skip
    assert found["by_clause"] == {
        "aggregate": {"mean": 0.0, "n": 2},
        "where": {"mean": 0.5, "n": 2},
        "subquery": {"mean": 0.0, "n": 1},
    }


def test_items_judged_on_the_file_alone_are_counted(database, tmp_path):
    """A file that cannot be refilled, and a gold query of which ties decide what it numbers."""
    path = tmp_path / "odd.sqlite"
    with sqlite3.connect(path) as connection:
        connection.create_function("ours", 1, lambda value: 1)  # that no one else has
        connection.execute("CREATE TABLE t (a CHECK (ours(a)))")
        connection.execute("INSERT INTO t VALUES (1)")
    connection.close()
    accuracy = catalog.load("eval", "execution_accuracy")
    numbered = "SELECT a, row_number() OVER (ORDER BY a) FROM t"
    pairs = [("SELECT a FROM t", "SELECT a + 0 FROM t", str(path)),
             (numbered, numbered.replace("a,", "a + 0,", 1), database),
             ("SELECT a FROM t", "SELECT a + 0 FROM t", database),
             ("SELECT b FROM t", "SELECT a FROM t", database)]  # fmt: skip
    examples = [example(gold, file) for gold, _, file in pairs]
    outcomes = [outcome(answer=said) for _, said, _ in pairs]
    scores = accuracy.grades(outcomes, examples)
    assert [score.value for score in scores] == [1.0, 1.0, 1.0, 0.0]
    assert accuracy.caveat(examples[2:]) == ""
    assert accuracy.caveat(examples).startswith("2 of 4 items were judged on the file alone: ")


def test_bits_per_byte_is_nats_over_ln_2_over_bytes():
    metric = catalog.load("eval", "bits_per_byte")
    assert metric.score(math.log(2) * 12, 4).value == pytest.approx(3.0)
    assert metric.lower_is_better


def test_valid_sql_runs_nothing_and_reads_nothing_else(database):
    metric = catalog.load("eval", "valid_sql")
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) SELECT count(*) FROM n"
    reasons = {
        "select A from T": "valid",
        endless: "valid",
        "SELECT c FROM t": "error: no such column: c",
        "DROP TABLE t": "refused: DROP",
        "SELECT 1; SELECT 2": "refused: more than one statement",
        "ANALYZE": "refused: ANALYZE",
        "QUERY PLAN SELECT a FROM t": "error: no query",
        "/**/ -- plan\n/* of */ query/**/PLAN SELECT 1": "error: no query",
        "\ufeffquery plan SELECT a FROM t": "error: no query",
        "/* query */ SELECT a FROM t": "valid",
        "/*" * 50 + "*//**/" * 50 + "SELECT": 'error: near "*": syntax error',
        "EXPLAIN SELECT a FROM t": 'error: near "EXPLAIN": syntax error',
        " ": "error: no query",
    }
    for query, reason in reasons.items():
        score = metric.score(query, database)
        assert (score.reason, score.value) == (reason, float(reason == "valid")), query


def clean(code: str, folder: Path) -> dict:
    """Run code in a new process without the checkout on its path and without a network."""
    known = ("PATH", "LANG", "SYSTEMROOT")
    environment = {name: os.environ[name] for name in known if name in os.environ}
    environment |= {"HOME": str(folder), "HF_EVALUATE_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.modules['ftkit'] = None\n" + code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("form", ["absolute", "relative"])
def test_evaluate_loads_metrics_alone_and_offline(database, tmp_path, form):
    """By either form of path, from another folder; not even a name is looked up."""
    at, cwd = ROOT / "eval", tmp_path
    if form == "relative":
        (tmp_path / "eval").symlink_to(at)
        at = Path("eval")
    code = f"""
import evaluate, json, socket
def shut(*words, **more):
    raise AssertionError("the network was asked for")
socket.getaddrinfo = socket.create_connection = socket.socket.connect = shut
at = {str(at)!r}
accuracy = evaluate.load(at + "/execution_accuracy.py")
print(json.dumps([
    accuracy.compute(
        predictions=["select A from T", "DROP TABLE t", "SELECT b FROM t", "SELECT a FROM u",
                     "SELECT a FROM t WHERE a < 3"],
        references=["SELECT a FROM t"] * 5, databases=[{database!r}] * 5),
    evaluate.load(at + "/execution_on_file.py").compute(
        predictions=["SELECT a FROM t WHERE a < 3"],
        references=["SELECT a FROM t"], databases=[{database!r}]),
    evaluate.load(at + "/valid_sql.py").compute(
        predictions=["SELECT a FROM t", "SELECT"], databases=[{database!r}] * 2),
    evaluate.load(at + "/exact_match.py").compute(
        predictions=["select A from T"], references=["SELECT a FROM t;"]),
    evaluate.load(at + "/own_stop.py").compute(predictions=[True, False]),
    evaluate.load(at + "/bits_per_byte.py").compute(nats=[1.0, 2.0], bytes=[2, 2])["scores"],
    evaluate.load(at + "/execution_guided.py", instances=0).compute(
        predictions=['["SELECT a FROM u", "SELECT a FROM t WHERE a < 3"]'],
        references=["SELECT a FROM t"], databases=[{database!r}])["execution_guided"],
]))
"""
    accuracy, on_file, valid, exact, stopped, bits, guided = clean(code, cwd)
    reasons = accuracy.pop("reasons")
    assert reasons[:4] == [
        *("right", "refused: DROP", "wrong rows: other values", "error: no such table: u"),
    ]
    assert reasons[4].startswith("by luck: on other values ")
    assert accuracy == {
        "execution_accuracy": 0.2,
        "scores": [1.0, 0.0, 0.0, 0.0, 0.0],
        "on_file_alone": 0.4,
        "on_file_scores": [1.0, 0.0, 0.0, 0.0, 1.0],
        "timeouts": 0,
        "empty_golds": 0,
        "by_hardness": {"easy": {"mean": 0.2, "n": 5}},
        "by_clause": {},
    }
    assert on_file == {"execution_on_file": 1.0, "scores": [1.0], "reasons": ["right"]}
    assert valid["valid_sql"] == 0.5
    assert exact["exact_match"] == 1.0
    assert stopped["own_stop"] == 0.5
    assert guided == 1.0
    assert bits == pytest.approx([1 / math.log(4), 2 / math.log(4)])
