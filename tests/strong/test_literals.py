"""Values that a query compares with, and whether its question says them."""

from __future__ import annotations

import pytest

from sense.databases.schema import Column, Schema, Table
from sense.strong.literals import unsaid_values

SCHEMA = Schema(
    db_id="mews",
    tables=(
        Table(name="bird", columns=tuple(Column(name=n, type="text") for n in ("kind", "weight", "hatched"))),
    ),
    foreign_keys=(),
)
SAID = [
    pytest.param("kind = 'Kestrel'", "Which kestrels?", id="plural"),
    pytest.param("kind = 'cancelled'", "Which were canceled?", id="ending"),
    pytest.param("kind = 'in_flight'", "Which are in flight?", id="underscore"),
    pytest.param('kind = "merlin"', "Any Merlin?", id="double quotes"),
    pytest.param("kind LIKE '%hawk%'", "Hawks?", id="pattern"),
    pytest.param("kind IN ('hobby', 'merlin')", "Hobbies or merlins?", id="list"),
    pytest.param("lower(kind) = 'hobby'", "The hobby?", id="in a function"),
    pytest.param("kind = 'F'", "The female ones?", id="initial"),
    pytest.param("kind = 'yes'", "The tame ones?", id="yes"),
    pytest.param("weight > 1200", "Over 1,200 g?", id="thousands"),
    pytest.param("weight = 1.5e3", "1.5 thousand?", id="a word for thousands"),
    pytest.param("weight > 3", "More than three?", id="number in words"),
    pytest.param("weight >= 4", "More than three?", id="the next number"),
    pytest.param("weight < 0.25", "Under 25%?", id="percent"),
    pytest.param("weight = 1 LIMIT 1", "The one?", id="0 and 1"),
    pytest.param("hatched > '2015-12-31'", "After 2015?", id="end of a year"),
    pytest.param("hatched < '2016-01-01'", "Until the end of 2015?", id="before a year begins"),
    pytest.param("hatched = '2015-03-07'", "On March 7th, 2015?", id="month by name"),
    pytest.param("hatched = '2015-03-07'", "On 3/7/2015?", id="month by number"),
    pytest.param("hatched BETWEEN '2015-03-01' AND '2015-03-31'", "In March 2015?", id="a month"),
    pytest.param("hatched LIKE '2015-03%'", "In Mar 2015?", id="pattern of a month"),
    pytest.param("strftime('%m', hatched) = '03'", "Every March?", id="month alone"),
    pytest.param("kind = weight", "Any?", id="no value"),
]


@pytest.mark.parametrize(("condition", "question"), SAID)
def test_a_value_that_is_said_in_its_way_is_found(condition: str, question: str) -> None:
    assert unsaid_values(f"SELECT kind FROM bird WHERE {condition}", question, SCHEMA) == []


UNSAID = [
    pytest.param("kind = 'merlin'", "Which kestrels?", ["merlin"], id="another word"),
    pytest.param("kind = 'open'", "At the opera?", ["open"], id="a word that begins alike"),
    pytest.param("kind IN ('hobby', 'merlin')", "The hobby?", ["merlin"], id="one of a list"),
    pytest.param("weight > 5", "Over 15?", [5], id="another number"),
    pytest.param("weight = 5", "Exactly 6?", [5], id="the next one where equal is asked"),
    pytest.param("weight = -5", "The lightest?", [-5], id="negative"),
    pytest.param("weight > 5 OR weight BETWEEN 7 AND 9", "Over 9?", [5, 7], id="two of three"),
    pytest.param("weight > 2 LIMIT 3", "Over 2?", [3], id="limit"),
    pytest.param("hatched = '2015-03-07'", "In March 2015?", ["2015-03-07"], id="a day"),
    pytest.param("hatched > '2015-06-30'", "After May 2015?", ["2015-06-30"], id="another month"),
    pytest.param("hatched > '2015-12-31'", "After 2016?", ["2015-12-31"], id="another year"),
]


@pytest.mark.parametrize(("condition", "question", "expected"), UNSAID)
def test_a_value_that_is_not_said_is_listed(condition: str, question: str, expected: list[object]) -> None:
    assert unsaid_values(f"SELECT kind FROM bird WHERE {condition}", question, SCHEMA) == expected


def test_what_cannot_be_parsed_says_nothing() -> None:
    assert unsaid_values("SELECT FROM WHERE 'x'", "", SCHEMA) == []
