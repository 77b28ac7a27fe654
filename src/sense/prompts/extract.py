"""Read what a model answered: the SQL of a text-to-SQL model, the JSON of a strong one."""

from __future__ import annotations

import json
import re
from typing import Any

from sense.prompts.text_to_sql import one_line


def extract_sql(text: str) -> str:
    """Take the first query of an answer: no code fence, nothing after its semicolon, on one line.

    What a model thinks before it answers is no part of it: a <think> that is not closed leaves nothing.
    An answer without SQL gives what it holds, so that the executor can say what is wrong with it.

    >>> extract_sql("```sql\\nSELECT a\\nFROM t;\\n```\\nThis lists a.")
    'SELECT a FROM t'
    >>> extract_sql(" SELECT ';' FROM t\\nquestion: next?")
    "SELECT ';' FROM t"
    """
    answer = _THOUGHT.sub("", text, count=1)
    fenced = _FENCE.search(answer)
    body = fenced[1] if fenced else answer
    body = _NEXT_QUESTION.split(body, maxsplit=1)[0].strip()
    body = body.split("\n\n", maxsplit=1)[0]
    end = next((match.start() for match in _SEMICOLON_OR_QUOTED.finditer(body) if match[0] == ";"), len(body))
    return one_line(body[:end])


def extract_json(text: str) -> dict[str, Any] | None:
    """Take the JSON object out of an answer, with or without words around it; None if there is none.

    >>> extract_json('Here it is: {"a": [1, 2]} I hope it helps.')
    {'a': [1, 2]}
    """
    start = _OBJECT.search(text)
    if start is None:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start.start())
    except (ValueError, RecursionError):  # also an integer of more digits than Python converts
        return None
    return value if isinstance(value, dict) else None


_THOUGHT = re.compile(r"\A\s*<think>.*?(?:</think>|\Z)", re.DOTALL)
_FENCE = re.compile(r"```(?:\w*\n|(?:sql|sqlite)\s)(.*?)(?:```|\Z)", re.DOTALL)  # the token limit may cut it
_OBJECT = re.compile(r"\{\s*[\"}]")
_NEXT_QUESTION = re.compile(r"\n(?:(?:question|evidence|sql):|table \S+ \( )")
_SEMICOLON_OR_QUOTED = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|`[^`]*`|--[^\n]*|/\*.*?(?:\*/|\Z)|;", re.DOTALL)
