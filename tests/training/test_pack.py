"""Packs: what is in them, and in which order."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sense.training.pack import Pack, plan_steps, unpack
from sense.training.tokens import Branch, TokenizedExample


def example(name: str, schema: int, *, tokens: int = 1, sides: int = 1) -> TokenizedExample:
    branch = Branch(id=name, prompt=(1,), completion=(2,) * tokens)
    return TokenizedExample(id=name, schema=(schema,) * 3, branches=(branch,) * sides)


def plan(examples: list[TokenizedExample], **settings: Any) -> list[list[Pack]]:
    settings = {
        "epochs": 1,
        "branches_per_pack": 4,
        "packs_per_step": 2,
        "count_pairs": False,
        "seed": 0,
    } | settings
    return plan_steps(examples, **settings)


def ids(steps: list[list[Pack]]) -> list[str]:
    return [example.id for step in steps for pack in step for example in pack.examples]


SOME = [example(str(n), n % 3, tokens=n % 5 + 1) for n in range(23)]
many = st.lists(st.integers(0, 4), min_size=1, max_size=40).map(
    lambda schemas: [example(str(n), schema, tokens=n % 7 + 1) for n, schema in enumerate(schemas)]
)


@given(
    examples=many,
    epochs=st.integers(1, 3),
    branches=st.integers(1, 9),
    packs=st.integers(1, 5),
    seed=st.integers(),
)
def test_every_example_comes_once_an_epoch(
    examples: list[TokenizedExample], epochs: int, branches: int, packs: int, seed: int
) -> None:
    steps = plan(examples, epochs=epochs, branches_per_pack=branches, packs_per_step=packs, seed=seed)
    seen = ids(steps)
    for epoch in range(epochs):
        part = seen[epoch * len(examples) : (epoch + 1) * len(examples)]
        assert sorted(part) == sorted(e.id for e in examples)


@given(examples=many, branches=st.integers(1, 9))
def test_a_pack_has_one_schema_and_its_size_is_bounded(
    examples: list[TokenizedExample], branches: int
) -> None:
    for pack in itertools.chain(*plan(examples, branches_per_pack=branches)):
        assert {e.schema for e in pack.examples} == {pack.schema}
        assert 1 <= len(pack.branches) <= branches


def test_packs_of_a_schema_are_of_equal_size() -> None:
    steps = plan([example(str(n), 0) for n in range(9)], branches_per_pack=4)
    # 9 examples, 4 at most: three packs of three, not 4 + 4 + 1
    assert sorted(len(pack.examples) for step in steps for pack in step) == [3, 3, 3]


def test_both_sides_of_a_pair_share_a_pack() -> None:
    steps = plan([example(str(n), 0, sides=2) for n in range(5)], branches_per_pack=4, count_pairs=True)
    assert max(len(pack.branches) for step in steps for pack in step) == 4
    assert Counter(ids(steps)) == Counter(str(n) for n in range(5))


def test_a_pair_that_is_larger_than_a_pack_has_one_to_itself() -> None:
    steps = plan([example("a", 0, sides=2), example("b", 0, sides=2)], branches_per_pack=1)
    assert [len(pack.branches) for step in steps for pack in step] == [2, 2]


@given(examples=many, packs=st.integers(1, 5))
def test_denominators_count_the_completion_tokens_of_the_step(
    examples: list[TokenizedExample], packs: int
) -> None:
    for step in plan(examples, packs_per_step=packs):
        tokens = sum(len(branch.completion) for pack in step for branch in pack.branches)
        assert {pack.denominator for pack in step} == {tokens}


def test_denominators_of_preferences_count_pairs() -> None:
    for step in plan([example(str(n), n % 2, tokens=9, sides=2) for n in range(6)], count_pairs=True):
        assert {pack.denominator for pack in step} == {sum(len(pack.examples) for pack in step)}


@pytest.mark.parametrize(("setting", "value"), [("seed", 0), ("seed", 7), ("epochs", 3)])
def test_the_order_is_settled_by_the_seed(setting: str, value: int) -> None:
    assert plan(SOME, **{setting: value}) == plan(SOME, **{setting: value})


def test_another_seed_is_another_order() -> None:
    assert ids(plan(SOME, seed=0)) != ids(plan(SOME, seed=1))


def test_every_epoch_has_its_own_order() -> None:
    seen = ids(plan(SOME, epochs=2))
    assert seen[: len(SOME)] != seen[len(SOME) :]


def test_more_epochs_begin_with_those_of_fewer() -> None:
    assert plan(SOME, epochs=3)[: len(plan(SOME))] == plan(SOME)


@given(examples=many, tokens=st.integers(1, 40))
def test_no_pack_has_more_tokens_than_allowed_unless_one_example_has(
    examples: list[TokenizedExample], tokens: int
) -> None:
    packs = [pack for step in plan(examples, pack_tokens=tokens, branches_per_pack=99) for pack in step]
    assert all(pack.tokens <= tokens or len(pack.examples) == 1 for pack in packs)
    assert sum(len(pack.examples) for pack in packs) == len(examples)


def test_unpacked_steps_have_the_same_examples_and_weights() -> None:
    packed = plan(SOME)
    rows = unpack(packed)
    assert [[e.id for pack in step for e in pack.examples] for step in rows] == [
        [e.id for pack in step for e in pack.examples] for step in packed
    ]
    assert all(len(pack.examples) == 1 for step in rows for pack in step)
    assert [step[0].denominator for step in rows] == [step[0].denominator for step in packed]
