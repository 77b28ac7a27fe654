"""Which items of a data set have a near neighbor, in the set itself or in another; exact, not estimated."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from math import floor

NEAR_SHARE = 0.5  # more than this of the runs of both and either, and two items are neighbors
RUN = 3

Runs = frozenset[Hashable]


def runs(tokens: Sequence[str]) -> Runs:
    """Return all runs of 3 tokens, the ends of the text being tokens too.

    >>> len(runs(["how", "many", "birds"]))
    5
    """
    padded = ["", "", *tokens, "", ""]
    return frozenset(zip(*(padded[start:] for start in range(RUN)), strict=False))


def jaccard(one: Runs, other: Runs) -> float:
    """Return how many runs are in both, as a share of those in either."""
    both = len(one & other)
    return both / (len(one) + len(other) - both)


def near_within(items: Sequence[Runs]) -> list[bool]:
    """Say of each item whether another one of the set is near; what comes twice is near itself."""
    times = Counter(items)
    index = _Index(times, ranked=_ranks(times))
    near = {item: count > 1 or index.has_near(item, but=item) for item, count in times.items()}
    return [near[item] for item in items]


def near_in(items: Sequence[Runs], others: Iterable[Runs]) -> list[bool]:
    """Say of each item whether one of another set is near."""
    distinct, distinct_others = set(items), set(others)
    index = _Index(distinct_others, ranked=_ranks([*distinct, *distinct_others]))
    near = {item: index.has_near(item) for item in distinct}
    return [near[item] for item in items]


class _Index:
    """Finds near items through the rarest runs, of which two near ones have one in common.

    Source: Bayardo et al., Scaling up all pairs similarity search (2007), prefix filtering.
    """

    def __init__(self, items: Iterable[Runs], *, ranked: dict[Hashable, int]) -> None:
        self._ranked = ranked
        self._with_run: defaultdict[Hashable, list[Runs]] = defaultdict(list)
        for item in items:
            for run in self._rarest(item):
                self._with_run[run].append(item)

    def has_near(self, item: Runs, *, but: Runs | None = None) -> bool:
        seen: set[int] = set()
        for run in self._rarest(item):
            for other in self._with_run.get(run, ()):
                if id(other) not in seen and other != but and jaccard(item, other) > NEAR_SHARE:
                    return True
                seen.add(id(other))
        return False

    def _rarest(self, item: Runs) -> list[Hashable]:
        enough = len(item) - floor(NEAR_SHARE * len(item))
        return sorted(item, key=self._ranked.__getitem__)[:enough]


def _ranks(items: Iterable[Runs]) -> dict[Hashable, int]:
    """Number the runs from the rarest on; where two are as rare any order does, if it is one for all."""
    counts = Counter(run for item in items for run in item)
    return {run: rank for rank, (run, _) in enumerate(sorted(counts.items(), key=lambda pair: pair[1]))}
