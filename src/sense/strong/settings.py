"""The settings of `sense synthesize`, and which of them go together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from sense.databases import spider
from sense.stage import InputPath, InputPaths, is_made
from sense.strong.asking import AskingConfig
from sense.strong.own_database import Told, read_own
from sense.strong.seeds import AREAS, DOMAINS

Level = Literal["easy", "medium", "hard", "extra"]
OF_PLAN = {
    "fixed": ("questions_per_level", "more_questions"),
    "quotas": (
        "questions_per_database",
        "rounds",
        "questions_wanted",
        "hardness_quota",
        "feature_minimum",
        "later_slots",
        "against",
    ),
}
OF_OWN = (
    "values",
    "private",
    "hide_private",
    "tables_per_request",
    "columns_per_table",
    "column_coverage",
    "show_requests",
)
MOST_DATABASES = {"fixed": len(AREAS), "quotas": DOMAINS}


class PlanConfig(AskingConfig):
    """What is asked about, and how much."""

    SPEED_ONLY: ClassVar[frozenset[str]] = AskingConfig.SPEED_ONLY | {"show_requests"}

    db: InputPaths = Field(
        (), description="SQLite files of your own to ask about, in place of written databases; only read"
    )
    values: bool = Field(True, description="with db: show the model example values of the columns")
    private: tuple[str, ...] = Field(
        (), description="with db: columns whose values are never sent, as table.column, table.* or *.email"
    )
    hide_private: bool = Field(False, description="with db: do not send the names of private columns either")
    tables_per_request: Annotated[int, Field(ge=1)] = Field(
        4, description="with db: tables that a request shows, at the most"
    )
    columns_per_table: Annotated[int, Field(ge=2)] = Field(
        20, description="with db: columns of a table that a request shows, at the most"
    )
    column_coverage: Annotated[float, Field(ge=0, le=1)] = Field(
        0.9, description="with db: share of a database's columns that kept questions use, at the least"
    )
    show_requests: bool = Field(
        False, description="with db: show what is still to be sent, word for word, on standard output"
    )
    plan: Literal["quotas", "fixed"] = Field(
        "quotas",
        description="quotas: domains of the catalog, questions until the quotas hold; fixed: the demo's",
    )
    databases: Annotated[int, Field(ge=1)] = Field(8, description="how many databases to ask for")
    questions_per_database: Annotated[int, Field(ge=1, le=60)] = Field(
        27,
        description="questions of the first round, with db about each group of tables; plan quotas",
    )
    rounds: Annotated[int, Field(ge=1)] = Field(
        3, description="how often to ask for questions, at the most; plan quotas"
    )
    questions_wanted: Annotated[int, Field(ge=0)] = Field(
        0, description="go on until so many questions would be kept; plan quotas"
    )
    hardness_quota: dict[Level, Annotated[float, Field(ge=0, le=0.25)]] = Field(
        dict.fromkeys(("easy", "medium", "hard", "extra"), 0.2),
        description="level=share: the least of the kept questions, as measured; plan quotas",
    )
    feature_minimum: Annotated[int, Field(ge=0)] = Field(
        3, description="kept questions with each SQL feature, as measured, at the least; plan quotas"
    )
    against: InputPaths = Field(
        (), description="question files of benchmarks: what resembles theirs counts as not kept; plan quotas"
    )
    later_slots: InputPath | None = Field(
        None, description="later-slots.jsonl of an earlier run, whose replies are given; plan quotas"
    )
    questions_per_level: Annotated[int, Field(ge=1, le=60)] = Field(
        18, description="questions to ask for, for each database and each of the four levels; plan fixed"
    )
    more_questions: dict[Level, Annotated[int, Field(ge=1, le=60)]] = Field(
        {}, description="level=count: so many more, asked for when the first ones are known; plan fixed"
    )
    seed: int = Field(0, description="seed of the plan: domains, sizes, features of the questions")
    workers: Annotated[int, Field(ge=0)] = Field(0, description="processes that run queries; 0: one a core")

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        most = MOST_DATABASES[self.plan]
        if self.databases > most:
            raise ValueError(f"plan {self.plan} has {most} databases, not {self.databases}")
        others = [name for plan, names in OF_PLAN.items() if plan != self.plan for name in names]
        for name in others:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} is no setting of plan {self.plan}")
        if self.db and self.plan != "quotas":
            raise ValueError("db goes with plan quotas")
        for name in ("databases",) if self.db else OF_OWN:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} goes with{'out' if self.db else ''} db")
        if self.hide_private and not self.private:
            raise ValueError("hide_private goes with private")
        return self

    def check(self, made: Sequence[Path] = ()) -> None:
        """Look at prices, the user's databases, for the columns that are to stay private, and benchmarks."""
        super().check(made)
        if self.db and not any(is_made(path, made) for path in self.db):
            self.read_own()
        for path in self.against:
            if not is_made(path, made):
                spider.load_questions(path.parent, path.stem)

    def read_own(self) -> list[Told]:
        """Read what may be told of the user's databases."""
        return read_own(
            self.db, private=self.private, hide_private=self.hide_private, with_values=self.values
        )
