"""What databases are asked for, as data."""

from __future__ import annotations

import random
from collections import Counter

from sense.strong.catalog import CATALOG
from sense.strong.seeds import AREAS, BANNED_DOMAINS, DOMAINS, Breadth, Shape, plan_areas, plan_catalog


def test_no_area_stands_twice_or_is_banned() -> None:
    assert len(set(AREAS)) == len(AREAS)
    assert set(AREAS).isdisjoint(BANNED_DOMAINS)
    assert {domain for domains in CATALOG.values() for domain in domains}.isdisjoint(BANNED_DOMAINS)


def test_plans_are_of_different_areas_and_of_all_sizes() -> None:
    plans = plan_areas(8, rng=random.Random(0))
    assert len({plan.area for plan in plans}) == 8
    assert sorted(plan.tables for plan in plans) == [3, 3, 4, 4, 5, 5, 6, 6]
    assert all(34 <= plan.main_rows <= 44 for plan in plans)
    assert [plan.name for plan in plans][:2] == ["database-001", "database-002"]


def test_every_area_can_be_asked_for_at_once() -> None:
    assert {plan.area for plan in plan_areas(len(AREAS), rng=random.Random(0))} == set(AREAS)


def test_a_seed_gives_one_plan() -> None:
    assert plan_areas(8, rng=random.Random(3)) == plan_areas(8, rng=random.Random(3))
    assert plan_areas(8, rng=random.Random(3)) != plan_areas(8, rng=random.Random(4))
    assert plan_catalog(8, seed=3) != plan_catalog(8, seed=4)


def test_a_plan_does_not_depend_on_how_many_are_asked_for() -> None:
    assert plan_catalog(5, seed=1) == plan_catalog(130, seed=1)[:5]


def test_the_whole_catalog_can_be_asked_for_each_domain_once() -> None:
    plans = plan_catalog(DOMAINS, seed=0)
    assert len({plan.db_id for plan in plans}) == len(plans) == DOMAINS


def test_the_areas_come_in_turn() -> None:
    plans = plan_catalog(2 * len(CATALOG), seed=0)
    assert set(Counter(plan.area for plan in plans).values()) == {2}
    assert len({plan.area for plan in plans[: len(CATALOG)]}) == len(CATALOG)


def test_databases_are_of_all_sizes_breadths_and_shapes() -> None:
    plans = plan_catalog(60, seed=0)
    assert {plan.tables for plan in plans} == {3, 4, 5, 6, 7, 8}
    assert {plan.breadth for plan in plans} == set(Breadth)
    assert {shape for plan in plans for shape in plan.shapes} == set(Shape)
    assert all(24 <= plan.main_rows <= 40 for plan in plans)
