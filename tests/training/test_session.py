"""What is too long is made to fit by rule, the same for all examples of a schema."""

from __future__ import annotations

from sense.llms.local import Loaded
from sense.llms.token_ids import token_ids
from sense.training.session import prune_long

SCHEMA = "database pets\n" + "".join(f"table {name} ( id number key )\n" for name in ("pet", "owner", "city"))
ROWS = [
    (str(n), f"{SCHEMA}question: How many?\nsql:", [f" SELECT COUNT(*) FROM {table}"])
    for n, table in enumerate(["pet", "city"])
]


def longest(rows: list[tuple[str, str, list[str]]], llama: Loaded) -> int:
    return max(len(token_ids(prompt + text, llama.tokenizer)) + 1 for _, prompt, (text,) in rows)


def test_what_is_short_enough_stays(llama: Loaded) -> None:
    assert prune_long(ROWS, llama.tokenizer, max_tokens=longest(ROWS, llama) + 5) == ROWS


def test_a_schema_that_is_too_long_loses_tables_that_no_query_uses(llama: Loaded) -> None:
    most = longest(ROWS, llama) - 5
    shorter = prune_long(ROWS, llama.tokenizer, max_tokens=most)
    without = SCHEMA.replace("table owner ( id number key )\n", "")
    assert [prompt for _, prompt, _ in shorter] == [f"{without}question: How many?\nsql:"] * 2
    assert longest(shorter, llama) <= most


def test_a_schema_that_cannot_be_made_to_fit_is_left_as_it_is(llama: Loaded) -> None:
    assert prune_long(ROWS, llama.tokenizer, max_tokens=30) == ROWS
