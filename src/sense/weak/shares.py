"""Share the samples of questions among models by weight."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from fractions import Fraction


def share(
    weights: Mapping[str, float], *, questions: int, samples: int, seed: int
) -> Iterator[tuple[str, ...]]:
    """Yield, for each question, the model of each of its samples.

    Each sample goes to the model that is owed most so far, so after any number of questions each model has
    made its part, nearly; a model of small weight has its turn at some questions. `seed` decides between
    equals.

    >>> list(share({"a": 2, "b": 1}, questions=3, samples=2, seed=0))
    [('a', 'b'), ('a', 'a'), ('b', 'a')]

    Source: smooth weighted round-robin, as nginx balances servers (ngx_http_upstream_round_robin.c).
    """
    names = sorted(weights)
    random.Random(seed).shuffle(names)
    parts = {name: Fraction(weights[name]) for name in names}
    total = sum(parts.values())
    owed = dict.fromkeys(names, Fraction(0))
    for _ in range(questions):
        models: list[str] = []
        for _ in range(samples):
            for name in names:
                owed[name] += parts[name]
            chosen = max(names, key=lambda name: owed[name])
            owed[chosen] -= total
            models.append(chosen)
        yield tuple(models)
