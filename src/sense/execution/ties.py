"""Find out which rows of a sorted gold query tie, and in what ways other rows may take their places.

A query leaves open in what order tied rows come, and which of them LIMIT takes. Which values are the same is
for the caller to say: they come with a number each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple, TypeVar

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from sense.databases.sql_tokens import tokens
from sense.execution import compare
from sense.execution.compare import TooManyColumnOrders
from sense.execution.outcome import Row, Rows, Value

CACHED_QUERIES = 20_000  # more than any benchmark holds; a gold query is asked about once per candidate
DIALECT = "sqlite"
RANK = '"tie rank"'
SOURCE = '"tie rows"'


Key = TypeVar("Key", bound=Hashable)


class OrderProbe(NamedTuple):
    """A query for the rows among which a sorted query chooses.

    A row is one of the sorted query, then `keys` columns of sort keys, then its rank: one more than the
    number of rows that come before it for certain, so that rows of one rank tie. Rows that LIMIT lets
    through in no case are left out. `limit` is None where every row after `offset` is wanted.
    """

    sql: str
    keys: int
    limit: int | None
    offset: int


class TieClass(NamedTuple):
    """Rows that tie; `taken` of them are in the result, fewer than all only where LIMIT or OFFSET cuts."""

    rows: tuple[Row, ...]
    taken: int


TieClasses = tuple[TieClass, ...]  # in the order of the query; those of which nothing is taken are left out


@lru_cache(maxsize=CACHED_QUERIES)
def sorts_at_top(gold_sql: str) -> bool:
    """Tell whether the outermost query has an ORDER BY.

    All inner queries, window definitions and ordered aggregates stand in brackets in SQLite, so this needs no
    parser and has an answer for SQL that sqlglot does not know.

    >>> sorts_at_top("SELECT a FROM (SELECT a FROM t ORDER BY a)")
    False
    """
    depth = 0
    before = ""
    for token in tokens(gold_sql):
        if token.kind == "comment" or token.text.isspace():
            continue
        depth += (token.text == "(") - (token.text == ")")
        word = token.text.lower() if token.kind == "word" else ""
        if depth == 0 and (before, word) == ("order", "by"):
            return True
        before = word
    return False


@lru_cache(maxsize=CACHED_QUERIES)
def order_probe(gold_sql: str) -> OrderProbe | None:
    """Write the query that tells how the rows of a sorted query tie.

    SQLite itself ranks the rows, by `rank()` over the query: which values are equal depends on collations.
    The ranking stands outside of the query, where it cannot disturb GROUP BY and DISTINCT; a column of a
    subquery keeps its collation.

    None: the outermost query does not sort, or in a way not understood here: DISTINCT by a key that is not
    selected, a position behind a star, a computed key of a UNION, a LIMIT that is no number. A name within
    a computed key is taken for an alias of the select list where there is one; SQLite prefers a column.
    """
    try:
        tree = sqlglot.parse_one(gold_sql, dialect=DIALECT)
        if not isinstance(tree, exp.Select | exp.SetOperation) or tree.args.get("order") is None:
            return None
        terms: list[exp.Ordered] = tree.args["order"].expressions
        limit, offset = (_number_of(tree.args.get(clause)) for clause in ("limit", "offset"))
        for clause in ("order", "limit", "offset"):
            tree.set(clause, None)
        inner = _with_keys(tree, terms) if isinstance(tree, exp.Select) else _with_names(tree, terms)
    except (SqlglotError, RecursionError, _NotUnderstoodError):
        return None
    past = None if limit is None or limit < 0 else max(offset or 0, 0) + limit
    bound = "" if past is None else f" WHERE {RANK} <= {past}"
    by = ", ".join(name + _direction(term) for name, term in zip(inner.names, terms, strict=True))
    ranked = f"SELECT *, rank() OVER (ORDER BY {by}) AS {RANK} FROM {SOURCE}"
    sql = f"WITH {SOURCE}{inner.columns} AS ({inner.sql}) SELECT * FROM ({ranked}){bound}"
    return OrderProbe(sql, inner.keys, limit=None if past is None else limit, offset=max(offset or 0, 0))


def tie_classes(probe: OrderProbe, answer: Rows, gold: Rows) -> TieClasses | None:
    """Group the probe's rows; None where the gold query's own result is not among the choices they leave.

    Then the probe has misread the query, or the query has no certain result for another reason.
    """
    if answer.columns != gold.columns + probe.keys + 1:
        return None
    by_rank: dict[int, list[Row]] = {}
    for row in answer.rows:
        rank = row[-1]
        assert isinstance(rank, int)
        by_rank.setdefault(rank, []).append(row[: gold.columns])
    classes: list[TieClass] = []
    at = 0
    for rank, rows in sorted(by_rank.items()):
        start, stop = max(rank - 1, probe.offset), rank - 1 + len(rows)
        if probe.limit is not None:
            stop = min(stop, probe.offset + probe.limit)
        if start >= stop:
            continue
        chosen = Counter(gold.rows[at : at + stop - start])
        if chosen.total() != stop - start or chosen - Counter(rows):
            return None
        at += stop - start
        classes.append(TieClass(tuple(rows), stop - start))
    return tuple(classes) if at == len(gold.rows) else None


class Budget:
    """Rows that a search may still look at."""

    def __init__(self, rows: int) -> None:
        """Take the budget of `same_up_to_columns`, for a table of so many values."""
        self._left = max(compare.SEARCH_BUDGET_ROWS, 4 * rows)

    def spend(self, rows: int) -> None:
        """Count rows that are looked at.

        Raises:
            TooManyColumnOrders: the budget is used up.
        """
        self._left -= rows
        if self._left < 0:
            raise TooManyColumnOrders


class Side(NamedTuple):
    """Rows, the class of each, and the columns of the numbers that stand for their values."""

    rows: list[Row]
    marks: list[int]
    columns: list[list[int]]

    def reordered(self, order: list[int]) -> Side:
        """Take the columns in this order."""
        rows = [tuple(row[at] for at in order) for row in self.rows]
        return Side(rows, self.marks, [self.columns[at] for at in order])


def both_sides(classes: TieClasses, rows: tuple[Row, ...], numbers: Mapping[Value, int]) -> tuple[Side, Side]:
    """Set the rows that the classes offer against those that want a place.

    Of these the first must be rows of the first class, as many as are taken of it, and so on.
    """
    offered = [(row, n) for n, tied in enumerate(classes) for row in tied.rows]
    marks = [n for n, tied in enumerate(classes) for _ in range(tied.taken)]
    return _side(offered, numbers), _side(list(zip(rows, marks, strict=True)), numbers)


def column_orders(offered: Side, wanting: Side, budget: Budget) -> Iterator[list[int]]:
    """Yield orders of the columns in which each row fills a place in its class; that as it is comes first.

    Values are the same if their numbers are. The search is that of `same_up_to_columns`, with counts that
    need not be used up: columns are placed one after the other, rows that agree in the columns placed so far
    share a number, and a column that makes a number come more often than offered is taken back. Of columns
    with equal values one is tried.

    Raises:
        TooManyColumnOrders: the budget is used up.
    """
    width = len(offered.columns)
    counts = [Counter(zip(wanting.marks, column, strict=True)) for column in wanting.columns]
    partners: list[list[int]] = []
    for n, column in enumerate(offered.columns):
        budget.spend(len(column))
        available = Counter(zip(offered.marks, column, strict=True))
        own_first = [n, *range(n), *range(n + 1, width)]
        partners.append([at for at in own_first if _is_within(counts[at], available)])
    turns = sorted(range(width), key=lambda n: len(partners[n]))
    tables = list(_number_rows(offered.marks, [offered.columns[n] for n in turns]))
    contents: dict[Row, int] = {}
    same_content = [contents.setdefault(column, len(contents)) for column in zip(*wanting.rows, strict=True)]

    placed: list[int] = []
    marks = [wanting.marks]
    trials = [_untried(partners[turns[0]], placed, same_content)]
    while trials:
        table, available_rows = tables[len(placed)]
        for at in trials[-1]:
            budget.spend(len(wanting.rows))
            found = [table.get(key, -1) for key in zip(marks[-1], wanting.columns[at], strict=True)]
            if not _is_within(Counter(found), available_rows):
                continue
            if len(placed) + 1 == width:
                by_turn = dict(zip(turns, [*placed, at], strict=True))
                yield [by_turn[n] for n in range(width)]
                continue
            placed.append(at)
            marks.append(found)
            trials.append(_untried(partners[turns[len(placed)]], placed, same_content))
            break
        else:
            trials.pop()
            marks.pop()
            if placed:
                placed.pop()


def _side(marked: list[tuple[Row, int]], numbers: Mapping[Value, int]) -> Side:
    rows = [row for row, _ in marked]
    columns = [[numbers[value] for value in column] for column in zip(*rows, strict=True)]
    return Side(rows, [mark for _, mark in marked], columns)


def _untried(partners: list[int], placed: list[int], same_content: list[int]) -> Iterator[int]:
    """Yield partners that are not placed, of equal columns the first."""
    tried: set[int] = set()
    for at in partners:
        if at not in placed and same_content[at] not in tried:
            tried.add(same_content[at])
            yield at


def _number_rows(
    marks: list[int], columns: list[list[int]]
) -> Iterator[tuple[dict[tuple[int, int], int], Counter[int]]]:
    for column in columns:
        table: dict[tuple[int, int], int] = {}
        marks = [table.setdefault(key, len(table)) for key in zip(marks, column, strict=True)]
        yield table, Counter(marks)


def _is_within(found: Counter[Key], available: Counter[Key]) -> bool:
    return all(count <= available.get(key, 0) for key, count in found.items())


class _NotUnderstoodError(Exception):
    pass


class _Inner(NamedTuple):
    """A query without its ORDER BY, and the names by which its sort keys are found in its result."""

    sql: str
    keys: int
    names: list[str]
    columns: str = ""


def _with_keys(select: exp.Select, terms: list[exp.Ordered]) -> _Inner:
    """Select the sort keys too."""
    keys = [_split_collation(_resolve(term.this, select)) for term in terms]
    if select.args.get("distinct") and not all(_is_selected(key, select) for key, _ in keys):
        raise _NotUnderstoodError
    names = []
    for n, (key, collation) in enumerate(keys, start=1):
        select.append("expressions", exp.alias_(key.copy(), f"tie key {n}", quoted=True))
        names.append(f'"tie key {n}"{collation}')
    return _Inner(_write(select), len(keys), names)


def _with_names(operation: exp.SetOperation, terms: list[exp.Ordered]) -> _Inner:
    """Name the columns by position: a UNION can only be sorted by its own columns."""
    selects = [select for select in _flat(operation) if isinstance(select, exp.Select)]
    lists = [select.expressions for select in selects]
    if not lists or any(item.is_star for item in lists[0]):
        raise _NotUnderstoodError
    names = [f'"tie column {n}"' for n in range(1, len(lists[0]) + 1)]
    by = []
    for term in terms:
        key, collation = _split_collation(term.this)
        by.append(names[_place(key, lists)] + collation)
    return _Inner(_write(operation), 0, by, f"({', '.join(names)})")


def _resolve(key: exp.Expr, select: exp.Select) -> exp.Expr:
    """Put what is selected in place of a position or alias."""
    if isinstance(key, exp.Literal) and key.is_int:
        place = int(key.name) - 1
        if any(item.is_star for item in select.expressions[: place + 1]) or place >= len(select.expressions):
            raise _NotUnderstoodError
        return _bare(select.expressions[place])
    aliases = {
        item.alias.lower(): item.this for item in reversed(select.expressions) if isinstance(item, exp.Alias)
    }

    def in_place(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Column) and not node.table:
            selected = aliases.get(node.name.lower())
            return node if selected is None else exp.paren(selected.copy())
        return node

    return key.transform(in_place)


def _is_selected(key: exp.Expr, select: exp.Select) -> bool:
    """Tell whether the key adds nothing to the rows, so that it may be selected beside DISTINCT."""
    key = key.unnest()
    for item in map(_bare, select.expressions):
        if key == item or (isinstance(item, exp.Star) and isinstance(key, exp.Column)):
            return True
        if isinstance(key, exp.Column) and isinstance(item, exp.Column):
            tables = {column.table.lower() for column in (key, item) if column.table}
            if len(tables) < 2 and key.name.lower() == item.name.lower():
                return True
    return False


def _place(key: exp.Expr, lists: list[list[exp.Expr]]) -> int:
    """Find a key of a set operation: by position, or in the first select list that has it."""
    if isinstance(key, exp.Literal) and key.is_int and 0 < int(key.name) <= len(lists[0]):
        return int(key.name) - 1
    for items in lists:
        for at, item in enumerate(items):
            is_name = isinstance(key, exp.Column) and not key.table
            if key == _bare(item) or (is_name and key.name.lower() == item.alias_or_name.lower()):
                return at
    raise _NotUnderstoodError


def _flat(query: exp.Expr) -> list[exp.Expr]:
    if isinstance(query, exp.SetOperation):
        return [*_flat(query.this), *_flat(query.expression)]
    return [query]


def _split_collation(key: exp.Expr) -> tuple[exp.Expr, str]:
    if isinstance(key, exp.Collate):
        return key.this, f" COLLATE {_write(key.expression)}"
    return key, ""


def _direction(term: exp.Ordered) -> str:
    is_descending = bool(term.args.get("desc"))
    nulls_first = term.args.get("nulls_first")
    direction = " DESC" if is_descending else ""
    if nulls_first is None or bool(nulls_first) is not is_descending:  # as SQLite has them anyway
        return direction
    return f"{direction} NULLS {'FIRST' if nulls_first else 'LAST'}"


def _number_of(clause: exp.Expr | None) -> int | None:
    if clause is None:
        return None
    try:
        return int(_write(clause.expression))
    except ValueError:
        raise _NotUnderstoodError from None


def _bare(item: exp.Expr) -> exp.Expr:
    return item.this if isinstance(item, exp.Alias) else item


def _write(tree: exp.Expr) -> str:
    return tree.sql(dialect=DIALECT, comments=False)
