"""Spider's hardness of a gold query: easy, medium, hard or extra, by counting the parts it is made of.

It says how much a query is made of, not how hard its question is. SQL that Spider's own parser refuses
(window functions, `WITH`) gets an answer too, by the same counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

AGGREGATES = (exp.Max, exp.Min, exp.Count, exp.Sum, exp.Avg)  # those that Spider's grammar knows
CACHED_QUERIES = 20_000  # more than any benchmark holds; a gold query is asked about once per candidate


class Hardness(StrEnum):
    """Spider's four classes, from the easiest on."""

    EASY = "easy"
    MEDIUM = "medium"
    HARD = "hard"
    EXTRA = "extra"


@lru_cache(maxsize=CACHED_QUERIES)
def hardness(sql: str) -> Hardness | None:
    """Class a query; None where it is no single query that sqlglot can read as SQLite's.

    Source: `eval_hardness` of Spider's evaluation.py (Yu et al., 2018), on sqlglot's tree, not on that of
    Spider's parser. `WITH` counts as nesting here, and is refused there; an OR after a comparison of two
    columns counts here, and is lost there.

    >>> hardness("SELECT count(*) FROM singer").value
    'easy'
    >>> hardness("SELECT name FROM a WHERE id NOT IN (SELECT id FROM b)").value
    'hard'
    >>> hardness("how many singers?")
    """
    try:
        tree = sqlglot.parse_one(sql, dialect="sqlite")
    except (SqlglotError, RecursionError):
        return None
    while isinstance(tree, exp.Subquery):
        tree = tree.this
    if not isinstance(tree, exp.Select | exp.SetOperation) or not tree.selects:
        return None
    parts = _count(tree)
    return _classify(clauses=parts.clauses, nested=parts.nested, others=parts.others)


@dataclass(frozen=True, slots=True)
class _Parts:
    clauses: int
    nested: int
    others: int


def _classify(*, clauses: int, nested: int, others: int) -> Hardness:
    if nested == 0:
        if clauses <= 1 and others == 0:
            return Hardness.EASY
        if (clauses <= 1 and others <= 2) or (clauses <= 2 and others < 2):
            return Hardness.MEDIUM
        if (clauses <= 2 and others > 2) or (clauses == 3 and others <= 2):
            return Hardness.HARD
    if nested == 1 and clauses <= 1 and others == 0:
        return Hardness.HARD
    return Hardness.EXTRA


def _count(tree: exp.Expr) -> _Parts:
    # All after UNION, INTERSECT or EXCEPT is one nested query to Spider, a closing ORDER BY or LIMIT too.
    nested = int(isinstance(tree, exp.SetOperation))
    while isinstance(tree, exp.SetOperation | exp.Subquery):
        nested += len(tree.ctes)
        tree = tree.this
    where, having = tree.args.get("where"), tree.args.get("having")
    joins = tree.args.get("joins") or []
    on = [_Conditions.of(join.args.get("on")) for join in joins]
    in_where = _Conditions.of(where.this if where else None)
    in_having = _Conditions.of(having.this if having else None)
    group = tree.args.get("group")
    groups = group.expressions if group else []
    order = tree.args.get("order")

    everywhere = [*on, in_where, in_having]
    clauses = (
        bool(where) + bool(groups) + bool(order) + bool(tree.args.get("limit"))
        + len(joins)
        + sum(conditions.ors + conditions.likes for conditions in everywhere)
    )  # fmt: skip
    nested += sum(conditions.nested for conditions in everywhere)
    nested += len(tree.ctes) if isinstance(tree, exp.Select) else 0

    # Spider looks for aggregates at the first place of each unit. In a condition NOT stands there, and in
    # HAVING it takes the ANDs and ORs for units: these are what it counts, never the aggregates of HAVING.
    aggregates = sum(_has_aggregate(item) for item in tree.expressions)
    aggregates += sum(_has_aggregate(item) for item in groups)
    aggregates += sum(_count_aggregates(item) for item in (order.expressions if order else []))
    aggregates += in_where.nots + in_having.nots + in_having.connectives
    others = (aggregates > 1) + (len(tree.expressions) > 1) + (in_where.count > 1) + (len(groups) > 1)
    return _Parts(clauses=clauses, nested=nested, others=others)


@dataclass(frozen=True, slots=True)
class _Conditions:
    """The counts of one WHERE, HAVING or ON, seen as Spider does: flat, whatever the brackets."""

    count: int = 0
    ors: int = 0
    connectives: int = 0
    likes: int = 0
    nots: int = 0
    nested: int = 0

    @classmethod
    def of(cls, condition: exp.Expr | None) -> _Conditions:
        if condition is None:
            return cls()
        atoms: list[exp.Expr] = []
        ors = nots = 0
        waiting = [condition]
        while waiting:
            node = waiting.pop()
            if isinstance(node, exp.And | exp.Or):
                ors += isinstance(node, exp.Or)
                waiting += [node.left, node.right]
            elif isinstance(node, exp.Paren):
                waiting.append(node.this)
            elif isinstance(node, exp.Not):
                nots += not isinstance(node.this, exp.Is)
                waiting.append(node.this)
            else:
                atoms.append(node)
        return cls(
            count=len(atoms),
            ors=ors,
            connectives=len(atoms) - 1,
            likes=sum(isinstance(atom, exp.Like) for atom in atoms),
            nots=nots,
            nested=sum(1 for atom in atoms for _ in _outermost_queries(atom)),
        )


def _outermost_queries(node: exp.Expr) -> Iterator[exp.Expr]:
    for child in node.walk(prune=lambda found: isinstance(found, exp.Query)):
        if isinstance(child, exp.Query):
            yield child


def _has_aggregate(item: exp.Expr) -> bool:
    return _count_aggregates(item) > 0


def _count_aggregates(item: exp.Expr) -> int:
    nodes = item.walk(prune=lambda found: isinstance(found, exp.Query))
    return sum(isinstance(node, AGGREGATES) for node in nodes)
