"""What a worker process and its parent say to each other: lines of JSON, and a board that both can see.

To the worker: `{"limits": .., "gold_store": ..}` once, then a batch at a time, all of one rule and database:
`{"batch": {"databases": [[path, digest], ..], "rule": .., "items": [[index, gold, candidate], ..]}}`, or
`{"batch": {"databases": [[path, digest]], "items": [[index, sql], ..]}}`.
From it: `{"ready": true}` once, then `{"answers": [[index, answer], ..]}` as they come; an answer is
`{"ending": ..}`, `[match, reason, value]` or `{"database_error": ..}`.
"""

from __future__ import annotations

import json
import mmap
import struct
import time
from dataclasses import asdict
from enum import IntEnum
from typing import IO, Any, NamedTuple

from sense.execution.outcome import Ending, Refused, Rows, SqlError, Timeout, TooMuch, Value, WorkerDied

Message = dict[str, Any]


class Phase(IntEnum):
    """What a worker is at; it tells which side is to blame when the worker has to be killed."""

    READY = 0
    GOLD = 1
    CANDIDATE = 2
    COMPARE = 3
    ANSWER = 4


NOTHING = -1  # the index on the board of a worker that has no item in hand


class Work(NamedTuple):
    """What a worker is at: the index of the item, the phase, and when it began, by the monotonic clock."""

    item: int
    phase: Phase
    since: float


class Board:
    """A few bytes that a worker writes and its parent reads, even when the worker is dead."""

    FORM = struct.Struct("=qqd")

    def __init__(self, file: IO[bytes] | int) -> None:
        """Share the bytes of a file, which is given by its descriptor in the worker."""
        self._shared = mmap.mmap(file if isinstance(file, int) else file.fileno(), self.FORM.size)

    def note(self, index: int, phase: Phase) -> None:
        """Write what is begun now."""
        self.FORM.pack_into(self._shared, 0, index, phase, time.monotonic())

    def read(self) -> Work:
        """Read what the worker is at, or was when it died."""
        item, phase, since = self.FORM.unpack_from(self._shared)
        return Work(item, Phase(phase), since)

    def close(self) -> None:
        """Let go of the shared bytes."""
        self._shared.close()


FAILURES = {kind.__name__: kind for kind in (SqlError, Refused, Timeout, TooMuch, WorkerDied)}


def to_line(message: Message) -> bytes:
    """Write a message."""
    return to_json(message) + b"\n"


def to_json(value: object) -> bytes:
    """Write part of a message; bytes become `{"hex": ..}`."""
    return _encoder.encode(value).encode()


def from_line(line: bytes) -> Message:
    """Read a message; values of rows stay as JSON has them, see `decode_ending`."""
    message: Message = json.loads(line)
    return message


def encode_ending(ending: Ending) -> Message:
    """Turn an ending into what JSON can say, save for bytes."""
    if isinstance(ending, Rows):
        return {"kind": "Rows", "columns": ending.columns, "rows": ending.rows}
    return {"kind": type(ending).__name__, **asdict(ending)}


def decode_ending(message: Message) -> Ending:
    """Undo `encode_ending`, after a journey through JSON."""
    fields = dict(message)
    kind = fields.pop("kind")
    if kind == "Rows":
        return Rows(fields["columns"], tuple(tuple(map(value_of_json, row)) for row in fields["rows"]))
    return FAILURES[kind](**fields)


def hex_of_bytes(value: object) -> dict[str, str]:
    """Say in JSON what JSON cannot say."""
    assert isinstance(value, bytes)
    return {"hex": value.hex()}


def value_of_json(value: Any) -> Value:
    """Undo `hex_of_bytes`."""
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value


_encoder = json.JSONEncoder(default=hex_of_bytes)  # made once: to make one takes longer than to use it
