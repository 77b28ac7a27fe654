"""The parts that a query is made of, as they are compared: without aliases, case and order of terms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Union

SUBQUERY = "subquery"  # the name of what is no table of the database, but a query in brackets or in WITH


class Condition(NamedTuple):
    """One term of WHERE or HAVING; `query` is the subquery in it, `members` are the sides of an OR."""

    subject: str
    operator: str = ""
    value: str = ""
    query: Query | None = None
    members: tuple[Condition, ...] = ()

    def __str__(self) -> str:
        """Write it as in SQL."""
        return " ".join(part for part in (self.subject, self.operator, self.value) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """One SELECT. What stands in any order is sorted; `inner` are the subqueries outside of conditions."""

    tables: tuple[str, ...]
    outer_joins: tuple[str, ...]
    equalities: tuple[tuple[str, str], ...]  # of columns of two tables, in ON or WHERE
    has_natural_join: bool
    columns: tuple[str, ...]
    is_distinct: bool
    where: tuple[Condition, ...]
    groups: tuple[str, ...]
    having: tuple[Condition, ...]
    order: tuple[str, ...]
    limit: str
    inner: tuple[Query, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compound:
    """Two queries with UNION, INTERSECT or EXCEPT between them."""

    operation: str
    left: Query
    right: Query
    order: tuple[str, ...]
    limit: str


Query = Union[Parts, Compound]  # noqa: UP007 - Condition names it before it is there


def same_names(equalities: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Name each column by the first, in the alphabet, of those that equalities make equal to it.

    >>> same_names([("b.x", "a.x"), ("b.x", "c.y")])
    {'b.x': 'a.x', 'a.x': 'a.x', 'c.y': 'a.x'}
    """
    groups: dict[str, list[str]] = {}
    for one, other in equalities:
        left, right = groups.setdefault(one, [one]), groups.setdefault(other, [other])
        if left is not right:
            left += right
            groups.update(dict.fromkeys(right, left))
    return {name: min(group) for name, group in groups.items()}


def tables_of(query: Query | None) -> Iterator[str]:
    """Yield the tables of a query and of all that are in it."""
    match query:
        case Compound():
            yield from tables_of(query.left)
            yield from tables_of(query.right)
        case Parts():
            yield from (name for name in query.tables if name != SUBQUERY)
            for inner in query.inner:
                yield from tables_of(inner)
            for condition in (*query.where, *query.having):
                yield from tables_of(condition.query)


def equalities_of(query: Query) -> Iterator[tuple[str, str]]:
    """Yield the pairs of columns that a query, and all that are in it, join on."""
    if isinstance(query, Compound):
        inside: Iterable[Query | None] = (query.left, query.right)
    else:
        yield from query.equalities
        inside = (*query.inner, *(condition.query for condition in (*query.where, *query.having)))
    for each in inside:
        if each is not None:
            yield from equalities_of(each)
