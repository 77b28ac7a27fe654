"""Every exception raised on purpose. A SenseError is for the user: one line, exit code 2, no traceback.

    SenseError
    ├── ConfigError     a setting, recipe or command line that cannot be obeyed
    ├── DataError       a file that does not hold what it should (names the file, and the line if any)
    ├── DatabaseError   a database that is missing or cannot be read
    ├── ModelError      a model that is missing, unknown, or does not fit its use
    └── DiskError       no room for what is to be written

What a query does wrong is not an exception: see `execution.outcome`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SenseError(Exception):
    """What is wrong, the value, what would be right, where: in one line."""


class ConfigError(SenseError):
    """A setting, recipe or command line that cannot be obeyed."""


class DataError(SenseError):
    """A file that does not hold what it should."""


class DatabaseError(SenseError):
    """A database that is missing or cannot be read."""


class ModelError(SenseError):
    """A model that is missing, unknown, or does not fit its use."""


class DiskError(SenseError):
    """No room on the disk for what is to be written."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Name the known word that a typing error most likely meant, and list the rest.

    >>> nearest("opnai", ["api", "openai", "local"])
    "did you mean 'openai'? known: api, local, openai"
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    guess = f"did you mean {close[0]!r}? " if close else ""
    return f"{guess}known: {', '.join(names)}"


def shorten(value: object, limit: int = 80) -> str:
    """Write a value for an error message, cut where it would fill the screen."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
