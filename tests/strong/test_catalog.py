"""The catalog of domains."""

from __future__ import annotations

import re

from sense.llms.batch_files import read_replies
from sense.prompts.extract import extract_json
from sense.strong.catalog import CATALOG

from .conftest import DEMO

DOMAINS = [domain for domains in CATALOG.values() for domain in domains]
# Spider's databases (train and dev) and BIRD's, by what they are about.
BENCHMARKS = """
academic aircraft airline allergy apartment architecture author bakery bank baseball battle beer bike_share
body_builder book candidate car chicago_crime cinema climbing club coffee college company concert craft_beer
customer debate debit_card decoration department device disney dog dorm driving_school election employee
entertainment entrepreneur film flight food_inspection football formula_1 gas_company genes government gymnast
hockey hospital hotel insurance journal language law legislator loan machine manufacturer menu mental_health
mountain movie museum music network news olympics orchestra party perpetrator pet phone pilot poker product
program_share protein race railway real_estate restaurant roller_coaster sale scholar school scientist ship
shop singer soccer software store storm student superhero swimming theme_park toxicology train_station tv_show
university video_game vocabulary voter wedding wine world workshop_paper wrestler
"""


def test_there_are_enough_domains_in_areas_of_like_size_and_none_twice() -> None:
    assert len(DOMAINS) >= 220
    assert len(CATALOG) >= 20
    assert {len(domains) for domains in CATALOG.values()} == {12}
    assert len(set(DOMAINS)) == len(DOMAINS)


def test_a_domain_makes_a_plain_name() -> None:
    assert [domain for domain in DOMAINS if not re.fullmatch(r"[a-z]+( [a-z]+)*", domain)] == []
    assert max(map(len, DOMAINS)) <= 50


def test_no_domain_is_that_of_a_benchmark() -> None:
    """Whole names; a word may be the same, as in `cargo bike couriers`."""
    names = {name.replace("_", " ") for name in BENCHMARKS.split()}
    assert [domain for domain in DOMAINS if domain in names or domain.removesuffix("s") in names] == []


def test_no_domain_is_one_of_the_demos() -> None:
    replies = read_replies([DEMO / "replies-1-databases.jsonl"])
    demo = {(extract_json(reply.text) or {})["db_id"] for reply in replies.values()}
    assert len(demo) == 8
    assert {domain.replace(" ", "_") for domain in DOMAINS}.isdisjoint(demo)
