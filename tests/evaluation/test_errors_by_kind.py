"""Why wrong predictions are wrong."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sense.evaluation.errors_by_kind import ErrorKind, count_errors, diagnose, error_kind
from sense.execution.outcome import Match
from sense.records import Score

DIFFERENT = "1 row of 1 column as in gold, with other values or in another order"
SONGS = "SELECT T1.name FROM singer AS T1 JOIN song AS T2 ON T1.id = T2.singer_id"


@pytest.mark.parametrize(
    ("gold", "predicted", "kind", "detail"),
    [
        pytest.param(
            "SELECT name FROM singer", "SELECT name FROM song",
            "wrong_tables", "table song instead of singer", id="another table",
        ),
        pytest.param(
            "SELECT name FROM singer",
            "SELECT T1.name FROM singer AS T1 JOIN song AS T2 ON T1.id = T2.singer_id",
            "wrong_tables", "extra table song", id="a table too many",
        ),
        pytest.param(
            SONGS, "SELECT name FROM singer", "wrong_tables", "missing table song", id="a table missing",
        ),
        pytest.param(
            SONGS, "SELECT singer.name FROM singer JOIN song ON singer.id = song.id",
            "wrong_join",
            "joined on singer.id = song.id instead of singer.id = song.singer_id", id="joined on",
        ),
        pytest.param(
            SONGS, "SELECT singer.name FROM singer JOIN song",
            "wrong_join", "joined on nothing instead of singer.id = song.singer_id", id="joined on nothing",
        ),
        pytest.param(
            SONGS, "SELECT a.name FROM singer a LEFT JOIN song b ON a.id = b.singer_id",
            "wrong_join", "left join song instead of join", id="side of a join",
        ),
        pytest.param(
            "SELECT name FROM singer", "SELECT age FROM singer",
            "wrong_column", "column singer.age instead of singer.name", id="another column",
        ),
        pytest.param(
            "SELECT sum(age) FROM singer", "SELECT sum(size) FROM singer",
            "wrong_column", "sum(singer.size) instead of sum(singer.age)", id="aggregate of another column",
        ),
        pytest.param(
            "SELECT a FROM t",
            "SELECT a, b FROM t", "wrong_column", "extra column t.b", id="a column too many",
        ),
        pytest.param(
            "SELECT max(age) FROM singer", "SELECT min(age) FROM singer",
            "aggregation", "min(singer.age) instead of max(singer.age)", id="another function",
        ),
        pytest.param(
            "SELECT count(*) FROM singer", "SELECT name FROM singer",
            "aggregation", "column singer.name instead of count(*)", id="no function",
        ),
        pytest.param(
            "SELECT sum(a) FROM t", "SELECT count(DISTINCT b) FROM t",
            "aggregation", "count(distinct t.b) instead of sum(t.a)", id="another function of another column",
        ),
        pytest.param(
            "SELECT a FROM t WHERE b > 1", "SELECT a FROM t WHERE b >= 1",
            "wrong_condition", "t.b >= 1 instead of t.b > 1", id="another operator",
        ),
        pytest.param(
            "SELECT a FROM t WHERE b = 'x'", "SELECT a FROM t WHERE c = 'x'",
            "wrong_condition", "t.c = 'x' instead of t.b = 'x'", id="condition on another column",
        ),
        pytest.param(
            "SELECT a FROM t WHERE b = 1 AND c = 2", "SELECT a FROM t WHERE b = 1",
            "wrong_condition", "missing condition t.c = 2", id="a condition missing",
        ),
        pytest.param(
            "SELECT a FROM t WHERE b = 1 OR c = 2", "SELECT a FROM t WHERE b = 1 AND c = 2",
            "wrong_condition", "instead of t.b = 1 or t.c = 2", id="and for or",
        ),
        pytest.param(
            "SELECT a FROM t WHERE b LIKE 'x'", "SELECT a FROM t WHERE NOT b LIKE 'x'",
            "wrong_condition", "t.b not like 'x' instead of t.b like 'x'", id="not",
        ),
        pytest.param(
            "SELECT a FROM t WHERE b = 'USA'", "SELECT a FROM t WHERE b = 'usa'",
            "wrong_value", "t.b = 'usa' instead of t.b = 'USA'", id="case of a text",
        ),
        pytest.param(
            "SELECT a FROM t WHERE b = 1 OR c = 2", "SELECT a FROM t WHERE b = 1 OR c = 3",
            "wrong_value", "t.c = 3 instead of t.c = 2", id="another number in an or",
        ),
        pytest.param(
            "SELECT a FROM t WHERE b IN (1, 2)", "SELECT a FROM t WHERE b IN (1, 3)",
            "wrong_value", "t.b in (1, 3) instead of t.b in (1, 2)", id="another list",
        ),
        pytest.param(
            "SELECT a FROM t WHERE b BETWEEN 1 AND 5", "SELECT a FROM t WHERE b >= 1 AND b <= 6",
            "wrong_value", "t.b <= 6 instead of t.b <= 5", id="another end",
        ),
        pytest.param(
            "SELECT a FROM t GROUP BY b", "SELECT a FROM t GROUP BY c",
            "grouping", "grouped by t.c instead of t.b", id="another group",
        ),
        pytest.param(
            "SELECT a FROM t GROUP BY b",
            "SELECT a FROM t", "grouping", "nothing instead of t.b", id="no group"
        ),
        pytest.param(
            "SELECT a FROM t GROUP BY a HAVING count(*) > 1", "SELECT a FROM t GROUP BY a HAVING sum(b) > 1",
            "grouping", "sum(t.b) > 1 instead of count(*) > 1", id="another having",
        ),
        pytest.param(
            "SELECT a FROM t ORDER BY b", "SELECT a FROM t ORDER BY b DESC",
            "order_or_limit", "ordered by t.b desc instead of t.b asc", id="descending",
        ),
        pytest.param(
            "SELECT a FROM t ORDER BY b LIMIT 1", "SELECT a FROM t ORDER BY b LIMIT 3",
            "order_or_limit", "limit 3 instead of limit 1", id="limit",
        ),
        pytest.param(
            "SELECT a FROM t ORDER BY b DESC LIMIT 1", "SELECT a FROM t WHERE b = (SELECT max(b) FROM t)",
            "order_or_limit",
            "every row with max(t.b) instead of the first one ordered by t.b desc", id="ties",
        ),
        pytest.param(
            "SELECT a FROM t WHERE b = (SELECT min(b) FROM t)", "SELECT a FROM t ORDER BY b LIMIT 1",
            "order_or_limit", "the first row ordered by t.b asc instead of every one", id="ties of gold",
        ),
        pytest.param(
            "SELECT a FROM t UNION SELECT a FROM u", "SELECT a FROM t INTERSECT SELECT a FROM u",
            "set_operation", "INTERSECT instead of UNION", id="another set operation",
        ),
        pytest.param(
            "SELECT a FROM t EXCEPT SELECT a FROM t WHERE b = 1", "SELECT a FROM t WHERE b != 1",
            "set_operation", "missing EXCEPT", id="no set operation",
        ),
        pytest.param(
            "SELECT a FROM t WHERE b != 1", "SELECT a FROM t EXCEPT SELECT a FROM t WHERE b = 1",
            "set_operation", "extra EXCEPT", id="a set operation too many",
        ),
        pytest.param(
            "SELECT a FROM t WHERE i NOT IN (SELECT i FROM u)", "SELECT a FROM t JOIN u ON t.i = u.i",
            "nesting", "missing condition t.i not in (subquery)", id="a subquery missing",
        ),
        pytest.param(
            "SELECT a FROM t WHERE b > 5", "SELECT a FROM t WHERE b > (SELECT avg(b) FROM t)",
            "nesting", "t.b > (subquery) instead of t.b > 5", id="a subquery for a number",
        ),
        pytest.param(
            "SELECT a FROM t",
            "WITH x AS (SELECT a FROM t) SELECT a FROM x", "nesting", "extra subquery", id="with"
        ),
        pytest.param(
            "SELECT a FROM t WHERE b > (SELECT min(b) FROM t)",
            "SELECT a FROM t WHERE b > (SELECT max(b) FROM t)",
            "aggregation", "in a subquery: max(t.b) instead of min(t.b)", id="inside a subquery",
        ),
        pytest.param(
            "SELECT DISTINCT a FROM t", "SELECT a FROM t", "distinct", "missing DISTINCT", id="distinct",
        ),
        pytest.param(
            "SELECT count(DISTINCT a) FROM t", "SELECT count(*) FROM t",
            "distinct", "count(*) instead of count(distinct t.a)", id="count distinct",
        ),
        pytest.param(
            "SELECT count(*) FROM t", "SELECT count(a) FROM t",
            "wrong_column", "count(t.a) instead of count(*)", id="what is counted, if nothing else differs",
        ),
        pytest.param(
            "SELECT a, b FROM t", "SELECT b, a FROM t",
            "wrong_column", "columns in another order", id="order of columns, if nothing else differs",
        ),
        pytest.param(
            "SELECT a FROM t WHERE b = 'Cat' EXCEPT SELECT a FROM u",
            "SELECT a FROM t WHERE b = 'cat' AND a NOT IN (SELECT a FROM u)",
            "wrong_value",
            "t.b = 'cat' instead of t.b = 'Cat'", id="another text tells more than another form",
        ),
        pytest.param(
            "SELECT a FROM t WHERE i NOT IN (SELECT i FROM u WHERE b = 'T')",
            "SELECT a FROM t JOIN u USING (i) WHERE u.b = 'F'",
            "nesting", "missing condition t.i not in (subquery)", id="what is left out is no other text",
        ),
    ],
)  # fmt: skip
def test_the_most_fundamental_difference_is_the_primary_one(
    gold: str, predicted: str, kind: str, detail: str
) -> None:
    diagnosis = error_kind(gold, predicted, match=Match.DIFFERENT, reason=DIFFERENT)
    assert (diagnosis.kind, diagnosis.kind in diagnosis.all_kinds) == (kind, True)
    assert detail in diagnosis.detail


@pytest.mark.parametrize(
    ("gold", "predicted"),
    [
        pytest.param("SELECT T1.a FROM t AS T1", "select A from T;", id="aliases and case"),
        pytest.param(
            SONGS, "SELECT x.name FROM song y INNER JOIN singer x ON y.singer_id = x.id", id="order of a join"
        ),
        pytest.param(
            SONGS, "SELECT name FROM singer, song WHERE singer.id = song.singer_id", id="join in where"
        ),
        pytest.param(
            "SELECT a FROM t JOIN u USING (i)", "SELECT a FROM t JOIN u ON u.i = t.i", id="using"
        ),
        pytest.param(
            "SELECT a FROM t WHERE b = 1 AND c != 'x'", 'SELECT a FROM t WHERE c <> "x" AND 1 = b', id="terms"
        ),
        pytest.param("SELECT a FROM t WHERE b > 1", "SELECT a FROM t WHERE (1 < b)", id="turned round"),
        pytest.param("SELECT a FROM t WHERE b IN (1)", "SELECT a FROM t WHERE b = '1'", id="in one"),
        pytest.param(
            "SELECT a FROM t WHERE b = 1 OR b = 2", "SELECT a FROM t WHERE b IN (2, 1)", id="or of one column"
        ),
        pytest.param(
            "SELECT a FROM t WHERE b BETWEEN 1 AND 2", "SELECT a FROM t WHERE b <= 2 AND b >= 1", id="between"
        ),
        pytest.param(
            "SELECT a FROM t WHERE NOT (b = 1 OR c > 2)", "SELECT a FROM t WHERE b != 1 AND c <= 2", id="not"
        ),
        pytest.param(
            "SELECT a FROM t GROUP BY a HAVING count(*) >= 2",
            "SELECT a FROM t GROUP BY 1 HAVING count(*) > 1",
            id="at least two",
        ),
        pytest.param(
            "SELECT a, count(*) FROM t GROUP BY a ORDER BY count(*) DESC",
            "SELECT a, count(*) AS n FROM t GROUP BY a ORDER BY n DESC",
            id="order by a name",
        ),
        pytest.param(
            "SELECT a FROM t UNION SELECT a FROM u", "SELECT a FROM u UNION SELECT a FROM t", id="union"
        ),
        pytest.param("SELECT a FROM t", "SELECT a FROM t ORDER BY a", id="an order nobody asks for"),
    ],
)  # fmt: skip
def test_another_way_of_writing_is_no_difference(gold: str, predicted: str) -> None:
    diagnosis = error_kind(gold, predicted, match=Match.DIFFERENT, reason=DIFFERENT)
    assert diagnosis.all_kinds == {ErrorKind.OTHER}
    assert diagnosis.detail == "no part of the query differs from gold"


@pytest.mark.parametrize(
    ("match", "reason", "kind"),
    [
        pytest.param("missing", "no prediction", "missing", id="missing"),
        pytest.param("", "no prediction", "missing", id="missing by its reason"),
        pytest.param("candidate_timeout", "stopped after 30 s", "timeout", id="timeout"),
        pytest.param("", "stopped after 0.5 s", "timeout", id="timeout by its reason"),
        pytest.param("candidate_refused", "only reading is allowed, not DELETE", "refused", id="refused"),
        pytest.param("", "only reading is allowed, not DELETE", "refused", id="refused by its reason"),
        pytest.param("", "more than one statement", "refused", id="two statements by their reason"),
        pytest.param("candidate_too_much", "more than 9 rows", "too_much", id="too much"),
        pytest.param("", "more than 256 MiB of rows", "too_much", id="too much by its reason"),
        pytest.param("worker_died", "killed", "execution_error", id="died"),
        pytest.param("candidate_error", "no such table: x", "unknown_table", id="table"),
        pytest.param("", "no such column: T1.x (on a.sqlite)", "unknown_column", id="column"),
        pytest.param("", "ambiguous column name: id", "ambiguous_column", id="ambiguous"),
        pytest.param("candidate_error", 'near "FORM": syntax error', "does_not_parse", id="syntax"),
        pytest.param("", "incomplete input", "does_not_parse", id="cut off"),
        pytest.param("candidate_error", "misuse of aggregate: COUNT()", "execution_error", id="aggregate"),
    ],
)
def test_how_the_query_ended_goes_first(match: str, reason: str, kind: str) -> None:
    diagnosis = error_kind("SELECT a FROM t", "SELECT b FROM u", match=match, reason=reason)
    assert (diagnosis.kind, diagnosis.detail) == (kind, reason)


def test_what_also_differs_is_among_all_kinds() -> None:
    diagnosis = error_kind(
        SONGS, "SELECT nam FROM singer", match="candidate_error", reason="no such column: nam"
    )
    assert diagnosis.all_kinds == {"unknown_column", "wrong_tables", "wrong_column"}


def test_a_blank_prediction_is_missing() -> None:
    assert error_kind("SELECT 1", " \n", match="candidate_error", reason="no statement").kind == "missing"


def test_a_wrong_number_of_columns_goes_before_other_differences() -> None:
    reason = "3 rows of 2 columns, gold has 1 row of 1 column (on a.sqlite)"
    diagnosis = error_kind("SELECT a FROM t", "SELECT a, b FROM u", match="different", reason=reason)
    assert diagnosis.all_kinds == {"column_count", "wrong_tables", "wrong_column"}
    assert (diagnosis.kind, diagnosis.detail) == ("column_count", "2 columns instead of 1; extra column b")


# Written out, it reads t as often as 2 to the power of 40.
EXPLODING = "WITH x0 AS (SELECT a FROM t)" + "".join(
    f", x{n} AS (SELECT a FROM x{n - 1} UNION SELECT a FROM x{n - 1})" for n in range(1, 41)
) + " SELECT a FROM x40"  # fmt: skip


@pytest.mark.parametrize(
    ("predicted", "match", "kind"),
    [
        pytest.param("how many singers?", "", "does_not_parse", id="prose"),
        pytest.param("how many singers?", "different", "other", id="prose that ran"),
        pytest.param("EXPLAIN SELECT 1", "different", "other", id="explain"),
        pytest.param("SELECT " + "(" * 3_000 + "1" + ")" * 3_000, "different", "other", id="deep brackets"),
        pytest.param("SELECT a IN (" * 1_000, "different", "other", id="deep and open"),
        pytest.param("SELECT 1" + " UNION SELECT 1" * 1_300, "different", "other", id="many unions"),
        pytest.param("SELECT 1" + " UNION SELECT 1" * 700, "different", "set_operation", id="fewer unions"),
        pytest.param(EXPLODING, "different", "nesting", id="with that doubles and doubles"),
        pytest.param("SELECT '" + "x" * 1_000_000 + "'", "different", "other", id="a megabyte"),
        pytest.param(
            "SELECT a FROM t WHERE a" + " AND 1" * 3_000, "different", "wrong_condition", id="terms"
        ),
        pytest.param("SELECT a FROM t WHERE a" + " OR 1" * 3_000, "different", "wrong_condition", id="sides"),
        pytest.param("SELECT a FROM t LIMIT " + "9" * 9_000, "different", "order_or_limit", id="long number"),
        pytest.param("SELECT a FROM t GROUP BY " + "9" * 9_000, "different", "grouping", id="long place"),
        pytest.param("SELECT a FROM t LIMIT '\ud800'", "different", "order_or_limit", id="half a character"),
    ],
)
def test_hostile_predictions_have_a_kind_in_time(predicted: str, match: str, kind: str) -> None:
    started = time.monotonic()
    diagnosis = error_kind("SELECT a FROM t", predicted, match=match, reason="")
    assert diagnosis.kind == kind
    assert "\n" not in diagnosis.detail
    assert time.monotonic() - started < 5


WORDS = [
    *"(),.*=1at",
    "'x'",
    '"y"',
    "SELECT",
    "FROM",
    "WHERE",
    "JOIN",
    "ON",
    "WITH",
    "AS",
    "OR",
    "IN",
    "UNION",
]


@given(st.lists(st.sampled_from(WORDS)))
def test_no_text_is_too_strange(words: list[str]) -> None:
    sql = "SELECT " + " ".join(words)
    assert error_kind(sql, "SELECT a FROM t", match="different").kind in ErrorKind
    assert error_kind("SELECT a FROM t", sql, match="different").kind in ErrorKind


def test_a_gold_query_that_cannot_be_read_is_nobodys_error() -> None:
    diagnosis = error_kind("SELECT a FROM", "SELECT a FROM t")
    assert (diagnosis.kind, diagnosis.detail) == ("other", "not compared: cannot be parsed")


def score(number: int, sql: str, *, ex: int | None = 0, db_id: str = "d", hardness: str = "easy") -> Score:
    return Score(
        id=number, db_id=db_id, ex=ex, reason="" if ex else DIFFERENT, match="same" if ex else "different",
        hardness=hardness, question=f"question {number}", gold_sql="SELECT a FROM t WHERE b = 'x'", sql=sql,
    )  # fmt: skip


SCORES = (
    score(0, "SELECT a FROM t WHERE b = 'y'"),
    score(1, "SELECT a FROM t WHERE b = 'x'", ex=1),
    score(2, "SELECT a FROM u WHERE b = 'y'", hardness="hard"),
    score(3, "SELECT c FROM t WHERE b = 'x'", db_id="e"),
    score(4, "SELECT a FROM t WHERE b = 'x'", ex=None),
    score(5, "SELECT a FROM t WHERE b = 'z'", db_id="e", hardness="hard"),
    score(6, "SELECT a FROM t WHERE b = 'v'"),
)


def test_only_wrong_predictions_are_diagnosed() -> None:
    assert [each.id for each, _ in diagnose(SCORES)] == [0, 2, 3, 5, 6]


def test_errors_are_counted_by_kind_hardness_and_database() -> None:
    counts = count_errors(diagnose(SCORES), examples=2)
    assert counts["wrong"] == 5
    assert list(counts["by_kind"].items()) == [("wrong_value", 4), ("wrong_column", 1)]
    assert counts["touched"] == {"wrong_tables": 1, "wrong_column": 1, "wrong_value": 4}
    assert counts["by_hardness"] == {
        "easy": {"wrong_column": 1, "wrong_value": 2},
        "hard": {"wrong_value": 2},
    }
    assert counts["by_database"] == {"d": {"wrong_value": 3}, "e": {"wrong_column": 1, "wrong_value": 1}}


def test_examples_are_from_all_over_the_questions_and_no_more_than_asked_for() -> None:
    examples = count_errors(diagnose(SCORES), examples=2)["examples"]
    assert [example["id"] for example in examples["wrong_value"]] == [0, 5]
    assert examples["wrong_column"][0] == {
        "id": 3, "db_id": "e", "hardness": "easy", "question": "question 3", "gold_sql": SCORES[3].gold_sql,
        "sql": SCORES[3].sql, "detail": "column t.c instead of t.a",
    }  # fmt: skip
