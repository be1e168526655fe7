"""Asks over tables joined along foreign keys, and over two selections; each may raise Nothing."""

from .asks import aggregate, columns, count, ordered, select, top_of, worth
from .parts import Ask, Col, Condition, Nothing, Source, where
from .scene import Scene
from .schemas import Field, Table


def joined_list(scene: Scene) -> Ask:
    """Columns of two tables side by side, or of one under a condition on the other."""
    source = scene.source(1)
    roll = scene.rng.random()
    if roll < 0.4:
        cols = _pair(scene, source)
        tests, glue = scene.some(source.table, source.own, (0.45, 0.0))
        worth(cols, tests)
        if scene.rng.random() < 0.2:
            return ordered(scene, source, cols, tests, glue)
    elif roll < 0.85:
        cols = tuple(source.own(col.field) for col in columns(scene, Source(source.table)))
        tests, glue = (scene.by_parent(source),), "and"
        if scene.rng.random() < 0.15:
            return ordered(scene, source, cols, tests, glue)
    else:
        label = _need(source.table)
        cols = (source.far(scene.pick(list(source.parent.fields))),)
        v = str(scene.rng.choice(scene.samples.of(source.table, label.name)))
        col = source.own(label)
        tests, glue = (Condition(f"{col.sql} = '{v}'", "eq", col, v),), "and"
    return Ask("list", select(cols, source, where(tests, glue)), source.table, cols, tests, glue)


def joined_top(scene: Scene) -> Ask:
    """Columns of two tables for the rows with the highest or lowest value."""
    source = scene.source(1)
    return top_of(scene, source, _pair(scene, source), (), "and")


def joined_number(scene: Scene) -> Ask:
    """A count or an aggregate under a condition on the parent."""
    source = scene.source(1)
    tests = (scene.by_parent(source),)
    return (
        count(source, tests, "and")
        if scene.rng.random() < 0.55
        else aggregate(scene, source, tests, "and")
    )


def joined_twice(scene: Scene) -> Ask:
    """A column or a count under a condition on the parent's parent."""
    source = scene.source(2)
    tests = (scene.by_parent(source),)
    if scene.rng.random() < 0.3:
        return count(source, tests, "and")
    cols = (source.own(scene.pick(list(source.table.fields))),)
    return Ask("list", select(cols, source, where(tests, "and")), source.table, cols, tests)


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
    first, second = (select((col,), source, where((test,), "and")) for test in (one, two))
    return Ask(head, f"{first} {head.upper()} {second}", source.table, (col,), (one, two))
