"""Values for more rows of a table, drawn from those that a column has: pure, but for the names, from Faker.

A column with few different values keeps to them, each as often as it is there. Numbers fall where the seen
ones lie, no lower and no higher. Codes keep their shape. What a text is is told by its column's name; the
names of things are put together from the seen ones.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING

from sense.databases.gold_facts import Constant
from sense.execution.fuzz import fresh, near, satisfying
from sense.execution.outcome import Value

if TYPE_CHECKING:
    from faker import Faker

MOST_DECIMALS = 6
LONG_TEXT_WORDS = 6  # notes and the like: a made-up sentence would say nothing, so a seen one comes again
SEEN_SHARE = 0.25  # of numbers: some values of a column come again and again, such as round ones
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}(?!\d)")
_TIME = re.compile(r"\d{1,2}:\d{2}|\d{4}-\d{2}(?!\d)")
_CODE = re.compile(r"(?=.*\d)[A-Za-z0-9./_#-]{2,24}")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

PERSONS = frozenset({
    "person", "people", "employee", "staff", "worker", "customer", "client", "member", "owner",
    "keeper", "student", "teacher", "patient", "doctor", "nurse", "driver", "pilot", "guest", "visitor",
    "volunteer", "donor", "author", "artist", "singer", "player", "coach", "manager", "agent", "buyer",
    "seller", "tenant", "crew", "operator", "technician", "inspector", "guide", "ranger", "farmer",
    "breeder", "apprentice", "trainer", "instructor", "officer", "contact",
})  # fmt: skip
# The first line of which all words are in the name of the column says what its texts are.
FAKES: tuple[tuple[frozenset[str], Callable[[Faker], str]], ...] = (
    (frozenset({"email"}), lambda fake: str(fake.email())),
    (frozenset({"mail"}), lambda fake: str(fake.email())),
    (frozenset({"phone"}), lambda fake: str(fake.phone_number())),
    (frozenset({"first", "name"}), lambda fake: str(fake.first_name())),
    (frozenset({"given", "name"}), lambda fake: str(fake.first_name())),
    (frozenset({"last", "name"}), lambda fake: str(fake.last_name())),
    (frozenset({"family", "name"}), lambda fake: str(fake.last_name())),
    (frozenset({"surname"}), lambda fake: str(fake.last_name())),
    (frozenset({"full", "name"}), lambda fake: f"{fake.first_name()} {fake.last_name()}"),
    (frozenset({"city"}), lambda fake: str(fake.city())),
    (frozenset({"town"}), lambda fake: str(fake.city())),
    (frozenset({"country"}), lambda fake: str(fake.country())),
    (frozenset({"street"}), lambda fake: str(fake.street_address())),
    (frozenset({"address"}), lambda fake: str(fake.street_address())),
    (frozenset({"company"}), lambda fake: str(fake.company())),
    (frozenset({"supplier"}), lambda fake: str(fake.company())),
    (frozenset({"url"}), lambda fake: str(fake.url())),
    (frozenset({"website"}), lambda fake: str(fake.url())),
)


class Sort(Enum):
    """What a column's values are, as far as it matters for more of them."""

    NOTHING = auto()  # none is seen
    CATEGORY = auto()
    NUMBER = auto()
    DAY = auto()
    CODE = auto()
    TEXT = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A column with the values that it has, NULLs apart; `kind` is one of Spider's five types."""

    table: str
    column: str
    kind: str
    values: tuple[Value, ...]
    sort: Sort


def look_at(table: str, column: str, kind: str, *, values: Sequence[Value]) -> Seen:
    """Tell what a column's values are."""
    known = tuple(value for value in values if value is not None)
    return Seen(table=table, column=column, kind=kind, values=known, sort=_sort(known))


def more(seen: Seen, *, number: int, rng: random.Random, fake: Faker) -> Value:
    """Draw one more value of a column; of a DAY use `moved`, so that the days of a row stay in order.

    Args:
        seen: the column.
        number: a counter: unlike in two calls.
        rng: draws.
        fake: makes names; seeded by the caller.
    """
    match seen.sort:
        case Sort.NOTHING:
            return fresh((), seen.kind, number=number, rng=rng)
        case Sort.CATEGORY:
            return rng.choice(seen.values)
        case Sort.NUMBER:
            return _between([value for value in seen.values if isinstance(value, int | float)], rng)
        case Sort.DAY:
            return moved(rng.choice(seen.values), rng.randint(-30, 30))
        case Sort.CODE:
            return _like_code(str(rng.choice(seen.values)), rng)
        case Sort.TEXT:
            return _text(seen, rng, fake)


