"""Answer one question about one database file: the model's SQL, run in the sandbox."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sense.databases.sqlite import open_read_only
from sense.execution.outcome import Ending
from sense.execution.pool import QueryJob, run_queries
from sense.execution.run import Limits
from sense.llms import store
from sense.prompts.extract import extract_sql
from sense.prompts.text_to_sql import DEFAULT_FORMAT, question_text, schema_prompt_of_file

MAX_NEW_TOKENS = 256
LIMITS = Limits(timeout_s=10.0, max_rows=1_000)


class Reply(NamedTuple):
    """The SQL that the model wrote, and how running it ended."""

    sql: str
    ending: Ending


def ask(question: str, *, database: Path, model: str) -> Reply:
    """Ask a model about a database.

    Raises:
        DatabaseError: there is no such database.
        ModelError: there is no such model.
    """
    open_read_only(database).close()
    store.check_exists(model)
    prompt_format = store.prompt_format_of(model) or DEFAULT_FORMAT
    schema = schema_prompt_of_file(database, prompt_format=prompt_format)
    from sense.llms.local import (
        Continuation,
        answer,
        load,
    )  # torch is loaded once the input is known to be good

    loaded = load(model, dtype="float32")
    [[written]] = answer(
        loaded, schema, [Continuation(text=question_text(question))], max_new_tokens=MAX_NEW_TOKENS
    )
    sql = extract_sql(written.text)
    [ending] = run_queries([QueryJob(database, sql)], limits=LIMITS, workers=1)
    return Reply(sql, ending)
