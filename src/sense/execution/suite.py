"""A test suite of a database: the original and a few variants that tell gold queries from their neighbors.

A variant is kept for the pairs of a gold query and a neighbor that it tells apart and nothing before it does.
Every gold query runs on every kept variant. Where a gold query leaves its answer open nothing is told apart,
and a variant that opens one has to be worth it.

Source: Zhong, Yu and Klein (2020), Semantic Evaluation for Text-to-SQL with Distilled Test Suites. Here
    variants follow the constants of the gold queries, and the best are taken out of small batches.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from sense.databases.gold_facts import GoldFacts, Place, parse
from sense.databases.neighbors import Kind, neighbors
from sense.databases.neighbors import Value as Constant
from sense.databases.schema import schema_of_file
from sense.databases.spider import PRIVATE_MARK
from sense.databases.sqlite import UNFINISHED, open_read_only
from sense.execution.filler import Source
from sense.execution.open_answers import open_golds
from sense.execution.outcome import Match
from sense.execution.pool import CompareJob, compare_queries
from sense.execution.rules import RULES, Rule
from sense.execution.run import Limits
from sense.execution.variants import Unbuildable, make_variant, read_source, reverse_variant

BATCH = 8  # variants made at a time: the best of them are kept
NOT_RUNNING = (Match.CANDIDATE_ERROR, Match.CANDIDATE_REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How a suite is made.

    `variants` is how many are kept at most, `tries` how many are made to choose from, `neighbors` how many a
    gold query has at most. `rule` says what telling apart means; for Spider that is OWN: it compares as the
    official script does, but a neighbor with the word `value` in it would always fail by that script.
    """

    variants: int = 12
    tries: int = 48
    neighbors: int = 60
    seed: int = 0
    rule: Rule = Rule.OWN
    limits: Limits = field(default_factory=lambda: Limits(timeout_s=5))
    workers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KindCount:
    """Neighbors of one kind: all, and those told apart by the original alone and by the whole suite."""

    neighbors: int
    by_original: int
    by_suite: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteCounts:
    """What became of one database.

    `golds` counts different gold queries, `golds_failed` those of them that do not run on the original and
    were left out. `neighbors` counts those that run; `by_original` and `by_suite` say how many of them are
    told apart. `open_by_original` and `open_by_suite` count golds that leave their answer open there, on one
    file at least. `unbuildable` says why there are no variants, "" if there was nothing in the way.
    """

    db_id: str
    golds: int
    golds_failed: int
    neighbors: int
    by_original: int
    by_suite: int
    tried: int
    kept: int
    open_by_original: int
    open_by_suite: int
    bytes: int
    seconds: float
    unbuildable: str
    by_kind: dict[str, KindCount]


@dataclass(frozen=True, slots=True)
class _Pair:
    gold: str
    neighbor: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class _Tried:
    """A variant with the pairs that it tells apart, and the golds that leave their answer open on it."""

    path: Path
    apart: frozenset[_Pair]
    open_golds: frozenset[str]


