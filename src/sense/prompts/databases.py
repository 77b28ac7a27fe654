# ruff: noqa: E501 (a request's lines are the model's to read)
"""What a strong model is asked when the domain of a database is fixed: its schema and its rows.

The rows are asked for so that queries of every kind have something to find in them: NULLs, ties, repeated
values, parents without children, dates over years.
"""

from __future__ import annotations

from collections.abc import Sequence

from sense.prompts.synthesis import SYSTEM
from sense.records import Message

COLUMNS_TEXT = {
    "small": "3 to 5 columns in each table",
    "medium": "4 to 7 columns in each table",
    "wide": "5 to 10 columns in each table, at least 9 in the main one",
}
MOST_ROWS = {"small": 100, "medium": 80, "wide": 62}  # that 2,800 tokens hold
LEAST_OTHER_ROWS = 6
NAMING_TEXT = {
    "snake": "in snake_case (well_site, depth_m, fee_eur, is_open)",
    "capitals": "in words with capitals and underscores (Well_Site, Depth_m, Fee_EUR, Is_Open)",
    "camel": "in camelCase (wellSite, depthM, feeEur, isOpen)",
}
SHAPE_TEXT = {
    "self_reference": "One table refers to itself, as a person to the one who trained them or a part to the whole it "
    "belongs to; chains of two and three rows occur, and the topmost rows have NULL there.",
    "composite_key": "One table links two others: its primary key is made of two columns, each a foreign key, and it "
    "has at least one more column of its own.",
    "two_references": "One table refers to the same other table by two columns, in two roles (from and to, done by and "
    "checked by).",
}


def database_in_domain_request(
    *,
    domain: str,
    area: str,
    region: str,
    db_id: str,
    tables: int,
    breadth: str,
    naming: str,
    shapes: Sequence[str],
    main_rows: int,
) -> list[Message]:
    """Ask for the schema and the rows of a database in a domain."""
    most_rows = max(MOST_ROWS[breadth], main_rows + LEAST_OTHER_ROWS * tables)
    shape = "".join(f"\n- {SHAPE_TEXT[name]}" for name in shapes)
    user = f"""Create one new database that questions will be asked about later.

1. Domain: {domain} (area of life: {area}). Think of one organization that does this work, and of the records that it keeps from day to day. It is in {region}, unless such work cannot be found there. Record the work itself with its own things, places, measures and states: no web shop with customers and orders, no personnel department, no courses with students.

2. Schema
- Exactly {tables} tables for SQLite, with {COLUMNS_TEXT[breadth]}. All of them are connected by foreign keys, and many rows of one refer to the same row of another.
- Names of tables and columns are English, {NAMING_TEXT[naming]}, and say by themselves what is meant, with the unit where there is one. No reserved words, no spaces, no abbreviations that have to be guessed; no two columns of a table that could be taken for each other.
- Types are INTEGER, REAL and TEXT; dates are TEXT 'YYYY-MM-DD'; yes or no is INTEGER 1 or 0. Numbers, texts with few different values, names and dates all occur.
- Every table has a PRIMARY KEY; every foreign key is declared with REFERENCES. Plain CREATE TABLE statements, each on one line: no CHECK, no DEFAULT, no indexes, no generated columns.{shape}

3. Rows
- About {main_rows} rows in the main table, the one that records what happens day by day; 6 to 15 in each other table, or up to 24 in a second one that records happenings; no more than {most_rows} rows in all tables together. The whole answer has about 2,000 to 2,800 tokens, so keep texts short, write each row on a line of its own, and put no spaces after the commas in it.
- They look real: names and places that fit, uneven numbers (most small, some large), decimals where things are measured. They make sense together: nothing ends before it begins, no event comes before what it is about, no total contradicts its parts.
- A text column with few different values (a kind, a state) has each of them at least twice, some far more often than others, always in the same spelling. What people call a thing or a person by is unique within its table; some names share a word or a beginning.
- Dates spread over at least four years. At least two columns have NULL in about every sixth row, where a value can be unknown or not there yet; the other columns have none, unless it is said above.
- Ties occur: two rows share the highest value of one number column, two groups have the same size. Elsewhere the highest and the lowest value stand once.
- At least one row is referred to by nobody, at least one by five rows or more. Where two tables record happenings of the same things or persons, some of these occur in both tables and some in only one.
- Every foreign key value exists in the table that it refers to. Write every row out.

Answer with one JSON object and nothing else:
{{"domain": "what the organization does, in a few words", "db_id": "{db_id}", "tables": [{{"name": "...", "create": "CREATE TABLE ...", "rows": [
[...],
[...]
]}}, ...]}}
Parents come before children, tables as well as rows. Values of a row stand in the order of the columns; NULL is null."""
    return [Message(role="system", content=SYSTEM), Message(role="user", content=user)]
