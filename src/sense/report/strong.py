"""What data sets of questions and SQL look like beside each other, for the page: size, variety, distance.

Whether two data sets are alike says nothing of which one is better to train on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from math import exp, lgamma
from statistics import median
from typing import Any

from sense.evaluation.aggregate import mean_with_interval
from sense.report.data_set import DataSet
from sense.report.near import near_in, near_within, runs
from sense.report.tables import HARDNESS_ORDER, in_order
from sense.report.weak import UNKNOWN, as_dict

PER = 1_000  # how many of a set are drawn to count how many differ; of all sets as many as the smallest has


def measure_sets(sets: Mapping[str, DataSet], *, against: Iterable[str]) -> dict[str, Any]:
    """Compute all that the page shows of data sets, as plain data.

    Args:
        sets: by name, at least one, in the order of the page.
        against: those of them that the others are held against.

    Returns:
        `draw`, how many are drawn of each; `sets`, each measured by itself; `against`, by the name of a set
        and then of the one it is held against.
    """
    against = list(against)
    questions = min(PER, *(len(each.questions) for each in sets.values()))
    words = min(sum(map(len, each.words)) for each in sets.values())
    return {
        "draw": {"questions": questions, "words": words},
        "sets": {name: _measure(each, questions=questions, words=words) for name, each in sets.items()},
        "against": {
            name: {other: _distance(each, sets[other]) for other in against}
            for name, each in sets.items()
            if name not in against and against
        },
    }


def expected_distinct(counts: Iterable[int], *, draw: int) -> float:
    """Say how many kinds are met on average in a draw of some items without putting back.

    Args:
        counts: how many items there are of each kind.
        draw: how many are drawn, at most all.

    Source: Hurlbert, The nonconcept of species diversity (1971).

    >>> round(expected_distinct([2, 1], draw=2), 6)
    1.666667
    """
    times = Counter(counts)
    total = sum(count * number for count, number in times.items())
    return sum(number * (1 - _none_drawn(total, count, draw)) for count, number in times.items())


def _none_drawn(total: int, count: int, draw: int) -> float:
    """Return the probability that a draw misses a kind: C(total - count, draw) / C(total, draw)."""
    if draw > total - count:
        return 0.0
    return exp(
        lgamma(total - count + 1)
        - lgamma(total - count - draw + 1)
        - lgamma(total + 1)
        + lgamma(total - draw + 1)
    )


def _measure(data: DataSet, *, questions: int, words: int) -> dict[str, Any]:
    vocabulary = Counter(word for each in data.words for word in each)
    levels = [query.hardness or UNKNOWN for query in data.queries]
    features = Counter(feature for query in data.queries for feature in query.features)
    asked = Counter(question.db_id for question in data.questions)
    schemas = data.schemas.values()
    return {
        "questions": len(data.questions),
        "databases": dict(asked.most_common()),
        "per_database": _spread(list(asked.values())),
        "tables": _spread([len(schema.tables) for schema in schemas]),
        "columns": _spread([sum(len(table.columns) for table in schema.tables) for schema in schemas]),
        "tables_used": _share(
            table.name in data.used_tables[db_id]
            for db_id, schema in data.schemas.items()
            for table in schema.tables
        ),
        "columns_used": _share(
            (table.name, column.name) in data.used_columns[db_id]
            for db_id, schema in data.schemas.items()
            for table in schema.tables
            for column in table.columns
        ),
        "question_words": _spread([len(each) for each in data.words]),
        "sql_tokens": _spread([query.tokens for query in data.queries]),
        "words": vocabulary.total(),
        "word_types": len(vocabulary),
        "types_per_word": expected_distinct(vocabulary.values(), draw=words) / words,
        "skeletons_per_1000": _per_1000((query.skeleton for query in data.queries), draw=questions),
        "templates_per_1000": _per_1000((query.template for query in data.queries), draw=questions),
        "hardness": {
            level: _share(each == level for each in levels) for level in in_order(levels, HARDNESS_ORDER)
        },
        "features": {
            feature: _share(feature in query.features for query in data.queries)
            for feature, _ in sorted(features.items(), key=lambda pair: (-pair[1], pair[0]))
        },
        "near_question": _share(near_within(_question_runs(data))),
        "near_skeleton": _share(near_within(_skeleton_runs(data))),
        "same_skeleton": _twice([query.skeleton for query in data.queries]),
        "same_template": _twice([query.template for query in data.queries]),
    }


def _distance(data: DataSet, other: DataSet) -> dict[str, Any]:
    known = {word for each in other.words for word in each}
    skeletons = {query.skeleton for query in other.queries}
    templates = {query.template for query in other.queries}
    own = {word for each in data.words for word in each}
    return {
        "new_word_types": _share(word not in known for word in own),
        "new_words": _share(word not in known for each in data.words for word in each),
        "databases": sorted(data.schemas.keys() & other.schemas.keys()),
        "near_question": _share(near_in(_question_runs(data), _question_runs(other))),
        "near_skeleton": _share(near_in(_skeleton_runs(data), _skeleton_runs(other))),
        "same_skeleton": _share(query.skeleton in skeletons for query in data.queries),
        "same_template": _share(query.template in templates for query in data.queries),
    }


def _question_runs(data: DataSet) -> list[frozenset[Hashable]]:
    return [runs(each) for each in data.words]


def _skeleton_runs(data: DataSet) -> list[frozenset[Hashable]]:
    known = {query.skeleton: runs(query.skeleton.lower().split()) for query in data.queries}
    return [known[query.skeleton] for query in data.queries]


def _per_1000(kinds: Iterable[str], *, draw: int) -> float:
    return PER * expected_distinct(Counter(kinds).values(), draw=draw) / draw


def _twice(kinds: Sequence[str]) -> dict[str, float] | None:
    times = Counter(kinds)
    return _share(times[kind] > 1 for kind in kinds)


def _share(values: Iterable[bool]) -> dict[str, float] | None:
    return as_dict(mean_with_interval([int(value) for value in values], seed=0))


def _spread(values: Sequence[int]) -> dict[str, float]:
    return {"low": min(values), "median": median(values), "high": max(values)}
