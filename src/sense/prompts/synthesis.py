"""What a strong model is asked when it writes data: first a database with rows, then questions about it.

After the prompt of SENSE (ACL 2024, appendix): one new data point at a level, a new domain that avoids a list
of over-represented ones, a schema, two examples in the prompt. Changed: the rows are asked for too, so that
every query can be run; questions about one database are asked for together and see its rows, so that they
name values that are there; levels are described by what Spider's hardness counts, so that what is asked is
what will be measured.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from sense.records import Message

SYSTEM = "You write training data for text-to-SQL models. You answer with one JSON object and nothing else."


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """An example of the wanted kind: a schema, a question, its SQL."""

    level: str
    domain: str
    schema: str
    question: str
    sql: str


SHOTS = (
    Shot(
        level="easy",
        domain="parking garages",
        schema="garage(garage_id, name, district, opened_on); space(space_id, garage_id, level, has_charger)",
        question="Which garages in the Harbor district opened before 2010?",
        sql="SELECT name FROM garage WHERE district = 'Harbor' AND opened_on < '2010-01-01'",
    ),
    Shot(
        level="medium",
        domain="parking garages",
        schema="garage(garage_id, name, district, opened_on); space(space_id, garage_id, level, has_charger)",
        question="For every garage, how many spaces have a charger?",
        sql="SELECT T1.name, COUNT(*) FROM garage AS T1 JOIN space AS T2 ON T1.garage_id = T2.garage_id "
        "WHERE T2.has_charger = 1 GROUP BY T1.garage_id",
    ),
    Shot(
        level="hard",
        domain="printing presses",
        schema="press(press_id, model, hall, speed); job(job_id, press_id, sheets, ended_at)",
        question="List the models of presses faster than the average press that never ran a job.",
        sql="SELECT model FROM press WHERE speed > (SELECT AVG(speed) FROM press) "
        "AND press_id NOT IN (SELECT press_id FROM job)",
    ),
    Shot(
        level="extra",
        domain="printing presses",
        schema="press(press_id, model, hall, speed); job(job_id, press_id, sheets, ended_at)",
        question="Of the presses in hall B, which three models printed the most sheets in jobs of over 500 sheets, "
        "if they ran at least two such jobs? Give the model and the number of sheets.",
        sql="SELECT T1.model, SUM(T2.sheets) FROM press AS T1 JOIN job AS T2 ON T1.press_id = T2.press_id "
        "WHERE T1.hall = 'B' AND T2.sheets > 500 GROUP BY T1.press_id HAVING COUNT(*) >= 2 "
        "ORDER BY SUM(T2.sheets) DESC LIMIT 3",
    ),
)

LEVEL_TEXT = {
    "easy": "Easy: one table; at most ONE of WHERE, GROUP BY, ORDER BY (with or without LIMIT), LIKE or OR; at most one "
    "aggregate and, as a rule, one selected column; no join, no nesting. Vary: counts, filters on a value, on a number, "
    "on a date, on NULL, LIKE, min/max/avg/sum, sorting, DISTINCT.",
    "medium": "Medium: two of {JOIN, WHERE, GROUP BY, ORDER BY, LIMIT} and at most one of {several selected columns with "
    "an aggregate, several conditions, several aggregates}; no nesting. Typical: one JOIN with one condition; "
    "GROUP BY with a count; two conditions with AND/OR on one table; several columns sorted; superlatives by "
    "ORDER BY ... LIMIT 1.",
    "hard": "Hard: either exactly one nested query (IN, NOT IN, comparison with a scalar subquery, EXCEPT, INTERSECT, "
    "UNION) with little around it; or three of {JOIN, WHERE, GROUP BY, ORDER BY, LIMIT, LIKE, OR} with at most two of "
    "{several selected columns, several conditions, several aggregates}.",
    "extra": "Extra hard: clearly more than hard: four or more of {JOINs, WHERE, GROUP BY, HAVING, ORDER BY, LIMIT, OR, "
    "LIKE} together with several selected columns or aggregates; or a nested query inside a query that also joins and "
    "filters; or two nested queries.",
}


def database_request(
    *, area: str, tables: int, main_rows: int, banned: Sequence[str], shots: Sequence[Shot]
) -> list[Message]:
    """Ask for a new domain, its schema and its rows."""
    examples = "\n\n".join(
        f"Domain: {s.domain}\nSchema: {s.schema}\nQuestion: {s.question}\nSQL: {s.sql}" for s in shots
    )
    user = f"""Create one new database that questions will be asked about later.

