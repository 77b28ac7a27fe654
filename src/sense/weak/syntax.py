"""How far apart two queries are as they are written, and when they are one. It never decides what is correct.

The distance is that of two bags of pq-grams, small pieces of the syntax trees: from 0 to 1, the same in both
directions, and got by counting, with one bag a query. The edit script of sqlglot.diff takes thousands of
calls for every pair of queries, and may be of another length in the other direction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from sense.databases.normal_form import normal_form

ANCESTORS, SIBLINGS = 2, 3  # p and q: what the authors found to work well
NOTHING = "*"  # stands where there is no parent or sibling
KEPT = 8_192  # bags and forms: a query is compared with all the others of its question

_MIRRORED: dict[type[exp.Expr], type[exp.Expr]] = {
    exp.GT: exp.LT,
    exp.GTE: exp.LTE,
}


@lru_cache(maxsize=KEPT)
def canonical(sql: str) -> str:
    """Write a query in its normal form, and so that the sides of AND, OR, IN and comparisons do not count.

    >>> canonical("SELECT a FROM t WHERE b > 1 AND c = d")
    'SELECT a FROM t AS t0_0 WHERE 1 < b AND c = d'
    >>> canonical("select x.a from t x where x.d = x.c and 1 < x.b")
    'SELECT a FROM t AS t0_0 WHERE 1 < b AND c = d'
    """
    form = normal_form(sql)
    try:
        tree = sqlglot.parse_one(form, dialect="sqlite")
        for node in reversed(list(tree.bfs())):  # what is inside comes first
            _order(node)
        return tree.sql(dialect="sqlite")
    except (SqlglotError, RecursionError):
        return form


def distance(one: str, other: str) -> float:
    """Tell how unlike two canonical queries are, from 0 to 1; one that cannot be parsed is 1 from all others.

    >>> distance(canonical("SELECT a FROM t"), canonical("SELECT T.A FROM t AS T"))
    0.0

    Source: Augsten, Boehlen and Gamper (2005), Approximate Matching of Hierarchical Data Using pq-Grams,
        definition 4.
    """
    bag, other_bag = _grams(one), _grams(other)
    return 1 - 2 * (bag & other_bag).total() / (bag.total() + other_bag.total())


def _order(node: exp.Expr) -> None:
    if isinstance(node, exp.And | exp.Or):
        if _goes_on(node):
            return  # ordered as part of the whole: by itself at each of its links would take their square
        combine = exp.and_ if isinstance(node, exp.And) else exp.or_
        node.replace(combine(*sorted(_operands(node, type(node)), key=_text), copy=False))
    elif isinstance(node, exp.In):
        node.set("expressions", sorted(node.expressions, key=_text))
    elif isinstance(node, exp.EQ | exp.NEQ):
        left, right = sorted((node.this, node.expression), key=_text)
        node.replace(type(node)(this=left, expression=right))
    elif type(node) in _MIRRORED:
        node.replace(_MIRRORED[type(node)](this=node.expression, expression=node.this))
    elif isinstance(node, exp.Join) and node.args.get("kind") == "INNER":
        node.set("kind", None)


def _goes_on(node: exp.Expr) -> bool:
    """Tell whether what a node joins is joined with more by its like."""
    above = node.parent
    while isinstance(above, exp.Paren):
        above = above.parent
    return type(above) is type(node)


def _operands(node: exp.Expr, kind: type[exp.Expr]) -> Iterator[exp.Expr]:
    """Yield what is joined by AND, or by OR, however it stands in parentheses."""
    waiting = [node]
    while waiting:
        inner = waiting.pop().unnest()
        if isinstance(inner, kind):
            waiting += [inner.expression, inner.this]
        else:
            yield inner


def _text(node: exp.Expr) -> str:
    return node.sql(dialect="sqlite")


@lru_cache(maxsize=KEPT)
def _grams(form: str) -> Counter[tuple[str, ...]]:
    """Return the bag of pq-grams of a query; of one that cannot be parsed, one gram that is its text."""
    try:
        tree = sqlglot.parse_one(form, dialect="sqlite")
        tables = {table.alias: table.name for table in tree.find_all(exp.Table)}
        return Counter(_grams_below(tree, (NOTHING,) * (ANCESTORS - 1), tables))
    except (SqlglotError, RecursionError):
        return Counter([(form,)])


def _grams_below(node: exp.Expr, above: tuple[str, ...], tables: dict[str, str]) -> Iterator[tuple[str, ...]]:
    label, children = _read(node, tables)
    stem = (*above, label)
    padding = [NOTHING] * (SIBLINGS - 1)
    row = [*padding, *(_read(child, tables)[0] for child in children), *padding] if children else []
    windows = zip(*(row[start:] for start in range(SIBLINGS)), strict=False)
    for window in windows if row else [(NOTHING,) * SIBLINGS]:
        yield (*stem, *window)
    for child in children:
        yield from _grams_below(child, stem[1:], tables)


def _read(node: exp.Expr, tables: dict[str, str]) -> tuple[str, list[exp.Expr]]:
    """Return what a node says by itself, and its children; a column is called by its table, not an alias."""
    if isinstance(node, exp.Column):
        table = tables.get(node.table, node.table) or _only_table(node)
        return f"column {table}.{node.name}", []
    words = [node.key]
    children: list[exp.Expr] = []
    for name, value in sorted(node.args.items()):
        if isinstance(node, exp.Table) and name == "alias":
            continue
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, exp.Expr):
                children.append(part)
            elif part:
                words.append(f"{name}={part}")
    return " ".join(words), children


def _only_table(column: exp.Column) -> str:
    """Name the table of a column without a qualifier: its query has one source."""
    select = column.find_ancestor(exp.Select)
    source = None if select is None else select.find(exp.From)
    return source.this.name if source is not None and not (select and select.args.get("joins")) else ""
