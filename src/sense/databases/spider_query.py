"""The parts of a query that Spider's grammar (2018) knows, and Spider's hardness, a count of them."""

from __future__ import annotations

from typing import NamedTuple

from sense.databases.hardness import Hardness, classify

NONE = "none"  # no aggregate, no operator; the grammar takes the word itself for one, too


class ColumnUnit(NamedTuple):
    """A column as `table.column`, or `*`; `distinct` is None where it is not to be compared."""

    aggregate: str
    column: str
    distinct: bool | None


class Expression(NamedTuple):
    """A column, or two with an operator between them."""

    operator: str
    left: ColumnUnit
    right: ColumnUnit | None


class Comparison(NamedTuple):
    """A condition; a text has its quotes, only BETWEEN has a second value; None is not to be compared."""

    negated: bool
    operator: str
    expression: Expression
    value: Value | None
    second: Value | None


class Conditions(NamedTuple):
    """WHERE, HAVING or all ON: every second part, and what is between.

    That is AND or OR, or a condition where the grammar found none of them.
    """

    comparisons: tuple[Comparison, ...] = ()
    between: tuple[Comparison | str, ...] = ()


class Selected(NamedTuple):
    """A result column; `max(a)` has its aggregate here, `(max(a))` in the expression."""

    aggregate: str
    expression: Expression


class Order(NamedTuple):
    """ORDER BY; the last direction stands for all."""

    direction: str
    expressions: tuple[Expression, ...]


class Compound(NamedTuple):
    """UNION, INTERSECT or EXCEPT and all that follows it."""

    operator: str
    query: Query


class Query(NamedTuple):
    """A query; `tables` are names and derived tables. Of LIMIT only its presence is known."""

    distinct: bool | None = False
    select: tuple[Selected, ...] = ()
    tables: tuple[str | Query, ...] = ()
    on: Conditions = Conditions()
    where: Conditions = Conditions()
    group: tuple[ColumnUnit, ...] = ()
    having: Conditions = Conditions()
    order: Order | None = None
    limited: bool = False
    compound: Compound | None = None

    def all_conditions(self) -> tuple[Conditions, Conditions, Conditions]:
        """Return ON, WHERE and HAVING."""
        return self.on, self.where, self.having


Value = Query | ColumnUnit | float | str


def spider_hardness(query: Query) -> Hardness:
    """Class a query by Spider's counts.

    In a condition the sign of negation is taken for an aggregate, in HAVING each AND and OR too.

    Source: taoyds/test-suite-sql-eval, evaluation.py, Evaluator.eval_hardness.
    """
    comparisons = [each for conditions in query.all_conditions() for each in conditions.comparisons]
    between = [each for conditions in query.all_conditions() for each in conditions.between]
    where, having = query.where, query.having
    ordered = query.order.expressions if query.order else ()
    clauses = (
        bool(where.comparisons) + bool(query.group) + bool(query.order) + query.limited
        + len(query.tables) - 1
        + between.count("or")
        + sum(each.operator == "like" for each in comparisons)
    )  # fmt: skip
    values = [value for each in comparisons for value in (each.value, each.second)]
    aggregates = (
        sum(item.aggregate != NONE for item in query.select)
        + sum(unit.aggregate != NONE for unit in query.group)
        + sum(unit.aggregate != NONE for each in ordered for unit in each[1:] if unit)
        + sum(each.negated for each in (*where.comparisons, *having.comparisons))
        + sum(isinstance(each, str) or each.negated for each in having.between)
    )
    in_where = len(where.comparisons) + len(where.between)
    return classify(
        clauses=clauses,
        nested=sum(isinstance(value, Query) for value in values) + bool(query.compound),
        others=sum(count > 1 for count in (aggregates, len(query.select), in_where, len(query.group))),
    )
