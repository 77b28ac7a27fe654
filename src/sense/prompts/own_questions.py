# ruff: noqa: E501 (a request's lines are the model's to read)
"""What a strong model is asked about a database of the user's own: its schema and some values, never its rows.

Beside what `prompts.questions` asks for, this asks for what an audit of written data found wrong most often: set
operations on names that repeat, NOT IN over NULL, joins that repeat rows, and silence about those with none.
"""

from __future__ import annotations

from collections.abc import Sequence

from sense.prompts.questions import COUNTING_RULE, EXAMPLE_SCHEMA, EXAMPLES, LEVEL_RULES, STYLE_TEXT
from sense.prompts.synthesis import SYSTEM
from sense.records import Message

VALUES_SHOWN = "Values in square brackets are examples from the data: all values of a column, or the most frequent ones. The SQL compares with these and with numbers or dates that lie between them, spelled as they are shown; with no other value."
NO_VALUES_SHOWN = "No values of the data are shown, and none can be known. Ask what needs none: numbers of things, highest and lowest, averages, groups, what is there and what is missing, one column against another or against an average. The only constants are those of LIMIT, of dates' parts, and small numbers that a count is held against."


def own_questions_request(
    *,
    schema: str,
    slots: Sequence[str],
    shows_values: bool,
    private: Sequence[str] = (),
    unused: Sequence[str] = (),
    known: Sequence[str] = (),
) -> list[Message]:
    """Ask for a question for each slot.

    Args:
        schema: as `prompts.schema_text.compact` writes it.
        slots: lines of the list of questions to write.
        shows_values: whether the schema has example values.
        private: columns whose values are not shown, as `table.column`.
        unused: columns that no question has used so far.
        known: questions that are not to come again.
    """
    levels = "\n".join(f"- {level}: {rule}." for level, rule in LEVEL_RULES.items())
    examples = "\n".join(
        f"- {each.hardness}: {each.question}\n  {each.sql}\n  {each.counts}" for each in EXAMPLES
    )
    styles = "\n".join(f"- {style}: {text}." for style, text in STYLE_TEXT.items())
    hidden = (
        f"\nThe values of these columns are private: {', '.join(private)}. They may be counted, joined, grouped by, "
        "sorted, tested for NULL or compared with another column, but never with a constant: none of their values is known."
        if private
        else ""
    )
    listed = "\n".join(f"- {question}" for question in known)
    avoid = f"Questions that were asked already; ask for other things:\n{listed}\n\n" if known else ""
    wanted = (
        f"No question has used these columns so far; use each of them in one at least: {', '.join(unused)}\n\n"
        if unused
        else ""
    )
    user = f"""Write {len(slots)} new questions with their SQL about the database below, one for each line of the list at the end: at its level, with its SQL features, in its style.

Levels
{COUNTING_RULE}
{levels}

Examples, on the tables {" ".join(EXAMPLE_SCHEMA)}
{examples}

Count C, O and N of each query before you write it down; if it misses its level, change what is asked until it does not. "uses" names what the query has to have, as it stands there, because the question needs it and never as an ornament: no DISTINCT, CAST or COALESCE that changes nothing, no subquery where nobody would think of one. Where nothing is named, choose freely. If two features do not go together in a sensible question, keep the first one and the level.

Styles
{styles}
"evidence" is "" in all styles but vague.

Questions
- They are what people who work with this database want to know. Somebody who sees only the schema, the question and its evidence must come to the same result: what to show and in which order of columns, which conditions, how to sort. Every text, number and date that the SQL compares with stands in the question or its evidence, spelled as in the data (yes-or-no columns aside). Do not write table or column names in their raw spelling.
- Say "more than" or "at least", "before" or "up to and including", and mean it. Ask for names rather than ids, unless people use the number.
- Ask for what is shown, and show what is asked for: if the number is wanted beside the name, say so; if only the name is wanted, select only the name.
- If a result could list the same thing several times, the question says whether each is wanted once ("different", "each once": DISTINCT or GROUP BY) or for every record. No DISTINCT otherwise.
- If the query sorts, the question says by what and which way. If the question does not ask for an order, the query has none.
- The rows are not shown, so ties cannot be ruled out: after a superlative (most, earliest, top three) the question says how ties are meant, and the query does just that.
- "Each" or "every" of a thing says what becomes of those with none: "that have any" goes with JOIN; "also those with none" goes with LEFT JOIN and counts a column of the other table.
- If NULL matters, the question says what is meant for unknown values.
- If the query rounds, the question says to how many digits; whole numbers are multiplied by 1.0 (or cast) before they are divided.

SQL
- One SELECT statement for SQLite 3.40, on one line, without a semicolon. No 'now', no random(): the answer must not change from day to day. Names as the schema spells them; those that stand in double quotes there need them.
- In joins and in subqueries that refer outward, aliases T1, T2, ... and every column with its alias. JOINs are written JOIN ... ON. Beside aggregates only columns that are grouped by, or that belong to the key that is grouped by; to group by things or persons, group by their key and not by their name.
- INTERSECT, EXCEPT and UNION compare keys, not names that two things may share: take the keys in a subquery and show the names outside, or show the keys too.
- NOT IN over a column that may hold NULL finds nothing: exclude NULL inside (WHERE ... IS NOT NULL), or write NOT EXISTS. NULL is neither equal nor unequal to a value, and comes first when sorted upwards.
- A join repeats a row for each match. Where the question only asks whether there is a match, write EXISTS or IN, or select DISTINCT by the key; never sum or average a column that a join repeats.
- Each query should give at least one row, no more than 40, and not just NULL or 0. Every condition matters.
- No two questions and no two queries alike, also not the same query with another value. Spread them over all tables and over most columns.

Schema: one line a table, each column with its type; then the foreign keys.
{schema}
{VALUES_SHOWN if shows_values else NO_VALUES_SHOWN}{hidden}

{avoid}{wanted}The list:
{chr(10).join(slots)}

Answer with one JSON object and nothing else:
{{"questions": [{{"slot": 1, "question": "...", "sql": "SELECT ...", "evidence": ""}}, ...]}}"""
    return [Message(role="system", content=SYSTEM), Message(role="user", content=user)]
