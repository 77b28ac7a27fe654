"""Neighbors of a gold query: queries one small mistake away, as a model makes them.

A content of the database on which gold query and neighbor agree does not show that mistake. A neighbor may
mean the same as the gold query, or not run: that is for the database to say.

Source: Zhong, Yu and Klein (2020), Semantic Evaluation for Text-to-SQL with Distilled Test Suites. There a
    query's constants, columns, operators and spans are replaced or dropped; here the parts of its tree are.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from sqlglot import exp

from sense.databases.gold_facts import Names, Place, parse
from sense.databases.schema import Schema

Value = int | float | str
COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE)
AGGREGATES = (exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max)
SET_OPERATIONS = (exp.Union, exp.Intersect, exp.Except)
NUMERIC = ("number", "boolean")
MAX_CONSTANTS = 6  # others of its column that stand in for a constant: one that differs is mostly enough


class Kind(StrEnum):
    """What sets a neighbor apart from the gold query."""

    COLUMN = "column"
    OPERATOR = "operator"
    CONSTANT = "constant"
    AGGREGATE = "aggregate"
    CONDITION = "condition"
    CONNECTIVE = "connective"
    DISTINCT = "distinct"
    JOIN = "join"
    ORDER = "order"
    LIMIT = "limit"
    GROUP = "group"
    HAVING = "having"
    SET = "set"


class Neighbor(NamedTuple):
    """A query and its difference from the gold query."""

    kind: Kind
    sql: str


class _Edit(NamedTuple):
    """A change of one node of the tree, which is counted in the order of `walk`."""

    kind: Kind
    place: int
    change: _Change


class _Context(NamedTuple):
    names: Names
    constants: Mapping[Place, Sequence[Value]]


_Change = Callable[[exp.Expr], exp.Expr | None]  # what stands in for a node; None takes it out
_Changes = Iterator[tuple[Kind, _Change]]
_Rule = Callable[[exp.Expr, _Context], _Changes]


def neighbors(
    sql: str, schema: Schema, *, constants: Mapping[Place, Sequence[Value]], limit: int, rng: random.Random
) -> list[Neighbor]:
    """List up to `limit` different neighbors, drawn in turn from each kind; none where SQL cannot be parsed.

    Args:
        sql: the gold query.
        schema: the tables that it is about.
        constants: values of columns that may stand in for the query's own.
        limit: how many at most.
        rng: draws which of them.
    """
    tree = parse(sql)
    if tree is None:
        return []
    context = _Context(Names(schema), constants)
    by_kind: dict[Kind, list[_Edit]] = {}
    for place, node in enumerate(tree.walk()):
        for rule in _RULES:
            for kind, change in rule(node, context):
                by_kind.setdefault(kind, []).append(_Edit(kind, place, change))
    for kind in by_kind:
        rng.shuffle(by_kind[kind])
    found: dict[str, Neighbor] = {}
    own = tree.sql(dialect="sqlite")
    while by_kind and len(found) < limit:
        for kind in sorted(by_kind):
            changed = _apply(tree, by_kind[kind].pop())
            if not by_kind[kind]:
                del by_kind[kind]
            if changed != own and len(found) < limit:
                found.setdefault(changed, Neighbor(kind, changed))
    return list(found.values())


def _apply(tree: exp.Expr, edit: _Edit) -> str:
    copy = tree.copy()
    node = next(each for index, each in enumerate(copy.walk()) if index == edit.place)
    new = edit.change(node)
    if new is None:
        node.pop()
    elif node.parent is None:
        copy = new
    elif new is not node:
        node.replace(new)
    return copy.sql(dialect="sqlite")


def _columns(node: exp.Expr, context: _Context) -> _Changes:
    """Put another column of the same table and a like type; in ON and GROUP BY it goes by their names."""
    if not isinstance(node, exp.Column):
        return
    place = context.names.place(node)
    if place is None:
        return
    kind = Kind.COLUMN
    if node.find_ancestor(exp.Join, exp.Select, exp.Subquery).__class__ is exp.Join:
        kind = Kind.JOIN
    elif isinstance(node.parent, exp.Group):
        kind = Kind.GROUP
    elif node.find_ancestor(exp.Having, exp.Select).__class__ is exp.Having:
        kind = Kind.HAVING
    for other in _like_columns(place, context.names.schema):
        yield kind, _with("this", exp.to_identifier(other, quoted=not other.isidentifier()))


def _like_columns(place: Place, schema: Schema) -> Iterator[str]:
    columns = next(table.columns for table in schema.tables if table.name == place.table)
    is_numeric = next(column.type for column in columns if column.name == place.column) in NUMERIC
    for column in columns:
        if column.name != place.column and (column.type in NUMERIC) == is_numeric:
            yield column.name


def _operators(node: exp.Expr, _: _Context) -> _Changes:
    """Put another comparison, or the opposite; half a BETWEEN."""
    kind = _clause(node)
    if kind is None:
        return
    if isinstance(node, COMPARISONS):
        for other in COMPARISONS:
            if not isinstance(node, other):
                yield kind, _as(other)
        if isinstance(node, exp.EQ | exp.NEQ) and _is_text(node.expression):
            yield kind, _as(exp.Like)
    elif isinstance(node, exp.Like):
        yield kind, _as(exp.EQ)
    elif isinstance(node, exp.Between):
        yield kind, _put(exp.GTE(this=node.this.copy(), expression=node.args["low"].copy()))
        yield kind, _put(exp.LTE(this=node.this.copy(), expression=node.args["high"].copy()))
    if isinstance(node, exp.Not):
        yield kind, _put(node.this)
    elif isinstance(node, exp.Like | exp.Between | exp.In | exp.Exists | exp.Is) and not isinstance(
        node.parent, exp.Not
    ):
        yield kind, _put(exp.Not(this=node.copy()))


def _constants(node: exp.Expr, context: _Context) -> _Changes:
    """Put another constant: one of the same column, the numbers beside it, the parts of a pattern."""
    kind = _clause(node)
    value = context.names.value(node)
    if kind is None or value is None or isinstance(node, exp.Neg):
        return
    kind = Kind.CONSTANT if kind is Kind.OPERATOR else kind
    others: list[Value] = []
    if isinstance(value, int | float):
        others += [value - 1, value + 1]
    elif "%" in value:
        bare = value.strip("%")
        others += [f"%{bare}%", f"{bare}%", f"%{bare}"]
    place = next(
        (
            found
            for column in (node.parent.find_all(exp.Column) if node.parent is not None else ())
            if (found := context.names.place(column)) is not None
        ),
        None,
    )
    if place is not None:
        same_type = [
            each
            for each in context.constants.get(place, ())
            if isinstance(each, str) == isinstance(value, str)
        ]
        others += [each for each in same_type if each != value][:MAX_CONSTANTS]
    for other in dict.fromkeys(others):
        if other != value:
            yield kind, _put(_literal(other))


def _aggregates(node: exp.Expr, context: _Context) -> _Changes:
    """Put another aggregate; count another column, or rows."""
    if not isinstance(node, AGGREGATES):
        return
    if isinstance(node, exp.Count):
        select = node.find_ancestor(exp.Select)
        if isinstance(node.this, exp.Star):
            for name, column in context.names.nullable_columns(select) if select is not None else ():
                counted = exp.column(exp.to_identifier(column, quoted=not column.isidentifier()), table=name)
                yield Kind.AGGREGATE, _put(exp.Count(this=counted))
            return
        yield Kind.AGGREGATE, _put(exp.Count(this=exp.Star()))
    for other in AGGREGATES:
        if not isinstance(node, other):
            yield Kind.AGGREGATE, _put(other(this=node.this.copy()))


def _conditions(node: exp.Expr, _: _Context) -> _Changes:
    """Drop a condition, or take AND for OR."""
    if isinstance(node, exp.Where):
        yield Kind.CONDITION, _drop
    elif isinstance(node, exp.Having):
        yield Kind.HAVING, _drop
    elif isinstance(node, exp.And | exp.Or):
        clause = _clause(node)
        if clause is None:
            return
        is_having = clause is Kind.HAVING
        dropped = Kind.HAVING if is_having else Kind.CONDITION
        yield dropped, _put(node.left)
        yield dropped, _put(node.right)
        other = exp.Or if isinstance(node, exp.And) else exp.And
        turned = exp.Paren(this=other(this=_bracketed(node.left), expression=_bracketed(node.right)))
        yield Kind.HAVING if is_having else Kind.CONNECTIVE, _put(turned)


def _distinct(node: exp.Expr, _: _Context) -> _Changes:
    """Add or drop DISTINCT."""
    if isinstance(node, exp.Select):
        yield Kind.DISTINCT, _with("distinct", None if node.args.get("distinct") else exp.Distinct())
    elif isinstance(node, exp.Count) and isinstance(node.this, exp.Distinct):
        if len(node.this.expressions) == 1:
            yield Kind.DISTINCT, _put(exp.Count(this=node.this.expressions[0].copy()))
    elif isinstance(node, AGGREGATES) and isinstance(node.this, exp.Column):
        yield Kind.DISTINCT, _put(node.__class__(this=exp.Distinct(expressions=[node.this.copy()])))


def _joins(node: exp.Expr, context: _Context) -> _Changes:
    """Turn a join into LEFT JOIN or back; drop a joined table that nothing else refers to."""
    if not isinstance(node, exp.Join):
        return
    if node.args.get("on") is not None:
        is_outer = bool(node.args.get("side"))
        yield Kind.JOIN, _with("side", None if is_outer else "LEFT")
    alias = node.this.alias_or_name.lower()
    inside = {id(column) for column in node.find_all(exp.Column)}
    others = [column for column in node.root().find_all(exp.Column) if id(column) not in inside]
    if not any(_may_mean(column, alias, node, context.names) for column in others):
        yield Kind.JOIN, _drop


def _may_mean(column: exp.Column, alias: str, join: exp.Join, names: Names) -> bool:
    if column.table:
        return column.table.lower() == alias
    place = names.place(column)
    return place is not None and place.table.lower() == join.this.name.lower()


def _orders(node: exp.Expr, _: _Context) -> _Changes:
    """Turn the direction, or do not sort."""
    if isinstance(node, exp.Ordered):
        yield Kind.ORDER, _turn
    elif isinstance(node, exp.Order):
        yield Kind.ORDER, _drop


def _limits(node: exp.Expr, _: _Context) -> _Changes:
    """Take one row more or less, or all."""
    if not isinstance(node, exp.Limit):
        return
    yield Kind.LIMIT, _drop
    if isinstance(node.expression, exp.Literal) and str(node.expression.this).isdigit():
        rows = int(node.expression.this)
        for other in (rows + 1, rows - 1):
            if other > 0:
                yield Kind.LIMIT, _with("expression", exp.Literal.number(other))


def _groups(node: exp.Expr, _: _Context) -> _Changes:
    """Drop GROUP BY, or one of its columns."""
    if not isinstance(node, exp.Group):
        return
    yield Kind.GROUP, _drop
    if len(node.expressions) > 1:
        for dropped in range(len(node.expressions)):
            kept = [each for place, each in enumerate(node.expressions) if place != dropped]
            yield Kind.GROUP, _put(exp.Group(expressions=[each.copy() for each in kept]))


def _sets(node: exp.Expr, _: _Context) -> _Changes:
    """Put another set operation, or one side alone."""
    if not isinstance(node, exp.SetOperation):
        return
    for other in SET_OPERATIONS:
        if not isinstance(node, other):
            yield Kind.SET, _put(other(**(node.copy().args | {"distinct": True})))
    if isinstance(node, exp.Union):
        yield Kind.SET, _with("distinct", not node.args.get("distinct"))
    yield Kind.SET, _put(node.this)
    yield Kind.SET, _put(node.expression)


_RULES: tuple[_Rule, ...] = (
    _columns, _operators, _constants, _aggregates, _conditions, _distinct, _joins, _orders, _limits, _groups,
    _sets,
)  # fmt: skip


def _clause(node: exp.Expr) -> Kind | None:
    """Say by which kind a change in a condition goes; None outside of WHERE and HAVING."""
    clause = node.find_ancestor(exp.Where, exp.Having, exp.Select)
    if isinstance(clause, exp.Having):
        return Kind.HAVING
    return Kind.OPERATOR if isinstance(clause, exp.Where) else None


def _is_text(node: exp.Expr) -> bool:
    quoted = isinstance(node, exp.Column) and bool(node.this.args.get("quoted"))
    return quoted or (isinstance(node, exp.Literal) and bool(node.is_string))


def _drop(_: exp.Expr) -> None:
    return None


def _with(name: str, value: object) -> Callable[[exp.Expr], exp.Expr]:
    """Make a change that sets one part of the node."""

    def change(node: exp.Expr) -> exp.Expr:
        node.set(name, value.copy() if isinstance(value, exp.Expr) else value)
        return node

    return change


def _as(other: type[exp.Expr]) -> Callable[[exp.Expr], exp.Expr]:
    return lambda node: other(this=node.this.copy(), expression=node.expression.copy())


def _put(new: exp.Expr) -> Callable[[exp.Expr], exp.Expr]:
    return lambda _: new.copy()


def _turn(node: exp.Expr) -> exp.Expr:
    is_descending = not node.args.get("desc")
    # SQLite takes NULL for the smallest; said otherwise, NULLS LAST would be written.
    return exp.Ordered(this=node.this.copy(), desc=is_descending or None, nulls_first=not is_descending)


def _bracketed(node: exp.Expr) -> exp.Expr:
    return exp.Paren(this=node.copy()) if isinstance(node, exp.And | exp.Or) else node.copy()


def _literal(value: Value) -> exp.Expr:
    return exp.Literal.string(value) if isinstance(value, str) else exp.Literal.number(value)
