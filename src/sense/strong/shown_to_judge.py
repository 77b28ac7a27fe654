"""What a judge is shown of databases: the schema with example values, and results; of the user's own, less.

Of a database of the user's own no value of a private column is shown, nor what a query returns that reads
one, or reads what is no plain column: a view or a generated column holds values of others.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from sense.databases import spider
from sense.databases.gold_facts import Place
from sense.databases.schema import Schema
from sense.databases.spider import PRIVATE_MARK
from sense.databases.sqlite import open_read_only
from sense.databases.values import example_values
from sense.errors import DataError
from sense.execution.outcome import Ending, Rows, describe
from sense.prompts.schema_text import compact
from sense.prompts.synthesis import rows_as_csv
from sense.prompts.text_to_sql import FORMATS, MAX_SCHEMA_CHARS, Prompter
from sense.records import Question
from sense.strong.coverage import columns_of
from sense.strong.own_database import OwnDatabase, plain_schema, read_own_lines, without
from sense.strong.private_columns import reads_only

ROWS_SHOWN = 10
MAX_VALUE_CHARS = 200  # of a value that is shown
WITH_VALUES, NAMES_ONLY = "compact-1", "compact-names-1"


class Showing:
    """What may be shown of the databases of one folder in Spider's layout; each is read once."""

    def __init__(self, data: Path, *, with_values: bool) -> None:
        """Take the folder; the file that says what of it is private lies beside it, where `filter` wrote it.

        Raises:
            DataError: that file cannot be read.
        """
        self._data = data
        self._with_values = with_values
        self._beside = data.resolve().parent
        self._own = {each.db_id: each for each in read_own_lines(self._beside)}
        self._prompter = Prompter(data, prompt_format=WITH_VALUES if with_values else NAMES_ONLY)
        self._schemas: dict[str, Schema] = {}
        self._texts: dict[str, str] = {}

    def check(self, db_ids: Collection[str]) -> None:
        """Raise DataError for a database that is marked as private, where nothing says what of it is."""
        for db_id in db_ids:
            if db_id not in self._own and spider.is_private(self._data, db_id):
                folder = spider.database_file(self._data, db_id).parent
                raise DataError(
                    f"{folder}: marked private by its file {PRIVATE_MARK}, but which columns are is not "
                    f"known: databases.jsonl of 'sense filter' is expected in {self._beside}"
                )

    def schema_text(self, db_id: str) -> str:
        """Write the schema of a database."""
        own = self._own.get(db_id)
        if own is None or _tells_all(own):
            return self._prompter.schema_text(db_id)
        if db_id not in self._texts:
            self._texts[db_id] = self._own_text(own)
        return self._texts[db_id]

    def result_text(self, question: Question, ending: Ending) -> str:
        """Write what a query returned; "" where that may not be shown."""
        own = self._own.get(question.db_id)
        if own is None or _tells_all(own):
            return _as_text(ending)
        if not own.values or not isinstance(ending, Rows):
            return ""
        told = set(columns_of(self._schema(own))) - _places(own.private, self._schema(own))
        with closing(open_read_only(self._file(own))) as connection:
            return _as_text(ending) if reads_only(question.gold_sql, told, connection) else ""

    def _own_text(self, own: OwnDatabase) -> str:
        schema = self._schema(own)
        told = without(schema, gone=set(), hidden=_places(own.hidden, schema))
        if self._with_values and own.values:
            style = FORMATS[WITH_VALUES]
            values = example_values(
                self._file(own),
                without(schema, gone=set(), hidden=_places(own.private, schema)),
                per_column=style.values_per_column,
                all_up_to=style.all_values_up_to,
            )
            text = compact(told, values)
            if len(text) <= MAX_SCHEMA_CHARS:
                return text
        return compact(told, {})

    def _schema(self, own: OwnDatabase) -> Schema:
        if own.db_id not in self._schemas:
            self._schemas[own.db_id] = plain_schema(self._file(own), own.db_id)
        return self._schemas[own.db_id]

    def _file(self, own: OwnDatabase) -> Path:
        return spider.database_file(self._data, own.db_id)


def _tells_all(own: OwnDatabase) -> bool:
    return own.values and not own.private


def _places(names: Collection[str], schema: Schema) -> set[Place]:
    return {place for place in columns_of(schema) if f"{place.table}.{place.column}" in names}


def _as_text(ending: Ending) -> str:
    if not isinstance(ending, Rows):
        return describe(ending)
    names = [f"column {number}" for number in range(1, ending.columns + 1)]
    cut = [
        [value[:MAX_VALUE_CHARS] if isinstance(value, str | bytes) else value for value in row]
        for row in ending.rows
    ]
    return rows_as_csv(f"{len(cut)} rows", names, cut, limit=ROWS_SHOWN).rstrip()
