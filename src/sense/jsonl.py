"""Read, check and append JSON Lines. Errors name the file, the line and the field.

A file is append-only, so a job that was killed has lost at most its last, half-written line: `Appender` takes
that line off before it writes on, and `resume` before it reads.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from pydantic import TypeAdapter, ValidationError

from sense.errors import DataError, shorten

Record = TypeVar("Record")

_encoder = json.JSONEncoder(ensure_ascii=False)  # made once: to make one takes longer than to use it
WRITE_EVERY_S = 0.1  # all that a kill can cost of what is written soon


def read(path: Path, record_type: type[Record]) -> list[Record]:
    """Read every record of a file.

    Raises:
        DataError: the file is missing, or a line is not JSON or not such a record.
    """
    with contextlib.suppress(OSError, ValidationError):  # all at once is far faster; errors are found below
        lines = [line for line in path.read_bytes().split(b"\n") if line.strip()]
        whole: TypeAdapter[list[Record]] = TypeAdapter(list[record_type])  # type: ignore[valid-type]
        return whole.validate_json(b"[" + b",".join(lines) + b"]")
    adapter = TypeAdapter(record_type)
    records: list[Record] = []
    for number, value in _values(path):
        try:
            records.append(adapter.validate_python(value))
        except ValidationError as error:
            raise DataError(f"{path}:{number}: {first_complaint(error)}") from None
    return records


def resume(path: Path, record_type: type[Record]) -> list[Record]:
    """Read what a killed job has left in its own file: nothing if there is none, and never half a line."""
    if not path.exists():
        return []
    _drop_unfinished_line(path)
    return read(path, record_type)


def resume_objects(path: Path) -> list[dict[str, Any]]:
    """Read what a killed job has left, as plain objects; never half a line."""
    _drop_unfinished_line(path)
    return read_objects(path)


def read_objects(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON objects whose fields are the caller's to check."""
    objects: list[dict[str, Any]] = []
    for number, value in _values(path):
        if not isinstance(value, dict):
            kind = type(value).__name__
            raise DataError(f"{path}:{number}: an object like {{...}} is expected, not {kind}")
        objects.append(value)
    return objects


def write(path: Path, records: Iterable[object]) -> int:
    """Write a whole file at once: under another name first, so that it is there completely or not at all."""
    part = path.with_name(path.name + ".part")
    count = 0
    with part.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(to_line(record))
            count += 1
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return count


class Appender:
    """Append records to a file that an earlier, killed run may have left with half a last line."""

    def __init__(self, path: Path) -> None:
        """Open `path` for appending and take off an unfinished last line."""
        _drop_unfinished_line(path)
        self._file = path.open("a", encoding="utf-8")
        self._soon: list[str] = []
        self._written_at = time.monotonic()

    def __enter__(self) -> Self:
        """Return the appender itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what waits, and close the file."""
        self.add()
        self._file.close()

    def add(self, *records: object) -> None:
        """Write records with one call to the system, so that a kill leaves all of them or a torn tail."""
        self._file.write("".join([*self._soon, *map(to_line, records)]))
        self._file.flush()
        self._soon.clear()
        self._written_at = time.monotonic()

    def add_soon(self, record: object) -> None:
        """Write a record with those of the next moment; for records made in less time than a write takes."""
        self._soon.append(to_line(record))
        if time.monotonic() - self._written_at > WRITE_EVERY_S:
            self.add()


def _fields_of(record: Any) -> dict[str, Any]:
    # Ours are flat; `asdict` copies every value of them, in several times the time of writing.
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def to_line(record: object) -> str:
    """Turn a record (dataclass or dictionary) into one line of JSON with its newline."""
    value = _fields_of(record) if is_dataclass(record) and not isinstance(record, type) else record
    line = _encoder.encode(value)
    try:
        line.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which a model may write: only its escape is UTF-8
        line = json.dumps(value)
    return line + "\n"


def first_complaint(error: ValidationError) -> str:
    """Say in one line what pydantic found first: the field, what is wrong with it, the value."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "the value"
    if first["type"] in ("missing", "missing_argument"):
        return f"{field!r} is missing"
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{field!r} is not known here"
    return f"{field!r}: {first['msg']}, got {shorten(first['input'])}"


def _values(path: Path) -> Iterator[tuple[int, object]]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: a file is expected, this is a folder") from None
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{number}: not JSON: {error}") from None


def _drop_unfinished_line(path: Path) -> None:
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with path.open("r+b") as file:
            file.truncate(whole)
