"""Golds of the world and of Spider: no rewriting that says the same is called wrong."""

import importlib
import sys
from pathlib import Path

import pytest

from ftkit.eval._instances import Instances
from ftkit.eval._normal import normal
from ftkit.eval._sql import Sql
from ftkit.eval._verdict import Judge

ROOT = Path(__file__).parent.parent
SPIDER = ROOT.parent / "shared" / "data" / "sql_qa" / "spider"


@pytest.fixture(scope="module")
def sql():
    worker = Sql()
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def bench():
    """Load bench/sql_scorer.py with what lies beside it."""
    sys.path.insert(0, str(ROOT / "bench"))
    try:
        yield importlib.import_module("sql_scorer")
    finally:
        sys.path.remove(str(ROOT / "bench"))


def wronged(bench, judge: Judge, pairs: list[tuple[str, Path]]) -> list[str]:
    """List the golds of which an equivalent query is called wrong."""
    return [
        f"{query} FOR {gold}: {verdict.reason}"
        for gold, path in pairs
        for query in (bench.rewritten(gold), normal(gold))
        if not (verdict := judge.verdict(query, gold, path)).right
    ]


@pytest.mark.parametrize(
    "every", [pytest.param(10, id="some"), pytest.param(1, marks=pytest.mark.slow, id="all")]
)
def test_golds_of_the_world_agree_with_rewritings_of_themselves(bench, sql, tmp_path, every):
    from ftkit.recipes._sql_world import databases, items

    files = databases("test", 0, tmp_path)
    pairs = [(item.sql, files[item.db_id]) for item in items("test", 0, 500)[::every]]
    # `str` in place of `normal`: no pair is right for its spelling alone.
    assert wronged(bench, Judge(sql, str, Instances(4, 0)), pairs) == []


@pytest.mark.slow
@pytest.mark.skipif(not SPIDER.is_dir(), reason="the shared data sets are not here")
def test_golds_of_spider_agree_with_rewritings_of_themselves(bench, sql, tmp_path):
    pairs = list(bench.spider(SPIDER, tmp_path))
    assert len(pairs) == 401
    assert wronged(bench, Judge(sql, str, Instances(4, 0)), pairs) == []
