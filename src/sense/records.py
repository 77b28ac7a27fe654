"""The records that one stage writes to a file and another reads; `docs/data.md` shows a real line of each.

A record is checked when it is read (`jsonl.read`) and trusted afterwards. Every other type lives beside the
function that returns it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

QuestionId = int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation with a model."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question about a database, with the SQL that answers it.

    `id` is the data set's own, or the position from 0 where it has none. `gold_sql` is empty where it is
    not known.
    """

    id: QuestionId
    db_id: str
    question: str
    gold_sql: str = ""
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SftExample:
    """A prompt and the completion to learn, in TRL's columns."""

    id: QuestionId
    db_id: str
    prompt: str
    completion: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One SQL query that a model sampled for a question.

    `logprob` is the natural logarithm of the sampling model's probability of the completion at temperature 1,
    None where a server does not tell; `tokens` counts the completion's tokens, with the end mark. `finished`
    is False if the token limit cut it. `model` is the model's name where several sampled, else "".
    """

    id: str
    question_id: QuestionId
    db_id: str
    sample: int
    sql: str
    logprob: float | None
    tokens: int
    finished: bool = True
    model: str = ""


class Agreement(StrEnum):
    """What a model that was asked says of a question and its SQL: do they agree?"""

    YES = "yes"
    NO = "no"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A model's opinion of a question with its SQL, and why."""

    id: QuestionId
    verdict: Agreement
    reason: str = ""


class Label(StrEnum):
    """What the executor says of a candidate."""

    RIGHT = "right"
    WRONG = "wrong"
    ERROR = "error"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    UNJUDGED = "unjudged"  # the gold query itself could not be run


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A candidate's label and why.

    An `overturned` one is right on the database, and wrong for what it does on a variant of it. A right one
    has a reason only where the variants left it unclear.
    """

    candidate_id: str
    question_id: QuestionId
    db_id: str
    sql: str
    logprob: float | None
    label: Label
    reason: str = ""
    overturned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferencePair:
    """A prompt with a better and a worse completion, in TRL's columns.

    `kind` says what is wrong with the rejected one; "" where that is not known.
    """

    id: str
    db_id: str
    prompt: str
    chosen: str
    rejected: str
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The SQL a model answers a question with."""

    id: QuestionId
    db_id: str
    sql: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How one prediction did.

    `ex` is 1 or 0, or None where it could not be judged; `match` says how the comparison ended, `reason` why.
    The other metrics are None where they were not asked for or could not be judged; `cause` is the difference
    of the rules that makes `ex` and `robust` disagree, empty where they agree.
    """

    id: QuestionId
    db_id: str
    ex: int | None
    reason: str
    hardness: str
    question: str
    gold_sql: str
    sql: str
    match: str = ""
    robust: int | None = None
    cause: str = ""
    em: int | None = None
    soft_f1: float | None = None
    ves: float | None = None
    r_ves: float | None = None
