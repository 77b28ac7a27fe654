"""When two queries are one as they are written, and how far apart they are."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sense.weak.syntax import canonical, distance

GOLD = "SELECT name FROM singer WHERE age > 20 AND country = 'France'"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("a = 1 AND b = 2", "b = 2 AND a = 1", id="sides of AND"),
        pytest.param("a = 1 AND (b = 2 AND c = 3)", "(c = 3 AND a = 1) AND b = 2", id="parentheses"),
        pytest.param("a = 1 OR b = 2 AND c = 3", "c = 3 AND b = 2 OR a = 1", id="OR of AND"),
        pytest.param("a = b", "b = a", id="sides of equality"),
        pytest.param("a > b", "b < a", id="greater"),
        pytest.param("a >= 1", "1 <= a", id="greater or equal"),
        pytest.param("a IN (1, 2)", "a IN (2, 1)", id="list"),
    ],
)
def test_sides_that_may_change_do_not_count(one: str, other: str) -> None:
    forms = [canonical(f"SELECT a FROM t WHERE {condition}") for condition in (one, other)]
    assert forms[0] == forms[1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("a = 1 AND (b = 2 OR c = 3)", "a = 1 AND b = 2 OR c = 3", id="parentheses"),
        pytest.param("a > b", "a < b", id="direction"),
        pytest.param("a > 1", "a >= 1", id="strictness"),
        pytest.param("a - b = 0", "b - a = 0", id="difference"),
        pytest.param("a = 1 AND b = 2", "a = 1 OR b = 2", id="junction"),
        pytest.param("a LIKE b", "b LIKE a", id="pattern"),
    ],
)
def test_meaning_counts(one: str, other: str) -> None:
    forms = [canonical(f"SELECT a FROM t WHERE {condition}") for condition in (one, other)]
    assert forms[0] != forms[1]


@pytest.mark.parametrize("word", ["AND", "OR"])
def test_a_chain_of_any_length_is_ordered_at_once(word: str) -> None:
    terms = [f"a = {n}" for n in range(1_500)]
    halves = f" {word} ".join(terms[750:]), f" {word} ".join(terms[:750])
    started = time.process_time()
    one = canonical(f"SELECT a FROM t WHERE {f' {word} '.join(terms)}")
    other = canonical(f"SELECT a FROM t WHERE ({halves[0]}) {word} ({halves[1]})")
    assert time.process_time() - started < 5
    assert one == other


def test_join_is_inner_join_and_not_left_join() -> None:
    joins = [canonical(f"SELECT a FROM t {kind} JOIN u ON t.i = u.i") for kind in ("", "INNER", "LEFT")]
    assert joins[0] == joins[1] != joins[2]


def test_the_more_is_changed_the_farther() -> None:
    changed = [
        "SELECT S.name FROM singer AS S WHERE S.country = 'France' AND S.age > 20",
        GOLD.replace("20", "30"),
        GOLD.replace("name", "age").replace("20", "30"),
        "SELECT T1.name FROM singer AS T1 JOIN song AS T2 ON T1.id = T2.singer_id WHERE T1.age > 30",
        "SELECT count(*) FROM song",
        "SELECT name FROM (",
    ]
    found = [distance(canonical(GOLD), canonical(sql)) for sql in changed]
    assert found == sorted(found)
    assert len(set(found)) == len(found)
    assert (found[0], found[-1]) == (0.0, 1.0)


def test_column_is_that_of_its_table_whatever_the_alias() -> None:
    join = "SELECT {0}.name FROM singer AS T1 JOIN song AS T2 ON T1.id = T2.singer_id WHERE {0}.age > 20"
    one, other = (canonical(join.format(alias)) for alias in ("T1", "T2"))
    gold = canonical("SELECT name FROM singer WHERE age > 20")
    assert distance(gold, one) < distance(gold, other)


def test_distance_is_counted_in_grams_of_the_trees() -> None:
    # Below SELECT are a column and FROM, in 2 + 2 windows of three; FROM, then the table, then its name have
    # 3, 3 and 1, the column has 1. Another column is another gram itself, and in the 3 windows that it is in.
    grams, changed = 4 + 3 + 3 + 1 + 1, 3 + 1
    found = distance(canonical("SELECT a FROM t"), canonical("SELECT b FROM t"))
    assert found == pytest.approx(changed / grams)


@given(st.text(alphabet="SELECTFROMWHEREANDIN abt.(),'\"*;=<1\n", max_size=60))
def test_no_text_is_too_strange(sql: str) -> None:
    form = canonical(sql)
    assert distance(form, form) == 0
    assert distance(form, canonical(GOLD)) == distance(canonical(GOLD), form)
