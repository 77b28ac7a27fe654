"""Find values of a query that its question does not say. Cheap, and wrong at times: a hint, no proof."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlglot import exp

from sense.databases.gold_facts import Names, parse
from sense.databases.schema import Schema

Value = int | float | str

_EQUAL = (exp.EQ, exp.NEQ, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Like, exp.Glob)
_ORDERED = (exp.GT, exp.GTE, exp.LT, exp.LTE)
_WRAPPERS = (exp.Paren, exp.Lower, exp.Upper, exp.Date, exp.Cast)  # a value in one of them is still said
_NUMBER_WORDS = {
    "half": 0.5, "one": 1, "once": 1, "two": 2, "twice": 2, "second": 2, "couple": 2, "pair": 2, "both": 2,
    "three": 3, "third": 3, "four": 4, "fourth": 4, "five": 5, "fifth": 5, "six": 6, "sixth": 6, "seven": 7,
    "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "dozen": 12, "fifteen": 15, "twenty": 20,
    "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "ninety": 90, "hundred": 100,
}  # fmt: skip
_FLAGS = frozenset(("yes", "no", "y", "n", "true", "false"))  # a column's name says what they mean
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE = re.compile(r"(\d{4})-(\d{2})(?:-(\d{2}))?(?:[ T].*)?")
_DIGITS = re.compile(r"\d[\d,]*(?:\.\d+)?")
_WORDS = re.compile(r"[^\W\d_]+|\d+")
_LAST_DAYS = 28  # from here on a day may be the end of its month, which the month says


def unsaid_values(sql: str, text: str, schema: Schema) -> list[Value]:
    """List the values that a query compares with and a text does not say; 0, 1, yes and no need not be said.

    Said is a text whose every word is there, whatever its ending; a number, in digits, as a word or percent,
    or the next one to it where more or less is asked; a date whose parts are there, a month by name too, or
    where a year or month that is named begins or ends.
    """
    tree = parse(sql)
    if tree is None:
        return []
    said = _Said(text)
    return list(
        dict.fromkeys(value for value, loose in _values(tree, schema) if not said.has(value, loose=loose))
    )


def _values(tree: exp.Expr, schema: Schema) -> Iterator[tuple[Value, bool]]:
    """Yield each value compared with, and whether the next number to it would do."""
    names = Names(schema)
    for node in tree.find_all(*_EQUAL, *_ORDERED, exp.In, exp.Between, exp.Limit, exp.Offset):
        compared = [
            part for part in node.iter_expressions() if part.arg_key != "this" or isinstance(node, exp.Binary)
        ]
        for part in compared:
            while isinstance(part, _WRAPPERS):
                part = part.this
            value = names.value(part)
            if value is not None and value not in (0, 1) and str(value).lower() not in _FLAGS:
                yield value, isinstance(node, _ORDERED)


class _Said:
    """What a text says: its words, its numbers."""

    def __init__(self, text: str) -> None:
        lower = text.lower()
        self._words = set(_WORDS.findall(lower))
        self._numbers = {float(found.replace(",", "")) for found in _DIGITS.findall(lower)}
        self._numbers |= {float(found) for found in self._words if found.isdigit()}
        self._numbers |= {float(_NUMBER_WORDS[word]) for word in self._words if word in _NUMBER_WORDS}
        for factor, words in ((1e3, ("k", "thousand")), (1e6, ("m", "million")), (1e9, ("bn", "billion"))):
            if self._words.intersection(words):
                self._numbers |= {number * factor for number in self._numbers}

    def has(self, value: Value, *, loose: bool) -> bool:
        if isinstance(value, str):
            date = _DATE.fullmatch(value.replace("%", ""))
            return (
                self._has_date(date)
                if date is not None
                else all(map(self._has_word, _WORDS.findall(value.lower())))
            )
        near = {value, value * 100, *((value - 1, value + 1) if loose and isinstance(value, int) else ())}
        return any(round(abs(each), 6) in self._numbers for each in near)

    def _has_word(self, word: str) -> bool:
        if word.isdigit():
            number = int(word)
            is_month = len(word) == 2 and 1 <= number <= 12 and self._has_month(number)
            return number in (0, 1) or float(number) in self._numbers or is_month
        return any(_alike(word, other) for other in self._words)

    def _has_month(self, month: int) -> bool:
        return any(word.startswith(_MONTHS[month - 1]) for word in self._words)

    def _has_date(self, date: re.Match[str]) -> bool:
        year, month, day = (int(part or 0) for part in date.groups())
        numbers = self._numbers
        if month in (0, 1) and day in (0, 1) and numbers & {year, year - 1}:
            return True  # a year begins, the one before ends
        if year not in numbers:
            return False
        has_month = self._has_month(month) or month in numbers or (month, day) == (12, 31)
        has_month |= day == 1 and month > 1 and self._has_month(month - 1)
        return has_month and (day in numbers or day <= 1 or day >= _LAST_DAYS)


def _alike(word: str, other: str) -> bool:
    """Tell whether two words may be forms of one; one or two letters are taken for its initials.

    >>> _alike("cancelled", "cancels"), _alike("city", "cities"), _alike("open", "opera")
    (True, True, False)
    """
    if len(word) <= 2:
        return other.startswith(word)
    short, long = sorted((_stem(word), _stem(other)), key=len)
    return short == long or (len(short) >= 4 and long.startswith(short) and len(long) - len(short) <= 3)


def _stem(word: str) -> str:
    for ending, kept in (
        ("ies", "y"),
        ("ied", "y"),
        ("ing", ""),
        ("ed", ""),
        ("es", ""),
        ("s", ""),
        ("e", ""),
    ):
        if word.endswith(ending) and len(word) - len(ending) >= 3 - len(kept):
            word = word.removesuffix(ending) + kept
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word  # cancell-ed
