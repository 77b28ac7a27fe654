"""The rules by which a candidate is judged, one a benchmark: which SQL is run, how results are compared.

Each rule gives the verdict of its official script, odd habits included; a new rule is one line in `RULES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from sense.execution.compare import same_as_set, same_up_to_columns
from sense.execution.outcome import Rows
from sense.execution.tokens import tokens


class Rule(StrEnum):
    """Whose rule it is."""

    SPIDER = "spider"
    BIRD = "bird"
    OWN = (
        "own"  # Spider's, without its habit of rewriting `value` in candidates: for labels and own databases
    )


class Steps(NamedTuple):
    """A rule: the SQL that is run for gold and candidate, and `is_same(gold, candidate, prepared_gold)`."""

    prepare_gold: Callable[[str], str]
    prepare_candidate: Callable[[str], str]
    is_same: Callable[[Rows, Rows, str], bool]


def prepare_spider_gold(sql: str) -> str:
    """Close up operators, drop every DISTINCT and all but the first statement, put 2020 for the current year.

    >>> prepare_spider_gold("SELECT count(DISTINCT a) FROM t WHERE b > = 'DISTINCT'")
    "SELECT count( a) FROM t WHERE b >= 'DISTINCT'"

    Source: taoyds/test-suite-sql-eval, exec_eval.py, postprocess and replace_cur_year;
        parse.py, remove_distinct.
    """
    closed = sql.replace("> =", ">=").replace("< =", "<=").replace("! =", "!=")
    return _CURRENT_YEAR.sub("2020", _first_without_distinct(closed))


def prepare_spider_candidate(sql: str) -> str:
    """Prepare a candidate as the gold query, and put 1 for each `value`, even inside a name.

    >>> prepare_spider_candidate("SELECT market_value FROM shop")
    'SELECT market_1 FROM shop'

    Source: taoyds/test-suite-sql-eval, evaluation.py, evaluate.
    """
    return prepare_spider_gold(sql.replace("value", "1"))


def is_same_for_spider(gold: Rows, candidate: Rows, gold_sql: str) -> bool:
    """Compare up to the order of columns; rows are ordered if "order by" is anywhere in the gold query."""
    return same_up_to_columns(gold, candidate, ordered="order by" in gold_sql.lower())


def is_same_for_bird(gold: Rows, candidate: Rows, gold_sql: str) -> bool:  # noqa: ARG001
    """Compare as sets of rows."""
    return same_as_set(gold, candidate)


def _as_it_is(sql: str) -> str:
    return sql


RULES: dict[Rule, Steps] = {
    Rule.SPIDER: Steps(prepare_spider_gold, prepare_spider_candidate, is_same_for_spider),
    Rule.BIRD: Steps(_as_it_is, _as_it_is, is_same_for_bird),
    Rule.OWN: Steps(prepare_spider_gold, prepare_spider_gold, is_same_for_spider),
}

_CURRENT_YEAR = re.compile(r"YEAR\s*\(\s*CURDATE\s*\(\s*\)\s*\)\s*", re.IGNORECASE)


def _first_without_distinct(sql: str) -> str:
    kept: list[str] = []
    for token in tokens(sql):
        if token.kind == "word" and token.text.lower() == "distinct":
            continue
        kept.append(token.text)
        if token.kind == "end":
            break
    return "".join(kept)
