"""The rules' treatment of the SQL."""

from __future__ import annotations

import pytest

from sense.execution.outcome import Rows
from sense.execution.rules import CAUSE_OF, RULES, Rule, prepare_spider_candidate, prepare_spider_gold


@pytest.mark.parametrize(
    ("sql", "prepared"),
    [
        pytest.param("SELECT DISTINCT a FROM t", "SELECT  a FROM t", id="distinct"),
        pytest.param("SELECT count(distinct a) FROM t", "SELECT count( a) FROM t", id="in-count"),
        pytest.param("SELECT 'DISTINCT' FROM t", "SELECT 'DISTINCT' FROM t", id="string"),
        pytest.param('SELECT "distinct" FROM t', 'SELECT "distinct" FROM t', id="name"),
        pytest.param("SELECT distinct_a FROM t", "SELECT distinct_a FROM t", id="part-of-a-word"),
        pytest.param("SELECT a FROM t WHERE a > = 1", "SELECT a FROM t WHERE a >= 1", id="at-least"),
        pytest.param("SELECT a FROM t WHERE a < = 1", "SELECT a FROM t WHERE a <= 1", id="at-most"),
        pytest.param("SELECT a FROM t WHERE a ! = 1", "SELECT a FROM t WHERE a != 1", id="not-equal"),
        pytest.param("SELECT year( CURDATE () ) - 1", "SELECT 2020- 1", id="current-year"),
        pytest.param("SELECT 1; SELECT 2", "SELECT 1;", id="first-statement"),
        pytest.param("SELECT ';' ; x", "SELECT ';' ;", id="semicolon-in-a-string"),
        pytest.param("SELECT value FROM t", "SELECT value FROM t", id="value-in-gold"),
    ],
)
def test_spider_rewrites_sql_before_it_is_run(sql: str, prepared: str) -> None:
    assert prepare_spider_gold(sql) == prepared


def test_spider_breaks_names_with_value_in_the_candidate_only() -> None:
    sql = "SELECT market_value, Value FROM t WHERE a = 'value'"
    assert prepare_spider_candidate(sql) == "SELECT market_1, Value FROM t WHERE a = '1'"
    assert prepare_spider_gold(sql) == sql


def test_bird_runs_sql_as_it_is() -> None:
    sql = "SELECT DISTINCT value FROM t WHERE a > = 1; x"
    steps = RULES[Rule.BIRD]
    assert steps.prepare_gold(sql) == sql
    assert list(steps.prepare_candidates("SELECT 1", sql)) == [sql]


@pytest.mark.parametrize(
    ("gold_sql", "same"),
    [
        pytest.param("SELECT a FROM t", True, id="no-order"),
        pytest.param("SELECT a FROM t Order By a", False, id="order"),
        pytest.param("SELECT a FROM (SELECT a FROM t ORDER BY a)", False, id="in-a-subquery"),
        pytest.param("SELECT a FROM t WHERE b = 'order by'", False, id="in-a-string"),
        pytest.param("SELECT a FROM t ORDER  BY a", True, id="two-spaces"),
    ],
)
def test_spider_looks_for_an_order_in_the_gold_text(gold_sql: str, same: bool) -> None:
    value = RULES[Rule.SPIDER].value
    assert value(Rows(1, ((1,), (2,))), Rows(1, ((2,), (1,))), gold_sql) == same


def test_every_rule_but_the_robust_ones_is_in_the_table() -> None:
    assert set(Rule) - set(RULES) == {Rule.ROBUST, *CAUSE_OF}