def build_suite(
    database: Path,
    folder: Path,
    *,
    db_id: str,
    golds: Sequence[str],
    effort: Effort,
    on_step: Callable[[], None] | None = None,
) -> SuiteCounts:
    """Write `<db_id>.sqlite`, a copy of the original, and `<db_id>_v01.sqlite` and so on to a folder.

    Args:
        database: the original; it is only read.
        folder: where to write; it must be there and empty.
        db_id: the name of the files.
        golds: the gold queries, repetitions allowed.
        effort: how much is tried.
        on_step: called once for the original and once for each variant tried.

    Raises:
        DatabaseError: the original cannot be read, or has no tables.
    """
    began = time.monotonic()
    original = folder / f"{db_id}.sqlite"
    _copy(database, original)
    queries = list(dict.fromkeys(golds))
    source = read_source(original, queries)
    running, pairs, told = _judge_original(original, queries, source=source, effort=effort)
    step = on_step or (lambda: None)
    step()
    by_original = frozenset(told)
    ties = open_golds(
        {original: None}, running, rule=effort.rule, limits=effort.limits, workers=effort.workers
    )
    opened = set(ties.get(original, ()))
    open_by_original = len(opened)
    gold_worth = len(pairs) / max(1, len(running))
    kept: list[_Tried] = []
    tried = 0
    unbuildable = ""
    candidates = folder / "candidates"
    candidates.mkdir()
    quota = max(1, -(-effort.variants * BATCH // effort.tries))
    while tried < effort.tries and len(kept) < effort.variants and not unbuildable and len(told) < len(pairs):
        numbers = range(tried, min(tried + BATCH, effort.tries))
        tried += len(numbers)
        left = [pair for pair in pairs if pair not in told]
        made = [
            _make(source, candidates / f"{number}.sqlite", db_id=db_id, number=number, seed=effort.seed)
            for number in numbers
        ]
        paths = [path for path in made if isinstance(path, Path)]
        unbuildable = "" if paths else next(each.reason for each in made if isinstance(each, Unbuildable))
        found = _judge_variants(paths, source=source, golds=running, pairs=left, effort=effort)
        for _ in range(min(quota, effort.variants - len(kept))):
            each = _best(found, told=told, opened=opened, gold_worth=gold_worth)
            if each is None:
                break
            kept.append(each)
            found.remove(each)
            told |= each.apart
            opened |= each.open_golds
            each.path.replace(folder / f"{db_id}_v{len(kept):02d}.sqlite")
        for _ in numbers:
            step()
    shutil.rmtree(candidates)
    return SuiteCounts(
        db_id=db_id,
        golds=len(queries),
        golds_failed=len(queries) - len(running),
        neighbors=len(pairs),
        by_original=len(by_original),
        by_suite=len(told),
        tried=tried,
        kept=len(kept),
        open_by_original=open_by_original,
        open_by_suite=len(opened),
        bytes=sum(path.stat().st_size for path in folder.iterdir()),
        seconds=round(time.monotonic() - began, 1),
        unbuildable=unbuildable,
        by_kind={
            kind.value: KindCount(
                neighbors=sum(pair.kind is kind for pair in pairs),
                by_original=sum(pair.kind is kind for pair in by_original),
                by_suite=sum(pair.kind is kind for pair in told),
            )
            for kind in Kind
            if any(pair.kind is kind for pair in pairs)
        },
    )


def _copy(database: Path, path: Path) -> None:
    """Copy a database byte for byte, unless changes of it wait in a file beside it; its mark goes along."""
    mark = database.with_name(PRIVATE_MARK)
    if mark.exists():
        shutil.copyfile(mark, path.with_name(PRIVATE_MARK))
    if not any(database.with_name(database.name + suffix).exists() for suffix in UNFINISHED):
        shutil.copyfile(database, path)
        return
    with closing(open_read_only(database)) as before, closing(sqlite3.connect(path)) as after:
        before.backup(after)


def _judge_original(
    original: Path, golds: Sequence[str], *, source: Source, effort: Effort
) -> tuple[list[str], list[_Pair], set[_Pair]]:
    """Return the golds that run, the pairs whose neighbor runs, and those that the original tells apart."""
    pairs = list(_pairs(original, golds, source=source, effort=effort))
    jobs = [(gold, gold) for gold in golds] + [(pair.gold, pair.neighbor) for pair in pairs]
    matches = _compare([(original, gold, candidate) for gold, candidate in jobs], effort)
    running = [gold for gold in golds if next(matches) is Match.SAME]
    runs = set(running)
    found: list[_Pair] = []
    told: set[_Pair] = set()
    for pair in pairs:
        match = next(matches)
        if pair.gold in runs and match not in NOT_RUNNING:
            found.append(pair)
            if match is Match.DIFFERENT:
                told.add(pair)
    return running, found, told


def _pairs(original: Path, golds: Sequence[str], *, source: Source, effort: Effort) -> Iterator[_Pair]:
    """Yield each gold with its neighbors, but for those that the rule takes for the gold query itself."""
    schema = schema_of_file(original, original.stem)
    constants = _constants(source.facts)
    for gold in golds:
        tree = parse(gold)
        if tree is None:
            continue
        seen = {_plain(tree.sql(dialect="sqlite"), effort.rule)}
        rng = random.Random(f"{effort.seed}/{gold}")
        for neighbor in neighbors(gold, schema, constants=constants, limit=effort.neighbors, rng=rng):
            plain = _plain(neighbor.sql, effort.rule)
            if plain not in seen:
                seen.add(plain)
                yield _Pair(gold, neighbor.sql, neighbor.kind)


def _plain(sql: str, rule: Rule) -> str:
    return "".join(RULES[rule].prepare_gold(sql).split())


def _constants(facts: GoldFacts) -> dict[Place, list[Constant]]:
    found: dict[Place, dict[Constant, None]] = {}
    for condition in facts.conditions:
        for constant in condition:
            found.setdefault(constant.place, {})[constant.value] = None
    return {place: list(values) for place, values in found.items()}


def _make(source: Source, path: Path, *, db_id: str, number: int, seed: int) -> Path | Unbuildable:
    return make_variant(source, path, rng=random.Random(f"{seed}/{db_id}/{number}")) or path


def _judge_variants(
    paths: Sequence[Path], *, source: Source, golds: Sequence[str], pairs: Sequence[_Pair], effort: Effort
) -> list[_Tried]:
    """Judge variants on pairs not yet told apart; those on which a gold query fails are left out."""
    turned = {path: path.with_suffix(".reversed") for path in paths}
    both = {path: other for path, other in turned.items() if reverse_variant(source, path, other) is None}
    open_on = open_golds(both, golds, rule=effort.rule, limits=effort.limits, workers=effort.workers)
    for other in both.values():
        other.unlink()
    asked = [(path, pair) for path in open_on for pair in pairs if pair.gold not in open_on[path]]
    matches = _compare([(path, pair.gold, pair.neighbor) for path, pair in asked], effort)
    apart: dict[Path, set[_Pair]] = {path: set() for path in open_on}
    for (path, pair), match in zip(asked, matches, strict=True):
        if match is Match.DIFFERENT:
            apart[path].add(pair)
    return [_Tried(path, frozenset(apart[path]), open_on[path]) for path in open_on]


def _compare(jobs: Sequence[tuple[Path, str, str]], effort: Effort) -> Iterator[Match]:
    listed = [
        CompareJob(databases=(path,), gold_sql=gold, candidate_sql=candidate, rule=effort.rule)
        for path, gold, candidate in jobs
    ]
    for comparison in compare_queries(listed, limits=effort.limits, workers=effort.workers):
        yield comparison.match


def _best(found: Sequence[_Tried], *, told: Set[_Pair], opened: Set[str], gold_worth: float) -> _Tried | None:
    """Choose the variant that tells most apart, less what the gold queries are worth that it opens."""

    def gain(each: _Tried) -> float:
        return len(each.apart - told) - gold_worth * len(each.open_golds - opened)

    best = max(found, key=gain, default=None)
    return best if best is not None and gain(best) > 0 else None
