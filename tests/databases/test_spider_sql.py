"""Spider's grammar: its tokens, what it reads and refuses, and that no text makes it hang or fail."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sense.databases.schema import Column, Schema, Table
from sense.databases.spider_query import (
    ColumnUnit,
    Comparison,
    Compound,
    Conditions,
    Expression,
    Order,
    Query,
    Selected,
    spider_hardness,
)
from sense.databases.spider_sql import MAX_NESTING, parse
from sense.databases.spider_tokens import tokenize


def table(name: str, *columns: str) -> Table:
    return Table(name=name, columns=tuple(Column(name=column, type="text") for column in columns))


SCHEMA = Schema(
    db_id="pets", tables=(table("Pet", "Id", "name"), table("toy", "pet_id", "", "a.b")), foreign_keys=()
)


def plain(column: str) -> Expression:
    return Expression("none", ColumnUnit("none", column, False), None)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        pytest.param("SELECT Count(*)", "select count ( * )", id="lower case, brackets apart"),
        pytest.param("a = 'X' b", 'a = "X" b', id="a text keeps its case"),
        pytest.param("a='X'", "a=__val_2_4__", id="a text grows together with what it touches"),
        pytest.param("a >= b > = c ! = d != e", "a >= b >= c != d != e", id="operators are joined"),
        pytest.param("a<>b a!=b a>=b", "a < > b a ! =b a > =b", id="but not with what they touch"),
        pytest.param("a,b a,1 a,,b", "a , b a,1 a , ,b", id="commas"),
        pytest.param("a.b 1.5 a..b a. b.", "a.b 1.5 a .. b a. b .", id="periods"),
        pytest.param("b. ) ;", "b. ) ;", id="a period before a semicolon is not the last"),
        pytest.param("b. )", "b . )", id="a period before a bracket is"),
        pytest.param("a.", "a .", id="a period at the end"),
        pytest.param(".", ".", id="nothing but a period"),
        pytest.param("a--b---", "a -- b -- -", id="dashes"),
        pytest.param("`a` ```[b]", "` a ` `` ` [ b ]", id="names in quotes"),
        pytest.param("cannot t.gimme wanna wanna.a", "can not t. gim me wan na wanna.a", id="English"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_tokens_are_those_of_english_text(text: str, tokens: str) -> None:
    assert tokenize(text) == tokens.split()


def test_a_text_is_one_token() -> None:
    assert tokenize("a = 'X, (y).' b") == ["a", "=", '"X, (y)."', "b"]


def test_an_apostrophe_is_a_quote() -> None:
    assert tokenize('a = "it\'s"') is None


def test_a_query_is_read_into_its_parts() -> None:
    sql = (
        "SELECT DISTINCT T1.name , max(id) FROM pet AS T1 JOIN toy ON T1.id = pet_id WHERE id NOT IN (1) OR "
        "name = 'Tom' GROUP BY name ORDER BY count(*) DESC LIMIT 3 UNION SELECT name FROM pet"
    )
    assert parse(sql, SCHEMA) == Query(
        distinct=True,
        select=(Selected("none", plain("pet.name")), Selected("max", plain("pet.id"))),
        tables=("pet", "toy"),
        on=Conditions(
            (Comparison(False, "=", plain("pet.id"), ColumnUnit("none", "toy.pet_id", False), None),)
        ),
        where=Conditions(
            (
                Comparison(True, "in", plain("pet.id"), 1.0, None),
                Comparison(False, "=", plain("pet.name"), '"Tom"', None),
            ),
            ("or",),
        ),
        group=(ColumnUnit("none", "pet.name", False),),
        order=Order("desc", (Expression("none", ColumnUnit("count", "*", False), None),)),
        limited=True,
        compound=Compound("union", Query(select=(Selected("none", plain("pet.name")),), tables=("pet",))),
    )


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("SELECT name FROM pet ) and more", id="words after a bracket"),
        pytest.param("SELECT name FROM pet ; DROP TABLE pet", id="a second statement"),
        pytest.param("SELECT name FROM pet AS a", id="alias"),
        pytest.param("SELECT a.name FROM pet AS a", id="alias used"),
        pytest.param("(SELECT name FROM pet);", id="brackets"),
        pytest.param("SELECT name FROM pet WHERE", id="where without a condition"),
    ],
)
def test_what_makes_no_difference(sql: str) -> None:
    assert parse(sql, SCHEMA) == parse("SELECT name FROM pet", SCHEMA) is not None


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("", id="nothing"),
        pytest.param("SELECT name", id="no from"),
        pytest.param("SELECT name FROM pet AS", id="as at the end"),
        pytest.param("SELECT name FROM pet AS toy", id="an alias that is a table"),
        pytest.param("SELECT nothing FROM pet", id="unknown column"),
        pytest.param("SELECT toy.name FROM toy", id="column of another table"),
        pytest.param("SELECT a.name FROM pet", id="unknown alias"),
        pytest.param("SELECT toy.a.b FROM toy", id="two periods"),
        pytest.param("SELECT name FROM nothing", id="unknown table"),
        pytest.param("SELECT name FROM pet WHERE id", id="no operator"),
        pytest.param("SELECT name FROM pet WHERE id =", id="no value"),
        pytest.param("SELECT name FROM pet WHERE id = (", id="open bracket"),
        pytest.param("SELECT max( FROM toy", id="the end is no column, not even one without a name"),
        pytest.param("SELECT name FROM pet LIMIT", id="no limit"),
        pytest.param("SELECT name FROM pet GROUP name", id="no by"),
        pytest.param("SELECT name FROM pet UNION", id="no second query"),
        pytest.param("SELECT name FROM pet WHERE id = 1 id = 2 AND id = 3", id="AND in a condition's place"),
    ],
)
def test_what_the_grammar_refuses(sql: str) -> None:
    assert parse(sql, SCHEMA) is None


NESTED = "SELECT name FROM pet WHERE id IN ( "
QUERY = "SELECT name FROM pet"
LONG = 10_000


@pytest.mark.parametrize(
    ("sql", "accepted"),
    [
        pytest.param(NESTED * (MAX_NESTING - 1) + QUERY + " )" * (MAX_NESTING - 1), True, id="subqueries"),
        pytest.param(NESTED * MAX_NESTING + QUERY + " )" * MAX_NESTING, False, id="one too many"),
        pytest.param(NESTED * LONG, False, id="subqueries without end"),
        pytest.param("SELECT count(*) FROM ( " * LONG, False, id="derived tables"),
        pytest.param(" UNION ".join([QUERY] * LONG), False, id="unions"),
        pytest.param("(" * LONG, False, id="brackets"),
        pytest.param("SELECT " * LONG, False, id="selects"),
        pytest.param(QUERY + " JOIN pet ON id = name" * LONG, True, id="joins"),
        pytest.param(
            f"{QUERY} WHERE {' AND '.join(['id = id OR name'] * LONG)}", True, id="columns as values"
        ),
        pytest.param(f"{QUERY} WHERE {' AND '.join(['id IN (SELECT id FROM pet)'] * LONG)}", True, id="wide"),
        pytest.param(QUERY + ";" * LONG, True, id="semicolons"),
        pytest.param("a." + ")" * LONG + " " * LONG + "b", False, id="no last period"),
        pytest.param("''" * LONG, False, id="quotes"),
        pytest.param("a AS " * LONG, False, id="aliases"),
        pytest.param(
            QUERY + " JOIN pet" * LONG + " JOIN toy ON pet_id = id" * LONG, True, id="a table over and over"
        ),
        pytest.param(QUERY + " WHERE id = " + "1" * LONG, True, id="digits"),
    ],
)
def test_hostile_text_is_answered_soon(sql: str, accepted: bool) -> None:
    start = time.process_time()
    query = parse(sql, SCHEMA)
    assert (query is not None) is accepted
    if query is not None:
        spider_hardness(query)
    assert (
        time.process_time() - start < 4
    )  # a second or less, unless time grows with the square of the length


WORDS = "select from pet toy as a id name where ( ) and or = 1 'x in not on join ; , . union group by count"


@given(st.lists(st.sampled_from(WORDS.split()), max_size=30))
def test_no_text_is_too_strange(words: list[str]) -> None:
    query = parse(" ".join(words), SCHEMA)
    assert query is None or spider_hardness(query) is not None
