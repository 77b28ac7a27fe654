"""What a strong model is asked for when the domain of a database is fixed."""

from __future__ import annotations

import hashlib
from itertools import product
from typing import Any

from sense.prompts.databases import COLUMNS_TEXT, NAMING_TEXT, SHAPE_TEXT, database_in_domain_request
from sense.strong.seeds import Breadth, Naming, Shape

PLAN: dict[str, Any] = {
    "domain": "falcon breeding", "area": "animals", "region": "Wales", "db_id": "falcon_breeding",
    "tables": 5, "breadth": "small", "naming": "snake", "shapes": [], "main_rows": 37,
}  # fmt: skip


def request(**settings: Any) -> str:
    return database_in_domain_request(**PLAN | settings)[1].content


def test_every_part_of_a_plan_has_its_words() -> None:
    assert COLUMNS_TEXT.keys() == set(Breadth)
    assert NAMING_TEXT.keys() == set(Naming)
    assert SHAPE_TEXT.keys() == set(Shape)


def test_a_database_is_asked_for_with_what_the_plan_says() -> None:
    content = request(shapes=["self_reference"])
    for part in (
        "Domain: falcon breeding (area of life: animals)", "in Wales,", "Exactly 5 tables", "About 37 rows",
        '"db_id": "falcon_breeding"', "no more than 100 rows", "3 to 5 columns", "in snake_case",
        SHAPE_TEXT["self_reference"],
    ):  # fmt: skip
        assert part in content


def test_the_bound_on_rows_leaves_six_for_each_table() -> None:
    assert "no more than 80 rows" in request(breadth="medium", tables=3, main_rows=30)
    assert "no more than 84 rows" in request(breadth="medium", tables=8, main_rows=36)


def test_the_wording_is_the_one_that_the_released_replies_answer() -> None:
    """A request's id holds a hash of its text: one letter changed here, and replies paid for are lost."""
    asked = [
        request(breadth=breadth, naming=naming, shapes=[shape])
        for breadth, naming, shape in product(COLUMNS_TEXT, NAMING_TEXT, SHAPE_TEXT)
    ]
    assert hashlib.sha256("\0".join(asked).encode()).hexdigest()[:12] == "74de3cd9a310"
