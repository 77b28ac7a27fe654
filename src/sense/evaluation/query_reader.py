"""Read the parts of two queries from their syntax trees, so that they can be compared.

It tells how queries are written, not what they return.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from sense.evaluation.query_names import SYMBOLS, Names, Scope, is_text, is_value, unwrap
from sense.evaluation.query_parts import (
    SUBQUERY,
    Compound,
    Condition,
    Parts,
    Query,
    equalities_of,
    same_names,
    tables_of,
)

MAX_SQL_CHARS = 20_000  # several times the longest gold query of any benchmark
FLIPPED: dict[type[exp.Expr], type[exp.Expr]] = {
    exp.EQ: exp.EQ, exp.NEQ: exp.NEQ, exp.LT: exp.GT, exp.GT: exp.LT, exp.LTE: exp.GTE, exp.GTE: exp.LTE,
}  # fmt: skip
NEGATED: dict[type[exp.Expr], type[exp.Expr]] = {
    exp.EQ: exp.NEQ, exp.NEQ: exp.EQ, exp.LT: exp.GTE, exp.GT: exp.LTE, exp.LTE: exp.GT, exp.GTE: exp.LT,
}  # fmt: skip


class Unreadable(Exception):  # noqa: N818 - an ending, not a fault
    """A text is no query, or too long for one."""


class Pair(NamedTuple):
    """Two queries, with columns named alike in both."""

    gold: Query
    predicted: Query


def parse(sql: str) -> exp.Expr:
    """Parse one query.

    Raises:
        Unreadable: it is too long, or no single query.
        RecursionError: it is nested too deeply.
    """
    if len(sql) > MAX_SQL_CHARS:
        raise Unreadable(f"longer than {MAX_SQL_CHARS:,} characters")
    if not sql.lstrip("( \t\r\n")[:6].lower().startswith(("select", "with")):
        raise Unreadable("no query")
    try:
        tree = unwrap(sqlglot.parse_one(sql, dialect="sqlite"))
    except SqlglotError:
        raise Unreadable("cannot be parsed") from None
    if not isinstance(tree, exp.Select | exp.SetOperation):
        raise Unreadable("no query")
    return tree


def take_apart(gold: exp.Expr, predicted: exp.Expr, *, exactly: bool = False) -> Pair:
    """Read the parts of two queries.

    Unless `exactly`, what mostly makes no difference is left out: which of two columns is meant that a join
    makes equal, what COUNT counts, whose a column is where only one of the queries uses that table.

    Raises:
        Unreadable: what stands in the place of a query is none.
        RecursionError: one is nested too deeply.
    """
    # A first reading learns whose columns are whose, and which of them joins make equal.
    first = Names(owners={}, same={}, alone=frozenset(), exactly=True)
    queries = [_Reader(first).query(tree, None) for tree in (gold, predicted)]
    tables = [frozenset(tables_of(query)) for query in queries]
    same = {} if exactly else same_names(each for query in queries for each in equalities_of(query))
    alone = frozenset() if exactly else tables[0] ^ tables[1]
    second = Names(owners=first.owners, same=same, alone=alone, exactly=exactly)
    return Pair(*(_Reader(second).query(tree, None) for tree in (gold, predicted)))


class _Reader:
    def __init__(self, names: Names) -> None:
        self._names = names
        self._ctes: dict[
            str, exp.Expr | None
        ] = {}  # None once read: one that names others twice would explode

    def query(self, tree: exp.Expr, outer: Scope | None) -> Query:
        tree = unwrap(tree)
        with_clause = tree.args.get("with_")
        for cte in with_clause.expressions if with_clause else ():
            self._ctes[cte.alias.lower()] = cte.this
        if isinstance(tree, exp.Select):
            return self._select(tree, outer)
        if isinstance(tree, exp.SetOperation):
            left, right = self.query(tree.this, outer), self.query(tree.expression, outer)
            scope = Scope(None)
            return Compound(
                operation=tree.key, left=left, right=right, order=self._order(tree, scope), limit=_limit(tree)
            )
        raise Unreadable(f"no query: {tree.key}")

    def _select(self, select: exp.Select, outer: Scope | None) -> Parts:
        scope = Scope(outer)
        joins: list[exp.Join] = []
        tables: list[str] = []
        inner: list[Query] = []
        for source in _sources(select, joins):
            name = self._source(source, scope, inner)
            tables.append(name)
            count = tables.count(name)
            scope.sources[source.alias_or_name.lower()] = name if count == 1 else f"{name} #{count}"
        columns = [self._item(item, scope) for item in select.expressions]
        where = [term for join in joins for term in self._on(join, scope)]
        where += self._clause(select, "where", scope)
        for item, text in zip(select.expressions, columns, strict=True):
            if isinstance(item, exp.Alias):
                scope.aliases[item.alias.lower()] = text
        group = select.args.get("group")
        groups = [self._place(each, columns, scope) for each in (group.expressions if group else ())]
        return Parts(
            tables=tuple(sorted(tables)),
            outer_joins=tuple(sorted(self._side(join) for join in joins if join.side)),
            equalities=tuple(scope.equalities),
            has_natural_join=any(join.method for join in joins),
            columns=tuple(columns),
            is_distinct=select.args.get("distinct") is not None,
            where=tuple(sorted(where, key=str)),
            groups=tuple(sorted(set(groups))),
            having=tuple(sorted(self._clause(select, "having", scope), key=str)),
            order=self._order(select, scope, columns),
            limit=_limit(select),
            inner=(*inner, *(self.query(each, scope) for each in scope.subqueries)),
        )

    def _source(self, source: exp.Expr, scope: Scope, inner: list[Query]) -> str:
        """Name what stands in FROM; put the query that it is, if so, into `inner`."""
        name = source.name.lower()
        if isinstance(source, exp.Table):
            if name not in self._ctes:
                return name
            cte, self._ctes[name] = self._ctes[name], None
            if cte is not None:
                inner.append(self.query(cte, None))
        elif isinstance(source, exp.Subquery):
            inner.append(self.query(source, scope.outer))
        return SUBQUERY

    def _side(self, join: exp.Join) -> str:
        name = join.this.name.lower() if isinstance(join.this, exp.Table) else SUBQUERY
        return f"{join.side.lower()} join {name}"

    def _on(self, join: exp.Join, scope: Scope) -> list[Condition]:
        names = list(scope.sources)
        if join.args.get("using"):
            at = names.index(join.alias_or_name.lower())
            before, here = scope.sources[names[max(0, at - 1)]], scope.sources[names[at]]
            for column in join.args["using"]:
                scope.equalities.append((f"{before}.{column.name.lower()}", f"{here}.{column.name.lower()}"))
        on = join.args.get("on")
        return [] if on is None else list(self._terms(on, scope))

    def _item(self, item: exp.Expr, scope: Scope) -> str:
        return self._names.text(item.this if isinstance(item, exp.Alias) else item, scope)

    def _place(self, item: exp.Expr, columns: Sequence[str], scope: Scope) -> str:
        """Write what GROUP BY or ORDER BY names, perhaps by its place in SELECT."""
        text = self._names.text(item, scope)
        is_place = isinstance(item, exp.Literal) and not item.is_string and text.isdecimal()
        return columns[int(text) - 1] if is_place and 0 < int(text) <= len(columns) else text

    def _order(self, tree: exp.Expr, scope: Scope, columns: Sequence[str] = ()) -> tuple[str, ...]:
        order = tree.args.get("order")
        return tuple(
            f"{self._place(each.this, columns, scope)} {'desc' if each.args.get('desc') else 'asc'}"
            for each in (order.expressions if order else ())
        )

    def _clause(self, select: exp.Select, name: str, scope: Scope) -> list[Condition]:
        clause = select.args.get(name)
        return [] if clause is None else list(self._terms(clause.this, scope))

    def _terms(self, node: exp.Expr, scope: Scope, *, negated: bool = False) -> Iterator[Condition]:
        """Cut a condition at its ANDs; note what joins two tables apart."""
        waiting = [(node, negated)]
        while waiting:
            node, negated = waiting.pop()
            if isinstance(node, exp.Paren):
                waiting.append((node.this, negated))
            elif isinstance(node, exp.Not):
                waiting.append((node.this, not negated))
            elif isinstance(node, exp.Or if negated else exp.And):
                waiting += [(node.right, negated), (node.left, negated)]
            elif isinstance(node, exp.And | exp.Or):
                yield self._either(node, scope, negated=negated)
            elif isinstance(node, exp.Between) and not negated:
                subject = self._names.text(node.this, scope)
                yield Condition(subject, ">=", self._names.value(node.args["low"], scope))
                yield Condition(subject, "<=", self._names.value(node.args["high"], scope))
            elif isinstance(node, exp.EQ) and not negated and self._joins(node, scope):
                pass
            else:
                yield self._term(node, scope, negated=negated)

    def _either(self, node: exp.Expr, scope: Scope, *, negated: bool) -> Condition:
        """Read an OR; one of equalities of the same column is the same as IN."""
        members: list[Condition] = []
        waiting = [node]
        while waiting:
            each = waiting.pop()
            if isinstance(each, exp.Paren):
                waiting.append(each.this)
            elif isinstance(each, exp.And if negated else exp.Or):
                waiting += [each.left, each.right]
            else:
                terms = list(self._terms(each, scope, negated=negated))
                members.append(terms[0] if len(terms) == 1 else _all_of(terms))
        members.sort(key=str)
        subjects = {(member.subject, member.operator) for member in members}
        if len(subjects) == 1 and members[0].operator == "=" and not any(each.query for each in members):
            values = sorted({member.value for member in members})
            return Condition(members[0].subject, "in", f"({', '.join(values)})")
        return Condition("", "", " or ".join(map(str, members)), members=tuple(members))

    def _joins(self, node: exp.EQ, scope: Scope) -> bool:
        left, right = node.left, node.right
        if not isinstance(left, exp.Column) or not isinstance(right, exp.Column):
            return False
        if is_text(right) or is_text(left):
            return False
        ends = self._names.full_name(left, scope), self._names.full_name(right, scope)
        owners = [end.rpartition(".")[0] for end in ends]
        here = scope.sources.values()
        if owners[0] == owners[1] or any(owner not in here for owner in owners):
            return False
        scope.equalities.append(ends)
        return True

    def _term(self, node: exp.Expr, scope: Scope, *, negated: bool) -> Condition:
        if type(node) in FLIPPED:
            return self._comparison(node, scope, negated=negated)
        if isinstance(node, exp.In):
            return self._in(node, scope, negated=negated)
        word = "not " if negated else ""
        if isinstance(node, exp.Like | exp.Glob):
            word = "not " if negated != bool(node.args.get("negate")) else ""
            value = self._names.value(node.expression, scope)
            return Condition(self._names.text(node.this, scope), f"{word}{node.key}", value)
        if isinstance(node, exp.Is):
            value = ("not " if negated != bool(node.args.get("negate")) else "") + self._names.text(
                node.expression, scope
            )
            return Condition(self._names.text(node.this, scope), "is", value)
        if isinstance(node, exp.Exists):
            return Condition("", f"{word}exists", f"({SUBQUERY})", self.query(node.this, scope))
        return Condition(word + self._names.text(node, scope))

    def _comparison(self, node: exp.Expr, scope: Scope, *, negated: bool) -> Condition:
        kind = type(node)
        left, right = node.this, node.expression
        if is_value(left) and not is_value(right):
            left, right, kind = right, left, FLIPPED[kind]
        operator = SYMBOLS[NEGATED[kind] if negated else kind]
        inner = unwrap(right)
        if isinstance(inner, exp.Query):
            return Condition(
                self._names.text(left, scope), operator, f"({SUBQUERY})", self.query(inner, scope)
            )
        subject, value = self._names.text(left, scope), self._names.value(right, scope)
        if operator in ("=", "!=") and not is_value(right):
            subject, value = sorted((subject, value))
        if operator == ">=" and subject.startswith("count(") and value.isdigit():
            operator, value = ">", str(int(value) - 1)
        return Condition(subject, operator, value)

    def _in(self, node: exp.In, scope: Scope, *, negated: bool) -> Condition:
        word, subject = "not " if negated else "", self._names.text(node.this, scope)
        query = node.args.get("query")
        if query is not None:
            return Condition(subject, f"{word}in", f"({SUBQUERY})", self.query(query, scope))
        values = sorted({self._names.value(each, scope) for each in node.expressions})
        if len(values) == 1:
            return Condition(subject, "!=" if negated else "=", values[0])
        return Condition(subject, f"{word}in", f"({', '.join(values)})")


def _sources(select: exp.Select, joins: list[exp.Join]) -> Iterator[exp.Expr]:
    """Yield what stands in FROM, brackets around joins taken off; put the joins into `joins`."""
    start = select.args.get("from_")
    waiting: list[exp.Expr] = [*reversed(select.args.get("joins") or ())]
    if start is not None:
        waiting.append(start)
    while waiting:
        node = waiting.pop()
        source = node.this
        if isinstance(node, exp.Join):
            joins.append(node)
        if isinstance(source, exp.Subquery) and isinstance(source.this, exp.Table):
            source = source.this
        if isinstance(source, exp.Table):
            waiting += reversed(source.args.get("joins") or ())
        yield source


def _limit(tree: exp.Expr) -> str:
    texts = [
        f"{name} {clause.expression.sql(dialect='sqlite')}"
        for name in ("limit", "offset")
        if (clause := tree.args.get(name)) is not None
    ]
    return " ".join(texts)


def _all_of(terms: Sequence[Condition]) -> Condition:
    return Condition("", "", f"({' and '.join(sorted(map(str, terms)))})", members=tuple(terms))
