"""Find what resembles the questions that a model will be measured by, so that it is not trained on them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sense.databases import spider
from sense.databases.skeleton import skeleton
from sense.errors import ConfigError
from sense.records import Question
from sense.strong.near_duplicates import grams, words

LONG_GRAM = 8  # words; one such run in common is too much
SHORT_GRAM = 4  # for questions too short for the above, or with a word changed in their middle
SHORT_SHARE = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """What an item resembles: a held-out question or query, and the file it is in."""

    file: Path
    found: str

    def __str__(self) -> str:
        """Say it as the reason of a dropped item."""
        return f"{self.file.name}: {self.found}"


class HeldOut:
    """The questions of some files, looked up by what they share with another."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Read question files of Spider's layout or BIRD's.

        Raises:
            ConfigError: two files answer to one name (`dev.json`, `dev.jsonl`).
            DataError: a file is missing or no list of questions.
        """
        self.questions: dict[Path, list[Question]] = {}
        self._long: dict[tuple[str, ...], Overlap] = {}
        self._short: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        self._by_number: list[Overlap] = []
        self._queries: dict[str, Overlap] = {}
        for path in files:
            if path.is_file() and spider.split_file(path.parent, path.stem) != path:
                raise ConfigError(
                    f"{path}: {path.stem}.json is there too; one of them must be called otherwise"
                )
            self.questions[path] = spider.load_questions(path.parent, path.stem)
            for question in self.questions[path]:
                self._add(path, question)

    def _add(self, path: Path, question: Question) -> None:
        asked = Overlap(file=path, found=question.question)
        for gram in grams(question.question, length=LONG_GRAM):
            self._long.setdefault(gram, asked)
        for gram in _short_runs(question.question):
            self._short[gram].append(len(self._by_number))
        self._by_number.append(asked)
        if question.gold_sql.strip():
            query = Overlap(file=path, found=question.gold_sql)
            self._queries.setdefault(skeleton(question.gold_sql), query)

    def like_question(self, question: str) -> Overlap | None:
        """Return a held-out question that has 8 words in a row in common, or 60 % of this one's 4-word runs.

        Source: any common n-gram, n at least 8: Brown et al., Language models are few-shot learners (2020),
        appendix C. Their n is up to 13, by the length of the benchmark's examples. The share of the shorter
        runs is Broder's containment (1997), the bound ours.
        """
        for gram in sorted(grams(question, length=LONG_GRAM)):
            if gram in self._long:
                return self._long[gram]
        own = _short_runs(question)
        common = Counter(number for gram in own for number in self._short.get(gram, ()))
        best = max(common, key=lambda number: (common[number], -number), default=None)
        return None if best is None or common[best] < SHORT_SHARE * len(own) else self._by_number[best]

    def like_query(self, sql_skeleton: str) -> Overlap | None:
        """Return a held-out query of this skeleton: the same tables and columns put together the same way."""
        return self._queries.get(sql_skeleton)

    def same_names(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Return, by file name, those of some names (of databases, of domains) that its databases have.

        Case, the marks between words, a plural's s and a number at the end do not count.
        """
        own = {_plain(name): name for name in names}
        return {
            path.name: found
            for path, questions in self.questions.items()
            if (found := sorted({own[key] for q in questions if (key := _plain(q.db_id)) in own}))
        }


def _short_runs(question: str) -> frozenset[tuple[str, ...]]:
    """Return the runs of 4 words; of a question that is shorter, the whole."""
    return grams(question, length=SHORT_GRAM) or frozenset([tuple(words(question))])


def _plain(name: str) -> str:
    """Reduce a name to its words.

    >>> _plain("Dog kennels") == _plain("dog_kennel_2")
    True
    """
    found = re.findall(r"[^\W\d_]+", name.lower())
    return " ".join(word.removesuffix("s") for word in found)
