"""Pack examples of one database behind one copy of its schema, and lay out the steps of a whole training.

A pack is one flat row: the schema's tokens, then the branches. The order of all packs of all epochs is fixed
by a seed before training starts, so a resumed training sees what an undisturbed one would have seen.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from sense.training.settings import DEFAULT_PACK_TOKENS
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

    @property
    def tokens(self) -> int:
        """Tokens of the flat row."""
        return len(self.schema) + sum(map(len, self.branches))


def group(
    examples: Sequence[TokenizedExample], *, branches_per_pack: int, pack_tokens: int, rng: random.Random
) -> Iterator[tuple[TokenizedExample, ...]]:
    """Split the examples of each schema into packs of so many branches and tokens at most.

    Examples go to packs at random; the packs of one schema are of equal size, give or take one. An example
    that is longer than `pack_tokens` is a pack of its own.
    """
    by_schema: dict[tuple[int, ...], list[TokenizedExample]] = defaultdict(list)
    for example in examples:
        by_schema[example.schema].append(example)
    for schema, members in by_schema.items():
        members = rng.sample(members, len(members))
        room = pack_tokens - len(schema)
        per_pack = max(1, branches_per_pack // len(members[0].branches))
        count = -(-len(members) // per_pack)
        while count < len(members) and max(_tokens(members[i::count]) for i in range(count)) > room:
            count += 1
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
    pack_tokens: int = DEFAULT_PACK_TOKENS,
) -> list[list[Pack]]:
    """Lay out every optimizer step as a list of packs, of several databases where there are several.

    Args:
        examples: what to learn; every epoch sees each once.
        epochs: how often.
        branches_per_pack: at most so many branches behind one copy of a schema.
        packs_per_step: packs of one optimizer step; the last step of an epoch may have fewer.
        count_pairs: whether a step's mean is over pairs (preferences) or over completion tokens (SFT).
        seed: of the order.
        pack_tokens: at most so many tokens in a pack, its schema among them.
    """
    steps: list[list[Pack]] = []
    for epoch in range(epochs):
        rng = random.Random(f"{seed}/{epoch}")
        packs = list(group(examples, branches_per_pack=branches_per_pack, pack_tokens=pack_tokens, rng=rng))
        rng.shuffle(packs)
        for start in range(0, len(packs), packs_per_step):
            chosen = packs[start : start + packs_per_step]
            total = sum(_items(example, count_pairs) for pack in chosen for example in pack)
            steps.append([Pack(examples=pack, denominator=total) for pack in chosen])
    return steps


def unpack(steps: Sequence[Sequence[Pack]]) -> list[list[Pack]]:
    """Give every example a row of its own: the same steps, at the price of a schema for each."""
    return [
        [replace(pack, examples=(example,)) for pack in step for example in pack.examples] for step in steps
    ]


def _tokens(examples: Iterable[TokenizedExample]) -> int:
    return sum(len(branch) for example in examples for branch in example.branches)


def _items(example: TokenizedExample, count_pairs: bool) -> int:
    return 1 if count_pairs else sum(len(branch.completion) for branch in example.branches)
