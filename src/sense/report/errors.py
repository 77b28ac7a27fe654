"""Why answers are wrong, for the page: how often each kind of error comes in each run, and examples of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sense.evaluation.errors_by_kind import ErrorDiagnosis, ErrorKind, count_errors, diagnose
from sense.records import QuestionId
from sense.report.comparison import Scored

EXAMPLES = 3  # of each kind; the wrong answers below show many more
# What the page calls a kind, and what it says of it.
WORDS: Mapping[ErrorKind, tuple[str, str]] = {
    ErrorKind.MISSING: ("no prediction", "there is none for the question"),
    ErrorKind.REFUSED: ("refused", "it wants more than to read, or is two statements"),
    ErrorKind.TIMEOUT: ("out of time", "it was stopped at its deadline"),
    ErrorKind.TOO_MUCH: ("too much", "too many rows, or too much memory"),
    ErrorKind.DOES_NOT_PARSE: ("not SQL", "the database cannot read it"),
    ErrorKind.UNKNOWN_TABLE: ("unknown table", "it names a table that is not there"),
    ErrorKind.UNKNOWN_COLUMN: ("unknown column", "it names a column that is not there, or not in its tables"),
    ErrorKind.AMBIGUOUS_COLUMN: ("ambiguous column", "it does not say of which table a column is"),
    ErrorKind.EXECUTION_ERROR: ("other error", "the database fails in running it"),
    ErrorKind.COLUMN_COUNT: ("number of columns", "it returns more or fewer columns"),
    ErrorKind.WRONG_TABLES: ("tables", "other tables, one too many or one missing"),
    ErrorKind.SET_OPERATION: (
        "set operation",
        "UNION, INTERSECT or EXCEPT in one of the two only, or another",
    ),
    ErrorKind.NESTING: ("nesting", "a subquery in one of the two only"),
    ErrorKind.WRONG_JOIN: ("join", "the same tables, joined on other columns or on another side"),
    ErrorKind.AGGREGATION: ("aggregation", "another aggregate function, or one in one of the two only"),
    ErrorKind.WRONG_COLUMN: ("column", "another column in SELECT"),
    ErrorKind.WRONG_CONDITION: ("condition", "another condition in WHERE, one too many or one missing"),
    ErrorKind.WRONG_VALUE: ("value", "the same condition with another constant"),
    ErrorKind.GROUPING: ("grouping", "another GROUP BY or HAVING"),
    ErrorKind.ORDER_OR_LIMIT: ("order or limit", "another ORDER BY or LIMIT"),
    ErrorKind.DISTINCT: ("distinct", "DISTINCT in one of the two only"),
    ErrorKind.OTHER: ("unexplained", "no difference was found, or the two cannot be compared"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KindOfError:
    """A row of the table, with examples from the last model; `counts` are by model."""

    label: str
    about: str
    counts: Mapping[str, int]
    examples: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorsByKind:
    """What the page shows of errors: `wrong` by model, `diagnoses` of the last model by question."""

    wrong: Mapping[str, int]
    kinds: Sequence[KindOfError]
    diagnoses: Mapping[QuestionId, ErrorDiagnosis]
    summary: Mapping[str, Any]


def errors_by_kind(models: Mapping[str, Scored]) -> ErrorsByKind:
    """Say of all wrong answers of all models why they are wrong; the most frequent kind comes first."""
    errors = {name: diagnose(model.scores.values()) for name, model in models.items()}
    counts = {name: count_errors(found, examples=EXAMPLES) for name, found in errors.items()}
    last = list(models)[-1]
    by_kind = {
        kind: {name: counted["by_kind"].get(kind.value, 0) for name, counted in counts.items()}
        for kind in ErrorKind
    }
    found_kinds = [kind for kind, by_model in by_kind.items() if any(by_model.values())]
    return ErrorsByKind(
        wrong={name: counted["wrong"] for name, counted in counts.items()},
        kinds=[
            KindOfError(
                label=label_of(kind),
                about=WORDS[kind][1],
                counts=by_kind[kind],
                examples=counts[last]["examples"].get(kind.value, []),
            )
            for kind in sorted(found_kinds, key=lambda kind: -sum(by_kind[kind].values()))
        ],
        diagnoses={score.id: diagnosis for score, diagnosis in errors[last]},
        summary={
            name: {part: value for part, value in counted.items() if part != "examples"}
            for name, counted in counts.items()
        },
    )


def label_of(kind: ErrorKind) -> str:
    """Say a kind in the page's words.

    >>> label_of(ErrorKind.WRONG_TABLES)
    'tables'
    """
    return WORDS[kind][0]
