"""Find questions that nearly repeat an earlier one, in whatever database.

Exact: questions are short, so the pairs that can be similar at all are found through their rarest word
triples. MinHash would estimate the same number and miss some pairs.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

SAME_SHARE = 0.7  # from here on two questions count as one
_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Cut a text into words in lower case, without the marks between them."""
    return _WORD.findall(text.lower())


def grams(text: str, *, length: int) -> frozenset[tuple[str, ...]]:
    """Return all runs of so many words; none where the text is shorter.

    >>> sorted(grams("How many birds fly?", length=3))
    [('how', 'many', 'birds'), ('many', 'birds', 'fly')]
    """
    return _runs(words(text), length)


def _triples(text: str) -> frozenset[tuple[str, ...]]:
    return _runs(["", "", *words(text), "", ""], 3)


def _runs(found: Sequence[str], length: int) -> frozenset[tuple[str, ...]]:
    return frozenset(zip(*(found[start:] for start in range(length)), strict=False))


class SeenQuestions:
    """Questions taken so far, and which of them a new one resembles.

    Similar are two whose word triples agree to `SAME_SHARE`: those of both, by those of either (Jaccard).
    Each word is in three of them, the first and the last too.

    Source: Bayardo et al., Scaling up all pairs similarity search (2007), prefix filtering: with the triples
    in one order, similar sets have one in common among the first of each.
    """

    def __init__(self, questions: Iterable[str]) -> None:
        """Take all the questions that may come, to know which triples are rare."""
        counts = Counter(gram for question in questions for gram in _triples(question))
        self._rank = {gram: (count, gram) for gram, count in counts.items()}
        self._with_gram: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        self._taken: list[tuple[str, frozenset[tuple[str, ...]]]] = []

    def find(self, question: str) -> str | None:
        """Return the first one taken that the question resembles; None if there is none."""
        own = _triples(question)
        candidates = {number for gram in self._rarest(own) for number in self._with_gram[gram]}
        for number in sorted(candidates):
            text, other = self._taken[number]
            both = len(own & other)
            if both >= SAME_SHARE * (len(own) + len(other) - both):
                return text
        return None

    def take(self, question: str) -> None:
        """Remember a question."""
        own = _triples(question)
        for gram in self._rarest(own):
            self._with_gram[gram].append(len(self._taken))
        self._taken.append((question, own))

    def _rarest(self, own: frozenset[tuple[str, ...]]) -> list[tuple[str, ...]]:
        enough = len(own) - math.ceil(SAME_SHARE * len(own)) + 1
        return sorted(own, key=lambda gram: self._rank.get(gram, (0, gram)))[:enough]
