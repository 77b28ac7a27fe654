"""Judge a candidate by the robust rule, beside the official one, and say why the two disagree.

As officially: columns in any order, rows as bags. Otherwise than officially: nothing in the SQL is rewritten
that changes what it means (`value`, DISTINCT); order counts if the outermost gold query sorts; rows that tie
may come in any order, and where LIMIT cuts any choice among them is right; numbers may differ by rounding.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby, takewhile
from typing import NamedTuple

from sense.databases.sql_tokens import tokens
from sense.execution.compare import same_up_to_columns
from sense.execution.outcome import Ending, Row, Rows, Value
from sense.execution.ties import (
    Budget,
    Side,
    TieClass,
    TieClasses,
    both_sides,
    column_orders,
    order_probe,
    sorts_at_top,
    tie_classes,
)

# Sums taken in another order differ by 1e-16 a step, more after a subtraction, and values that went through
# single precision by 6e-8. A number rounded to six digits or fewer is another number.
RELATIVE_TOLERANCE = 1e-6
ABSOLUTE_TOLERANCE = 1e-9  # for what should be 0 and is 1e-17: no share of 0 is large enough
FIRST_INEXACT = 2**53  # from here on a float cannot tell a whole number from the next

_SPLIT_OPERATOR = re.compile(r"([<>!])\s+=")
_CURRENT_YEAR = re.compile(r"\bYEAR\s*\(\s*CURDATE\s*\(\s*\)\s*\)", re.IGNORECASE)


class Allowance(StrEnum):
    """What had to be allowed for two results to be the same."""

    COLUMN_ORDER = "column_order"  # the official rule allows it too
    NUMBER_TOLERANCE = (
        "number_tolerance"  # 0.3 and 0.1 + 0.2; also 1 and 1.0, at which the official rule trips
    )
    TIES = "ties"


class RobustMatch(NamedTuple):
    """Whether two results are the same, and the fewest allowances that make them so."""

    same: bool
    allowances: frozenset[Allowance] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustComparison:
    """A candidate held against the gold query on one database.

    `candidate` is None where it was not run, because the gold query failed; `match` is None where either of
    them ended in no rows. `ordered`: the order of rows counted.
    """

    gold: Ending
    candidate: Ending | None
    match: RobustMatch | None
    ordered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficialEndings:
    """How the queries ended that the official rule runs.

    `unrewritten` is the candidate as the official rule prepares a gold query, so with its `value` in place:
    the same as `candidate` where the word is not in it.
    """

    same: bool
    gold: Ending
    candidate: Ending
    unrewritten: Ending


class Cause(StrEnum):
    """Which difference of the rules makes the official and the robust verdict disagree."""

    VALUE_REWRITING = "value_rewriting"
    DISTINCT_STRIPPED = "distinct_stripped"
    ORDER_RULE = "order_rule"  # "order by" anywhere in the text, or at the top of the query
    TIES = "ties"
    NUMBER_TOLERANCE = "number_tolerance"
    EMPTY_COLUMNS = "empty_columns"  # no rows, and another number of columns
    COLUMN_ORDER = "column_order"  # BIRD's rule insists on it
    DUPLICATES = "duplicates"  # BIRD's rule does not count how often a row comes
    OTHER = "other"


def prepare_robust(sql: str) -> str:
    """Keep the first statement, without comments; close up operators and put 2020 for the current year.

    Outside of quotes only. Spider's golds hold `> =`, and expect the year of its official script.

    >>> prepare_robust("SELECT DISTINCT value FROM t WHERE a > = YEAR(CURDATE()) -- x;y")
    'SELECT DISTINCT value FROM t WHERE a >= 2020'
    """
    parts: list[str] = []
    statement = takewhile(lambda token: token.kind != "end", tokens(sql))
    for quoted, group in groupby(statement, lambda token: token.kind == "quoted"):
        text = "".join(" " if token.kind == "comment" else token.text for token in group)
        parts.append(text if quoted else _CURRENT_YEAR.sub("2020", _SPLIT_OPERATOR.sub(r"\1=", text)))
    return "".join(parts).strip()


def same_for_robust(
    gold: Rows, candidate: Rows, *, ordered: bool, ties: TieClasses | None = None
) -> RobustMatch:
    """Compare up to the order of columns, numbers within the tolerance; `ties` say which rows tie, if any do.

    Results without rows are the same only if they have as many columns: otherwise the candidate cannot be
    right on other data.

    Texts and bytes are compared exactly, a text is never a number, NULL is NULL. Whole numbers are compared
    exactly as long as floats hold them: ids and years are no measurements. The answer is exact although the
    tolerance is not transitive: numbers linked by steps within it are taken for one at first, which can only
    rule results out, and where that was too generous the rows are paired one by one. Times grow as for
    sorting, save in that last step and in the search for an order of columns, which have a budget.

    Raises:
        TooManyColumnOrders: the budget is used up.
    """
    if (gold.columns, len(gold.rows)) != (candidate.columns, len(candidate.rows)):
        return RobustMatch(same=False)
    if same_up_to_columns(gold, candidate, ordered=ordered):
        in_place = gold.rows == candidate.rows
        in_place |= not ordered and Counter(gold.rows) == Counter(candidate.rows)
        return RobustMatch(True, frozenset() if in_place else frozenset({Allowance.COLUMN_ORDER}))

    values = {value for row in (*gold.rows, *candidate.rows) for value in row}
    values |= {value for tied in ties or () for row in tied.rows for value in row}
    places = (
        tuple(TieClass((row,), 1) for row in gold.rows) if ordered else (TieClass(gold.rows, len(gold.rows)),)
    )
    exact, tolerant = _number(values), _number_with_tolerance(values)
    attempts = [({Allowance.NUMBER_TOLERANCE}, places, tolerant)]
    if ties is not None:
        attempts.append(({Allowance.TIES}, ties, exact))
        attempts.append(({Allowance.TIES, Allowance.NUMBER_TOLERANCE}, ties, tolerant))
    for allowances, classes, numbering in attempts:
        order = _find_order(classes, candidate.rows, numbering)
        if order is not None:
            reordered = {Allowance.COLUMN_ORDER} if order != sorted(order) else set()
            return RobustMatch(True, frozenset(allowances | reordered))
    return RobustMatch(same=False)


def judge_robust(
    gold_sql: str,
    candidate_sql: str,
    *,
    run_gold: Callable[[str], Ending],
    run_candidate: Callable[[str], Ending],
) -> RobustComparison:
    """Run and compare two queries, each on its own budget, on the one database that the callables know.

    `run_gold` also runs the query that tells the ties, if the results differ without them; nothing is lost
    where that one fails, or misreads the gold query: then no rows tie.

    Raises:
        TooManyColumnOrders: see `same_for_robust`.
    """
    prepared = prepare_robust(gold_sql)
    ordered = sorts_at_top(prepared)
    gold = run_gold(prepared)
    if not isinstance(gold, Rows):
        return RobustComparison(gold=gold, candidate=None, match=None, ordered=ordered)
    candidate = run_candidate(prepare_robust(candidate_sql))
    if not isinstance(candidate, Rows):
        return RobustComparison(gold=gold, candidate=candidate, match=None, ordered=ordered)
    match = same_for_robust(gold, candidate, ordered=ordered)
    of_one_size = (gold.columns, len(gold.rows)) == (candidate.columns, len(candidate.rows))
    if ordered and of_one_size and not match.same:
        ties = _ties_of(prepared, gold, run_gold)
        if ties is not None and any(len(tied.rows) > 1 for tied in ties):
            match = same_for_robust(gold, candidate, ordered=True, ties=ties)
    return RobustComparison(gold=gold, candidate=candidate, match=match, ordered=ordered)


def why_they_differ(
    official: OfficialEndings, robust: RobustComparison, *, gold_sql: str, candidate_sql: str
) -> Cause | None:
    """Name the difference of the rules that turned the verdict; None where both say the same.

    The official rule is changed into the robust one step by step, and the last step that turned the verdict
    is named. Of the queries only how they ended is needed, so nothing is run here.

    Raises:
        TooManyColumnOrders: as the official comparison.
    """
    is_same = robust.match is not None and robust.match.same
    if is_same is official.same:
        return None
    by_text = "order by" in gold_sql.lower()
    words = {token.text.lower() for sql in (gold_sql, candidate_sql) for token in tokens(sql)}
    of_text = Cause.DISTINCT_STRIPPED if "distinct" in words else Cause.OTHER
    steps = [
        (Cause.VALUE_REWRITING, _same_officially(official.gold, official.unrewritten, ordered=by_text)),
        (of_text, _same_officially(robust.gold, robust.candidate, ordered=by_text)),
        (Cause.ORDER_RULE, _same_officially(robust.gold, robust.candidate, ordered=robust.ordered)),
        (_cause_in_comparing(robust.match), is_same),
    ]
    last, before = Cause.OTHER, official.same
    for cause, verdict in steps:
        if verdict is not before:
            last = cause
        before = verdict
    return last


def why_bird_differs(official: bool, robust: RobustComparison) -> Cause | None:
    """Name the difference between BIRD's rule and the robust one that turned the verdict, if one did."""
    match, gold, candidate = robust.match, robust.gold, robust.candidate
    is_same = match is not None and match.same
    if is_same is official:
        return None
    if match is not None and match.same:
        in_order = [Cause.TIES, Cause.NUMBER_TOLERANCE, Cause.COLUMN_ORDER]
        return next((cause for cause in in_order if cause.value in match.allowances), Cause.OTHER)
    if not isinstance(gold, Rows) or not isinstance(candidate, Rows):
        return Cause.OTHER
    if not gold.rows and not candidate.rows:
        return Cause.EMPTY_COLUMNS
    return Cause.ORDER_RULE if Counter(gold.rows) == Counter(candidate.rows) else Cause.DUPLICATES


