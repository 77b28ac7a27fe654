# ruff: noqa: E501 (a request's lines are the model's to read)
"""What a strong model is asked about a database: a list of questions, each at a hardness, with features, in a style.

Hardness is told as it will be measured, so that what is asked for is what comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sense.databases.features import Feature
from sense.databases.hardness import Hardness
from sense.prompts.synthesis import SYSTEM
from sense.records import Message

# Source: databases/hardness.py and databases/query_counts.py, in words.
COUNTING_RULE = """Three numbers are counted, on the outermost SELECT only: nothing inside a subquery or a CTE adds to them, and nothing after the first UNION, INTERSECT or EXCEPT, not even an ORDER BY or LIMIT at the very end.
- C: 1 each if there is a WHERE, a GROUP BY, an ORDER BY, a LIMIT; 1 for every JOIN; 1 for every OR and every LIKE in WHERE, HAVING or ON.
- O: 1 each if there is more than one selected column; more than one condition in WHERE (joined by AND or OR; a BETWEEN or an IN list is one condition); more than one GROUP BY column; more than one aggregate. For the last one count each selected column that has an aggregate (also one with OVER), each aggregate in ORDER BY, each NOT in WHERE or HAVING (NOT IN, NOT LIKE, NOT EXISTS, but not IS NOT NULL) and each AND or OR in HAVING. An aggregate in HAVING is not counted.
- N: 1 for every subquery in WHERE, HAVING or ON (not again for one inside another); 1 if there is a UNION, INTERSECT or EXCEPT; 1 for every CTE. A subquery in FROM or in the SELECT list is not counted.
Nothing is added for DISTINCT, HAVING itself, OFFSET, CASE, functions, arithmetic, RANK() OVER."""

LEVEL_RULES = {
    Hardness.EASY: "N = 0 and C at most 1 and O = 0",
    Hardness.MEDIUM: "N = 0 and either C at most 1 with O of 1 or 2, or C = 2 with O at most 1",
    Hardness.HARD: "N = 0 and either C = 3 with O at most 2, or C at most 2 with O at least 3; "
    "or else N = 1 with C at most 1 and O = 0",
    Hardness.EXTRA: "all above that: C at least 4; C = 3 with O at least 3; C = 2 with O = 2; "
    "N = 1 with C at least 2 or O at least 1; N at least 2",
}

EXAMPLE_SCHEMA = (
    "CREATE TABLE press (press_id INTEGER PRIMARY KEY, model TEXT, hall TEXT, sheets_per_hour INTEGER, "
    "bought_on TEXT);",
    "CREATE TABLE job (job_id INTEGER PRIMARY KEY, press_id INTEGER REFERENCES press(press_id), paper TEXT, "
    "sheets INTEGER, ended_on TEXT);",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A question at a level, with what is counted of its SQL."""

    hardness: Hardness
    question: str
    sql: str
    counts: str


EXAMPLES = (
    Example(
        hardness=Hardness.EASY,
        question="Which press models stand in hall B?",
        sql="SELECT model FROM press WHERE hall = 'B'",
        counts="C = 1 (WHERE), O = 0, N = 0",
    ),
    Example(
        hardness=Hardness.EASY,
        question="Which papers have been used in more than five jobs?",
        sql="SELECT paper FROM job GROUP BY paper HAVING COUNT(*) > 5",
        counts="C = 1 (GROUP BY), O = 0, N = 0",
    ),
    Example(
        hardness=Hardness.MEDIUM,
        question="For each hall, how many presses stand there? Show the hall and the number.",
        sql="SELECT hall, COUNT(*) FROM press GROUP BY hall",
        counts="C = 1 (GROUP BY), O = 1 (two columns), N = 0",
    ),
    Example(
        hardness=Hardness.MEDIUM,
        question="How many sheets have been printed on recycled paper in hall A?",
        sql="SELECT SUM(T2.sheets) FROM press AS T1 JOIN job AS T2 ON T1.press_id = T2.press_id "
        "WHERE T1.hall = 'A' AND T2.paper = 'recycled'",
        counts="C = 2 (JOIN, WHERE), O = 1 (two conditions), N = 0",
    ),
    Example(
        hardness=Hardness.HARD,
        question="Name the models of the presses that are faster than the average press.",
        sql="SELECT model FROM press WHERE sheets_per_hour > (SELECT AVG(sheets_per_hour) FROM press)",
        counts="C = 1 (WHERE), O = 0, N = 1 (a subquery in WHERE)",
    ),
    Example(
        hardness=Hardness.HARD,
        question="Which press of hall C is the fastest? Give its model and its sheets per hour.",
        sql="SELECT model, sheets_per_hour FROM press WHERE hall = 'C' ORDER BY sheets_per_hour DESC LIMIT 1",
        counts="C = 3 (WHERE, ORDER BY, LIMIT), O = 1 (two columns), N = 0",
    ),
    Example(
        hardness=Hardness.EXTRA,
        question="Which two presses of hall B have printed the most sheets in all? Give the model and the number "
        "of sheets, the larger number first.",
        sql="SELECT T1.model, SUM(T2.sheets) FROM press AS T1 JOIN job AS T2 ON T1.press_id = T2.press_id "
        "WHERE T1.hall = 'B' GROUP BY T1.press_id ORDER BY SUM(T2.sheets) DESC LIMIT 2",
        counts="C = 5 (JOIN, WHERE, GROUP BY, ORDER BY, LIMIT), O = 2 (two columns, two aggregates), N = 0",
    ),
    Example(
        hardness=Hardness.EXTRA,
        question="List model and hall of every press that has never run a job.",
        sql="SELECT model, hall FROM press AS T1 WHERE NOT EXISTS "
        "(SELECT T2.job_id FROM job AS T2 WHERE T2.press_id = T1.press_id)",
        counts="C = 1 (WHERE), O = 1 (two columns), N = 1 (a subquery in WHERE)",
    ),
)