1. Domain. Start from this area of life: {area}. Settle on one concrete domain in it, as an organization that really works there would keep records. Keep clear of domains that our collection has too many of: {"; ".join(banned)}.
2. Schema. {tables} tables for SQLite with clear names, sensible types (INTEGER, REAL, TEXT; dates as TEXT 'YYYY-MM-DD'), primary keys and foreign keys. At least one table that many rows of another refer to. No reserved words or spaces in names, no generated columns, no triggers, no views.
3. Rows. About {main_rows} rows in each of the one or two main tables (never fewer than 32), 6 to 20 in the others. The rows must look real: names and places that fit, skewed and not uniform numbers, some repeated values and ties (two rows that share the highest value of a column, groups of equal size), dates over several years, some NULLs in columns where a value can be unknown, one or two parents that no child refers to. Every foreign key value exists in the other table. Write every row out.

Two data points of our collection, to show what such databases are used for:

{examples}

Answer with one JSON object:
{{"domain": "a few words", "db_id": "short_snake_case", "tables": [{{"name": "...", "create": "CREATE TABLE ...", "rows": [[...], ...]}}, ...]}}
Parents come before children. Values of a row stand in the order of the columns; NULL is null."""
    return [Message(role="system", content=SYSTEM), Message(role="user", content=user)]


def questions_request(
    *,
    domain: str,
    schema: Sequence[str],
    rows: str,
    level: str,
    count: int,
    shots: Sequence[Shot],
    known: Sequence[str] = (),
) -> list[Message]:
    """Ask for questions of one level about a database whose rows are shown; `known` ones are not to come again."""
    examples = "\n\n".join(
        f"Domain: {s.domain}\nSchema: {s.schema}\nQuestion: {s.question}\nSQL: {s.sql}" for s in shots
    )
    ddl = "\n".join(schema)
    listed = "\n".join(f"- {question}" for question in known)
    avoid = f"Questions that were asked already; ask others:\n{listed}\n\n" if known else ""
    user = f"""Write {count} new questions with their SQL about the database below, all at the level {level}.

{LEVEL_TEXT[level]}

Rules
- Each question sounds like a person who works in this domain ({domain}), and holds all that is needed to write the SQL: what to list and in which order of columns, which condition, how to sort. It names values, never table or column names in their raw spelling. Vary the wording: questions, commands, short ones, long ones.
- The SQL is one SQLite SELECT that answers exactly what is asked, and no more columns than are asked for. Use T1, T2 as aliases in joins. Single quotes around text. Values as they stand in the rows.
- Each query returns at least one row on the rows shown; at most one of the {count} may return none, and is then marked with "empty": true. No two questions and no two queries alike, also not the same query with another value. Spread them over all tables and columns, and over the constructs of the level.
- If a superlative has a tie in the rows, ask so that the answer is unique, or for a value that the tied rows share.

Two data points of our collection, for the form:

{examples}

Schema:
{ddl}

Rows:
{rows}

{avoid}Answer with one JSON object:
{{"questions": [{{"question": "...", "sql": "SELECT ..."}}, ...]}}"""
    return [Message(role="system", content=SYSTEM), Message(role="user", content=user)]


def rows_as_csv(name: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, limit: int) -> str:
    """Write a table's first rows as CSV under its name; NULL is written NULL."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([["NULL" if value is None else value for value in row] for row in rows[:limit]])
    more = f"... and {len(rows) - limit} more rows\n" if len(rows) > limit else ""
    return f"{name}:\n{out.getvalue()}{more}"
