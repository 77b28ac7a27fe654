"""Spider's execution accuracy, held against recorded verdicts of the official script, option by option.

What is recorded, and how, says conformance/record_spider_execution.py.
"""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conformance.spider_databases import DATABASES, build

from sense.execution.compare import same_up_to_columns
from sense.execution.outcome import Match, Row, Rows
from sense.execution.plug_value import cut_out_values, plugged
from sense.execution.pool import CompareJob, compare_queries
from sense.execution.rules import Rule
from sense.execution.run import Limits

CONFORMANCE = Path(__file__).parents[1] / "conformance"
OPTIONS = {
    "default": Rule.SPIDER,
    "keep_distinct": Rule.SPIDER_KEEP_DISTINCT,
    "plug_value": Rule.SPIDER_PLUG_VALUE,
}
UNSCORED = "unscored"  # the gold query fails: the official script crashes there, and no pair gets a verdict


class Difference(NamedTuple):
    """Where we mean to differ: why, what we say, on which pairs, under which options."""

    reason: str
    ours: int | str
    pairs: tuple[str, ...]
    options: tuple[str, ...] = tuple(OPTIONS)


DIFFERENCES = (
    Difference(
        "a candidate may only read; there it is run, and its empty result is as good as any empty one",
        0,
        (
            "write-delete-from-teacher",
            "write-update-teacher-set-name-x",
            "write-insert-into-teacher-values-13-new-arts-2000",
            "write-drop-table-teacher",
            "write-create-table-other-a",
            "write-create-temp-table-other-a",
            "write-alter-table-teacher-rename-to-other",
            "write-vacuum",
            "write-begin",
            "write-attach-other-sqlite-as-other",
            "write-reindex",
            "write-analyze",
            "write-savepoint-s",
            "write-create-view-v-as-select-1",
            "write-with-x-as-select-1-delete-from-teacher",
            "write-replace-into-teacher-values-10-kim-math-1970",
            "write-vacuum-into-copy-sqlite",
            "write-delete-from-teacher-returning-id",
            "write-update-teacher-set-id-id-returning-id",
            "write-with-x-as-select-1-delete-from-teacher-retur",
        ),
    ),
    Difference(
        "as above: with the gold query's 0 for its 10 it deletes nothing",
        0,
        ("write-delete-from-teacher-where-id-10-returning-id",),
        ("plug_value",),
    ),
    Difference(
        "as above: there the table is gone when the gold query is run again, for the next candidate",
        0,
        ("write-drop-table-teacher-again", "plug-drop-table"),
        ("plug_value",),
    ),
    Difference(
        "PRAGMA is refused, as a statement and as a table: some write",
        0,
        (
            "write-pragma-user-version-3",
            "write-pragma-table-info-missing",
            "write-pragma-user-version-again",
            "write-pragma-foreign-keys",
            "write-select-user-version-from-pragma-user-version",
            "write-select-cid-10-from-pragma-table-info-teacher",
        ),
    ),
    Difference(
        "a gold query may only read either",
        UNSCORED,
        ("write-gold-only", "write-both"),
    ),
    Difference(
        "a candidate without a statement has no result; there it has an empty one, or is the end of the run",
        0,
        (
            "text-nothing",
            "text-blank",
            "text-line-end",
            "text-semicolon",
            "text-spaced-semicolon",
            "text-comment",
            "text-block-comment",
            "text-empty-comment",
        ),
    ),
    Difference(
        "as above: the first statement is empty",
        0,
        ("text-semicolon-first",),
        ("plug_value",),
    ),
    Difference(
        "the first statement ends at its semicolon; to sqlparse a name `begin` opens a block that hides it",
        1,
        ("text-named-begin",),
        ("default", "plug_value"),
    ),
    Difference(
        "`GO` is a name; to sqlparse it ends the statement",
        0,
        ("text-named-go",),
        ("default", "plug_value"),
    ),
)


def read(name: str) -> list[Any]:
    # Not splitlines(): line ends of Unicode's may stand in a string.
    return [json.loads(line) for line in (CONFORMANCE / name).read_text(encoding="utf-8").split("\n") if line]


PAIRS = read("spider_execution.jsonl")


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, ...]]:
    folder = tmp_path_factory.mktemp("databases")
    return {name: build(folder, name) for name in DATABASES}


@pytest.mark.parametrize("option", OPTIONS)
def test_every_verdict_is_the_official_one_or_a_listed_difference(
    option: str, databases: dict[str, tuple[Path, ...]]
) -> None:
    jobs = [
        CompareJob(databases[pair["db"]], pair["gold"], pair["predicted"], OPTIONS[option]) for pair in PAIRS
    ]
    found = [found.match for found in compare_queries(jobs, limits=Limits(), workers=1)]
    assert Match.WORKER_DIED not in found
    ours = [UNSCORED if match is Match.GOLD_FAILED else int(match is Match.SAME) for match in found]
    official = [UNSCORED if pair[option] == "crash" else pair[option] for pair in PAIRS]
    differing = {
        pair["id"]: mine for pair, mine, theirs in zip(PAIRS, ours, official, strict=True) if mine != theirs
    }
    assert differing == {
        pair: listed.ours for listed in DIFFERENCES if option in listed.options for pair in listed.pairs
    }


