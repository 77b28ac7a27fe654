"""What a process that runs strangers' SQL may take of the machine."""

from __future__ import annotations

import contextlib
import sqlite3

HEAP_SHARE = 0.75  # of the memory for SQLite itself; the rest is for Python's copy of the result


def bound_memory(memory_bytes: int) -> None:
    """Bound the address space of this process, and SQLite's share of it; leave no core file behind."""
    # The process limit first, SQLite's own for platforms without one.
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"PRAGMA hard_heap_limit = {int(memory_bytes * HEAP_SHARE)}")
