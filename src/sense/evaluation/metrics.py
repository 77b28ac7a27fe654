"""The metrics of `score`: which there are, and how each is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from sense.databases.schema import Schema, load_schema
from sense.evaluation.items import Item
from sense.execution.outcome import Comparison, Match
from sense.execution.pool import CompareJob, Pool
from sense.execution.rules import CAUSE_OF, Rule
from sense.execution.run import Limits
from sense.progress import meter
from sense.records import QuestionId, Score

Metric = Literal["ex", "robust", "em", "soft_f1", "ves", "r_ves"]
MISSING = "missing"
# The rule that says why the robust verdict differs from that of a rule.
CAUSES = {rule: cause for cause, rule in CAUSE_OF.items()}
ALL = ("spider", "bird", "own")


class About(NamedTuple):
    """A metric's name in tables, the benchmarks that know it, and what its mean is multiplied by there."""

    title: str
    benchmarks: tuple[str, ...]
    scale: float = 100.0


METRICS: dict[Metric, About] = {
    "ex": About("EX", ALL),
    "robust": About("robust", ALL),
    "em": About("EM", ("spider", "own")),
    "soft_f1": About("soft F1", ("bird",)),
    "ves": About("VES", ("bird",), scale=1.0),
    "r_ves": About("R-VES", ("bird",), scale=1.0),
}


def measure(
    items: Sequence[Item],
    *,
    metrics: Sequence[Metric],
    rule: Rule,
    pool: Pool,
    limits: Limits,
    repeats: int,
    hardness: Callable[[], Mapping[QuestionId, str]],
) -> tuple[list[Score], dict[str, Any]]:
    """Score every item, in order; return the scores, and the spread of what was timed.

    Args:
        items: the questions and their predictions.
        metrics: what to measure; EX is measured in any case.
        rule: of EX.
        pool: runs the queries.
        limits: what a timed query may use.
        repeats: how often it is timed.
        hardness: tells each question's, when everything has been run.
    """
    rules = {"ex": rule}
    if "robust" in metrics:
        rules["robust"] = Rule.ROBUST
    if "soft_f1" in metrics:
        rules["soft_f1"] = Rule.BIRD_SOFT_F1
    found = list(_compare(items, rules, pool))
    levels = hardness()
    scores = [
        _score(item, each, rules, levels[item.question.id]) for item, each in zip(items, found, strict=True)
    ]
    if "robust" in metrics:
        scores = _with_causes(items, scores, rule=rule, pool=pool)
    if "em" in metrics:
        scores = _with_exact_match(items, scores)
    timed = [metric for metric in metrics if metric in ("ves", "r_ves")]
    if not timed:
        return scores, {}
    pool.stop()  # nothing of ours runs beside what is timed
    from sense.evaluation.speed import with_speed  # here, for it loads NumPy

    return with_speed(items, scores, metrics=timed, limits=limits, repeats=repeats)


def compare_job(item: Item, sql: str, rule: Rule) -> CompareJob:
    """Describe the comparison of an answer with an item's gold query."""
    return CompareJob(item.files, item.question.gold_sql, sql, rule)


def verdict(comparison: Comparison | None) -> int | None:
    """Return 1 for right, 0 for wrong or missing (None), and None for what cannot be judged."""
    if comparison is None:
        return 0
    if comparison.match is Match.GOLD_FAILED:
        return None
    return int(comparison.match is Match.SAME)


def _compare(
    items: Sequence[Item], rules: dict[str, Rule], pool: Pool
) -> Iterator[dict[str, Comparison] | None]:
    """Yield what each metric's rule makes of each item; None for an item without a prediction."""
    jobs = [
        compare_job(item, item.sql, rule) for item in items if item.sql is not None for rule in rules.values()
    ]
    with meter("score", total=len(jobs)) as shown:
        done = pool.compare(jobs, on_done=shown.advance)
        for item in items:
            yield None if item.sql is None else {metric: next(done) for metric in rules}


def _score(item: Item, found: dict[str, Comparison] | None, rules: dict[str, Rule], hardness: str) -> Score:
    ex = None if found is None else found["ex"]
    more: dict[str, Any] = {}
    if "robust" in rules:
        more["robust"] = verdict(None if found is None else found["robust"])
    if "soft_f1" in rules:
        failed = found is not None and found["soft_f1"].match is Match.GOLD_FAILED
        more["soft_f1"] = None if failed else 0.0 if found is None else found["soft_f1"].value
    return Score(
        id=item.question.id,
        db_id=item.question.db_id,
        ex=verdict(ex),
        reason="no prediction" if ex is None else ex.reason,
        hardness=hardness,
        question=item.question.question,
        gold_sql=item.question.gold_sql,
        sql=item.sql or "",
        match=MISSING if ex is None else ex.match.value,
        **more,
    )


def _with_causes(items: Sequence[Item], scores: list[Score], *, rule: Rule, pool: Pool) -> list[Score]:
    """Say of each item on which EX and the robust rule disagree which difference of the rules it is."""
    places = [
        place
        for place, score in enumerate(scores)
        if score.ex is not None and score.robust is not None and score.ex != score.robust
    ]
    jobs = [compare_job(items[place], scores[place].sql, CAUSES.get(rule, rule)) for place in places]
    # The options of Spider's script have no rule of causes: nobody asked why these differ.
    found = pool.compare(jobs) if rule in CAUSES else (Comparison(Match.DIFFERENT, "other") for _ in jobs)
    scores = list(scores)
    for place, comparison in zip(places, found, strict=True):
        scores[place] = replace(scores[place], cause=comparison.reason)
    return scores


def _with_exact_match(items: Sequence[Item], scores: Sequence[Score]) -> list[Score]:
    from sense.evaluation.exact_match import exact_match  # here, for it is seldom asked for

    schemas: dict[str, Schema] = {}
    found: list[Score] = []
    for item, score in zip(items, scores, strict=True):
        db_id = item.question.db_id
        if db_id not in schemas:
            schemas[db_id] = load_schema(item.data, db_id, item.files[0])
        match = exact_match(item.question.gold_sql, score.sql, schema=schemas[db_id])
        found.append(replace(score, em=None if match is None else int(match)))
    return found
