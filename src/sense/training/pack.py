"""Pack examples of one database behind one copy of its schema, and lay out the steps of a whole training.

A pack is one flat row: the schema's tokens, then the branches. The order of all packs
of all epochs is fixed by a seed before training starts, so a resumed training sees what an undisturbed one
would have seen.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sense.training.tokens import Branch, TokenizedExample


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """Examples that share a schema, and how much of an optimizer step they are.

    `denominator` is the number of items (SQL tokens for SFT, pairs for preferences) in the whole step, over
    all its packs: a sum over the pack divided by it adds up to the step's mean, however the step is packed.
    """

    examples: tuple[TokenizedExample, ...]
    denominator: int

    @property
    def schema(self) -> tuple[int, ...]:
        """The shared tokens."""
        return self.examples[0].schema

    @property
    def branches(self) -> list[Branch]:
        """All branches, example by example."""
        return [branch for example in self.examples for branch in example.branches]


def group(
    examples: Sequence[TokenizedExample], *, branches_per_pack: int, rng: random.Random
) -> Iterator[tuple[TokenizedExample, ...]]:
    """Split the examples of each schema into packs of at most `branches_per_pack` branches.

    Examples go to packs at random; the packs of one schema are of equal size, give or take one.
    """
    by_schema: dict[tuple[int, ...], list[TokenizedExample]] = defaultdict(list)
    for example in examples:
        by_schema[example.schema].append(example)
    for members in by_schema.values():
        members = rng.sample(members, len(members))
        per_pack = max(1, branches_per_pack // len(members[0].branches))
        count = -(-len(members) // per_pack)
        for i in range(count):
            yield tuple(members[i::count])


def plan_steps(
    examples: Sequence[TokenizedExample],
    *,
    epochs: int,
    branches_per_pack: int,
    packs_per_step: int,
    count_pairs: bool,
    seed: int,
) -> list[list[Pack]]:
    """Lay out every optimizer step as a list of packs, of several databases where there are several.

    Args:
        examples: what to learn; every epoch sees each once.
        epochs: how often.
        branches_per_pack: at most so many branches behind one copy of a schema.
        packs_per_step: packs of one optimizer step; the last step of an epoch may have fewer.
        count_pairs: whether a step's mean is over pairs (preferences) or over completion tokens (SFT).
        seed: of the order.
    """
    steps: list[list[Pack]] = []
    for epoch in range(epochs):
        rng = random.Random(f"{seed}/{epoch}")
        packs = list(group(examples, branches_per_pack=branches_per_pack, rng=rng))
        rng.shuffle(packs)
        for start in range(0, len(packs), packs_per_step):
            chosen = packs[start : start + packs_per_step]
            total = sum(_items(example, count_pairs) for pack in chosen for example in pack)
            steps.append([Pack(examples=pack, denominator=total) for pack in chosen])
    return steps


def _items(example: TokenizedExample, count_pairs: bool) -> int:
    return 1 if count_pairs else sum(len(branch.completion) for branch in example.branches)
