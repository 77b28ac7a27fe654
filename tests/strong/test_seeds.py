"""What is asked for, as data."""

from __future__ import annotations

import random

from sense.strong.seeds import AREAS, BANNED_DOMAINS, plan_databases


def test_no_area_stands_twice_or_is_banned() -> None:
    assert len(set(AREAS)) == len(AREAS)
    assert set(AREAS).isdisjoint(BANNED_DOMAINS)


def test_plans_are_of_different_areas_and_of_all_sizes() -> None:
    plans = plan_databases(8, rng=random.Random(0))
    assert len({plan.area for plan in plans}) == 8
    assert sorted(plan.tables for plan in plans) == [3, 3, 4, 4, 5, 5, 6, 6]
    assert all(34 <= plan.main_rows <= 44 for plan in plans)
    assert [plan.name for plan in plans][:2] == ["database-001", "database-002"]


def test_every_area_can_be_asked_for_at_once() -> None:
    assert {plan.area for plan in plan_databases(len(AREAS), rng=random.Random(0))} == set(AREAS)


def test_a_seed_gives_one_plan() -> None:
    assert plan_databases(8, rng=random.Random(3)) == plan_databases(8, rng=random.Random(3))
    assert plan_databases(8, rng=random.Random(3)) != plan_databases(8, rng=random.Random(4))
