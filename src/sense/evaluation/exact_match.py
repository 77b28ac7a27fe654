"""Spider's exact set match (EM): a prediction has the gold query's parts, in any order; values do not count.

It compares how queries are written, not what they return: one that returns the same can be wrong here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from sense.databases.schema import Schema
from sense.databases.spider_query import ColumnUnit, Compound, Conditions, Expression, Query, Selected, Value
from sense.databases.spider_sql import parse

EMPTY = Query()  # what a prediction that the grammar refuses is compared as


class Component(StrEnum):
    """The ten parts that are scored, by the names that the official script prints."""

    SELECT = "select"
    SELECT_NO_AGGREGATE = "select(no AGG)"
    WHERE = "where"
    WHERE_NO_OPERATOR = "where(no OP)"
    GROUP_NO_HAVING = "group(no Having)"
    GROUP = "group"
    ORDER = "order"
    AND_OR = "and/or"
    NESTED = "IUEN"
    KEYWORDS = "keywords"


class ComponentScore(NamedTuple):
    """The score of one part, 0 or 1, and how many units of it gold and prediction have."""

    accuracy: int
    recall: int
    f1: int
    gold_units: int
    predicted_units: int


class Match(NamedTuple):
    """Whether a prediction is an exact match, and in what parts."""

    exact: bool
    components: dict[Component, ComponentScore]


class MeanScore(NamedTuple):
    """The scores of one part over many questions."""

    accuracy: float
    recall: float
    f1: float


def exact_match(gold_sql: str, predicted_sql: str, *, schema: Schema) -> bool | None:
    """Tell whether a prediction is an exact match; None where the gold query cannot be parsed.

    >>> from sense.databases.schema import Column, Table
    >>> columns = tuple(Column(name=name, type="text") for name in ("name", "age"))
    >>> pets = Schema(db_id="pets", tables=(Table(name="pet", columns=columns),), foreign_keys=())
    >>> exact_match("SELECT name FROM pet WHERE age = 3", "select name from pet where age = 7", schema=pets)
    True
    >>> exact_match("SELECT name FROM pet WHERE age = 3", "SELECT name FROM pet WHERE age=3", schema=pets)
    False
    """
    match = match_components(gold_sql, predicted_sql, schema=schema)
    return None if match is None else match.exact


def match_components(gold_sql: str, predicted_sql: str, *, schema: Schema) -> Match | None:
    """Compare a prediction with the gold query part by part; None where the latter cannot be parsed.

    A prediction that cannot be parsed is compared as a query without parts.

    Source: taoyds/test-suite-sql-eval, evaluation.py, evaluate with --etype match. It fails on a gold query
        that it cannot parse, and on subqueries where it would have to sort or hash them; we compare these.
    """
    gold = parse(gold_sql, schema)
    if gold is None:
        return None
    # The official script puts 1 for each `value` of a prediction, even inside a name.
    predicted = parse(predicted_sql.replace("value", "1"), schema) or EMPTY
    common = _common_columns(schema)
    return _match(_comparable(gold, common), _comparable(predicted, common))


def mean_components(matches: Iterable[Match]) -> dict[Component, MeanScore]:
    """Average the scores of each part: accuracy over predictions that have it, recall over gold queries.

    F1 is that of the two averages, and 1 where both are 0.

    Source: taoyds/test-suite-sql-eval, evaluation.py, evaluate.
    """
    matches = list(matches)
    means: dict[Component, MeanScore] = {}
    for component in Component:
        scores = [match.components[component] for match in matches]
        accuracy = _mean([score.accuracy for score in scores if score.predicted_units])
        recall = _mean([score.recall for score in scores if score.gold_units])
        both = accuracy + recall
        means[component] = MeanScore(accuracy, recall, 2 * accuracy * recall / both if both else 1.0)
    return means


def _mean(scores: list[int]) -> float:
    return sum(scores) / len(scores) if scores else 0.0


def _common_columns(schema: Schema) -> dict[str, str]:
    """Name each column of a foreign key by the first in the schema of those it is tied to.

    Source: evaluation.py, build_foreign_key_map. A key that ties two groups joins the first; they stay apart.
    """
    columns = [f"{table.name}.{column.name}".lower() for table in schema.tables for column in table.columns]
    place = {column: at for at, column in enumerate(columns)}
    groups: list[set[str]] = []
    for key in schema.foreign_keys:
        ends = {f"{key.table}.{key.column}".lower(), f"{key.to_table}.{key.to_column}".lower()}
        group = next((group for group in groups if group & ends), None)
        if group is None:
            groups.append(ends)
        else:
            group |= ends
    return {column: min(group, key=place.__getitem__) for group in groups for column in group}


def _comparable(query: Query, common: Mapping[str, str]) -> Query:
    """Take values and DISTINCT out of a query and put common names for columns tied by foreign keys.

    Nested queries keep DISTINCT and their columns' names, derived tables all they have. What follows a set
    operator is renamed by the tables of the first query.

    Source: evaluation.py, rebuild_sql_val and rebuild_sql_col.
    """
    tables = {table for table in query.tables if isinstance(table, str)}
    names = {column: name for column, name in common.items() if column.split(".")[0] in tables}
    return _with_names(_without_values(query), names)


def _without_values(query: Query) -> Query:
    def blank(value: Value | None) -> Query | None:
        return _without_values(value) if isinstance(value, Query) else None

    def rebuild(conditions: Conditions) -> Conditions:
        return conditions._replace(
            comparisons=tuple(
                each._replace(value=blank(each.value), second=blank(each.second))
                for each in conditions.comparisons
            )
        )

    return query._replace(
        on=rebuild(query.on),
        where=rebuild(query.where),
        having=rebuild(query.having),
        compound=query.compound and Compound(query.compound.operator, _without_values(query.compound.query)),
    )


def _with_names(query: Query, names: Mapping[str, str]) -> Query:
    def unit(old: ColumnUnit) -> ColumnUnit:
        return ColumnUnit(old.aggregate, names.get(old.column, old.column), None)

    def expression(old: Expression) -> Expression:
        return Expression(old.operator, unit(old.left), old.right and unit(old.right))

    def conditions(old: Conditions) -> Conditions:
        comparisons = (each._replace(expression=expression(each.expression)) for each in old.comparisons)
        return old._replace(comparisons=tuple(comparisons))

    return query._replace(
        distinct=None,
        select=tuple(Selected(item.aggregate, expression(item.expression)) for item in query.select),
        on=conditions(query.on),
        where=conditions(query.where),
        group=tuple(unit(each) for each in query.group),
        having=conditions(query.having),
        order=query.order
        and query.order._replace(expressions=tuple(map(expression, query.order.expressions))),
        compound=query.compound
        and Compound(query.compound.operator, _with_names(query.compound.query, names)),
    )


def _match(gold: Query, predicted: Query) -> Match:
    components = {component: _score(count(gold, predicted)) for component, count in COMPONENTS.items()}
    same_tables = not gold.tables or Counter(gold.tables) == Counter(predicted.tables)
    return Match(same_tables and all(score.f1 for score in components.values()), components)


class _Counts(NamedTuple):
    gold: int
    predicted: int
    same: int


def _score(counts: _Counts) -> ComponentScore:
    score = int(counts.gold == counts.predicted == counts.same)
    return ComponentScore(score, score, score, counts.gold, counts.predicted)


def _overlap(gold: Iterable[Hashable], predicted: Iterable[Hashable]) -> _Counts:
    left, right = Counter(gold), Counter(predicted)
    return _Counts(left.total(), right.total(), (left & right).total())


def _count_select(gold: Query, predicted: Query) -> _Counts:
    return _overlap(gold.select, predicted.select)


def _count_select_no_aggregate(gold: Query, predicted: Query) -> _Counts:
    return _overlap(*((item.expression for item in query.select) for query in (gold, predicted)))


def _count_where(gold: Query, predicted: Query) -> _Counts:
    return _overlap(gold.where.comparisons, predicted.where.comparisons)


def _count_where_no_operator(gold: Query, predicted: Query) -> _Counts:
    return _overlap(*((each.expression for each in query.where.comparisons) for query in (gold, predicted)))


def _count_group_no_having(gold: Query, predicted: Query) -> _Counts:
    """Compare the columns by name, whatever their tables."""
    return _overlap(
        *(
            ((unit.column.split(".")[1:2] or [unit.column])[0] for unit in query.group)
            for query in (gold, predicted)
        )
    )


def _count_group(gold: Query, predicted: Query) -> _Counts:
    """Compare the columns, in their order, and HAVING; without GROUP BY there is nothing to compare."""
    same = [unit.column for unit in gold.group] == [unit.column for unit in predicted.group]
    both = bool(gold.group and predicted.group)
    return _Counts(bool(gold.group), bool(predicted.group), both and same and gold.having == predicted.having)


def _count_order(gold: Query, predicted: Query) -> _Counts:
    same = gold.order is not None and gold.order == predicted.order and gold.limited == predicted.limited
    return _Counts(gold.order is not None, predicted.order is not None, same)


def _count_and_or(gold: Query, predicted: Query) -> _Counts:
    """Compare which connectives WHERE has; where they differ, gold's number stands as the prediction's."""
    left, right = set(gold.where.between), set(predicted.where.between)
    return _Counts(1, 1, 1) if left == right else _Counts(len(right), len(left), 0)


def _count_nested(gold: Query, predicted: Query) -> _Counts:
    left, right = gold.compound, predicted.compound
    same = (
        left is not None
        and right is not None
        and left.operator == right.operator
        and _match(left.query, right.query).exact
    )
    return _Counts(left is not None, right is not None, same)


def _count_keywords(gold: Query, predicted: Query) -> _Counts:
    return _overlap(_keywords(gold), _keywords(predicted))


def _keywords(query: Query) -> set[str]:
    all_conditions = query.all_conditions()
    comparisons = [each for part in all_conditions for each in part.comparisons]
    present = {
        "where": query.where.comparisons,
        "group": query.group,
        "having": query.having.comparisons,
        "order": query.order,
        "limit": query.limited,
        "or": any("or" in part.between for part in all_conditions),
        "not": any(each.negated for each in comparisons),
        "in": any(each.operator == "in" for each in comparisons),
        "like": any(each.operator == "like" for each in comparisons),
    }
    found = {keyword for keyword, there in present.items() if there}
    if query.order:
        found.add(query.order.direction)
    if query.compound:
        found.add(query.compound.operator)
    return found


COMPONENTS: dict[Component, Callable[[Query, Query], _Counts]] = {
    Component.SELECT: _count_select,
    Component.SELECT_NO_AGGREGATE: _count_select_no_aggregate,
    Component.WHERE: _count_where,
    Component.WHERE_NO_OPERATOR: _count_where_no_operator,
    Component.GROUP_NO_HAVING: _count_group_no_having,
    Component.GROUP: _count_group,
    Component.ORDER: _count_order,
    Component.AND_OR: _count_and_or,
    Component.NESTED: _count_nested,
    Component.KEYWORDS: _count_keywords,
}
