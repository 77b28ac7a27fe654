"""Compare candidates with gold queries inside a worker, each query run as seldom as can be.

Databases stay open from one item to the next. The result of a gold query is kept in memory, and on disk for
later runs; a candidate with the text of its gold query is not run again.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections import OrderedDict
from functools import partial
from itertools import islice
from pathlib import Path

from sense.execution.compare import TooManyColumnOrders, difference
from sense.execution.gold_store import GoldStore, is_repeatable
from sense.execution.outcome import Comparison, Ending, Match, Rows, Timeout, TooMuch
from sense.execution.protocol import Board, Phase
from sense.execution.rules import CAUSE_OF, RULES, Rule, Steps
from sense.execution.run import MAX_SQL_BYTES, TOO_LONG, Limits, Reader, size_bytes
from sense.execution.verdicts import Database, candidate_failed, gold_failed, where

KEPT_BYTES = 64 * 2**20  # the results of hundreds of gold queries; one that is larger is run again
OPEN_DATABASES = 16  # each with some 2 MB of SQLite's page cache
MAX_CANDIDATES = 10_000  # that a rule may make of one candidate


class ResultCache:
    """Results of queries, the latest used kept, up to a total size."""

    def __init__(self, max_bytes: int = KEPT_BYTES) -> None:
        """Start empty."""
        self._max_bytes = max_bytes
        self._used_bytes = 0
        self._kept: OrderedDict[tuple[str, str], tuple[Ending, int]] = OrderedDict()

    def get(self, database: str, sql: str) -> Ending | None:
        """Return how the query ended before, None if that is not kept."""
        found = self._kept.get((database, sql))
        if found is None:
            return None
        self._kept.move_to_end((database, sql))
        return found[0]

    def put(self, database: str, sql: str, ending: Ending) -> None:
        """Keep how the query ended, at the cost of what was not used for longest."""
        size = len(sql) + (size_bytes(ending.rows) if isinstance(ending, Rows) else 0)
        if size > self._max_bytes:
            return
        self._kept[database, sql] = (ending, size)
        self._used_bytes += size
        while self._used_bytes > self._max_bytes:
            _, (_, freed) = self._kept.popitem(last=False)
            self._used_bytes -= freed


class Judge:
    """Runs and compares; the board always says what is in hand."""

    def __init__(self, limits: Limits, board: Board, store: GoldStore | None) -> None:
        """Take the limits of a query, and where results of gold queries are kept; None: not on disk."""
        self._limits, self._board, self._store = limits, board, store
        self._golds = ResultCache()
        self._readers: OrderedDict[str, Reader] = OrderedDict()

    def run(self, index: int, database: Database, sql: str) -> Ending:
        """Run a query as item `index`.

        Raises:
            DatabaseError: the database is missing or not an SQLite file.
        """
        self._board.note(index, Phase.CANDIDATE)
        ending = self._reader(database.path).run(sql)
        self._board.note(index, Phase.ANSWER)
        return ending

    def compare(
        self, index: int, databases: list[Database], *, gold_sql: str, candidate_sql: str, rule: Rule
    ) -> Comparison:
        """Compare on every database as item `index`: the same only if the same on all.

        A gold query must run on all of them. Of several candidates that the rule makes, the first that is the
        same everywhere counts, else the first of all; all but the first share one time limit.

        Raises:
            DatabaseError: a database is missing or not an SQLite file.
        """
        if len(gold_sql) > MAX_SQL_BYTES:
            return gold_failed(TooMuch(TOO_LONG), databases[0], databases[:1])
        if len(candidate_sql) > MAX_SQL_BYTES:
            return candidate_failed(TooMuch(TOO_LONG), databases[0], databases[:1])
        if rule is Rule.ROBUST or rule in CAUSE_OF:
            return self._compare_robustly(
                index, databases, gold_sql=gold_sql, candidate_sql=candidate_sql, rule=rule
            )
        steps = RULES[rule]
        # To prepare a query can be slow, too: the board must name the right item and side by then.
        self._board.note(index, Phase.GOLD)
        gold = steps.prepare_gold(gold_sql)
        self._board.note(index, Phase.COMPARE)
        candidates = steps.prepare_candidates(gold_sql, candidate_sql)
        first = self._compare(index, databases, gold=gold, candidate=next(candidates), steps=steps)
        if first.match in (Match.SAME, Match.GOLD_FAILED):
            return first
        deadline = time.monotonic() + self._limits.timeout_s
        for candidate in islice(candidates, MAX_CANDIDATES - 1):
            if time.monotonic() > deadline:
                return candidate_failed(Timeout(self._limits.timeout_s), databases[0], databases[:1])
            found = self._compare(index, databases, gold=gold, candidate=candidate, steps=steps)
            if found.match in (Match.SAME, Match.GOLD_FAILED):
                return found
        return first

    def save(self) -> None:
        """Make the results kept on disk lasting."""
        if self._store is not None:
            self._store.save()

    def _compare(
        self, index: int, databases: list[Database], *, gold: str, candidate: str, steps: Steps
    ) -> Comparison:
        golds: list[Rows | None] = []
        is_gold = _same_text(gold, candidate) and is_repeatable(gold)
        for database in databases:
            ending = self._run_gold(index, database, gold, only_whether=is_gold)
            if ending is not None and not isinstance(ending, Rows):
                return gold_failed(ending, database, databases)
            golds.append(ending)
        if is_gold:
            return Comparison(Match.SAME, "", 1.0)
        for database, wanted in zip(databases, golds, strict=True):
            assert wanted is not None
            self._board.note(index, Phase.CANDIDATE)
            found = self._query(database.path, candidate)
            if not isinstance(found, Rows):
                return candidate_failed(found, database, databases)
            self._board.note(index, Phase.COMPARE)
            try:
                value = float(steps.value(wanted, found, gold))
            except TooManyColumnOrders:
                return Comparison(Match.CANDIDATE_TOO_MUCH, "too many orders of the columns to try")
            except MemoryError:
                return Comparison(Match.CANDIDATE_TOO_MUCH, "out of memory in comparing the results")
            if value < 1.0:
                reason = where(difference(wanted, found), database, databases)
                return Comparison(Match.DIFFERENT, reason, value)
        return Comparison(Match.SAME, "", 1.0)

    def _compare_robustly(
        self, index: int, databases: list[Database], *, gold_sql: str, candidate_sql: str, rule: Rule
    ) -> Comparison:
        from sense.execution import robust_rules  # here, for it takes longer to load than most runs need

        self._board.note(index, Phase.GOLD)
        asked = robust_rules.Asked(
            databases=databases,
            gold_sql=gold_sql,
            candidate_sql=candidate_sql,
            run_gold=partial(self._gold, index),
            run_candidate=partial(self._candidate, index),
        )
        if rule is Rule.ROBUST:
            return robust_rules.compare(asked)
        return Comparison(Match.DIFFERENT, robust_rules.cause(asked, official=CAUSE_OF[rule]))

    def _gold(self, index: int, database: Database, sql: str) -> Ending:
        ending = self._run_gold(index, database, sql, only_whether=False)
        assert ending is not None
        self._board.note(index, Phase.COMPARE)  # what comes next is not the gold query's fault
        return ending

    def _candidate(self, index: int, database: Database, sql: str) -> Ending:
        self._board.note(index, Phase.CANDIDATE)
        ending = self._query(database.path, sql)
        self._board.note(index, Phase.COMPARE)
        return ending

    def _run_gold(self, index: int, database: Database, sql: str, *, only_whether: bool) -> Ending | None:
        """Run a gold query or find its result; None: it is known to run, where that is all that is asked."""
        path, digest = database
        ending = self._golds.get(path, sql)
        if ending is not None:
            return ending
        self._board.note(index, Phase.GOLD)
        keep = self._store if digest is not None else None
        if keep is not None and digest is not None:
            if only_whether and keep.has(digest, sql):
                return None
            ending = keep.get(digest, sql)
        if ending is not None:
            self._golds.put(path, sql, ending)
            return ending
        began = time.monotonic()
        ending = self._query(path, sql)
        is_slow = time.monotonic() - began >= self._limits.keep_from_s
        with contextlib.suppress(MemoryError):  # to keep it takes more than to have it
            if keep is not None and digest is not None and is_slow and isinstance(ending, Rows):
                keep.put(digest, sql, ending)
            self._golds.put(path, sql, ending)
        return ending

    def _query(self, path: str, sql: str) -> Ending:
        self.save()  # other processes cannot write to the store before, and this may take long
        return self._reader(path).run(sql)

    def _reader(self, path: str) -> Reader:
        reader = self._readers.get(path)
        if reader is None:
            reader = self._readers[path] = Reader(Path(path), self._limits)
            if len(self._readers) > OPEN_DATABASES:
                self._readers.popitem(last=False)[1].close()
        else:
            self._readers.move_to_end(path)
        return reader


_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|[\w$.]+|->>?|[<>=!|]+|[^\s\w]")
# Where white space may be part of a token, or is none to SQLite: x'31' is not x '31', 2e+1 not 2e + 1.
_ODD = re.compile(r"--|/\*|[`\[\\]|[\d.][eE][+-]|[xX]'|[^\S \t\n\f\r]")


def _same_text(gold: str, candidate: str) -> bool:
    """Tell whether two queries are the same but for white space and the case of what is not quoted."""
    if gold == candidate:
        return True
    if _squeezed(gold) != _squeezed(candidate):
        return False
    if not (gold.isascii() and candidate.isascii()) or _ODD.search(gold) or _ODD.search(candidate):
        return False
    return _folded(gold) == _folded(candidate)


def _squeezed(sql: str) -> str:
    return "".join(sql.split()).lower()


def _folded(sql: str) -> list[str]:
    return [text if text[0] in "'\"" else text.lower() for text in _TOKEN.findall(sql)]