def beside(constant: Constant, rng: random.Random) -> Value:
    """Return a value that tells a condition from nearly the same: one that meets it, or barely does not."""
    value = satisfying(constant, rng)
    is_measure = isinstance(value, int | float) or day_number(value) is not None
    return near(value, rng) if is_measure and rng.random() < 0.5 else value


def unlike(seen: Seen, taken: Sequence[Value], *, rng: random.Random) -> Value:
    """Make a value of a key that no row has: the number after the highest, or a code or text with one."""
    numbers = [value for value in taken if isinstance(value, int)]
    if numbers and len(numbers) == len(taken):
        return max(numbers) + 1
    if not taken:
        return fresh((), seen.kind, number=1, rng=rng)
    example = str(rng.choice(taken))
    used = {str(value) for value in taken}
    digits = re.search(r"\d+(?=\D*$)", example)
    number = int(digits[0]) if digits else 1
    while True:
        number += 1
        made = (
            f"{example[: digits.start()]}{number:0{len(digits[0])}d}{example[digits.end() :]}"
            if digits
            else f"{example} {number}"
        )
        if made not in used:
            return made


def moved(value: Value, days: int) -> Value:
    """Move a text that begins with a day; anything else stays."""
    if not isinstance(value, str) or not _DAY.match(value):
        return value
    try:
        return (date.fromisoformat(value[:10]) + timedelta(days=days)).isoformat() + value[10:]
    except (ValueError, OverflowError):
        return value


def day_number(value: Value) -> int | None:
    """Count the days up to the one a text begins with; None if it begins with none."""
    if not isinstance(value, str) or not _DAY.match(value):
        return None
    try:
        return date.fromisoformat(value[:10]).toordinal()
    except ValueError:
        return None


def _sort(values: Sequence[Value]) -> Sort:
    if not values:
        return Sort.NOTHING
    different = len(set(values))
    if all(isinstance(value, int | float) for value in values):
        return Sort.CATEGORY if different <= max(2, len(values) // 4) else Sort.NUMBER
    if all(day_number(value) is not None for value in values):
        return Sort.DAY
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) < len(values) or (len(values) > 2 and different <= len(values) / 2):
        return Sort.CATEGORY
    if any(_TIME.match(text) for text in texts):  # made-up digits would be no time
        return Sort.CATEGORY
    if all(_CODE.fullmatch(text) for text in texts):
        return Sort.CODE
    words = sum(len(text.split()) for text in texts) / len(texts)
    return Sort.CATEGORY if words > LONG_TEXT_WORDS else Sort.TEXT


def _between(values: Sequence[float], rng: random.Random) -> float:
    """Draw between neighbors of the sorted values, so that most fall where most are."""
    ordered = sorted(values)
    if len(ordered) == 1 or rng.random() < SEEN_SHARE:
        return rng.choice(ordered)
    place = rng.random() * (len(ordered) - 1)
    low, high = ordered[int(place)], ordered[int(place) + 1]
    drawn = low + (high - low) * (place - int(place))
    if all(isinstance(value, int) for value in ordered):
        return round(drawn)
    decimals = max(len(f"{value:.{MOST_DECIMALS}f}".rstrip("0").partition(".")[2]) for value in ordered)
    return round(drawn, decimals)


def _like_code(example: str, rng: random.Random) -> str:
    return re.sub(r"\d", lambda _: rng.choice("0123456789"), example)


def _text(seen: Seen, rng: random.Random, fake: Faker) -> str:
    words = {word.lower() for word in _WORD.findall(seen.column)}
    for names, make in FAKES:
        if names <= words:
            return make(fake)
    table = {word.lower().removesuffix("s") for word in _WORD.findall(seen.table)}
    if words & PERSONS or (words == {"name"} and table & PERSONS):
        return f"{fake.first_name()} {fake.last_name()}"
    head, tail = str(rng.choice(seen.values)).split(), str(rng.choice(seen.values)).split()
    if len(head) > 1 and len(tail) > 1:
        return " ".join([*head[:-1], tail[-1]])
    return f"{fake.last_name()} {tail[-1]}" if tail else str(fake.last_name())
