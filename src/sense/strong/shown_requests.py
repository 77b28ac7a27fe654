"""Show a person what is still to be sent to a model, word for word."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sense import jsonl


def requests_text(path: Path) -> str:
    """Write the requests of a batch input file so that they can be read; "" where there is no such file.

    The id is a name for the answer to come back to; a server that is asked directly is not told it.
    """
    lines = jsonl.read_objects(path) if path.exists() else []
    return "\n".join(_request(line["custom_id"], line["body"]) for line in lines)


def _request(name: str, body: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{key} {value}" for key, value in body.items() if key != "messages")
    messages = [f"--- {message['role']}\n{message['content']}" for message in body["messages"]]
    return "\n".join([f"=== {name}: {settings}", *messages])
