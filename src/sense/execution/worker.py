"""A process that runs queries for `execution.pool` and may be killed at any moment.

Standard input and output belong to the protocol (`execution.protocol`). The process ends when its input ends,
even in the middle of a query.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

from sense.errors import DatabaseError
from sense.execution.bounds import bound_memory
from sense.execution.gold_store import GoldStore
from sense.execution.judge import Judge
from sense.execution.outcome import TooMuch
from sense.execution.protocol import (
    NOTHING,
    Board,
    Message,
    Phase,
    encode_ending,
    from_line,
    to_json,
    to_line,
)
from sense.execution.rules import Rule
from sense.execution.run import Limits
from sense.execution.verdicts import Database

FLUSH_EVERY_S = 0.1  # answers wait so long for others to travel with
FLUSH_BYTES = 64 * 2**10
COLLECT_EVERY = 5_000  # items; rows refer to nothing, so that there is little to collect


def main() -> None:
    """Answer requests until the input ends."""
    # Ctrl-C reaches the whole group; it is for the parent to end its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    requests: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, requests), daemon=True).start()

    first = from_line(requests.get())
    limits = Limits(**first["limits"])
    board = Board(first["board"])
    bound_memory(limits.memory_bytes)
    gc.disable()  # it would walk through all rows of a large result again and again

    folder = first["gold_store"]
    store = None if folder is None else GoldStore(Path(folder))
    judge = Judge(limits, board, store)
    output.write(to_line({"ready": True}))
    output.flush()
    done = 0
    while True:
        batch = from_line(requests.get())["batch"]
        _answer_all(batch, judge, output=output)
        board.note(NOTHING, Phase.READY)
        judge.save()
        done += len(batch["items"])
        if done >= COLLECT_EVERY:
            gc.collect()
            done = 0


def _answer_all(batch: Message, judge: Judge, *, output: BinaryIO) -> None:
    waiting: list[bytes] = []
    size, flushed = 0, time.monotonic()
    for answer in _answers(batch, judge):
        waiting.append(answer)
        size += len(answer)
        if size > FLUSH_BYTES or time.monotonic() - flushed > FLUSH_EVERY_S:
            _send(waiting, output)
            waiting, size, flushed = [], 0, time.monotonic()
    if waiting:
        _send(waiting, output)


def _send(answers: list[bytes], output: BinaryIO) -> None:
    output.write(b'{"answers": [' + b",".join(answers) + b"]}\n")
    output.flush()


def _answers(batch: Message, judge: Judge) -> Iterator[bytes]:
    """Yield `[index, answer]` of each item in JSON."""
    databases = [Database(path, digest) for path, digest in batch["databases"]]
    rule = Rule(batch["rule"]) if "rule" in batch else None
    for item in batch["items"]:
        try:
            if rule is None:
                yield _run(judge, databases[0], index=item[0], sql=item[1])
            else:
                found = judge.compare(item[0], databases, gold_sql=item[1], candidate_sql=item[2], rule=rule)
                yield to_json([item[0], [found.match, found.reason, found.value]])
        except DatabaseError as error:
            yield to_json([item[0], {"database_error": str(error)}])


def _run(judge: Judge, database: Database, *, index: int, sql: str) -> bytes:
    ending = judge.run(index, database, sql)
    try:
        return to_json([index, {"ending": encode_ending(ending)}])
    except MemoryError:
        return to_json(
            [index, {"ending": encode_ending(TooMuch("out of memory in handing over the result"))}]
        )


def _listen(lines: BinaryIO, requests: SimpleQueue[bytes]) -> None:
    for line in lines:
        requests.put(line)
    os._exit(0)  # nobody is left to answer to, and a query in hand would not hear of it


if __name__ == "__main__":
    main()
