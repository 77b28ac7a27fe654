"""Decide whether two results are the same, in the ways that the benchmarks do. Pure: no query is run here."""

from __future__ import annotations

import marshal
from collections import Counter
from collections.abc import Iterator

from sense.execution.outcome import Row, Rows, Value, describe

# Rows looked at in the search for an order of columns, some seconds of work: only a table made to defeat the
# search takes more.
SEARCH_BUDGET_ROWS = 5_000_000


class TooManyColumnOrders(Exception):  # noqa: N818 - an ending of the search, not a fault
    """The search for a matching order of columns was given up."""


def same_as_set(gold: Rows, candidate: Rows) -> bool:
    """Compare as BIRD does: how often a row comes and in what order is ignored, the order of columns is not.

    Source: bird-bench/mini_dev, evaluation_ex.py, calculate_ex.
    """
    return set(gold.rows) == set(candidate.rows)


def same_as_bag(gold: Rows, candidate: Rows) -> bool:
    """Compare rows with how often each comes; the order of columns counts, the order of rows does not."""
    return Counter(gold.rows) == Counter(candidate.rows)


def same_up_to_columns(gold: Rows, candidate: Rows, *, ordered: bool) -> bool:
    """Compare as Spider does: bags of rows (lists if `ordered`) after any one reordering of the columns.

    Two results without rows are the same, whatever their columns.

    Source: taoyds/test-suite-sql-eval, exec_eval.py, result_eq. The verdict is the same; the order of
    columns is searched by their contents, where the official script tries all orders.

    Raises:
        TooManyColumnOrders: only where the official script would not end either.
    """
    left, right = gold.rows, candidate.rows
    if not left and not right:
        return True
    if len(left) != len(right) or len(left[0]) != len(right[0]):
        return False
    # Not `left == right`: 1 == 1.0, where the official script may see a difference: _sorted_rows_agree.
    if marshal.dumps(left, 2) == marshal.dumps(right, 2):
        return True
    if not _sorted_rows_agree(left, right, ordered=ordered):
        return False
    left_columns, right_columns = list(zip(*left, strict=True)), list(zip(*right, strict=True))
    if ordered:
        return Counter(left_columns) == Counter(right_columns)
    return _some_order_matches(left_columns, right_columns)


def difference(gold: Rows, candidate: Rows) -> str:
    """Say for a person how two results that are not the same differ."""
    if (len(gold.rows), gold.columns) == (len(candidate.rows), candidate.columns):
        return f"{describe(candidate)} as in gold, with other values or in another order"
    return f"{describe(candidate)}, gold has {describe(gold)}"


def _sorted_rows_agree(left: tuple[Row, ...], right: tuple[Row, ...], *, ordered: bool) -> bool:
    """Compare rows whose values were sorted by their text.

    It looks like a mere shortcut of the official script and is not: the values of (10, 1) and (10, 1.0) sort
    differently, so these rows differ there although 1 == 1.0.
    """
    sorted_left, sorted_right = map(_sort_values, left), map(_sort_values, right)
    return list(sorted_left) == list(sorted_right) if ordered else set(sorted_left) == set(sorted_right)


def _sort_values(row: Row) -> Row:
    return tuple(sorted(row, key=lambda value: str(value) + str(type(value))))


def _some_order_matches(gold: list[Row], candidate: list[Row]) -> bool:
    """Search an order of the candidate's columns that makes the two bags of rows equal.

    A gold column can only be met by a candidate column that holds the same values equally often. Rows that
    agree in the columns placed so far share a number; a column that makes the counts of these numbers differ
    is taken back.
    """
    signatures = [_signature(column) for column in candidate]
    gold_signatures = [_signature(column) for column in gold]
    if Counter(signatures) != Counter(gold_signatures):
        return False
    choices: dict[_Signature, dict[Row, None]] = {}  # equal columns are interchangeable: each content once
    for column, signature in zip(candidate, signatures, strict=True):
        choices.setdefault(signature, {})[column] = None
    # The order in which gold columns are met: those with the fewest possible partners first.
    turns = sorted(range(len(gold)), key=lambda at: len(choices[gold_signatures[at]]))
    left = Counter(candidate)
    numberings = list(_number_rows([gold[at] for at in turns]))

    placed: list[Row] = []
    numbers = [[0] * len(gold[0])]
    trials = [iter(choices[gold_signatures[turns[0]]])]
    budget = max(SEARCH_BUDGET_ROWS, 4 * len(gold) * len(gold[0]))
    while trials:
        level = len(trials) - 1
        table, wanted = numberings[level]
        for column in trials[-1]:
            if not left[column]:
                continue
            budget -= len(column)
            if budget < 0:
                raise TooManyColumnOrders
            found = [table.get(key, -1) for key in zip(numbers[-1], column, strict=True)]
            if Counter(found) != wanted:
                continue
            if level + 1 == len(gold):
                return True
            left[column] -= 1
            placed.append(column)
            numbers.append(found)
            trials.append(iter(choices[gold_signatures[turns[level + 1]]]))
            break
        else:
            trials.pop()
            numbers.pop()
            if placed:
                left[placed.pop()] += 1
    return False


_Signature = frozenset[tuple[Value, int]]
_Numbering = tuple[dict[tuple[int, Value], int], Counter[int]]


def _number_rows(columns: list[Row]) -> Iterator[_Numbering]:
    numbers = [0] * len(columns[0])
    for column in columns:
        table: dict[tuple[int, Value], int] = {}
        numbers = [table.setdefault(key, len(table)) for key in zip(numbers, column, strict=True)]
        yield table, Counter(numbers)


def _signature(column: Row) -> _Signature:
    return frozenset(Counter(column).items())
