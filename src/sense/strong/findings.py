"""The summary of `sense filter`: what was kept and dropped, and what its checks and measures found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sense.databases.features import sql_features
from sense.databases.hardness import hardness
from sense.strong.checks import MEASURES, Item
from sense.strong.splits import Splits

EXAMPLES = 3  # of what each check found


@dataclass(slots=True)
class Findings:
    """What a check found: how often, and the first of it."""

    count: int = 0
    examples: list[dict[str, str]] = field(default_factory=list)

    def add(self, item: Item, why: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append({"id": item.id, "reason": why, "question": item.question, "sql": item.sql})


def counts(
    items: Sequence[Item],
    kept: Sequence[Item],
    dropped: Sequence[dict[str, Any]],
    splits: Splits,
    built: dict[str, dict[str, int]],
    rejected_rows: int,
) -> dict[str, Any]:
    """Count what came in and what is kept."""
    by_database = Counter(item.db_id for item in kept)
    new = splits.new_databases
    return {
        "items": len(items),
        "kept": len(kept),
        "dropped": dict(Counter(str(item["check"]) for item in dropped)),
        "databases": len(built),
        "rejected_rows": rejected_rows,
        "train": len(splits.train),
        "test_seen": sum(item.db_id not in new for item in splits.test),
        "test_new": sum(item.db_id in new for item in splits.test),
        "hardness": dict(Counter(str(hardness(item.sql)) for item in kept)),
        "as_asked": sum(str(hardness(item.sql)) == item.level for item in kept),
        "by_database": {
            name: {"questions": by_database[name], "new": name in new, "rows": rows}
            for name, rows in built.items()
        },
    }


def details(found: dict[str, Findings], kept: Sequence[Item]) -> dict[str, Any]:
    """Say what the checks dropped and the measures counted, with examples."""
    asked = Counter(name for item in kept for name in item.features or ())
    used = Counter(name for item in kept for name in item.features or () if name in sql_features(item.sql))
    features = {name: {"asked": asked[name], "used": used[name]} for name in sorted(asked)}
    return {
        "reported": {name: found[name].count for name, _ in MEASURES},
        **({"features": features} if features else {}),
        "examples": {name: findings.examples for name, findings in found.items() if findings.count},
    }
