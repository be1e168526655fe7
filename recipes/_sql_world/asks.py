"""Asks over one table, and the parts they share with joins; each function may raise Nothing."""

from .parts import AGGREGATES, Ask, Col, Condition, Nothing, Source, where
from .scene import Scene

TOP = (2, 3, 4, 5, 6, 10)


def columns(scene: Scene, source: Source) -> tuple[Col, ...]:
    """Return one or two columns to show, the naming one more often than others."""
    fields = list(source.table.fields)
    label = source.table.label
    first = label if label and scene.rng.random() < 0.6 else scene.rng.choice(fields)
    rest = [f for f in fields if f is not first]
    second = [scene.rng.choice(rest)] if rest and scene.rng.random() < 0.4 else []
    return tuple(source.own(f) for f in [first, *second])


def worth(cols: tuple[Col, ...], tests: tuple[Condition, ...]) -> None:
    """Give up where the answer would be a value that the question names."""
    if any(test.kind == "eq" and test.col in cols for test in tests):
        raise Nothing


def select(cols: tuple[Col, ...], source: Source, tail: str = "") -> str:
    return f"SELECT {', '.join(col.sql for col in cols)} FROM {source.sql}{tail}"


def listing(scene: Scene) -> Ask:
    """Columns of one table, with up to two conditions."""
    source = scene.source()
    cols = columns(scene, source)
    tests, glue = scene.some(source.table, source.own, (0.6, 0.27))
    worth(cols, tests)
    return Ask("list", select(cols, source, where(tests, glue)), source.table, cols, tests, glue)


def listing_nested(scene: Scene) -> Ask:
    """Columns of one table, with a condition that holds a subquery."""
    source = scene.source()
    tests = (scene.nested(source.table),)
    cols = columns(scene, source)
    return Ask("list", select(cols, source, where(tests, "and")), source.table, cols, tests)


def listing_ordered(scene: Scene) -> Ask:
    """Columns of one table in an order, with up to one condition."""
    source = scene.source()
    cols = columns(scene, source)
    tests, glue = scene.some(source.table, source.own, (0.4, 0.0))
    worth(cols, tests)
    return ordered(scene, source, cols, tests, glue)


def ordered(
    scene: Scene, source: Source, cols: tuple[Col, ...], tests: tuple[Condition, ...], glue: str
) -> Ask:
    label = source.table.label
    found = scene.fields(source.table, "int", "real", "date", "year", gaps=False) + (
        [label] if label else []
    )
    x = source.own(scene.pick(found))
    kind = {"int": "number", "real": "number", "date": "date", "year": "date"}.get(
        x.field.column.kind, "text"
    )
    down = scene.rng.random() < 0.5
    clause = where(tests, glue)
    tail = f"{clause} ORDER BY {x.sql}{' DESC' if down else ''}"
    keys = f"SELECT {x.sql} FROM {source.sql}{tail}"
    order = (f"{kind}_{'desc' if down else 'asc'}", x)
    return Ask(
        "list_order",
        select(cols, source, tail),
        source.table,
        cols,
        tests,
        glue,
        order=order,
        keys=keys,
    )


def counting(scene: Scene) -> Ask:
    """The number of rows, with up to two conditions."""
    source = scene.source()
    tests, glue = scene.some(source.table, source.own, (0.7, 0.2))
    return count(source, tests, glue)


def counting_nested(scene: Scene) -> Ask:
    """The number of rows under a condition that holds a subquery."""
    source = scene.source()
    return count(source, (scene.nested(source.table),), "and")


def count(source: Source, tests: tuple[Condition, ...], glue: str) -> Ask:
    return Ask(
        "count",
        f"SELECT COUNT(*) FROM {source.sql}{where(tests, glue)}",
        source.table,
        (),
        tests,
        glue,
    )


def aggregating(scene: Scene) -> Ask:
    """One or two aggregates of a number column."""
    source = scene.source()
    tests, glue = scene.some(source.table, source.own, (0.5, 0.06))
    return aggregate(scene, source, tests, glue)


def aggregate(scene: Scene, source: Source, tests: tuple[Condition, ...], glue: str) -> Ask:
    x = source.own(scene.measured(source.table))
    if scene.rng.random() < 0.22:
        one, two = scene.rng.sample(AGGREGATES, 2)
        sql = f"SELECT {one}({x.sql}), {two}({x.sql}) FROM {source.sql}{where(tests, glue)}"
        return Ask(
            "aggregate_two", sql, source.table, (), tests, glue, x, more={"agg": one, "agh": two}
        )
    call = scene.rng.choice(AGGREGATES)
    sql = f"SELECT {call}({x.sql}) FROM {source.sql}{where(tests, glue)}"
    return Ask("aggregate", sql, source.table, (), tests, glue, x, more={"agg": call})


