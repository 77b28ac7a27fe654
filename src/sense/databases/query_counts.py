"""Count the parts of a query that Spider's hardness looks at, of any SQL that sqlglot can read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

AGGREGATES = (exp.Max, exp.Min, exp.Count, exp.Sum, exp.Avg)  # those that Spider's grammar knows


@dataclass(frozen=True, slots=True)
class Parts:
    """How many clauses, nested queries and other parts a query has."""

    clauses: int
    nested: int
    others: int


def count_parts(sql: str) -> Parts | None:
    """Count; None where it is no single query that sqlglot can read as SQLite's."""
    try:
        tree = sqlglot.parse_one(sql, dialect="sqlite")
    except (SqlglotError, RecursionError):
        return None
    while isinstance(tree, exp.Subquery):
        tree = tree.this
    if not isinstance(tree, exp.Select | exp.SetOperation) or not tree.selects:
        return None
    return _count(tree)


def _count(tree: exp.Expr) -> Parts:
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
    return Parts(clauses=clauses, nested=nested, others=others)


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
                nots += bool(node.args.get("negate"))  # NOT LIKE is one node
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