def _cause_in_comparing(match: RobustMatch | None) -> Cause:
    if match is None or not match.same:
        return Cause.EMPTY_COLUMNS  # nothing else is stricter than in the official comparison
    return Cause.TIES if Allowance.TIES in match.allowances else Cause.NUMBER_TOLERANCE


def _same_officially(gold: Ending, candidate: Ending | None, *, ordered: bool) -> bool:
    if not isinstance(gold, Rows) or not isinstance(candidate, Rows):
        return False
    return same_up_to_columns(gold, candidate, ordered=ordered)


def _ties_of(gold_sql: str, gold: Rows, run_gold: Callable[[str], Ending]) -> TieClasses | None:
    probe = order_probe(gold_sql)
    answer = run_gold(probe.sql) if probe is not None else None
    return tie_classes(probe, answer, gold) if probe is not None and isinstance(answer, Rows) else None


class _Numbering(NamedTuple):
    """A number for each value. Values of one number agree, save perhaps those of a number in `unsure`."""

    of: dict[Value, int]
    unsure: frozenset[int] = frozenset()


def _find_order(classes: TieClasses, rows: tuple[Row, ...], numbering: _Numbering) -> list[int] | None:
    """Find an order of the columns in which each row takes the place of a row with which it agrees."""
    offered, wanting = both_sides(classes, rows, numbering.of)
    budget = Budget(len(offered.rows) * len(rows[0]))
    for order in column_orders(offered, wanting, budget):
        if not numbering.unsure or _pair_up(offered, wanting.reordered(order), numbering.unsure, budget):
            return order
    return None