def test_the_pairs_are_many_and_told_apart() -> None:
    assert len({pair["id"] for pair in PAIRS}) == len(PAIRS) >= 320
    for option in OPTIONS:
        assert {0, 1, "crash"} == {pair[option] for pair in PAIRS}


@pytest.mark.parametrize(
    "case", read("result_eq.jsonl"), ids=lambda case: "ordered" if case["ordered"] else "bag"
)
def test_results_are_compared_as_by_the_official_script(case: dict[str, Any]) -> None:
    gold, candidate = rows(case["gold"]), rows(case["candidate"])
    assert same_up_to_columns(gold, candidate, ordered=case["ordered"]) is case["same"]


def rows(table: list[list[Any]]) -> Rows:
    decoded: list[Row] = [
        tuple(bytes.fromhex(v["hex"]) if isinstance(v, dict) else v for v in row) for row in table
    ]
    return Rows(len(table[0]), tuple(decoded))


# Recorded from parse.py, extract_query_values; `_` stands for a slot here.
@pytest.mark.parametrize(
    ("sql", "words", "values"),
    [
        pytest.param("SELECT a FROM t WHERE b > 5", "select a from t where b > _", {"5"}, id="number"),
        pytest.param("SELECT a FROM t WHERE b>=-5", "select a from t where b >= _", {"-5"}, id="negative"),
        pytest.param("SELECT a-5 FROM t", "select a _ from t", {"-5"}, id="minus-as-sign"),
        pytest.param("SELECT a - 5 FROM t", "select a - _ from t", {"5"}, id="minus-alone"),
        pytest.param("SELECT a FROM t WHERE b = +5", "select a from t where b = + _", {"5"}, id="plus"),
        pytest.param("SELECT a FROM t WHERE b = .5", "select a from t where b = _", {".5"}, id="fraction"),
        pytest.param("SELECT a FROM t WHERE b = 5.", "select a from t where b = 5.", set(), id="no-fraction"),
        pytest.param("SELECT a FROM t WHERE b = 1e5", "select a from t where b = 1e5", set(), id="exponent"),
        pytest.param("SELECT 'It''s B'", "select _", {"'It''s B'"}, id="string"),
        pytest.param(r"SELECT 'O\'Hare'", "select _", {r"'O\'Hare'"}, id="backslash"),
        pytest.param('SELECT "A b" FROM t', "select _ from t", {'"A b"'}, id="double-quotes"),
        pytest.param("SELECT `A  b`, [C  d] FROM t", "select `a b` , [c d] from t", set(), id="other-quotes"),
        pytest.param("SELECT x'41'", "select x _", {"'41'"}, id="blob"),
        pytest.param("SELECT c1, T1 FROM t", "select _ , t1 from t", {"c1"}, id="letter-and-digits"),
        pytest.param("SELECT T1.A FROM t AS T1", "select t1 . a from t as t1", set(), id="alias"),
        pytest.param("SELECT t1.*, T4.* FROM t", "select t1 . * , t4 . * from t", set(), id="star"),
        pytest.param("SELECT 'T1.*', 'T2. x'", "select _ , _", {"'*'", "'T2.x'"}, id="alias-in-a-string"),
        pytest.param("SELECT 'a;b\tc';", "select _", {"'abc'"}, id="semicolon-and-tab"),
        pytest.param("SELECT a -- It is 5\nFROM t", "select a -- it is _ from t", {"5"}, id="comment"),
        pytest.param("SELECT 2020-01-01", "select _ _ _", {"2020", "-01"}, id="bare-date"),
    ],
)
def test_values_are_cut_out_as_by_the_official_script(sql: str, words: str, values: set[str]) -> None:
    found = cut_out_values(sql)
    assert " ".join(found.words).replace("valuerare", "_") == words
    assert set(found.values) == values


def test_gold_values_are_put_into_slots_in_all_ways_and_one_at_a_time() -> None:
    gold = "SELECT a FROM t WHERE b = 'X' AND c = 7"
    assert list(plugged(gold, "SELECT A FROM t WHERE b = 'y' LIMIT 1")) == [
        "SELECT A FROM t WHERE b = 'y' LIMIT 1",
        "select a from t where b = 'X' limit 'X'",
        "select a from t where b = 'X' limit 7",
        "select a from t where b = 7 limit 'X'",
        "select a from t where b = 7 limit 7",
    ]
    assert list(plugged("SELECT a FROM t", "SELECT a FROM t LIMIT 1")) == ["SELECT a FROM t LIMIT 1"]
    assert len(list(islice(plugged(gold, f"SELECT {', '.join('1' * 400)}"), 100))) == 100
