"""The plans of `sense synthesize`, each with its settings: what is asked, given the replies so far."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from sense import jsonl
from sense.databases.hardness import Hardness
from sense.rundir import RunDir
from sense.strong import fixed_rounds, own_rounds, quota_rounds
from sense.strong.decontaminate import HeldOut
from sense.strong.measure import Measurer
from sense.strong.own_measure import OwnMeasurer
from sense.strong.own_rounds import LaterPart
from sense.strong.rounds import Progress
from sense.strong.settings import PlanConfig
from sense.strong.slots import LaterSlots, Quotas

LATER_SLOTS = "later-slots.jsonl"
Later = TypeVar("Later", bound=LaterSlots)
GoThrough = Callable[[Progress], None]


def plan_of(config: PlanConfig, run_dir: RunDir, *, held_out: HeldOut) -> GoThrough:
    """Make the plan that the settings name, with what the run folder says is settled."""
    if config.db:
        return _own(config, run_dir, held_out=held_out)
    return _quotas(config, run_dir, held_out=held_out) if config.plan == "quotas" else _fixed(config)


def _fixed(config: PlanConfig) -> GoThrough:
    return partial(
        fixed_rounds.go_through,
        databases=config.databases,
        questions_per_level=config.questions_per_level,
        more_questions={str(level): count for level, count in config.more_questions.items()},
        seed=config.seed,
    )


def _quotas(config: PlanConfig, run_dir: RunDir, *, held_out: HeldOut) -> GoThrough:
    return partial(
        quota_rounds.go_through,
        databases=config.databases,
        questions_per_database=config.questions_per_database,
        rounds=config.rounds,
        quotas=_quotas_of(config),
        seed=config.seed,
        measure=Measurer(held_out, workers=config.workers),
        drawn=_drawn(config, run_dir, LaterSlots),
    )


def _own(config: PlanConfig, run_dir: RunDir, *, held_out: HeldOut) -> GoThrough:
    databases = config.read_own()
    return partial(
        own_rounds.go_through,
        databases=databases,
        parts=own_rounds.parts_of(
            databases,
            max_tables=config.tables_per_request,
            max_columns=config.columns_per_table,
            seed=config.seed,
        ),
        questions_per_part=config.questions_per_database,
        rounds=config.rounds,
        quotas=_quotas_of(config),
        column_coverage=config.column_coverage,
        seed=config.seed,
        measure=OwnMeasurer(held_out, workers=config.workers),
        drawn=_drawn(config, run_dir, LaterPart),
    )


def _quotas_of(config: PlanConfig) -> Quotas:
    return Quotas(
        questions=config.questions_wanted,
        hardness={Hardness(level): share for level, share in config.hardness_quota.items()},
        feature_minimum=config.feature_minimum,
    )


def _drawn(config: PlanConfig, run_dir: RunDir, kind: type[Later]) -> list[Later]:
    """Read what later rounds ask for, as far as it is settled: what was given counts before the run's own."""
    given = [] if config.later_slots is None else jsonl.read(config.later_slots, kind)
    settled = {each.round for each in given}
    return [
        *given,
        *(each for each in jsonl.resume(run_dir / LATER_SLOTS, kind) if each.round not in settled),
    ]
