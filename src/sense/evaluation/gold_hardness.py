"""The hardness of a gold query: by Spider's own grammar where that reads it, else by the same counts."""

from __future__ import annotations

from functools import lru_cache

from sense.databases.hardness import hardness
from sense.databases.schema import Schema
from sense.databases.spider_query import spider_hardness
from sense.databases.spider_sql import parse

UNKNOWN = "unknown"  # of a query that cannot be parsed at all


@lru_cache(maxsize=4_096)
def gold_hardness(sql: str, schema: Schema) -> str:
    """Class a query as Spider does."""
    query = parse(sql, schema)
    return str((spider_hardness(query) if query else hardness(sql)) or UNKNOWN)
