"""The entry point: `sense` and `python -m sense`.

A command that runs queries, and little else, gets its worker processes started before anything else is
loaded: both take about as long.
"""

from __future__ import annotations

import gc
import sys

COLLECT_EVERY = 50_000  # new objects; Python's own choice is 700
RUN_QUERIES = ("filter", "label", "score")


def main() -> int:
    """Run the command line and return its exit code."""
    # A quick command makes much and throws away little: to look for garbage takes a tenth of its time.
    gc.set_threshold(COLLECT_EVERY)
    words = sys.argv[1:]
    if words[:1] and words[0] in RUN_QUERIES and {"-h", "--help"}.isdisjoint(words):
        from sense.execution.spawn import prepare

        prepare()
    from sense.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
