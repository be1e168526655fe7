"""The kinds of asks and how often each comes: every function draws one ask over a scene or raises Nothing."""

from collections.abc import Callable
from random import Random

from .questions import AGGREGATES, Ask, Col, Condition, Nothing, Scene, Source, where
from .schemas import Field, Table

TOP = (2, 3, 4, 5, 6, 10)


def _columns(scene: Scene, source: Source) -> tuple[Col, ...]:
    """Return one or two columns to show, the naming one more often than others."""
    fields = list(source.table.fields)
    label = source.table.label
    first = label if label and scene.rng.random() < 0.6 else scene.rng.choice(fields)
    rest = [f for f in fields if f is not first]
    second = [scene.rng.choice(rest)] if rest and scene.rng.random() < 0.4 else []
    return tuple(source.own(f) for f in [first, *second])


def _select(cols: tuple[Col, ...], source: Source, tail: str = "") -> str:
    return f"SELECT {', '.join(col.sql for col in cols)} FROM {source.sql}{tail}"


def listing(scene: Scene) -> Ask:
    """Columns of one table, with up to two conditions."""
    source = scene.source()
    cols = _columns(scene, source)
    tests, glue = scene.some(source.table, source.own, (0.6, 0.27))
    if len(tests) == len(cols) == 1 and tests[0].kind == "eq" and tests[0].col == cols[0]:
        raise Nothing  # the answer would be the value asked for
    return Ask("list", _select(cols, source, where(tests, glue)), source.table, cols, tests, glue)


def listing_nested(scene: Scene) -> Ask:
    """Columns of one table, with a condition that holds a subquery."""
    source = scene.source()
    tests = (scene.nested(source.table),)
    cols = _columns(scene, source)
    return Ask("list", _select(cols, source, where(tests, "and")), source.table, cols, tests)


def listing_ordered(scene: Scene) -> Ask:
    """Columns of one table in an order, with up to one condition."""
    source = scene.source()
    cols = _columns(scene, source)
    tests, glue = scene.some(source.table, source.own, (0.4, 0.0))
    return _ordered(scene, source, cols, tests, glue)


