"""Values beside a value, on which a query and one with a small mistake may disagree. Pure."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from datetime import date, timedelta

from sense.databases.gold_facts import Constant
from sense.execution.outcome import Value

WORDS = ("amber", "birch", "cobalt", "delta", "ember", "fjord", "grove", "harbor", "indigo", "juniper")
LARGEST = 2**63 - 1  # of an SQLite integer
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,6})?")


def near(value: Value, rng: random.Random) -> Value:
    """Return a value beside another: the next number or day, the text in other case or with more or less."""
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, int | float):
        moved = value + rng.choice((-1, 1))
        return moved if abs(moved) <= LARGEST else value
    if _DAY.match(value):
        return _next_day(value[:10], rng) + value[10:]
    if _NUMBER.fullmatch(value):
        return str(_number(value) + rng.choice((-1, 1)))
    word = rng.choice(WORDS)
    return rng.choice((value.swapcase(), f"{value} {word}", f"{word} {value}", value[:-1], value[1:]))


def satisfying(constant: Constant, rng: random.Random) -> Value:
    """Return a value for which `place operator value` holds, as far as the types allow it."""
    value = constant.value
    match constant.operator:
        case "LIKE":
            return _matching(str(value), rng)
        case "=" | ">=" | "<=":
            return value
        case "<>":
            return near(value, rng)
        case operator:
            return _beyond(value, 1 if operator == ">" else -1, rng)


def fresh(values: Sequence[Value], kind: str, *, number: int, rng: random.Random) -> Value:
    """Return a value that is probably not among `values`, but of their sort.

    Args:
        values: examples of the column's values.
        kind: one of Spider's five types, for a column without any.
        number: a counter: two calls that differ in it mostly give different values.
        rng: draws the value.
    """
    known = [value for value in values if value is not None and not _is_endless(value)]
    if not known:
        return _from_nothing(kind, number)
    example = rng.choice(known)
    if isinstance(example, int | float):
        numbers = [value for value in known if isinstance(value, int | float)]
        low, high = min(numbers), max(numbers)
        span = max(2 * number, 20, int(high - low) if abs(high - low) < LARGEST else 20)
        drawn = int(low) + rng.randint(-1, span)
        if abs(drawn) > LARGEST:
            return number
        is_fraction = isinstance(example, float) and example != int(example)
        return drawn + rng.randint(0, 9) / 10 if is_fraction else type(example)(drawn)
    if isinstance(example, bytes):
        return example + number.to_bytes(4, "big")
    if _DAY.match(example):
        moved = _moved(example[:10], rng.randint(-400, 400))
        return moved + example[10:]
    if _NUMBER.fullmatch(example):
        numbers_in_text = [
            _number(value) for value in known if isinstance(value, str) and _NUMBER.fullmatch(value)
        ]
        return str(int(min(numbers_in_text)) + rng.randint(0, 2 * number + 20))
    return (
        f"{example} {rng.choice(WORDS)} {number}" if rng.random() < 0.5 else f"{rng.choice(WORDS)} {number}"
    )


def _is_endless(value: Value) -> bool:
    return isinstance(value, float) and not abs(value) <= LARGEST


def _from_nothing(kind: str, number: int) -> Value:
    match kind:
        case "number":
            return number
        case "boolean":
            return number % 2
        case "time":
            return _moved("2020-01-01", number % 3000)
        case _:
            return f"{WORDS[number % len(WORDS)]} {number}"


def _beyond(value: float | str, step: int, rng: random.Random) -> Value:
    if isinstance(value, int | float):
        return value + step * rng.choice((1, 1, 2, 10))
    if _DAY.match(value):
        return _moved(value[:10], step * rng.choice((1, 30))) + value[10:]
    if _NUMBER.fullmatch(value):
        return str(_number(value) + step)
    return value + "z" if step > 0 else value[:-1]


def _matching(pattern: str, rng: random.Random) -> str:
    return "".join(
        rng.choice(("", "", rng.choice(WORDS)))
        if mark == "%"
        else rng.choice("aeot")
        if mark == "_"
        else mark
        for mark in pattern
    )


def _next_day(day: str, rng: random.Random) -> str:
    return _moved(day, rng.choice((-1, 1)))


def _moved(day: str, days: int) -> str:
    try:
        return (date.fromisoformat(day) + timedelta(days=days)).isoformat()
    except (ValueError, OverflowError):
        return day


def _number(text: str) -> int | float:
    return float(text) if "." in text else int(text)
