# ruff: noqa: E501 (a request's lines are the model's to read)
"""What a model is asked that judges a question with its SQL: does the query answer what is asked?"""

from __future__ import annotations

from sense.records import Message

SYSTEM = "You check data for text-to-SQL models. You answer with one JSON object and nothing else."


def judge_request(*, schema: str, question: str, evidence: str, sql: str, result: str) -> list[Message]:
    """Ask whether a question and its SQL agree; an empty `evidence` or `result` is not shown."""
    hint = f"What words of the question mean: {evidence}\n\n" if evidence else ""
    shown = f"Result of the SQL on this database:\n{result}\n\n" if result else ""
    user = f"""Does the SQL answer the question, on any rows that the database may come to hold?

Read the question as the people who work with this database would, and work out for yourself what the query has to say. Then compare.

- "no": the query says something else: it shows other things than are asked for, more or fewer columns, lacks a condition or has one that nobody asked for, counts things twice or leaves some out, takes the wrong end of an order, compares with a value that neither the question nor its explanation names.
- "yes": it says what is asked. How it is written does not matter, nor in which order rows or columns stand where the question does not ask for an order.
- "unsure": the question can sensibly be read in two ways that give different results.

Schema:
{schema}
Question: {question}

{hint}SQL: {sql}

{shown}Answer with one JSON object and nothing else, the reason in one sentence:
{{"reason": "...", "verdict": "yes" or "no" or "unsure"}}"""
    return [Message(role="system", content=SYSTEM), Message(role="user", content=user)]