def _ordered(
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
        _select(cols, source, tail),
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
    return _count(source, tests, glue)


def counting_nested(scene: Scene) -> Ask:
    """The number of rows under a condition that holds a subquery."""
    source = scene.source()
    return _count(source, (scene.nested(source.table),), "and")


def _count(source: Source, tests: tuple[Condition, ...], glue: str) -> Ask:
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
    return _aggregate(scene, source, tests, glue)


def _aggregate(scene: Scene, source: Source, tests: tuple[Condition, ...], glue: str) -> Ask:
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
    empty = f"SELECT 1 FROM {parent.name} WHERE {parent.key} NOT IN (SELECT {link.name} FROM {source.table.name})"
    return source, source.far(field), empty


def _grouping(scene: Scene, hops: int) -> Ask:
    source, g, empty = _by(scene, hops)
    if scene.rng.random() < 0.45:
        x = source.own(scene.measured(source.table))
        call = scene.rng.choice(("AVG", "AVG", "SUM", "MIN", "MAX"))
        sql = f"SELECT {g.sql}, {call}({x.sql}) FROM {source.sql} GROUP BY {g.sql}"
        return Ask("group_aggregate", sql, source.table, x=x, g=g, more={"agg": call}, empty=empty)
    tests, glue = scene.some(source.table, source.own, (0.0 if hops else 0.2, 0.0))
    sql = f"SELECT {g.sql}, COUNT(*) FROM {source.sql}{where(tests, glue)} GROUP BY {g.sql}"
    return Ask("group_count", sql, source.table, tests=tests, g=g, empty=empty)


def _having(scene: Scene, hops: int) -> Ask:
    source, g, _ = _by(scene, hops)
    k = scene.rng.choice((1, 2, 2, 3, 3, 4, 5))
    more, sign = scene.rng.choice((("more than", ">"), ("at least", ">=")))
    k += more == "at least" and k == 1
    sql = f"SELECT {g.sql} FROM {source.sql} GROUP BY {g.sql} HAVING COUNT(*) {sign} {k}"
    return Ask("having", sql, source.table, g=g, more={"more": more, "k": str(k)})


def _most_common(scene: Scene, hops: int) -> Ask:
    source, g, empty = _by(scene, hops)
    down = scene.rng.random() < 0.75
    tail = f" FROM {source.sql} GROUP BY {g.sql} ORDER BY COUNT(*){' DESC' if down else ''} LIMIT 1"
    words = {"most": "most", "mostly": "most"} if down else {"most": "fewest", "mostly": "least"}
    keys = f"SELECT COUNT(*){tail.replace(' LIMIT 1', '')}"
    return Ask("most_common", f"SELECT {g.sql}{tail}", source.table, g=g, more=words, keys=keys, limit=1,
               empty="" if down else empty)  # fmt: skip


def top(scene: Scene) -> Ask:
    """The rows with the highest or lowest value of a column."""
    source = scene.source()
    cols = _columns(scene, source)
    tests, glue = scene.some(source.table, source.own, (0.25, 0.0))
    return _top(scene, source, cols, tests, glue)


def _top(
    scene: Scene, source: Source, cols: tuple[Col, ...], tests: tuple[Condition, ...], glue: str
) -> Ask:
    x = source.own(
        scene.pick(scene.fields(source.table, "int", "real", "date", "year", gaps=False))
    )
    down = scene.rng.random() < 0.6
    k = 1 if scene.rng.random() < 0.6 else scene.rng.choice(TOP)
    tail = f"{where(tests, glue)} ORDER BY {x.sql}{' DESC' if down else ''}"
    keys = f"SELECT {x.sql} FROM {source.sql}{tail}"
    head = "top" if k > 1 else ("top_one_where" if tests else "top_one")
    return Ask(head, _select(cols, source, f"{tail} LIMIT {k}"), source.table, cols, tests, glue, x,
               more={"n": str(k), "hi": "high" if down else "low"}, keys=keys, limit=k)  # fmt: skip


def joined_list(scene: Scene) -> Ask:
    """Columns of two tables side by side, or of one under a condition on the other."""
    source = scene.source(1)
    roll = scene.rng.random()
    if roll < 0.4:
        cols = _pair(scene, source)
        tests, glue = scene.some(source.table, source.own, (0.45, 0.0))
        if scene.rng.random() < 0.2:
            return _ordered(scene, source, cols, tests, glue)
    elif roll < 0.85:
        cols = tuple(source.own(col.field) for col in _columns(scene, Source(source.table)))
        tests, glue = (scene.by_parent(source),), "and"
        if scene.rng.random() < 0.15:
            return _ordered(scene, source, cols, tests, glue)
    else:
        label = _need(source.table)
        cols = (source.far(scene.pick(list(source.parent.fields))),)
        v = str(scene.rng.choice(scene.samples.of(source.table, label.name)))
        col = source.own(label)
        tests, glue = (Condition(f"{col.sql} = '{v}'", "eq", col, v),), "and"
    return Ask("list", _select(cols, source, where(tests, glue)), source.table, cols, tests, glue)


def joined_top(scene: Scene) -> Ask:
    """Columns of two tables for the rows with the highest or lowest value."""
    source = scene.source(1)
    return _top(scene, source, _pair(scene, source), (), "and")


def joined_number(scene: Scene) -> Ask:
    """A count or an aggregate under a condition on the parent."""
    source = scene.source(1)
    tests = (scene.by_parent(source),)
    return (
        _count(source, tests, "and")
        if scene.rng.random() < 0.55
        else _aggregate(scene, source, tests, "and")
    )


def joined_twice(scene: Scene) -> Ask:
    """A column or a count under a condition on the parent's parent."""
    source = scene.source(2)
    tests = (scene.by_parent(source),)
    if scene.rng.random() < 0.3:
        return _count(source, tests, "and")
    cols = (source.own(scene.pick(list(source.table.fields))),)
    return Ask("list", _select(cols, source, where(tests, "and")), source.table, cols, tests)


def _pair(scene: Scene, source: Source) -> tuple[Col, ...]:
    own, far = source.table.label, source.parent.label
    mine = own if own and scene.rng.random() < 0.7 else scene.pick(list(source.table.fields))
    theirs = far if far and scene.rng.random() < 0.5 else scene.pick(list(source.parent.fields))
    return source.own(mine), source.far(theirs)


def _need(table: Table) -> Field:
    if table.label is None:
        raise Nothing
    return table.label


def sets(scene: Scene) -> Ask:
    """What two selections of one table have in common, together, or apart."""
    source = scene.source()
    col = source.own(scene.grouping(source.table))
    one = scene.test(source.table, source.own, (col.field,))
    two = scene.test(source.table, source.own, (col.field,))
    if (one.col == two.col and one.kind != "eq") or one.sql == two.sql:
        raise Nothing
    head = scene.rng.choice(("union", "intersect", "intersect", "except"))
    first, second = (_select((col,), source, where((test,), "and")) for test in (one, two))
    return Ask(head, f"{first} {head.upper()} {second}", source.table, (col,), (one, two))


KINDS: tuple[tuple[Callable[[Scene], Ask], float], ...] = (
    (listing, 17),
    (listing_nested, 9),
    (listing_ordered, 7),
    (counting, 8),
    (counting_nested, 2.5),
    (aggregating, 6),
    (distinct, 4),
    (lambda scene: _grouping(scene, 0), 5),
    (lambda scene: _having(scene, 0), 2),
    (lambda scene: _most_common(scene, 0), 2),
    (top, 8),
    (joined_list, 30),
    (joined_number, 9),
    (joined_top, 4),
    (lambda scene: _grouping(scene, 1), 7),
    (lambda scene: _having(scene, 1), 3.5),
    (lambda scene: _most_common(scene, 1), 3.5),
    (joined_twice, 3),
    (sets, 4),
)
_CUMULATIVE = tuple(sum(weight for _, weight in KINDS[: i + 1]) for i in range(len(KINDS)))


def draw(scene: Scene, rng: Random) -> Ask:
    """Draw one ask that the schema allows."""
    while True:
        ((kind, _),) = rng.choices(KINDS, cum_weights=_CUMULATIVE)
        try:
            return kind(scene)
        except Nothing:
            continue
