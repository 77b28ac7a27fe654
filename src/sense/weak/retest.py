"""Judge right candidates again on variants of their database: some are right by the luck of its rows.

The variants are those of `sense suite build`, or of the published test suites. The database itself is not
asked again, although a suite's folder holds a copy of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from sense.databases.spider import database_files
from sense.databases.sqlite import check_file
from sense.errors import DatabaseError, DataError
from sense.execution.outcome import Comparison, Match
from sense.execution.pool import CompareJob, Pool
from sense.execution.rules import Rule
from sense.progress import meter
from sense.prompts.text_to_sql import one_line
from sense.records import Label, Question, Verdict

Variants = Mapping[str, tuple[Path, ...]]

# What tells a candidate from its gold query; where it was stopped, nothing is known of its result.
APART = {Match.DIFFERENT, Match.CANDIDATE_ERROR, Match.CANDIDATE_REFUSED}


def check_suites(suites: Path) -> None:
    """Check that there is such a folder.

    Raises:
        DataError: there is none.
    """
    if not suites.is_dir():
        raise DataError(f"{suites}: a folder of test suites is expected, as 'sense suite build' makes it")


def find_variants(suites: Path, db_ids: Iterable[str]) -> dict[str, tuple[Path, ...]]:
    """Find the variants of each database, the original left out; none where it has no suite.

    Raises:
        DataError: there is no such folder, or no variant of any of the databases in it.
        DatabaseError: a variant is no SQLite database.
    """
    check_suites(suites)
    found = {db_id: _variants(suites, db_id) for db_id in dict.fromkeys(db_ids)}
    if not any(found.values()):
        raise DataError(
            f"{suites}: there are no variants in it of the candidates' databases, such as "
            f"{next(iter(found))!r}"
        )
    for path in (path for paths in found.values() for path in paths):
        check_file(path)
    return found


def retest(
    verdicts: Sequence[Verdict],
    questions: Mapping[str, Question],
    *,
    variants: Variants,
    rule: Rule,
    pool: Pool,
) -> Iterator[Verdict]:
    """Yield every verdict in its turn, after the variants have been asked about the right ones.

    A variant on which the gold query fails does not count. On the others a right candidate becomes wrong,
    and overturned, if it returns something else than gold or fails on one of them. Where it is only stopped,
    or no variant counts, it stays right, with the reason why nothing is known.
    """
    jobs = [
        CompareJob((path,), questions[str(each.question_id)].gold_sql, one_line(each.sql), rule)
        for each in verdicts
        for path in _asked(each, variants)
    ]
    with meter("retest", total=len(jobs)) as shown:
        comparisons = pool.compare(jobs, on_done=shown.advance)
        for verdict in verdicts:
            paths = _asked(verdict, variants)
            found = list(islice(comparisons, len(paths)))
            yield _after(verdict, [path.name for path in paths], found) if paths else verdict


def count_retested(verdicts: Sequence[Verdict], *, variants: Variants) -> dict[str, Any]:
    """Count what the variants said of the candidates that are right on their databases.

    `share_overturned` is of the `retested` ones, None if there are none. `retest_unclear` counts those that
    were stopped on a variant, or have none that counts; `not_retested` those whose database has no variants.
    """
    right = [each for each in verdicts if each.label is Label.RIGHT or each.overturned]
    retested = [each for each in right if variants[each.db_id]]
    overturned = sum(each.overturned for each in retested)
    return {
        "retested": len(retested),
        "overturned": overturned,
        "share_overturned": overturned / len(retested) if retested else None,
        "retest_unclear": sum(each.label is Label.RIGHT and each.reason != "" for each in retested),
        "not_retested": len(right) - len(retested),
        "databases_without_suite": sum(not paths for paths in variants.values()),
    }


def _variants(suites: Path, db_id: str) -> tuple[Path, ...]:
    try:
        return database_files(suites, db_id)[1:]
    except DatabaseError:
        return ()


def _asked(verdict: Verdict, variants: Variants) -> tuple[Path, ...]:
    return variants[verdict.db_id] if verdict.label is Label.RIGHT else ()


def _after(verdict: Verdict, names: Sequence[str], comparisons: Sequence[Comparison]) -> Verdict:
    """Say what becomes of a right candidate."""
    told = [(each.match, f"{each.reason} (on {name})") for name, each in zip(names, comparisons, strict=True)]
    for match, reason in told:
        if match in APART:
            return replace(verdict, label=Label.WRONG, overturned=True, reason=reason)
    judged = [(match, reason) for match, reason in told if match is not Match.GOLD_FAILED]
    unclear = [reason for match, reason in judged or told if match is not Match.SAME]
    return replace(verdict, reason=unclear[0]) if unclear else verdict
