"""A chat server on loopback that does what a test tells it, and counts what it was asked."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What to send back. `cut_after`: bytes of the body after which the connection is closed."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    cut_after: int | None = None


def chat(text: object = "SELECT 1", *, prompt: int = 10, completion: int = 5, delay_s: float = 0.0) -> Answer:
    """Answer as OpenAI's server does."""
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    message = {"role": "assistant", "content": text}
    return Answer(
        body=json.dumps({"choices": [{"message": message}], "usage": usage}).encode(), delay_s=delay_s
    )


def refusal(status: int, *, delay_s: float = 0.0, **headers: str) -> Answer:
    """Refuse; `retry_after="1"` becomes the header Retry-After."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = json.dumps({"error": {"message": f"told to say {status}"}}).encode()
    return Answer(status=status, body=body, headers=named, delay_s=delay_s)


class ChatServer(ThreadingHTTPServer):
    """Answers the n-th try of a question (from 0) with what `script(question, n)` returns."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, script: Callable[[str, int], Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()  # sent in full with status 200
        self.times: list[float] = []
        self.in_flight: list[int] = []  # at the start of each request
        self.bodies: list[dict[str, Any]] = []
        self.paths: set[str] = set()
        self.keys: set[str | None] = set()
        self.lock = threading.Lock()
        self.now = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def answer(self, body: dict[str, Any], question: str, tries: int) -> Answer:
        """Make the answer to a request; a server of another kind looks at its body."""
        return self.script(question, tries)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing where the client has gone."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ChatServer

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
        with server.lock:
            tries = server.asked[question]
            server.asked[question] += 1
            server.now += 1
            server.in_flight.append(server.now)
            server.times.append(time.monotonic())
            server.bodies.append(body)
            server.paths.add(self.path)
            server.keys.add(self.headers["Authorization"])
        answer = server.answer(body, question, tries)
        try:
            time.sleep(answer.delay_s)
        finally:
            with server.lock:
                server.now -= 1
        self._send(answer)
        if answer.status == 200 and answer.cut_after is None:
            with server.lock:
                server.answered[question] += 1

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body[: answer.cut_after])
        if answer.cut_after is not None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@contextmanager
def serve(
    script: Callable[[str, int], Answer], *, kind: type[ChatServer] = ChatServer
) -> Iterator[ChatServer]:
    """Run a server while the block runs."""
    with kind(script) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
