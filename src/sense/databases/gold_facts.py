"""What gold queries ask of a database's content: constants held against columns, joins, columns sorted by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from sense.databases.schema import Schema

OPERATORS: dict[type[exp.Expr], str] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<=", exp.Like: "LIKE",
}  # fmt: skip
MIRRORED = {">": "<", ">=": "<=", "<": ">", "<=": ">="}


class Place(NamedTuple):
    """A column of a table, both as the schema spells them."""

    table: str
    column: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """A value that a query holds against a column: `place operator value`."""

    place: Place
    operator: str
    value: int | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldFacts:
    """What is known of the content from gold queries, each list without repetitions.

    `conditions` are the constants of each query together, `equal` the pairs of columns that are joined or
    looked up in each other, `sorted_by` what stands in ORDER BY, MIN or MAX.
    """

    conditions: tuple[tuple[Constant, ...], ...]
    equal: tuple[tuple[Place, Place], ...]
    sorted_by: frozenset[Place]


class Names:
    """Finds the table of a column in a query."""

    def __init__(self, schema: Schema) -> None:
        """Take the schema that the queries are about."""
        self.schema = schema
        self._tables = {
            table.name.lower(): {
                column.name.lower(): Place(table.name, column.name) for column in table.columns
            }
            for table in schema.tables
        }
        self._primary = {
            Place(table.name, column.name)
            for table in schema.tables
            for column in table.columns
            if column.primary_key
        }

    def place(self, column: exp.Column) -> Place | None:
        """Find what a column stands for; None for a column of a subquery, an alias, a text in quotes."""
        select = column.find_ancestor(exp.Select) or column.root().find(exp.Select)
        while select is not None:
            for name, table in sources(select).items():
                if column.table.lower() in ("", name):
                    found = self._tables.get(table, {}).get(column.name.lower())
                    if found is not None:
                        return found
            select = select.find_ancestor(exp.Select)
        return None

    def nullable_columns(self, select: exp.Select) -> Iterator[tuple[str, str]]:
        """Yield the name of each source of a query with each of its columns that is no primary key."""
        for name, table in sources(select).items():
            for place in self._tables.get(table, {}).values():
                if place not in self._primary:
                    yield name, place.column

    def value(self, node: object) -> int | float | str | None:
        """Read a constant; a quoted name that is no column is a text, as SQLite takes it."""
        if isinstance(node, exp.Neg):
            inner = self.value(node.this)
            return None if inner is None or isinstance(inner, str) else -inner
        if isinstance(node, exp.Literal):
            return str(node.this) if node.is_string else _number(str(node.this))
        if self.is_text(node):
            assert isinstance(node, exp.Column)
            return node.name
        return None

    def is_text(self, node: object) -> bool:
        """Tell whether a node is a text in double quotes."""
        quoted = isinstance(node, exp.Column) and not node.table and node.this.args.get("quoted")
        return bool(quoted) and isinstance(node, exp.Column) and self.place(node) is None


def parse(sql: str) -> exp.Expr | None:
    """Parse one query in SQLite's dialect; None where sqlglot cannot read it."""
    try:
        tree = sqlglot.parse_one(sql, dialect="sqlite")
    except (SqlglotError, RecursionError):
        return None
    return tree if isinstance(tree, exp.Query) else None


def sources(select: exp.Select) -> dict[str, str]:
    """Return the tables in FROM by the name they have there, all in small letters."""
    start = select.find(exp.From)
    first = [start.this] if start is not None and start.parent is select else []
    listed = [*first, *(join.this for join in select.args.get("joins") or [])]
    return {
        source.alias_or_name.lower(): source.name.lower()
        for source in listed
        if isinstance(source, exp.Table)
    }


def gold_facts(golds: Iterable[str], schema: Schema) -> GoldFacts:
    """Gather what the queries say; those that cannot be parsed say nothing."""
    names = Names(schema)
    conditions: dict[tuple[Constant, ...], None] = {}
    equal: dict[tuple[Place, Place], None] = {}
    ordered: set[Place] = set()
    for sql in golds:
        tree = parse(sql)
        if tree is None:
            continue
        found = tuple(dict.fromkeys(_constants(tree, names)))
        if found:
            conditions[found] = None
        equal |= dict.fromkeys(_equal(tree, names))
        for node in tree.find_all(exp.Ordered, exp.Min, exp.Max):
            place = names.place(node.this) if isinstance(node.this, exp.Column) else None
            if place is not None:
                ordered.add(place)
    return GoldFacts(conditions=tuple(conditions), equal=tuple(equal), sorted_by=frozenset(ordered))


def _constants(tree: exp.Expr, names: Names) -> Iterator[Constant]:
    for node in tree.find_all(*OPERATORS):
        for column, other, is_mirrored in (
            (node.this, node.expression, False),
            (node.expression, node.this, True),
        ):
            operator = OPERATORS[type(node)]
            operator = MIRRORED.get(operator, operator) if is_mirrored else operator
            yield from _held(column, [(operator, other)], names)
    for between in tree.find_all(exp.Between):
        yield from _held(between.this, [(">=", between.args["low"]), ("<=", between.args["high"])], names)
    for listed in tree.find_all(exp.In):
        yield from _held(listed.this, [("=", each) for each in listed.expressions], names)


def _held(column: object, against: Sequence[tuple[str, object]], names: Names) -> Iterator[Constant]:
    place = names.place(column) if isinstance(column, exp.Column) else None
    if place is None:
        return
    for operator, node in against:
        value = names.value(node)
        if value is not None:
            yield Constant(place=place, operator=operator, value=value)


def _equal(tree: exp.Expr, names: Names) -> Iterator[tuple[Place, Place]]:
    pairs: list[tuple[object, object]] = [(node.this, node.expression) for node in tree.find_all(exp.EQ)]
    for listed in tree.find_all(exp.In):
        query = listed.args.get("query")
        select = query.find(exp.Select) if isinstance(query, exp.Expr) else None
        pairs += [(listed.this, select.expressions[0])] if select is not None and select.expressions else []
    for one, other in pairs:
        if isinstance(one, exp.Column) and isinstance(other, exp.Column):
            places = names.place(one), names.place(other)
            if places[0] is not None and places[1] is not None and places[0] != places[1]:
                yield places[0], places[1]


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None
