"""Strategies of pairing: what is taken first, and how pairs are shared out. Queries and costs by hand."""

import random
from collections import Counter

import pytest

from sense.records import Label, Verdict
from sense.weak.strategies import STRATEGIES, Choice, Kind, Query, kind_of, ranked, take_turns
from sense.weak.syntax import canonical

RIGHT = "SELECT name FROM pet WHERE age > 3"
ONE_VALUE = "SELECT name FROM pet WHERE age > 4"
NO_CONDITION = "SELECT name FROM pet"
OTHER_QUERY = "SELECT count(*) FROM cat GROUP BY color"


def query(sql: str, *, liking: float = -1.0, kind: Kind | None = None) -> Query:
    return Query(sql=sql, form=canonical(sql), liking=liking, kind=kind)


def first(strategy: str, choices: list[Choice], *, match_length: bool = False, seed: int = 0) -> Choice:
    rng = random.Random(seed)
    return ranked(choices, STRATEGIES[strategy], match_length=match_length, rng=rng)[0]


@pytest.mark.parametrize(("strategy", "expected"), [("nearest", ONE_VALUE), ("farthest", OTHER_QUERY)])
def test_distance_of_the_syntax_trees_decides(strategy: str, expected: str) -> None:
    choices = [Choice(query(RIGHT), query(sql)) for sql in (NO_CONDITION, OTHER_QUERY, ONE_VALUE)]
    assert first(strategy, choices).rejected.sql == expected


def test_hardest_is_what_the_model_likes_most_on_both_sides() -> None:
    rights = [query(f"SELECT {n}", liking=-n) for n in (3.0, 1.0, 2.0)]
    wrongs = [query(f"SELECT '{n}'", liking=-n) for n in (9.0, 7.0, 8.0)]
    hardest = first("hardest", [Choice(a, b) for a in rights for b in wrongs])
    assert (hardest.chosen.liking, hardest.rejected.liking) == (-1.0, -7.0)


def test_length_decides_between_equally_good_choices_only() -> None:
    wrongs = [query("SELECT 1"), query(RIGHT.replace("age", "nme")), query(f"{RIGHT} ORDER BY name")]
    choices = [Choice(query(RIGHT), wrong) for wrong in wrongs]
    assert {first("any", choices, match_length=True, seed=n).rejected.sql for n in range(9)} == {
        wrongs[1].sql
    }
    assert len({first("any", choices, seed=n).rejected.sql for n in range(30)}) == 3
    assert first("farthest", choices, match_length=True).rejected.sql == "SELECT 1"


def kinds_taken(
    questions: list[list[Kind]], strategy: str, *, per_question: int = 1, per_database: int = 0
) -> Counter[Kind | None]:
    choices = [
        [Choice(query("SELECT 0"), query(f"SELECT {n}", kind=kind)) for n, kind in enumerate(kinds, start=1)]
        for kinds in questions
    ]
    taken = take_turns(
        [("pets", each) for each in choices],
        STRATEGIES[strategy],
        per_question=per_question,
        per_database=per_database,
        rng=random.Random(0),
    )
    return Counter(choice.rejected.kind for each in taken for choice in each)


def test_kinds_have_equal_shares_as_far_as_there_are() -> None:
    wrong, syntax, timeout = Kind.WRONG_RESULT, Kind.SYNTAX, Kind.TIMEOUT
    # Two questions could give a timeout, the others only what is frequent; no question loses its pair.
    questions = [[wrong, syntax]] * 8 + [[wrong, syntax, timeout]] * 2
    assert kinds_taken(questions, "balanced") == {wrong: 4, syntax: 4, timeout: 2}
    assert kinds_taken([[wrong]] * 3 + [[wrong, syntax]] * 3, "balanced") == {wrong: 3, syntax: 3}
    assert kinds_taken([[wrong] * 9 + [syntax]] * 9, "balanced", per_database=6) == {wrong: 3, syntax: 3}


def test_every_question_has_a_turn_before_any_has_two() -> None:
    many = [[Kind.WRONG_RESULT] * 4] * 3
    choices = [[Choice(query("SELECT 0"), query(f"SELECT {n}")) for n in range(1, 5)] for _ in many]
    for seed in range(9):
        taken = take_turns(
            [("pets", each) for each in choices],
            STRATEGIES["any"],
            per_question=4,
            per_database=5,
            rng=random.Random(seed),
        )
        assert sorted(map(len, taken)) == [1, 2, 2]


@pytest.mark.parametrize(
    ("label", "reason", "kind"),
    [
        pytest.param(Label.WRONG, "1 row of 1 column as in gold", Kind.WRONG_RESULT, id="result"),
        pytest.param(Label.ERROR, "no such column: nme", Kind.NO_SUCH_COLUMN, id="column"),
        pytest.param(Label.ERROR, "no such table: pets", Kind.NO_SUCH_TABLE, id="table"),
        pytest.param(Label.ERROR, 'near "FORM": syntax error', Kind.SYNTAX, id="syntax"),
        pytest.param(Label.ERROR, "incomplete input", Kind.SYNTAX, id="cut"),
        pytest.param(Label.ERROR, 'unrecognized token: "#"', Kind.SYNTAX, id="token"),
        pytest.param(Label.ERROR, "there is no statement", Kind.SYNTAX, id="nothing"),
        pytest.param(Label.ERROR, "ambiguous column name: id", Kind.OTHER_ERROR, id="ambiguous"),
        pytest.param(Label.TIMEOUT, "stopped after 10 s", Kind.TIMEOUT, id="timeout"),
        pytest.param(Label.REFUSED, "only reading is allowed, not DELETE", Kind.REFUSED, id="refused"),
        pytest.param(Label.RIGHT, "", None, id="right"),
        pytest.param(Label.UNJUDGED, "gold query: no such column: x", None, id="unjudged"),
    ],
)
def test_kind_of_error_is_told_by_how_the_query_ended(label: Label, reason: str, kind: Kind | None) -> None:
    verdict = Verdict(
        candidate_id="c", question_id=0, db_id="pets", sql="", logprob=None, label=label, reason=reason
    )
    assert kind_of(verdict) is kind
