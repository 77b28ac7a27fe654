"""Say in what two queries differ, part by part. Nothing is run: a difference need not change the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from sense.evaluation.query_parts import (
    SUBQUERY,
    Compound,
    Condition,
    Parts,
    Query,
    same_names,
    tables_of,
)

_IN_SUBQUERY = "in a subquery: "
AGGREGATES = ("count", "sum", "avg", "min", "max", "total", "group_concat")


class ErrorKind(StrEnum):
    """Why a prediction is wrong. Where several hold, the first of them in this order is the primary one."""

    MISSING = "missing"  # there is no prediction
    REFUSED = "refused"  # it wants more than to read
    TIMEOUT = "timeout"
    TOO_MUCH = "too_much"
    DOES_NOT_PARSE = "does_not_parse"
    UNKNOWN_TABLE = "unknown_table"
    UNKNOWN_COLUMN = "unknown_column"
    AMBIGUOUS_COLUMN = "ambiguous_column"
    EXECUTION_ERROR = "execution_error"
    COLUMN_COUNT = "column_count"  # more or fewer result columns: wrong whatever else is
    WRONG_TABLES = "wrong_tables"
    SET_OPERATION = "set_operation"
    NESTING = "nesting"  # a subquery or WITH in one of the two only
    WRONG_JOIN = "wrong_join"  # the same tables, joined on other columns or on another side
    AGGREGATION = "aggregation"
    WRONG_COLUMN = "wrong_column"  # in SELECT
    WRONG_CONDITION = "wrong_condition"  # another column, operator or connective, one missing, one too many
    WRONG_VALUE = "wrong_value"  # the same condition with another constant
    GROUPING = "grouping"  # GROUP BY and HAVING
    ORDER_OR_LIMIT = "order_or_limit"
    DISTINCT = "distinct"
    OTHER = "other"


class Difference(NamedTuple):
    """One difference, in words for a person. One that is certain cannot but change the result."""

    kind: ErrorKind
    detail: str
    is_certain: bool = False


def differences(gold: Query, predicted: Query) -> list[Difference]:
    """Find what differs, in the order in which the parts are looked at."""
    found = list(_queries(gold, predicted))
    kinds = {difference.kind for difference in found}
    if kinds & {ErrorKind.SET_OPERATION, ErrorKind.NESTING, ErrorKind.WRONG_TABLES}:
        constants = list(_constants(gold, predicted))
        known = tuple(each.detail for each in constants)
        found = [each for each in found if not each.detail.endswith(known)] + constants
    if kinds & {ErrorKind.SET_OPERATION, ErrorKind.NESTING}:
        # A table that is missing because its whole subquery is, is no difference of its own.
        found = [difference for difference in found if difference.kind is not ErrorKind.WRONG_TABLES]
        wanted, used = set(tables_of(gold)), set(tables_of(predicted))
        if wanted - used and used - wanted:
            found += _lists(ErrorKind.WRONG_TABLES, "table", sorted(wanted), sorted(used))
    return found


def column_order(gold: Query, predicted: Query) -> Iterator[Difference]:
    """Find the same columns in another order. Few rules mind: it is to be told where nothing else differs."""
    if isinstance(gold, Parts) and isinstance(predicted, Parts):
        wanted, got = gold.columns, predicted.columns
        if wanted != got and sorted(wanted) == sorted(got):
            yield Difference(ErrorKind.WRONG_COLUMN, "columns in another order")


def _queries(gold: Query, predicted: Query) -> Iterator[Difference]:
    match gold, predicted:
        case Parts(), Parts():
            yield from _selects(gold, predicted)
        case Compound(), Compound():
            yield from _compounds(gold, predicted)
        case Compound(), _:
            yield Difference(ErrorKind.SET_OPERATION, f"missing {gold.operation.upper()}")
        case _, Compound():
            yield Difference(ErrorKind.SET_OPERATION, f"extra {predicted.operation.upper()}")


def _compounds(gold: Compound, predicted: Compound) -> Iterator[Difference]:
    if gold.operation != predicted.operation:
        detail = f"{predicted.operation.upper()} instead of {gold.operation.upper()}"
        yield Difference(ErrorKind.SET_OPERATION, detail)
    found = [*_queries(gold.left, predicted.left), *_queries(gold.right, predicted.right)]
    if found and gold.operation != "except":
        swapped = [*_queries(gold.left, predicted.right), *_queries(gold.right, predicted.left)]
        found = min(found, swapped, key=len)
    yield from found
    yield from _order(gold, predicted)


def _selects(gold: Parts, predicted: Parts) -> Iterator[Difference]:
    same_tables = gold.tables == predicted.tables
    if same_tables and (top := _top(gold)) and (extreme := _extreme(predicted)):
        detail = f"every row with {extreme} instead of the first one ordered by {top}"
        yield Difference(ErrorKind.ORDER_OR_LIMIT, detail)
    elif same_tables and (top := _top(predicted)) and (extreme := _extreme(gold)):
        detail = f"the first row ordered by {top} instead of every one with {extreme}"
        yield Difference(ErrorKind.ORDER_OR_LIMIT, detail)
    else:
        yield from _conditions(gold.where, predicted.where, kind=ErrorKind.WRONG_CONDITION)
        yield from _order(gold, predicted)
    yield from _inner(gold.inner, predicted.inner)
    if not same_tables:
        tables = [[name for name in side.tables if name != SUBQUERY] for side in (gold, predicted)]
        yield from _lists(ErrorKind.WRONG_TABLES, "table", *tables)
    else:
        yield from _joins(gold, predicted)
    yield from _columns(gold.columns, predicted.columns)
    yield from _grouping(gold, predicted)
    yield from _conditions(gold.having, predicted.having, kind=ErrorKind.GROUPING)
    if gold.is_distinct != predicted.is_distinct:
        yield Difference(ErrorKind.DISTINCT, f"{'missing' if gold.is_distinct else 'extra'} DISTINCT")


def _top(query: Query | None) -> str:
    """Return the order of a query that takes the first row, "" where it does not."""
    return ", ".join(query.order) if isinstance(query, Parts) and query.limit == "limit 1" else ""


def _extreme(query: Parts) -> str:
    """Return what the rows of a query have as its greatest or least value, "" where they have not."""
    if query.limit:
        return ""
    for inner in (each.query for each in (*query.where, *query.having) if each.operator == "="):
        if isinstance(inner, Parts) and len(inner.columns) == 1:
            if inner.columns[0].startswith(("max(", "min(")):
                return inner.columns[0]
            if _top(inner):
                return f"the first {_top(inner)}"
    return ""


def _inner(gold: Sequence[Query], predicted: Sequence[Query]) -> Iterator[Difference]:
    for wanted, got in zip(gold, predicted, strict=False):
        yield from _inside(_queries(wanted, got))
    if len(gold) != len(predicted):
        what = "missing" if len(gold) > len(predicted) else "extra"
        yield Difference(ErrorKind.NESTING, f"{what} subquery")


def _inside(found: Iterable[Difference]) -> Iterator[Difference]:
    for each in found:
        start = "" if each.detail.startswith(_IN_SUBQUERY) else _IN_SUBQUERY
        yield each._replace(detail=start + each.detail)


def _joins(gold: Parts, predicted: Parts) -> Iterator[Difference]:
    if gold.outer_joins != predicted.outer_joins:
        sides = [" and ".join(side.outer_joins) or "join" for side in (predicted, gold)]
        yield Difference(ErrorKind.WRONG_JOIN, " instead of ".join(sides))
    if gold.has_natural_join or predicted.has_natural_join:
        return
    known_gold, known_predicted = same_names(gold.equalities), same_names(predicted.equalities)
    wanted = [_equality(each) for each in gold.equalities if not _holds(each, known_predicted)]
    got = [_equality(each) for each in predicted.equalities if not _holds(each, known_gold)]
    if wanted or got:
        ons = [" and ".join(equalities) or "nothing" for equalities in (got, wanted)]
        yield Difference(ErrorKind.WRONG_JOIN, f"joined on {' instead of '.join(ons)}")


def _holds(equality: tuple[str, str], known: dict[str, str]) -> bool:
    one, other = equality
    return one in known and known[one] == known.get(other)


def _equality(ends: tuple[str, str]) -> str:
    return " = ".join(sorted(ends))


def _columns(gold: Sequence[str], predicted: Sequence[str]) -> Iterator[Difference]:
    missing, extra = _unmatched(gold, predicted)
    for wanted in list(missing):
        # The same argument under another function, or the same function of another argument, are a pair.
        for part, kind in ((1, ErrorKind.AGGREGATION), (0, ErrorKind.WRONG_COLUMN)):
            got = next((each for each in extra if _call(each)[part] == _call(wanted)[part]), None)
            if got is not None and (part == 1 or _call(wanted)[0]):
                missing.remove(wanted)
                extra.remove(got)
                is_distinct = part == 0 and ("distinct " in got) != ("distinct " in wanted)
                yield Difference(ErrorKind.DISTINCT if is_distinct else kind, f"{got} instead of {wanted}")
                break
    functions = [sorted(_call(each)[0] for each in side) for side in (missing, extra)]
    is_column = not missing or not extra or functions[0] == functions[1]
    kind = ErrorKind.WRONG_COLUMN if is_column else ErrorKind.AGGREGATION
    yield from _lists(kind, "column", missing, extra)


def _call(text: str) -> tuple[str, str]:
    """Cut an expression into its outermost aggregate, "" for none, and the rest.

    >>> _call("max(singer.age)"), _call("singer.age")
    (('max', 'singer.age'), ('', 'singer.age'))
    """
    name, bracket, rest = text.partition("(")
    return (name, rest[:-1]) if bracket and name in AGGREGATES and rest.endswith(")") else ("", text)


def _conditions(
    gold: Sequence[Condition], predicted: Sequence[Condition], *, kind: ErrorKind
) -> Iterator[Difference]:
    missing = list(gold)
    extra: list[Condition] = []
    for condition in predicted:
        if condition in missing:
            missing.remove(condition)
        else:
            extra.append(condition)
    for is_alike in PAIRINGS:
        for wanted in list(missing):
            got = next((each for each in extra if is_alike(wanted, each)), None)
            if got is not None:
                missing.remove(wanted)
                extra.remove(got)
                yield from _pair(wanted, got, kind=kind)
    for condition in missing:
        yield _lone(condition, "missing", kind=kind)
    for condition in extra:
        yield _lone(condition, "extra", kind=kind)


# Which condition stands for which: the more they share, the sooner.
PAIRINGS: tuple[Callable[[Condition, Condition], bool], ...] = (
    lambda wanted, got: (
        bool(wanted.subject) and wanted[:2] == got[:2] and bool(wanted.query) == bool(got.query)
    ),
    lambda wanted, got: wanted.query is not None and got.query is not None,
    lambda wanted, got: bool(wanted.subject) and wanted.subject == got.subject,
    lambda wanted, got: bool(wanted.members) and len(wanted.members) == len(got.members),
    lambda wanted, got: bool(wanted.value) and wanted.value == got.value,
    lambda wanted, got: wanted.query is None and got.query is None,
)


def _pair(wanted: Condition, got: Condition, *, kind: ErrorKind) -> Iterator[Difference]:
    instead = f"{got} instead of {wanted}"
    if wanted.members and len(wanted.members) == len(got.members):
        yield from _conditions(wanted.members, got.members, kind=kind)
    elif bool(wanted.query) != bool(got.query):
        yield Difference(ErrorKind.NESTING, instead)
    elif wanted[:2] != got[:2] or not wanted.subject:
        yield Difference(kind, instead)
    elif wanted.value != got.value:
        yield Difference(ErrorKind.WRONG_VALUE, instead)
    if wanted.query is not None and got.query is not None:
        yield from _inside(_queries(wanted.query, got.query))


def _lone(condition: Condition, what: str, *, kind: ErrorKind) -> Difference:
    return Difference(kind if condition.query is None else ErrorKind.NESTING, f"{what} condition {condition}")


def _grouping(gold: Parts, predicted: Parts) -> Iterator[Difference]:
    if gold.groups != predicted.groups:
        got, wanted = (", ".join(side.groups) or "nothing" for side in (predicted, gold))
        yield Difference(ErrorKind.GROUPING, f"grouped by {got} instead of {wanted}")


def _order(gold: Query, predicted: Query) -> Iterator[Difference]:
    # Where gold has no order, that of the prediction only matters if it cuts rows off.
    if gold.order != predicted.order and (gold.order or predicted.limit):
        got, wanted = (", ".join(side.order) or "nothing" for side in (predicted, gold))
        yield Difference(ErrorKind.ORDER_OR_LIMIT, f"ordered by {got} instead of {wanted}")
    if gold.limit != predicted.limit:
        got, wanted = (side.limit or "no limit" for side in (predicted, gold))
        yield Difference(ErrorKind.ORDER_OR_LIMIT, f"{got} instead of {wanted}")


def _lists(kind: ErrorKind, noun: str, gold: Sequence[str], predicted: Sequence[str]) -> Iterator[Difference]:
    missing, extra = _unmatched(gold, predicted)
    if missing and extra:
        yield Difference(kind, f"{noun} {', '.join(extra)} instead of {', '.join(missing)}")
    elif missing or extra:
        names, what = (missing, "missing") if missing else (extra, "extra")
        yield Difference(kind, f"{what} {noun}{'s' * (len(names) > 1)} {', '.join(names)}")


def _unmatched(gold: Sequence[str], predicted: Sequence[str]) -> tuple[list[str], list[str]]:
    wanted, got = Counter(gold), Counter(predicted)
    return list((wanted - got).elements()), list((got - wanted).elements())


def _constants(gold: Query, predicted: Query) -> Iterator[Difference]:
    """Compare texts wherever they stand, in queries that are built in different ways."""
    wanted, used = (set(_comparisons(query, leaves_out=False)) for query in (gold, predicted))
    extra = sorted(used - wanted, key=str)
    for missing in sorted(wanted - used, key=str):
        alike = [each for each in extra if _place(each) == _place(missing)]
        if alike and missing[1].value.startswith("'"):
            value = missing[1].value.casefold()
            closest = min(alike, key=lambda each: each[1].value.casefold() != value)
            extra.remove(closest)
            detail = f"{closest[1]} instead of {missing[1]}"
            yield Difference(ErrorKind.WRONG_VALUE, detail, is_certain=True)


def _place(comparison: tuple[bool, Condition]) -> tuple[bool, str, str]:
    leaves_out, condition = comparison
    return leaves_out, condition.subject, condition.operator


def _comparisons(query: Query, *, leaves_out: bool) -> Iterator[tuple[bool, Condition]]:
    """Yield the conditions without a subquery, each with whether it says what is left out."""
    if isinstance(query, Compound):
        yield from _comparisons(query.left, leaves_out=leaves_out)
        yield from _comparisons(query.right, leaves_out=leaves_out != (query.operation == "except"))
        return
    for inner in query.inner:
        yield from _comparisons(inner, leaves_out=leaves_out)
    waiting = [*query.where, *query.having]
    while waiting:
        condition = waiting.pop()
        waiting += condition.members
        if condition.query is not None:
            is_negated = condition.operator.startswith("not ") or condition.operator == "!="
            yield from _comparisons(condition.query, leaves_out=leaves_out != is_negated)
        elif condition.subject:
            yield leaves_out, condition
