"""Spider's hardness of a gold query: easy, medium, hard or extra, by counting the parts it is made of.

It says how much a query is made of, not how hard its question is. SQL that Spider's own parser refuses
(window functions, `WITH`) gets an answer too, by the same counts.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache

CACHED_QUERIES = 20_000  # more than any benchmark holds; a gold query is asked about once per candidate


class Hardness(StrEnum):
    """Spider's four classes, from the easiest on."""

    EASY = "easy"
    MEDIUM = "medium"
    HARD = "hard"
    EXTRA = "extra"


@lru_cache(maxsize=CACHED_QUERIES)
def hardness(sql: str) -> Hardness | None:
    """Class a query; None where it is no single query that sqlglot can read as SQLite's.

    Source: `eval_hardness` of Spider's evaluation.py (Yu et al., 2018), on sqlglot's tree, not on that of
    Spider's parser. `WITH` counts as nesting here, and is refused there; an OR after a comparison of two
    columns counts here, and is lost there.

    >>> hardness("SELECT count(*) FROM singer").value
    'easy'
    >>> hardness("SELECT name FROM a WHERE id NOT IN (SELECT id FROM b)").value
    'hard'
    >>> hardness("how many singers?")
    """
    from sense.databases.query_counts import count_parts  # here, for sqlglot takes long to load

    parts = count_parts(sql)
    return (
        None if parts is None else classify(clauses=parts.clauses, nested=parts.nested, others=parts.others)
    )


def classify(*, clauses: int, nested: int, others: int) -> Hardness:
    """Class a query by its counts.

    Source: Spider's evaluation.py, Evaluator.eval_hardness.
    """
    if nested == 0:
        if clauses <= 1 and others == 0:
            return Hardness.EASY
        if (clauses <= 1 and others <= 2) or (clauses <= 2 and others < 2):
            return Hardness.MEDIUM
        if (clauses <= 2 and others > 2) or (clauses == 3 and others <= 2):
            return Hardness.HARD
    if nested == 1 and clauses <= 1 and others == 0:
        return Hardness.HARD
    return Hardness.EXTRA
