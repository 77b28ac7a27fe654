"""Hold questions out: of most databases some (your own database), some databases whole (a new domain)."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from sense.databases.hardness import hardness
from sense.errors import DataError
from sense.strong.checks import Item


class Splits(NamedTuple):
    """The kept items by split, and the names of the databases that are held out whole."""

    train: list[Item]
    test: list[Item]
    new_databases: frozenset[str]


def split(items: Sequence[Item], *, test_share: float, new_databases: int, seed: int) -> Splits:
    """Hold out whole databases, and of each other one the same share of every measured hardness.

    Raises:
        DataError: no other database would be left.
    """
    names = sorted({item.db_id for item in items})
    if new_databases >= len(names):
        raise DataError(
            f"{new_databases} databases are to be held out whole, "
            f"but only {len(names)} have questions that were kept"
        )
    rng = random.Random(seed)
    new = set(rng.sample(names, new_databases))
    groups: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in items:
        groups[item.db_id, str(hardness(item.sql))].append(item)
    held: set[str] = {item.id for item in items if item.db_id in new}
    owed: dict[str, float] = defaultdict(float)  # what rounding has left over, database by database
    for (db_id, _), members in sorted(groups.items()):
        if db_id not in new:
            wanted = owed[db_id] + test_share * len(members)
            taken = min(len(members), int(wanted + 0.5))
            owed[db_id] = wanted - taken
            held |= {item.id for item in rng.sample(members, taken)}
    return Splits(
        train=[item for item in items if item.id not in held],
        test=[item for item in items if item.id in held],
        new_databases=frozenset(new),
    )


def split_as_before(items: Sequence[Item]) -> Splits:
    """Leave each item in the split that an earlier filter put it in: what was held out once stays so."""
    train = [item for item in items if item.split == "train"]
    seen = {item.db_id for item in train}
    return Splits(
        train=train,
        test=[item for item in items if item.split != "train"],
        new_databases=frozenset(item.db_id for item in items) - seen,
    )
