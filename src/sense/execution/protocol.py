"""The lines of JSON that a worker process and its parent exchange.

To the worker: `{"limits": ..}` once, then a request at a time. From it: `{"phase": ..}` whenever it turns to
something else, then one answer: `{"ending": ..}`, `{"comparison": ..}`, or `{"database_error": ..}`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from typing import Any

from sense.execution.outcome import Ending, Refused, Rows, SqlError, Timeout, TooMuch, Value, WorkerDied

Message = dict[str, Any]


class Phase(StrEnum):
    """What a worker is at; it tells which side is to blame when the worker has to be killed."""

    START = "start"
    READY = "ready"
    GOLD = "gold"
    CANDIDATE = "candidate"
    COMPARE = "compare"
    ANSWER = "answer"


FAILURES = {kind.__name__: kind for kind in (SqlError, Refused, Timeout, TooMuch, WorkerDied)}


def to_line(message: Message) -> bytes:
    """Write a message; bytes become `{"hex": ..}`."""
    return json.dumps(message, default=_hex_of_bytes).encode() + b"\n"


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
        return Rows(fields["columns"], tuple(tuple(map(_value, row)) for row in fields["rows"]))
    return FAILURES[kind](**fields)


def _hex_of_bytes(value: object) -> dict[str, str]:
    assert isinstance(value, bytes)
    return {"hex": value.hex()}


def _value(value: Any) -> Value:
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value