def distinct(scene: Scene) -> Ask:
    """The different values of a column, or how many there are."""
    source = scene.source()
    col = source.own(scene.grouping(source.table))
    tests, glue = scene.some(source.table, source.own, (0.3, 0.0))
    if scene.rng.random() < 0.3:
        sql = f"SELECT COUNT(DISTINCT {col.sql}) FROM {source.sql}{where(tests, glue)}"
        return Ask("count_distinct", sql, source.table, (col,), tests, glue)
    sql = f"SELECT DISTINCT {col.sql} FROM {source.sql}{where(tests, glue)}"
    return Ask("distinct", sql, source.table, (col,), tests, glue)


def _by(scene: Scene, hops: int) -> tuple[Source, Col, str]:
    """Return a source, a column to group by, and the query that finds parents without children."""
    source = scene.source(hops)
    if not hops:
        return source, source.own(scene.grouping(source.table)), ""
    parent, link = source.parent, source.hops[0]
    field = parent.label if parent.label and scene.rng.random() < 0.75 else scene.grouping(parent)
    keys = f"SELECT {link.name} FROM {source.table.name}"
    empty = f"SELECT 1 FROM {parent.name} WHERE {parent.key} NOT IN ({keys})"
    return source, source.far(field), empty


def grouping(scene: Scene, hops: int) -> Ask:
    source, g, empty = _by(scene, hops)
    if scene.rng.random() < 0.45:
        x = source.own(scene.measured(source.table))
        call = scene.rng.choice(("AVG", "AVG", "SUM", "MIN", "MAX"))
        sql = f"SELECT {g.sql}, {call}({x.sql}) FROM {source.sql} GROUP BY {g.sql}"
        return Ask("group_aggregate", sql, source.table, x=x, g=g, more={"agg": call}, empty=empty)
    tests, glue = scene.some(source.table, source.own, (0.0 if hops else 0.2, 0.0))
    sql = f"SELECT {g.sql}, COUNT(*) FROM {source.sql}{where(tests, glue)} GROUP BY {g.sql}"
    return Ask("group_count", sql, source.table, tests=tests, g=g, empty=empty)


def having(scene: Scene, hops: int) -> Ask:
    source, g, _ = _by(scene, hops)
    k = scene.rng.choice((1, 2, 2, 3, 3, 4, 5))
    more, sign = scene.rng.choice((("more than", ">"), ("at least", ">=")))
    k += more == "at least" and k == 1
    sql = f"SELECT {g.sql} FROM {source.sql} GROUP BY {g.sql} HAVING COUNT(*) {sign} {k}"
    return Ask("having", sql, source.table, g=g, more={"more": more, "k": str(k)})


def most_common(scene: Scene, hops: int) -> Ask:
    source, g, empty = _by(scene, hops)
    down = scene.rng.random() < 0.75
    tail = f" FROM {source.sql} GROUP BY {g.sql} ORDER BY COUNT(*){' DESC' if down else ''} LIMIT 1"
    words = {"most": "most", "mostly": "most"} if down else {"most": "fewest", "mostly": "least"}
    keys = f"SELECT COUNT(*){tail.replace(' LIMIT 1', '')}"
    sql, empty = f"SELECT {g.sql}{tail}", "" if down else empty
    return Ask("most_common", sql, source.table, g=g, more=words, keys=keys, limit=1, empty=empty)


def top(scene: Scene) -> Ask:
    """The rows with the highest or lowest value of a column."""
    source = scene.source()
    cols = columns(scene, source)
    tests, glue = scene.some(source.table, source.own, (0.25, 0.0))
    return top_of(scene, source, cols, tests, glue)


def top_of(
    scene: Scene, source: Source, cols: tuple[Col, ...], tests: tuple[Condition, ...], glue: str
) -> Ask:
    x = source.own(
        scene.pick(scene.fields(source.table, "int", "real", "date", "year", gaps=False))
    )
    down = scene.rng.random() < 0.6
    k = 1 if scene.rng.random() < 0.6 else scene.rng.choice(TOP)
    tail = f"{where(tests, glue)} ORDER BY {x.sql}{' DESC' if down else ''}"
    keys = f"SELECT {x.sql} FROM {source.sql}{tail}"
    head = ("top" if k > 1 else "top_one") + ("_where" if tests else "")
    return Ask(head, select(cols, source, f"{tail} LIMIT {k}"), source.table, cols, tests, glue, x,
               more={"n": str(k), "hi": "high" if down else "low"}, keys=keys, limit=k)  # fmt: skip