FEATURE_TEXT = {
    Feature.DISTINCT: "SELECT DISTINCT",
    Feature.JOIN: "exactly one JOIN",
    Feature.TWO_JOINS: "exactly two JOINs",
    Feature.THREE_OR_MORE_JOINS: "three or more JOINs",
    Feature.LEFT_JOIN: "LEFT JOIN",
    Feature.SELF_JOIN: "a table joined with itself",
    Feature.SEVERAL_CONDITIONS: "two or more conditions in WHERE",
    Feature.OR: "OR",
    Feature.NOT: "NOT (NOT IN, NOT LIKE, NOT BETWEEN or NOT EXISTS)",
    Feature.NOT_EQUAL: "<>",
    Feature.LIKE: "LIKE",
    Feature.BETWEEN: "BETWEEN",
    Feature.IS_NULL: "IS NULL or IS NOT NULL",
    Feature.IN_LIST: "IN with a list of values",
    Feature.IN_SUBQUERY: "IN or NOT IN with a subquery",
    Feature.EXISTS: "EXISTS or NOT EXISTS",
    Feature.SCALAR_SUBQUERY: "a comparison with a subquery that gives one value",
    Feature.CORRELATED_SUBQUERY: "a subquery in WHERE that names a column of the outer query by the outer alias",
    Feature.FROM_SUBQUERY: "a subquery in FROM",
    Feature.COUNT: "COUNT",
    Feature.SUM: "SUM",
    Feature.AVG: "AVG",
    Feature.MIN: "MIN",
    Feature.MAX: "MAX",
    Feature.COUNT_DISTINCT: "COUNT(DISTINCT ...)",
    Feature.AGGREGATE_OVER_ARITHMETIC: "an aggregate over a calculation, as SUM(a * b)",
    Feature.AGGREGATE_OVER_CASE: "an aggregate over CASE, as SUM(CASE WHEN ... END)",
    Feature.GROUP_BY: "GROUP BY",
    Feature.GROUP_BY_SEVERAL: "GROUP BY two columns",
    Feature.HAVING: "HAVING",
    Feature.ORDER_BY: "ORDER BY",
    Feature.ORDER_BY_SEVERAL: "ORDER BY two columns",
    Feature.ORDER_BY_AGGREGATE: "ORDER BY an aggregate that is written out there, as ORDER BY COUNT(*)",
    Feature.TOP_ONE: "ORDER BY ... LIMIT 1",
    Feature.LIMIT: "ORDER BY ... LIMIT with a number above 1",
    Feature.OFFSET: "LIMIT ... OFFSET, as for the second highest",
    Feature.UNION: "UNION",
    Feature.INTERSECT: "INTERSECT",
    Feature.EXCEPT: "EXCEPT",
    Feature.CTE: "a CTE (WITH ... AS)",
    Feature.WINDOW: "a window function (RANK, ROW_NUMBER, LAG or an aggregate, with OVER)",
    Feature.CASE: "CASE",
    Feature.CAST: "CAST",
    Feature.COALESCE_OR_NULLIF: "COALESCE or NULLIF",
    Feature.ARITHMETIC: "a calculation with columns (+, -, *, /)",
    Feature.MATH_FUNCTION: "ROUND or ABS",
    Feature.DATE_FUNCTION: "a date function (strftime, julianday or date)",
    Feature.STRING_FUNCTION: "a text function (SUBSTR, LENGTH, UPPER, INSTR) or ||",
}

