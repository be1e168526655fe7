"""Which of several queries to take: the first that runs and finds something.

Execution-guided decoding (arXiv:1807.03100), among whole queries: a wrong column or a misspelt
value shows in an error or an empty result, which no gold query is needed to see.
"""

from collections.abc import Callable, Sequence

from ._sql import Result


def guided(run: Callable[[str], Result], queries: Sequence[str]) -> int:
    """Say which query to take.

    Args:
        run: asks the database; each query is run at most once.
        queries: one or more, the most trusted first.

    Returns:
        The place of the first query that finds something, else of the first that runs, else 0.
    """
    results: dict[str, Result] = {}
    for place, query in enumerate(queries):
        if query not in results:
            results[query] = run(query)
            if finds(results[query]):
                return place
    return next((place for place, query in enumerate(queries) if not results[query].failure), 0)


def finds(result: Result) -> bool:
    """Say whether a result holds anything: a count of 0 and nothing but NULL do not.

    >>> finds(Result(((1, None),))), finds(Result(((0,),))), finds(Result(((None,),)))
    (True, False, False)
    """
    lone = len(result.rows) == 1 and len(result.rows[0]) == 1
    values = [value for row in result.rows for value in row if value is not None]
    return bool(values) and not (lone and values == [0])
