"""The `label` stage: run the candidates of a weak model and say of each whether it answers its question.

With test suites, what is right on the database is judged again on variants of it, see `weak.retest`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import comb
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from sense import jsonl
from sense.databases.spider import check_databases, check_split, database_files, load_questions
from sense.errors import DataError
from sense.execution.outcome import Comparison, Match
from sense.execution.pool import CompareJob, Pool, default_gold_store
from sense.execution.rules import Rule
from sense.execution.run import Limits
from sense.progress import meter, say
from sense.prompts.text_to_sql import one_line
from sense.records import Candidate, Label, Question, Verdict
from sense.rundir import RunDir
from sense.stage import InputPath, Outcome, StageConfig, is_made
from sense.weak.retest import Variants, check_suites, count_retested, find_variants, retest

LABELS: dict[Match, Label] = {
    Match.SAME: Label.RIGHT,
    Match.DIFFERENT: Label.WRONG,
    Match.CANDIDATE_ERROR: Label.ERROR,
    Match.CANDIDATE_TIMEOUT: Label.TIMEOUT,
    Match.CANDIDATE_TOO_MUCH: Label.TIMEOUT,  # it too was stopped before its end
    Match.CANDIDATE_REFUSED: Label.REFUSED,
    Match.WORKER_DIED: Label.ERROR,
    Match.GOLD_FAILED: Label.UNJUDGED,
}
# With suites: what the databases themselves say. It is there until verdicts.jsonl is whole.
BEFORE_RETEST = "before-retest.jsonl"


class Config(StageConfig):
    """Settings of `label`."""

    SPEED_ONLY = StageConfig.SPEED_ONLY | {"gold_cache"}

    data: InputPath = Field(
        description="folder with the questions and databases, laid out as Spider's or BIRD's"
    )
    split: str = Field("train", description="the question file that was sampled for: train means train.json")
    candidates: InputPath = Field(
        description="candidates.jsonl of 'sense sample'; each gets one of six labels: right, wrong, error, "
        "timeout, refused (it does more than read), unjudged (its gold query fails)"
    )
    rule: Literal["own", "spider", "bird"] = Field(
        "own",
        description="whose rule says that two results are the same: spider and bird judge as the official "
        "scripts of these benchmarks do; own is spider but for a habit of its script, which puts a 1 for "
        "the word 'value' wherever a candidate has it, even in a column's name",
    )
    suites: InputPath | None = Field(
        None,
        description="folder of 'sense suite build': candidates that are right on their database are judged "
        "again on its variants, and are wrong if they differ from gold on one",
    )
    timeout_s: float = Field(10, gt=0, le=86_400, description="how long one query may run, in seconds")
    workers: int = Field(0, ge=0, description="how many queries run at a time; 0: one for each processor")
    gold_cache: bool = Field(
        True, description="keep the results of gold queries in the user's cache folder, for later runs"
    )

    def check(self, made: Sequence[Path] = ()) -> None:
        """Look at the questions and their databases, and for the suites."""
        if not is_made(self.data, made):
            check_split(self.data, self.split)
        if self.suites is not None and not is_made(self.suites, made):
            check_suites(self.suites)


def run(config: Config, run_dir: RunDir) -> Outcome:
    """Write verdicts.jsonl in the candidates' order; a rerun goes on after the last verdict.

    Raises:
        DataError: the questions or candidates cannot be read, or do not belong together; there are no suites.
        DatabaseError: a database is missing, or a variant is no database.
    """
    questions = {str(question.id): question for question in load_questions(config.data, config.split)}
    candidates = jsonl.read(config.candidates, Candidate)
    _check(config.candidates, candidates, questions)
    check_databases(config.data, (questions[str(candidate.question_id)] for candidate in candidates))
    suites = config.suites
    variants = None if suites is None else find_variants(suites, (each.db_id for each in candidates))

    run_dir.start()
    path, before = run_dir / "verdicts.jsonl", run_dir / BEFORE_RETEST
    verdicts = jsonl.resume(path, Verdict)
    done = {verdict.candidate_id for verdict in verdicts}
    waiting = [candidate for candidate in candidates if candidate.id not in done]
    if done:
        say(f"label: {len(done)} verdicts are there already, {len(waiting)} candidates to go")
    store = default_gold_store() if config.gold_cache else None
    limits = Limits(timeout_s=config.timeout_s)
    with Pool(limits, workers=config.workers, gold_store=store) as pool:
        if variants is None:
            verdicts += _kept(path, _label(config, waiting, questions, pool=pool))
        else:
            first = _label_first(config, waiting, questions, before=before, pool=pool)
            rule = Rule(config.rule)
            verdicts += _kept(path, retest(first, questions, variants=variants, rule=rule, pool=pool))
    before.unlink(missing_ok=True)
    return _outcome(summarize(verdicts, variants=variants))


def summarize(verdicts: Sequence[Verdict], *, variants: Variants | None = None) -> dict[str, Any]:
    """Count labels; share right and pass@k leave out what could not be judged.

    `distinct_run` counts a question's candidates of one text once, as they are run; with `variants`, what was
    judged again is counted, too.
    """
    by_question: dict[str, list[bool]] = {}
    for verdict in verdicts:
        if verdict.label is not Label.UNJUDGED:
            by_question.setdefault(str(verdict.question_id), []).append(verdict.label is Label.RIGHT)
    rights = [right for labels in by_question.values() for right in labels]
    return {
        "candidates": len(verdicts),
        "distinct_run": len({(str(verdict.question_id), one_line(verdict.sql)) for verdict in verdicts}),
        "questions": len({str(verdict.question_id) for verdict in verdicts}),
        "labels": {
            label.value: count for label, count in Counter(each.label for each in verdicts).most_common()
        },
        "share_right": sum(rights) / len(rights) if rights else None,
        "pass_at": _pass_at(list(by_question.values())),
        "questions_with_both": sum(any(labels) and not all(labels) for labels in by_question.values()),
        **({} if variants is None else count_retested(verdicts, variants=variants)),
    }


def pass_at_k(*, samples: int, right: int, k: int) -> float:
    """Estimate without bias how likely at least one of `k` samples is right; `k` is at most `samples`.

    >>> pass_at_k(samples=4, right=1, k=2)
    0.5

    Source: Chen et al. (2021), Evaluating Large Language Models Trained on Code, equation 1.
    """
    return 1 - comb(samples - right, k) / comb(samples, k)


def _pass_at(questions: Sequence[Sequence[bool]]) -> dict[str, float]:
    """Average pass@k over questions, for k = 1, 2, 4, ... as far as every question has that many samples."""
    found: dict[str, float] = {}
    k = 1
    while questions and k <= min(len(labels) for labels in questions):
        each = [pass_at_k(samples=len(labels), right=sum(labels), k=k) for labels in questions]
        found[str(k)] = sum(each) / len(each)
        k *= 2
    return found


def _outcome(summary: dict[str, Any]) -> Outcome:
    unjudged = summary["labels"].get(Label.UNJUDGED, 0)
    total = summary["candidates"]
    shortfall = f"{unjudged} of {total} candidates are unjudged: their gold query fails" if unjudged else None
    return Outcome(summary=summary, shortfall=shortfall)


def _label_first(
    config: Config,
    candidates: Sequence[Candidate],
    questions: Mapping[str, Question],
    *,
    before: Path,
    pool: Pool,
) -> list[Verdict]:
    """Judge candidates on the databases themselves, but for those that a killed run has judged."""
    known = {verdict.candidate_id: verdict for verdict in jsonl.resume(before, Verdict)}
    waiting = [candidate for candidate in candidates if candidate.id not in known]
    fresh = _kept(before, _label(config, waiting, questions, pool=pool))
    known |= {verdict.candidate_id: verdict for verdict in fresh}
    return [known[candidate.id] for candidate in candidates]


def _kept(path: Path, verdicts: Iterator[Verdict]) -> list[Verdict]:
    """Write each verdict as it comes."""
    kept: list[Verdict] = []
    with jsonl.Appender(path) as file:
        for verdict in verdicts:
            file.add_soon(verdict)
            kept.append(verdict)
    return kept


def _label(
    config: Config, candidates: Sequence[Candidate], questions: Mapping[str, Question], *, pool: Pool
) -> Iterator[Verdict]:
    files: dict[str, tuple[Path, ...]] = {}
    jobs: list[CompareJob] = []
    for candidate in candidates:
        question = questions[str(candidate.question_id)]
        if question.db_id not in files:
            files[question.db_id] = database_files(config.data, question.db_id)
        sql = one_line(candidate.sql)  # what a completion would be
        jobs.append(CompareJob(files[question.db_id], question.gold_sql, sql, Rule(config.rule)))
    with meter("label", total=len(jobs)) as shown:
        comparisons = pool.compare(jobs, on_done=shown.advance)
        for candidate, comparison in zip(candidates, comparisons, strict=True):
            yield _verdict(candidate, comparison)


def _verdict(candidate: Candidate, comparison: Comparison) -> Verdict:
    return Verdict(
        candidate_id=candidate.id,
        question_id=candidate.question_id,
        db_id=candidate.db_id,
        sql=candidate.sql,
        logprob=candidate.logprob,
        label=LABELS[comparison.match],
        reason=comparison.reason,
    )


def _check(path: Path, candidates: Sequence[Candidate], questions: dict[str, Question]) -> None:
    if not candidates:
        raise DataError(f"{path}: there are no candidates in it")
    seen: set[str] = set()
    for candidate in candidates:
        where = f"{path}: candidate {candidate.id!r}"
        question = questions.get(str(candidate.question_id))
        if question is None:
            raise DataError(f"{where}: there is no question with id {candidate.question_id!r} in the split")
        if question.db_id != candidate.db_id:
            raise DataError(
                f"{where}: it is for database {candidate.db_id!r}, its question is about {question.db_id!r}; "
                f"was it sampled for another split?"
            )
        if candidate.id in seen:
            raise DataError(f"{where}: its id occurs twice")
        seen.add(candidate.id)
