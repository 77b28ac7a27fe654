"""A schema as text: the part of the prompt that all questions about a database share.

A text ends in a newline and no line of it starts with `question:` or `evidence:`, so a prompt splits into
schema and question at one place.
"""

from __future__ import annotations

from collections.abc import Mapping

from sense.databases.schema import Column, Schema, Table

Values = Mapping[tuple[str, str], tuple[str, ...]]


def compact(schema: Schema, values: Values) -> str:
    """Write one line a table, then one line a foreign key: about half of DDL's tokens."""
    lines = [f"database {_flat(schema.db_id)}"]
    for table in schema.tables:
        columns = ", ".join(_compact_column(table, column, values) for column in table.columns)
        lines.append(f"table {_name(table.name)} ( {columns} )")
    lines += [
        f"{_name(key.table)}.{_name(key.column)} = {_name(key.to_table)}.{_name(key.to_column)}"
        for key in schema.foreign_keys
    ]
    return "\n".join(lines) + "\n"


def ddl(schema: Schema, values: Values) -> str:
    """Write CREATE TABLE statements, with example values as comments."""
    lines: list[str] = []
    for table in schema.tables:
        lines.append(f"CREATE TABLE {_name(table.name)} (")
        body = [
            f"  {_name(column.name)} {_DDL_TYPES[column.type]}{_ddl_values(table, column, values)},"
            for column in table.columns
        ]
        keys = [_name(column.name) for column in table.columns if column.primary_key]
        if keys:
            body.append(f"  PRIMARY KEY ({', '.join(keys)}),")
        body += [
            f"  FOREIGN KEY ({_name(key.column)}) REFERENCES {_name(key.to_table)}({_name(key.to_column)}),"
            for key in schema.foreign_keys
            if key.table == table.name
        ]
        lines += [*body, ");"]
    return "\n".join(lines) + "\n"


_DDL_TYPES = {"text": "TEXT", "number": "NUMERIC", "time": "DATETIME", "boolean": "BOOLEAN", "others": "BLOB"}


# The words that SQLite 3.40 cannot read as the name of a table and of a column, tried one by one.
_RESERVED = {
    "add", "all", "alter", "and", "as", "autoincrement", "between", "case", "cast", "check", "collate",
    "commit", "constraint", "create", "current_date", "current_time", "current_timestamp", "default",
    "deferrable", "delete", "distinct", "drop", "else", "escape", "except", "exists", "foreign", "from",
    "group", "having", "in", "index", "insert", "intersect", "into", "is", "isnull", "join", "limit",
    "not", "nothing", "notnull", "null", "on", "or", "order", "primary", "raise", "references",
    "returning", "select", "set", "table", "then", "to", "transaction", "union", "unique", "update",
    "using", "values", "when", "where",
}  # fmt: skip


def _compact_column(table: Table, column: Column, values: Values) -> str:
    text = f"{_name(column.name)} {column.type}"
    if column.primary_key:
        text += " key"
    shown = values.get((table.name, column.name))
    return f"{text} [{' | '.join(_flat(value) for value in shown)}]" if shown else text


def _ddl_values(table: Table, column: Column, values: Values) -> str:
    shown = values.get((table.name, column.name))
    return f" /* {', '.join(repr(_flat(value)) for value in shown)} */" if shown else ""


def _name(name: str) -> str:
    """Quote a name that SQL could not read bare."""
    plain = name.replace("_", "a").isalnum() and not name[0].isdigit() and name.isascii()
    return name if plain and name.lower() not in _RESERVED else '"' + _flat(name).replace('"', '""') + '"'


def _flat(text: str) -> str:
    return " ".join(text.split())
