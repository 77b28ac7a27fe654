"""The SQL features of a query."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from sense.databases.features import Feature, sql_features

# A query, and all of its features.
CASES = {
    "nothing": ("SELECT a FROM t", ""),
    "columns": ("SELECT a, b FROM t", "several_columns"),
    "distinct": ("SELECT DISTINCT a FROM t", "distinct"),
    "join": ("SELECT a FROM t JOIN u ON t.i = u.i", "join"),
    "comma": ("SELECT a FROM t, u WHERE t.i = u.i", "join where"),
    "comma after on": ("SELECT a FROM t JOIN u ON t.i = u.i, v", "two_joins"),
    "using": ("SELECT a FROM t JOIN u USING (i, j)", "join"),
    "two joins": ("SELECT a FROM t JOIN u ON t.i = u.i JOIN v ON u.j = v.j", "two_joins"),
    "joins of both sides count": (
        "SELECT a FROM t JOIN u USING (i) UNION SELECT a FROM t JOIN v USING (i)",
        "two_joins union",
    ),
    "three joins": ("SELECT a FROM t, u, v JOIN w", "three_or_more_joins"),
    "left join": ("SELECT a FROM t LEFT JOIN u USING (i)", "join left_join"),
    "left outer join": ("SELECT a FROM t LEFT OUTER JOIN u USING (i)", "join left_join"),
    "right is no left join": ("SELECT a FROM t RIGHT JOIN u USING (i)", "join"),
    "self join": ("SELECT x.a FROM t AS x JOIN T AS y ON x.i = y.j", "join self_join"),
    "twice in two queries is no self join": ("SELECT a FROM t EXCEPT SELECT a FROM t", "except"),
    "brackets around joins": ("SELECT a FROM (t JOIN u USING (i))", "join"),
    "where": ("SELECT a FROM t WHERE b = 1", "where"),
    "and": ("SELECT a FROM t WHERE b = 1 AND c = 2", "where several_conditions"),
    "or": ("SELECT a FROM t WHERE b = 1 OR c = 2", "where several_conditions or"),
    "and of on": ("SELECT a FROM t JOIN u ON t.i = u.i AND t.j = u.j", "join"),
    "not": ("SELECT a FROM t WHERE NOT b = 1", "where not"),
    "not equal": ("SELECT a FROM t WHERE b <> 1", "where not_equal"),
    "like": ("SELECT a FROM t WHERE b LIKE '%x%'", "where like"),
    "not like": ("SELECT a FROM t WHERE b NOT LIKE '%x%'", "where like not"),
    "glob": ("SELECT a FROM t WHERE b GLOB 'x*'", "where like"),
    "the and of between": ("SELECT a FROM t WHERE b BETWEEN 1 AND 2", "where between"),
    "and after between": (
        "SELECT a FROM t WHERE b BETWEEN (1) AND 2 AND c = 3",
        "where between several_conditions",
    ),
    "null": ("SELECT a FROM t WHERE b IS NULL", "where is_null"),
    "not null": ("SELECT a FROM t WHERE b IS NOT NULL", "where is_null"),
    "list": ("SELECT a FROM t WHERE b IN (1, 2)", "where in_list"),
    "in": ("SELECT a FROM t WHERE b IN (SELECT b FROM u)", "where in_subquery nested"),
    "not in": ("SELECT a FROM t WHERE b NOT IN (SELECT b FROM u)", "where in_subquery nested not"),
    "exists": (
        "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.i = t.i)",
        "where exists nested correlated_subquery",
    ),
    "scalar": ("SELECT a FROM t WHERE b > (SELECT avg(b) FROM t)", "where scalar_subquery nested avg"),
    "scalar in select": (
        "SELECT (SELECT count(*) FROM u WHERE u.i = x.i) FROM t AS x",
        "scalar_subquery nested count where correlated_subquery",
    ),
    "own names are no correlation": (
        "SELECT t.a FROM t WHERE b IN (SELECT t.b FROM t WHERE t.c = 1)",
        "where in_subquery nested",
    ),
    "deep correlation": (
        "SELECT a FROM t WHERE b IN (SELECT b FROM u WHERE c IN (SELECT c FROM v WHERE v.i = t.i))",
        "where in_subquery nested correlated_subquery",
    ),
    "from": ("SELECT a FROM (SELECT a FROM t) AS x", "from_subquery nested"),
    "join of a query": (
        "SELECT a FROM t JOIN (SELECT i FROM u) AS x ON t.i = x.i",
        "join from_subquery nested",
    ),
    "double brackets": (
        "SELECT a FROM t WHERE b = ((SELECT max(b) FROM t))",
        "where scalar_subquery nested max",
    ),
    "brackets around a side": ("(SELECT a FROM t) UNION (SELECT a FROM u)", "union"),
    "aggregates": (
        "SELECT count(*), sum(a), avg(a), min(a), max(a) FROM t",
        "several_columns count sum avg min max",
    ),
    "max of two is no aggregate": ("SELECT max(a, b) FROM t", ""),
    "count distinct": ("SELECT count(DISTINCT a) FROM t", "count count_distinct"),
    "arithmetic": ("SELECT a - b FROM t", "arithmetic"),
    "a sign is no arithmetic": ("SELECT -1, *, t.* FROM t WHERE a = -1", "several_columns where"),
    "sum of a product": (
        "SELECT sum(coalesce(a * b, 0)) FROM t",
        "sum arithmetic aggregate_over_arithmetic coalesce_or_nullif",
    ),
    "product of sums": ("SELECT sum(a) * sum(b) FROM t", "sum arithmetic"),
    "sum of a case": (
        "SELECT sum(CASE WHEN a = 1 THEN 1 ELSE 0 END) FROM t",
        "sum case aggregate_over_case",
    ),
    "sum of iif": ("SELECT sum(IIF(a = 1, 1, 0)) FROM t", "sum case aggregate_over_case"),
    "group": ("SELECT a FROM t GROUP BY a", "group_by"),
    "group by two": ("SELECT a FROM t GROUP BY a, b", "group_by group_by_several"),
    "having": ("SELECT a FROM t GROUP BY a HAVING count(*) > 1", "group_by having count"),
    "order": ("SELECT a FROM t ORDER BY a", "order_by"),
    "order by two": ("SELECT a FROM t ORDER BY a, b DESC", "order_by order_by_several"),
    "order by a count": (
        "SELECT a FROM t GROUP BY a ORDER BY count(*)",
        "group_by order_by order_by_aggregate count",
    ),
    "top": ("SELECT a FROM t ORDER BY b DESC LIMIT 1", "order_by limit top_one"),
    "top three": ("SELECT a FROM t ORDER BY b DESC LIMIT 3", "order_by limit"),
    "second": ("SELECT a FROM t ORDER BY b LIMIT 1 OFFSET 1", "order_by limit offset"),
    "second, with a comma": ("SELECT a FROM t ORDER BY b LIMIT 1, 1", "order_by limit offset"),
    "limit": ("SELECT a FROM t LIMIT 1", "limit"),
    "intersect": ("SELECT a FROM t INTERSECT SELECT a FROM u", "intersect"),
    "cte": ("WITH x AS (SELECT a FROM t) SELECT a FROM x", "cte"),
    "recursive": (
        "WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x WHERE n < 9) SELECT n FROM x",
        "cte recursive_cte union arithmetic where",
    ),
    "window": (
        "SELECT a, rank() OVER (PARTITION BY b ORDER BY c, d) FROM t",
        "several_columns window",
    ),
    "cast": ("SELECT CAST(a AS REAL) / b FROM t", "cast arithmetic"),
    "round": ("SELECT round(a, 2) FROM t", "math_function"),
    "date": ("SELECT strftime('%Y', a) FROM t", "date_function"),
    "a column with a function's name": ("SELECT date, year FROM t", "several_columns"),
    "text": ("SELECT substr(a, 1, 2) FROM t", "string_function"),
    "concatenation": ("SELECT a || b FROM t", "string_function"),
    "extract": ("SELECT extract(year FROM a) FROM t", "date_function"),
    "quoted": ("SELECT 'a, b UNION', \"group by\" FROM [having] -- LIMIT 1\n", "several_columns"),
    "commented": ("SELECT a /* , b JOIN */ FROM t", ""),
    "what looks like a keyword": ("SELECT t.max, t.like FROM t", "several_columns"),
    "one statement only": ("SELECT a FROM t; SELECT DISTINCT a FROM t", ""),
    "lower case": ("select a from t order by a limit 1", "order_by limit top_one"),
    "no sql": ("how many singers are there?", ""),
    "nothing at all": ("", ""),
}


@pytest.mark.parametrize(("sql", "expected"), CASES.values(), ids=CASES)
def test_features_are_all_those_of_the_query(sql: str, expected: str) -> None:
    assert {feature.value for feature in sql_features(sql)} == set(expected.split())


def test_every_feature_has_a_case() -> None:
    assert {name for _, expected in CASES.values() for name in expected.split()} == set(Feature)


@given(st.text(alphabet="selctfrom(),.'\"[*;-+=1 \n", max_size=60))
def test_no_text_is_too_strange(sql: str) -> None:
    assert sql_features(sql) <= set(Feature)


@pytest.mark.parametrize(
    "piece", ["(", ")", "(select ", "union select a from t ", "a, ", "(select t.a from u "]
)
def test_no_text_takes_more_than_linear_time(piece: str) -> None:
    started = time.monotonic()
    sql_features("select 1 from t where a in " + piece * 30_000)
    assert time.monotonic() - started < 5  # a quadratic search takes minutes


@pytest.mark.benchmark
def test_gold_queries_have_the_features_that_a_parser_sees() -> None:
    questions = json.loads((Path(os.environ["SENSE_DATA"]) / "spider" / "dev.json").read_text())
    seen: dict[type[exp.Expr], Feature] = {
        exp.Group: Feature.GROUP_BY, exp.Having: Feature.HAVING, exp.Limit: Feature.LIMIT, exp.Or: Feature.OR,
        exp.Union: Feature.UNION, exp.Intersect: Feature.INTERSECT, exp.Except: Feature.EXCEPT,
        exp.Between: Feature.BETWEEN, exp.Like: Feature.LIKE, exp.Where: Feature.WHERE,
    }  # fmt: skip
    for question in questions:
        tree = sqlglot.parse_one(question["query"], dialect="sqlite")
        expected = {feature for kind, feature in seen.items() if tree.find(kind)}
        assert sql_features(question["query"]) & set(seen.values()) == expected, question["query"]
