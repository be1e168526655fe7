"""Which of several queries to take: the first that runs and finds something.

Execution-guided decoding (arXiv:1807.03100), among whole queries: a wrong column or a misspelt
value mostly shows in an error or an empty result, which no gold query is needed to see. Where the
right answer is 0 or nobody, it takes a wrong query that happens to find something.
"""

from collections.abc import Callable, Iterable

from ._sql import Result

FAILS, RUNS, FINDS = range(3)


def guided(run: Callable[[str], Result], queries: Iterable[str]) -> str:
    """Say which query to take.

    Args:
        run: asks the database.
        queries: one or more, the most trusted first; those behind one that finds are not looked at.

    Returns:
        The first query that finds something, else the first that runs, else the first.
    """
    best, most, known = "", -1, set[str]()
    for query in queries:
        if query not in known:
            known.add(query)
            if (found := worth(run(query))) > most:
                best, most = query, found
        if most == FINDS:
            break
    return best


def worth(result: Result) -> int:
    """Rank a result: one that FAILS, a limit among the reasons, one that RUNS, one that FINDS.

    A row of nothing but NULL and a 0, such as a count of nothing, finds nothing.

    >>> [worth(Result(rows)) == FINDS for rows in ([(1, None)], [(0,)], [(None,)], [(0,), (0,)])]
    [True, False, False, True]
    """
    if result.failure:
        return FAILS
    values = [value for row in result.rows for value in row if value is not None]
    return FINDS if values and not (len(result.rows) == 1 and values == [0]) else RUNS
