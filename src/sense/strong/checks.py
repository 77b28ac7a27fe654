"""What is asked of a question with its SQL: a check says why it is to be dropped, None if it may stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import sqlglot
from pydantic import BaseModel, ConfigDict
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError

from sense.databases import spider_sql
from sense.databases.features import sql_features
from sense.databases.hardness import hardness
from sense.databases.normal_form import normal_form
from sense.databases.schema import Schema
from sense.databases.skeleton import skeleton
from sense.databases.sql_tokens import code_tokens
from sense.execution.outcome import Ending, Refused, Rows, describe
from sense.records import Agreement, Judgement
from sense.strong.decontaminate import HeldOut
from sense.strong.literals import unsaid_values
from sense.strong.near_duplicates import SeenQuestions
from sense.strong.second_opinions import Answers

MAX_CHARS = 20_000  # of a question or a query: far more than sensible ones have, and parsed in a second
MAX_EMPTY_SHARE = 0.05  # "nothing" is an answer, but one that many wrong queries give too


class Item(BaseModel):
    """A question with its SQL, as `sense synthesize` wrote it; `features` are those asked for.

    `split` is where an earlier `sense filter` put it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    db_id: str
    level: str
    question: str
    sql: str
    empty: bool = False
    evidence: str | None = None
    style: str | None = None
    features: tuple[str, ...] | None = None
    split: Literal["train", "test"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What may be: rows of a result and kept queries of a database that differ in values alone, at most.

    `min_agree` is the least share of the answers to a question that say what its SQL says.
    """

    max_rows: int
    max_per_skeleton: int
    min_agree: float = 0.0


class Kept:
    """What has been kept so far, for the checks that look at more than one item."""

    def __init__(self, items: Sequence[Item]) -> None:
        """Take all the items that may come."""
        self.questions: set[tuple[str, str]] = set()
        self.queries: set[tuple[str, str]] = set()
        self.skeletons: Counter[tuple[str, str]] = Counter()
        self.empty: Counter[str] = Counter()
        self.asked = Counter(item.db_id for item in items)
        self.similar = SeenQuestions(item.question for item in items)

    def add(self, case: Case) -> None:
        """Remember an item that passed."""
        self.questions.add(case.question_key)
        self.queries.add(case.query_key)
        self.skeletons[case.skeleton_key] += 1
        self.empty[case.item.db_id] += case.row_count == 0
        self.similar.take(case.item.question)


@dataclass(frozen=True, kw_only=True)
class Case:
    """An item under the checks: how its query ended, what was kept before it, what it must not resemble.

    `judgement` and `answers` are what others say of it, None where nobody was asked.
    """

    item: Item
    ending: Ending
    schema: Schema
    kept: Kept
    held_out: HeldOut
    bounds: Bounds
    judgement: Judgement | None = None
    answers: Answers | None = None

    @property
    def row_count(self) -> int:
        """Count the rows of a query that ran."""
        assert isinstance(self.ending, Rows)
        return len(self.ending.rows)

    @cached_property
    def tree(self) -> exp.Expr | str:
        """The query as sqlglot reads it, or what it does not understand."""
        try:
            return sqlglot.parse_one(self.item.sql, dialect="sqlite")
        except ParseError as error:
            return str(error.errors[0]["description"]) if error.errors else str(error)
        except SqlglotError as error:
            return str(error).partition("\n")[0]
        except RecursionError:
            return "nested too deeply"

    @cached_property
    def question_key(self) -> tuple[str, str]:
        """The database, and the letters and digits of the question."""
        text = "".join(character for character in self.item.question.lower() if character.isalnum())
        return self.item.db_id, text

    @cached_property
    def query_key(self) -> tuple[str, str]:
        """The database, and the query's normal form."""
        return self.item.db_id, normal_form(self.item.sql)

    @cached_property
    def skeleton_key(self) -> tuple[str, str]:
        """The database, and the query without its values."""
        return self.item.db_id, skeleton(self.item.sql)


def _is_text(case: Case) -> str | None:
    if not any(character.isalnum() for character in case.item.question):
        return "the question is empty"
    if max(len(case.item.question), len(case.item.sql), len(case.item.evidence or "")) > MAX_CHARS:
        return f"over {MAX_CHARS} characters"
    # JSON can spell halves of characters, which no file can hold.
    written = case.item.question + case.item.sql + (case.item.evidence or "")
    return None if written.encode(errors="replace").decode() == written else "not Unicode"


def _one_statement(case: Case) -> str | None:
    tokens = code_tokens(case.item.sql)
    while tokens and tokens[-1] == ";":
        tokens.pop()
    if not tokens:
        return "there is no statement"
    return "more than one statement" if ";" in tokens else None


def _reads_only(case: Case) -> str | None:
    return describe(case.ending) if isinstance(case.ending, Refused) else None


def _parses(case: Case) -> str | None:
    return case.tree if isinstance(case.tree, str) else None


def _runs(case: Case) -> str | None:
    return None if isinstance(case.ending, Rows) else describe(case.ending)


def _returns_rows(case: Case) -> str | None:
    if case.row_count:
        return None
    if not case.item.empty:
        return "no rows"
    allowed = MAX_EMPTY_SHARE * case.kept.asked[case.item.db_id]
    return "more empty results than allowed" if case.kept.empty[case.item.db_id] + 1 > allowed else None


def _says_something(case: Case) -> str | None:
    assert isinstance(case.ending, Rows)
    rows, tree = case.ending.rows, case.tree
    if rows and all(value is None for row in rows for value in row):
        return "nothing but NULL"
    # A count over no rows is 0: many wrong queries say that too. The least of some values may well be 0.
    if len(rows) == 1 and not any(rows[0]) and isinstance(tree, exp.Select) and not tree.args.get("group"):
        counts = [part for part in tree.selects if part.find(exp.Count) is not None]
        return "counts nothing" if len(counts) == len(tree.selects) else None
    return None


def _not_constant(case: Case) -> str | None:
    assert isinstance(case.tree, exp.Expr)
    own = {cte.alias.lower() for cte in case.tree.find_all(exp.CTE)}
    if all(table.name.lower() in own for table in case.tree.find_all(exp.Table)):
        return "reads no table"
    said = case.tree.selects if isinstance(case.tree, exp.Query) else [case.tree]
    depends = any(part.find(exp.Column, exp.Star, exp.Count) is not None for part in said)
    return None if depends else "says the same whatever the tables hold"


def _bounded(case: Case) -> str | None:
    return f"{case.row_count} rows" if case.row_count > case.bounds.max_rows else None


def _has_hardness(case: Case) -> str | None:
    return "not parsed" if hardness(case.item.sql) is None else None


def _question_not_held_out(case: Case) -> str | None:
    found = case.held_out.like_question(case.item.question)
    return None if found is None else str(found)


def _query_not_held_out(case: Case) -> str | None:
    found = case.held_out.like_query(case.skeleton_key[1])
    return None if found is None else str(found)


def _not_judged_wrong(case: Case) -> str | None:
    if case.judgement is None or case.judgement.verdict is not Agreement.NO:
        return None
    return case.judgement.reason or "judged not to agree"


def _answered_alike(case: Case) -> str | None:
    if case.answers is None or case.answers.right >= case.bounds.min_agree * case.answers.judged:
        return None
    return f"{case.answers.right} of {case.answers.judged} answers agree"


def _new_question(case: Case) -> str | None:
    return "asked before" if case.question_key in case.kept.questions else None


def _new_wording(case: Case) -> str | None:
    found = case.kept.similar.find(case.item.question)
    return None if found is None else f"nearly the same as: {found}"


def _new_query(case: Case) -> str | None:
    return "same query as one before" if case.query_key in case.kept.queries else None


def _new_skeleton(case: Case) -> str | None:
    most = case.bounds.max_per_skeleton
    return (
        f"{most} before it differ in values alone" if case.kept.skeletons[case.skeleton_key] >= most else None
    )


def _hardness_as_asked(case: Case) -> str | None:
    measured = str(hardness(case.item.sql))
    return None if measured == case.item.level else f"{measured}, not {case.item.level}"


def _features_as_asked(case: Case) -> str | None:
    missing = [name for name in case.item.features or () if name not in sql_features(case.item.sql)]
    return f"without {', '.join(missing)}" if missing else None


def _values_said(case: Case) -> str | None:
    text = f"{case.item.question} {case.item.evidence or ''}"
    unsaid = unsaid_values(case.item.sql, text, case.schema)
    return f"not said: {', '.join(map(repr, unsaid))}" if unsaid else None


def _in_spider_grammar(case: Case) -> str | None:
    return "refused by Spider's parser" if spider_sql.parse(case.item.sql, case.schema) is None else None


Check = Callable[[Case], str | None]

# The first that says something drops the item, and is counted.
CHECKS: tuple[tuple[str, Check], ...] = (
    ("is_text", _is_text),
    ("one_statement", _one_statement),
    ("reads_only", _reads_only),
    ("parses", _parses),
    ("runs", _runs),
    ("returns_rows", _returns_rows),
    ("says_something", _says_something),
    ("not_constant", _not_constant),
    ("bounded", _bounded),
    ("has_hardness", _has_hardness),
    ("question_not_held_out", _question_not_held_out),
    ("query_not_held_out", _query_not_held_out),
    ("not_judged_wrong", _not_judged_wrong),
    ("answered_alike", _answered_alike),
    ("new_question", _new_question),
    ("new_query", _new_query),
    ("new_skeleton", _new_skeleton),
    ("new_wording", _new_wording),
)

# These are counted for the items that are kept; a setting may make one of them drop.
MEASURES: tuple[tuple[str, Check], ...] = (
    ("hardness_as_asked", _hardness_as_asked),
    ("features_as_asked", _features_as_asked),
    ("values_said", _values_said),
    ("in_spider_grammar", _in_spider_grammar),
)