def _pair_up(offered: Side, wanting: Side, unsure: frozenset[int], budget: Budget) -> bool:
    """Give each row that has unsure values an offered row of its own with which it agrees."""
    groups: dict[tuple[int, ...], tuple[list[Row], list[Row]]] = {}
    for side, rows_of in enumerate((offered, wanting)):
        for row, key in zip(rows_of.rows, zip(rows_of.marks, *rows_of.columns, strict=True), strict=True):
            if not unsure.isdisjoint(key[1:]):
                groups.setdefault(key, ([], []))[side].append(row)
    return all(
        _pair_in_order(rows, wanted) or _pair_in_any_way(rows, wanted, budget)
        for rows, wanted in groups.values()
    )


def _agree_in_all(a: Row, b: Row) -> bool:
    return all(map(_agree, a, b))


def _pair_in_order(offered: list[Row], wanting: list[Row]) -> bool:
    # In a column of such rows all values are numbers or all are equal: they can be sorted.
    pairs = zip(sorted(offered), sorted(wanting), strict=False)
    return len(offered) == len(wanting) and all(_agree_in_all(a, b) for a, b in pairs)


def _pair_in_any_way(offered: list[Row], wanting: list[Row], budget: Budget) -> bool:
    """Match by augmenting paths: exact, in the worst case with the cube of the rows."""
    holder: dict[int, int] = {}  # of an offered row
    for start in range(len(wanting)):
        reached_from: dict[int, int] = {}
        free = None
        waiting = [start]
        for row in waiting:
            budget.spend(len(offered))
            for at, other in enumerate(offered):
                if at not in reached_from and _agree_in_all(other, wanting[row]):
                    reached_from[at] = row
                    if at not in holder:
                        free = at
                        break
                    waiting.append(holder[at])
            if free is not None:
                break
        if free is None:
            return False
        held = {row: at for at, row in holder.items()}
        at = free
        while True:
            row = reached_from[at]
            before = held.get(row)
            holder[at] = row
            if before is None:
                break
            at = before
    return True


def _number(values: Iterable[Value]) -> _Numbering:
    return _Numbering({value: n for n, value in enumerate(values)})


def _number_with_tolerance(values: Iterable[Value]) -> _Numbering:
    """Give one number to what is linked by steps within the tolerance, each from or to a fraction."""
    of = _number(values).of
    ascending = sorted(value for value in of if isinstance(value, int | float))
    # The nearest fraction up to here, and from here on: two whole numbers are linked only by one near both.
    below: list[int | float | None] = []
    for value in ascending:
        below.append((below[-1] if below else None) if _is_whole(value) else value)
    above: list[int | float | None] = []
    for value in reversed(ascending):
        above.append((above[-1] if above else None) if _is_whole(value) else value)
    above.reverse()

    unsure: set[int] = set()
    first, wholes = 0, 0
    for at, value in enumerate(ascending):
        is_linked = at > 0 and (_is_near(ascending[at - 1], above[at]) or _is_near(value, below[at - 1]))
        if not is_linked:
            first, wholes = at, 0
        wholes += _is_whole(value)
        of[value] = of[ascending[first]]
        if wholes > 1 or not _is_near(value, ascending[first]):
            unsure.add(of[value])
    return _Numbering(of, frozenset(unsure))


def _is_whole(number: int | float) -> bool:
    return isinstance(number, int) or (number.is_integer() and abs(number) < FIRST_INEXACT)


def _is_near(a: int | float, b: int | float | None) -> bool:
    return b is not None and math.isclose(a, b, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE)


def _agree(a: Value, b: Value) -> bool:
    if a == b:
        return True
    if not isinstance(a, int | float) or not isinstance(b, int | float) or (_is_whole(a) and _is_whole(b)):
        return False
    return _is_near(a, b)
