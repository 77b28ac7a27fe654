"""An OpenAI-compatible server: its address and key, what its statuses mean, what its bodies say."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import urlsplit

from sense.errors import ConfigError, shorten
from sense.llms.batch_files import Reply

KEY_NAMES = ("SENSE_API_KEY", "OPENAI_API_KEY")
OVERLOADED = frozenset({429, 503, 529})  # 529: Anthropic's "overloaded"
TRY_AGAIN = OVERLOADED | {408}  # and all above 500
ENDS_ALL = {
    401: f"set {KEY_NAMES[0]} (or {KEY_NAMES[1]}) to a key of this server",
    402: "the account has no credit",
    403: "the key may not use this model",
    404: "the model's name or the base URL is not known there",
}
MAX_ERROR_BYTES = 2**16  # of a body that explains an error
MAX_MESSAGE = 200


def api_key() -> str | None:
    """Return the key from the environment; None where there is none, as with most local servers.

    Raises:
        ConfigError: it holds what cannot be sent.
    """
    for name in KEY_NAMES:
        key = os.environ.get(name, "").strip()
        if key:
            if not (key.isascii() and key.isprintable()):
                raise ConfigError(f"{name}: holds characters that no key has; copy it again")
            return key
    return None


class Server:
    """The address of a server."""

    def __init__(self, base_url: str) -> None:
        """Check the address.

        Raises:
            ConfigError: it is none, or holds a password.
        """
        try:
            parts = urlsplit(base_url)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            valid = False
        if not valid or parts.query or parts.fragment:
            raise ConfigError(f"base URL {base_url!r}: one like https://api.openai.com/v1 is expected")
        if parts.username or parts.password:
            raise ConfigError(f"base URL of {parts.hostname}: leave the key out, and set {KEY_NAMES[0]}")
        self.url = base_url.rstrip("/") + "/chat/completions"

    def headers(self, key: str | None) -> dict[str, str]:
        """Return what goes with every request; replies are not to be packed, so that their bytes can be counted."""
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        return headers | {"Authorization": f"Bearer {key}"} if key else headers

    def message(self, data: bytes, *, key: str | None) -> str:
        """Find the words of an error in its body."""
        try:
            body = json.loads(data)
        except (ValueError, RecursionError):
            return _quote(data[:MAX_MESSAGE].decode(errors="replace"), key)
        return _quote(_error_words(body), key)


def read_reply(custom_id: str, data: bytes, *, key: str | None) -> tuple[Reply, bool]:
    """Read the body of an answer: the reply, and whether the server said what it used."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        what = f"not JSON: {_quote(data[:MAX_MESSAGE].decode(errors='replace'), key)}" if data else "empty"
        return Reply(custom_id=custom_id, text="", error=f"the reply is {what}"), False
    usage = body.get("usage") if isinstance(body, dict) else None
    prompt_tokens, completion_tokens = (
        _count(usage.get(name) if isinstance(usage, dict) else None)
        for name in ("prompt_tokens", "completion_tokens")
    )
    text = _text(body)
    if text is None:
        error = f"no choices with a text in the reply: {_quote(_error_words(body), key)}"
    else:
        error = None if text.strip() else "the model wrote nothing"
    reply = Reply(
        custom_id=custom_id,
        text=text or "",
        error=error,
        prompt_tokens=prompt_tokens or 0,
        completion_tokens=completion_tokens or 0,
    )
    return reply, prompt_tokens is not None and completion_tokens is not None


def _text(body: Any) -> str | None:
    """Take the text of the first choice; no content (null) is a text without a letter."""
    try:
        content = body["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        return None
    if content is None:
        return ""
    return content if isinstance(content, str) else None


def _error_words(body: Any) -> str:
    """Take what OpenAI's servers and others call the message of an error, else all of it."""
    if isinstance(body, dict):
        error = body.get("error")
        words = error.get("message") if isinstance(error, dict) else error or body.get("message")
        if isinstance(words, str):
            return words
    return json.dumps(body)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _quote(text: str, key: str | None) -> str:
    """Quote a server's words in one line; some servers repeat the key that they refuse."""
    return shorten(text.replace(key, "***") if key else text, MAX_MESSAGE)
