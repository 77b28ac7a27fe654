"""The rules by which a candidate is judged: which SQL is run, and how results are compared.

Each rule of a benchmark gives the verdict of its official script, odd habits included; a new rule is one line
in `RULES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from sense.databases.sql_tokens import tokens
from sense.execution.compare import same_as_set, same_up_to_columns
from sense.execution.outcome import Rows


class Rule(StrEnum):
    """Whose rule it is."""

    SPIDER = "spider"
    SPIDER_KEEP_DISTINCT = "spider_keep_distinct"  # the official script's --keep_distinct
    SPIDER_PLUG_VALUE = "spider_plug_value"  # its --plug_value: gold values put into the candidate
    BIRD = "bird"
    BIRD_SOFT_F1 = "bird_soft_f1"
    OWN = "own"  # Spider's without its rewriting of `value` in candidates: for labels and own databases
    ROBUST = "robust"  # stricter and fairer than the official ones, see `execution.robust`
    # Not verdicts: the reason says which difference of the rules makes the robust verdict another.
    SPIDER_CAUSE = "spider_cause"
    BIRD_CAUSE = "bird_cause"
    OWN_CAUSE = "own_cause"


class Steps(NamedTuple):
    """A rule.

    `prepare_gold` and `prepare_candidates` make the SQL that is run; of several candidates the best counts.
    `value(gold, candidate, prepared_gold)` is 1 where the results are the same, and less where they are not.
    """

    prepare_gold: Callable[[str], str]
    prepare_candidates: Callable[[str, str], Iterator[str]]
    value: Callable[[Rows, Rows, str], float]


CAUSE_OF = {Rule.SPIDER_CAUSE: Rule.SPIDER, Rule.BIRD_CAUSE: Rule.BIRD, Rule.OWN_CAUSE: Rule.OWN}
PREPARED_QUERIES = 4_096  # a gold query comes back with each of its candidates


@lru_cache(maxsize=PREPARED_QUERIES)
def prepare_spider_gold(sql: str) -> str:
    """Close up operators, drop every DISTINCT and all but the first statement, put 2020 for the current year.

    >>> prepare_spider_gold("SELECT count(DISTINCT a) FROM t WHERE b > = 'DISTINCT'")
    "SELECT count( a) FROM t WHERE b >= 'DISTINCT'"

    Source: taoyds/test-suite-sql-eval, exec_eval.py, postprocess and replace_cur_year;
        parse.py, remove_distinct.
    """
    return _put_year(_close_and_strip(sql))


def prepare_keeping_distinct(sql: str) -> str:
    """Close up operators and put 2020 for the current year.

    Source: taoyds/test-suite-sql-eval, exec_eval.py, postprocess and replace_cur_year.
    """
    return _put_year(_close(sql))


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


def soft_f1_for_bird(gold: Rows, candidate: Rows, gold_sql: str) -> float:  # noqa: ARG001
    """Give credit for the cells that agree."""
    from sense.execution.soft_f1 import soft_f1  # here, as below: workers start in a third of the time

    return soft_f1(gold, candidate)


def _one(prepare: Callable[[str], str]) -> Callable[[str, str], Iterator[str]]:
    return lambda gold_sql, candidate_sql: iter((prepare(candidate_sql),))  # noqa: ARG005


def _plugged(gold_sql: str, candidate_sql: str) -> Iterator[str]:
    from sense.execution.plug_value import plugged

    # The year comes last: to the official script it is no value, as 2020 would be one.
    gold, candidate = _close_and_strip(gold_sql), _close_and_strip(candidate_sql.replace("value", "1"))
    return map(_put_year, plugged(gold, candidate))


def _close(sql: str) -> str:
    return sql.replace("> =", ">=").replace("< =", "<=").replace("! =", "!=")


def _put_year(sql: str) -> str:
    return _CURRENT_YEAR.sub("2020", sql) if "curdate" in sql.lower() else sql


def _close_and_strip(sql: str) -> str:
    closed = _close(sql)
    if ";" not in closed.rstrip().removesuffix(";") and "distinct" not in closed.lower():
        return closed
    return _first_without_distinct(closed)


def _as_it_is(sql: str) -> str:
    return sql


_keep_distinct_candidate = _one(lambda sql: prepare_keeping_distinct(sql.replace("value", "1")))

# The robust rule runs more than two queries and is no line here: see `execution.judge`.
RULES: dict[Rule, Steps] = {
    Rule.SPIDER: Steps(prepare_spider_gold, _one(prepare_spider_candidate), is_same_for_spider),
    Rule.SPIDER_KEEP_DISTINCT: Steps(prepare_keeping_distinct, _keep_distinct_candidate, is_same_for_spider),
    Rule.SPIDER_PLUG_VALUE: Steps(prepare_spider_gold, _plugged, is_same_for_spider),
    Rule.BIRD: Steps(_as_it_is, _one(_as_it_is), is_same_for_bird),
    Rule.BIRD_SOFT_F1: Steps(_as_it_is, _one(_as_it_is), soft_f1_for_bird),
    Rule.OWN: Steps(prepare_spider_gold, _one(prepare_spider_gold), is_same_for_spider),
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
