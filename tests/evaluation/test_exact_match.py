"""Exact set match and hardness, held against verdicts of the official script.

The pairs are in conformance/exact_match.jsonl, recorded by record_exact_match.py.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conformance.record_exact_match import PAIRS, entry

from sense.databases.schema import Schema, load_schema, schema_of_entry
from sense.databases.spider_query import spider_hardness
from sense.databases.spider_sql import MAX_NESTING, parse
from sense.evaluation.exact_match import (
    Component,
    ComponentScore,
    exact_match,
    match_components,
    mean_components,
)

CLINIC = schema_of_entry(entry())
RECORDED = [json.loads(line) for line in PAIRS.read_text(encoding="utf-8").split("\n") if line]

every_pair = pytest.mark.parametrize("pair", RECORDED, ids=lambda pair: pair["id"])


@every_pair
def test_verdict_is_the_official_one(pair: dict[str, Any]) -> None:
    match = match_components(pair["gold"], pair["predicted"], schema=CLINIC)
    if pair["hardness"] is None:  # the official script fails on the gold query
        assert match is None
    else:
        assert match is not None
        assert match.exact is bool(pair["official"])
    if pair["official"] is not None:
        assert match is not None
        assert [component for component, score in match.components.items() if not score.f1] == pair["unlike"]


@every_pair
def test_hardness_is_the_official_one(pair: dict[str, Any]) -> None:
    gold = parse(pair["gold"], CLINIC)
    assert (gold and spider_hardness(gold)) == pair["hardness"]


def test_the_pairs_cover_every_component_and_class() -> None:
    assert {name for pair in RECORDED for name in pair["unlike"] or ()} == set(Component)
    assert {pair["hardness"] for pair in RECORDED} == {"easy", "medium", "hard", "extra", None}
    assert len({pair["id"] for pair in RECORDED}) == len(RECORDED)


def test_a_gold_query_that_cannot_be_parsed_leaves_the_pair_unjudged() -> None:
    assert exact_match("SELECT name FROM pet p", "SELECT name FROM pet", schema=CLINIC) is None
    assert exact_match("SELECT name FROM pet", "SELECT name FROM pet p", schema=CLINIC) is False


def test_units_of_a_component_are_counted_on_both_sides() -> None:
    match = match_components(
        "SELECT name , age FROM pet WHERE age > 1 AND id = 2",
        "SELECT name FROM pet WHERE age > 1 OR id = 2",
        schema=CLINIC,
    )
    assert match is not None
    assert match.components[Component.SELECT] == ComponentScore(0, 0, 0, gold_units=2, predicted_units=1)
    assert match.components[Component.WHERE] == ComponentScore(1, 1, 1, gold_units=2, predicted_units=2)
    assert match.components[Component.KEYWORDS] == ComponentScore(0, 0, 0, gold_units=1, predicted_units=2)


def test_sides_of_and_or_are_swapped_where_they_differ() -> None:
    match = match_components(
        "SELECT name FROM pet WHERE age > 1 AND id = 2 OR id = 3", "SELECT name FROM pet", schema=CLINIC
    )
    assert match is not None
    assert match.components[Component.AND_OR] == ComponentScore(0, 0, 0, gold_units=0, predicted_units=2)


def test_the_order_of_derived_tables_does_not_count() -> None:
    one, two = "(SELECT name FROM pet)", "(SELECT age FROM pet)"
    gold = f"SELECT count(*) FROM {one} {two}"
    assert exact_match(gold, f"SELECT count(*) FROM {two} {one}", schema=CLINIC) is True
    assert exact_match(gold, f"SELECT count(*) FROM {one} {one}", schema=CLINIC) is False


def test_accuracy_is_over_predictions_and_recall_over_gold_queries() -> None:
    # WHERE: right, gold only, gold only, neither: of one predicted all are right, of three wanted one is.
    golds = ["SELECT name FROM pet WHERE age > 1"] * 3 + ["SELECT name FROM pet"]
    predictions = ["SELECT name FROM pet WHERE age > 2"] + ["SELECT name FROM pet"] * 3
    matches = [match_components(*pair, schema=CLINIC) for pair in zip(golds, predictions, strict=True)]
    means = mean_components(match for match in matches if match)
    assert means[Component.WHERE] == pytest.approx((1, 1 / 3, 1 / 2))
    assert means[Component.ORDER] == (0, 0, 1)
    assert means[Component.AND_OR] == (1, 1, 1)


def test_the_deepest_query_is_compared() -> None:
    nested = "SELECT name FROM pet WHERE id IN ( " * (MAX_NESTING - 1) + "SELECT name FROM pet"
    gold = nested + " )" * (MAX_NESTING - 1)
    assert exact_match(gold, gold, schema=CLINIC) is True
    unions = " UNION ".join(["SELECT name FROM pet"] * MAX_NESTING)
    assert exact_match(unions, unions, schema=CLINIC) is True
    assert exact_match(gold, f"{unions} UNION {gold}", schema=CLINIC) is False


@pytest.mark.benchmark
def test_spider_dev_has_the_official_totals() -> None:
    """Published predictions on Spider dev; the numbers are those of evaluation.py --etype match."""
    data = Path(os.environ["SENSE_DATA"])
    questions = json.loads((data / "spider" / "dev.json").read_text())
    schemas = {name: _schema(data / "spider", name) for name in {question["db_id"] for question in questions}}
    exact = {
        path.stem: sum(
            exact_match(question["query"], line.split("\t")[0], schema=schemas[question["db_id"]]) is True
            for question, line in zip(questions, path.read_text().splitlines(), strict=True)
        )
        for path in (data / "predictions" / "spider_dev").glob("*.sql")
    }
    golds = [parse(question["query"], schemas[question["db_id"]]) for question in questions]
    classes = Counter(gold and spider_hardness(gold) for gold in golds)
    assert exact == {
        "C3_SQL": 485, "CodeLlama-7B-7000": 540, "DINSQL": 621, "RESDSQL_3B": 807, "SuperSQL": 746
    }  # fmt: skip
    assert classes == {"easy": 248, "medium": 446, "hard": 174, "extra": 166}


def _schema(data: Path, name: str) -> Schema:
    return load_schema(data, name, data / "database" / name / f"{name}.sqlite")