STYLE_TEXT = {
    "formal": "a complete, correct question or sentence, as in a written report",
    "colloquial": "as one says it to a colleague, short or chatty, and still clear",
    "imperative": "a command: Show, List, Count, Find",
    "vague": 'has a word whose measure only insiders know ("a deep well", "our regulars"); "evidence" says in one '
    'sentence what it means in terms of the columns ("a deep well means depth_m > 40"), and question and '
    "evidence together hold all that the SQL needs",
    "synonyms": "calls things by other words than the names of tables and columns do (vessel for boat, how heavy for "
    "weight_kg), and cannot be misunderstood; values stay as they are",
}


def slot_line(number: int, *, hardness: Hardness, features: Sequence[Feature], style: str) -> str:
    """Write one line of the list of questions to write.

    >>> slot_line(2, hardness=Hardness.EASY, features=[Feature.NOT_EQUAL], style="formal")
    '2. easy; uses: <>; style: formal'
    """
    uses = " and ".join(FEATURE_TEXT[feature] for feature in features)
    return f"{number}. {hardness}; {f'uses: {uses}; ' if uses else ''}style: {style}"


def slots_request(
    *, domain: str, schema: Sequence[str], rows: str, slots: Sequence[str], known: Sequence[str] = ()
) -> list[Message]:
    """Ask for a question for each slot; the `known` ones are not to come again."""
    levels = "\n".join(f"- {level}: {rule}." for level, rule in LEVEL_RULES.items())
    examples = "\n".join(
        f"- {each.hardness}: {each.question}\n  {each.sql}\n  {each.counts}" for each in EXAMPLES
    )
    styles = "\n".join(f"- {style}: {text}." for style, text in STYLE_TEXT.items())
    listed = "\n".join(f"- {question}" for question in known)
    avoid = f"Questions that were asked already; ask for other things:\n{listed}\n\n" if known else ""
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
- They are what people who work in this domain ({domain}) want to know. Somebody who sees only the schema, the question and its evidence must come to the same result: what to show and in which order of columns, which conditions, how to sort. Every text, number and date that the SQL compares with stands in the question or its evidence, spelled as in the rows (yes-or-no columns aside). Do not write table or column names in their raw spelling.
- Say "more than" or "at least", "before" or "up to and including", and mean it. Ask for names rather than ids, unless people use the number.
- Ask for what is shown, and show what is asked for: if the number is wanted beside the name, say so; if only the name is wanted, select only the name.
- If a result could list the same thing several times, the question says whether each is wanted once ("different", "each once": DISTINCT or GROUP BY) or for every record. No DISTINCT otherwise.
- If the query sorts, the question says by what and which way. If the question does not ask for an order, the query has none.
- A superlative (most, earliest, top three) has to be unique in the rows, at its last place too; or the question says how ties are meant, and the query does just that.
- A count per parent by JOIN leaves out parents without children: the question says "that have any", or the query uses LEFT JOIN and counts a column of the child.
- Mind NULL: it is neither equal nor unequal to a value, makes NOT IN empty, and comes first when sorted upwards. If it matters, the question says what is meant for unknown values.
- If the query rounds, the question says to how many digits; whole numbers are multiplied by 1.0 (or cast) before they are divided.

SQL
- One SELECT statement for SQLite 3.40, on one line, without a semicolon. No 'now', no random(): the answer must not change from day to day.
- In joins and in subqueries that refer outward, aliases T1, T2, ... and every column with its alias. JOINs are written JOIN ... ON. Beside aggregates only columns that are grouped by, or that belong to the key that is grouped by; to group by things or persons, group by their key and not by their name.
- Each query gives at least one row on the rows below, no more than 40, and not just NULL or 0. Every condition matters: without it the result on these rows would be another.
- No two questions and no two queries alike, also not the same query with another value. Spread them over all tables and over most columns.

Schema:
{chr(10).join(schema)}

Rows:
{rows}

{avoid}The list:
{chr(10).join(slots)}

Answer with one JSON object and nothing else:
{{"questions": [{{"slot": 1, "question": "...", "sql": "SELECT ...", "evidence": ""}}, ...]}}"""
    return [Message(role="system", content=SYSTEM), Message(role="user", content=user)]
