"""Put the gold query's values into a candidate: Spider's `--plug_value`, for models that write none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

SLOT = "VALUERARE"  # what the official script writes for a value; it stands in no known database


class Slotted(NamedTuple):
    """A query's words in lower case, SLOT.lower() for each value, and its values, some of them repeated."""

    words: list[str]
    values: list[str]


def plugged(gold_sql: str, candidate_sql: str) -> Iterator[str]:
    """Yield the candidate, then its words with the gold query's values in its slots, in all ways.

    Both are taken as they are just before the current year is put in: operators closed up, DISTINCT gone.
    There are len(values) ** slots ways, so the caller has to stop.

    >>> list(plugged("SELECT a FROM t WHERE b = 'x'", "SELECT a FROM t WHERE b = 1"))
    ['SELECT a FROM t WHERE b = 1', "select a from t where b = 'x'"]

    Source: taoyds/test-suite-sql-eval, parse.py, get_all_preds_for_execution; exec_eval.py, eval_exec_match.
        The queries are the same; their order there is that of a set of strings, another one in each run.
    """
    yield candidate_sql
    values = dict.fromkeys(cut_out_values(gold_sql).values)
    words = cut_out_values(candidate_sql).words
    slots = [at for at, word in enumerate(words) if word == SLOT.lower()]
    for choice in product(values, repeat=len(slots)):
        for at, value in zip(slots, choice, strict=True):
            words[at] = value
        yield " ".join(words)


def cut_out_values(sql: str) -> Slotted:
    """Cut a query into words and values: what is in quotes, and numbers that stand alone.

    Names in double quotes, and names of one letter and digits like c1, unless it is T, count as values too.

    >>> cut_out_values("SELECT c1 FROM t WHERE a>-5 AND b='x y' OR c=+.5").values
    ["'x y'", '.5', 'c1', '-5']

    Source: taoyds/test-suite-sql-eval, parse.py, reformat_query, replace_values and strip_query.
    """
    spaced = " ".join(_pieces(sql.strip().replace(";", "").replace("\t", "")))
    spaced = _T_SPACE.sub(r"\1", _T_STAR.sub("*", spaced))
    quoted = (piece for piece in _pieces(spaced) if len(piece) > 1 and piece[0] in "'\"")
    values = list(dict.fromkeys(quoted))
    for value in values:
        spaced = spaced.replace(value, SLOT)
    words = spaced.split()
    for pattern in (_FRACTION, _INTEGER):
        numbers = {found.strip() for found in pattern.findall(" ".join(words))}
        values += [word for word in words if word in numbers]
        words = [SLOT if word in numbers else word for word in words]
    return Slotted([part for word in words for part in _parts(word.lower())], values)


# Where sqlparse cuts SQL. A minus belongs to the number after it, in `a-5` too, and a quote after a backslash
# does not end a string. Line ends are pieces, for the comments that they end. Unlike there, a comment left
# open takes the rest: else each of many would look to the end for its close.
_PIECE = re.compile(
    r"""
      /\*.*?(?:\*/|\Z) | (?:--|\#\ )[^\r\n]* | [\r\n]
    | '(?:''|\\'|[^'])*' | "(?:""|\\"|[^"])*" | `(?:``|[^`])*` | (?<![\w\])])\[[^\]\[]+\]
    | -?0[xX][\dA-Fa-f]+
    | -?\d+(?:\.\d+)?[eE]-?\d+
    | -?(?:\d+(?:\.\d*)?|\.\d+)(?![A-Za-zÀ-Üà-ü_])
    | \w[\w$\#]*
    | %[sS] | :: | := | ->>? | - | [<>=~!]+ | [+/@\#%^&|-]+
    | \S
    """,
    re.VERBOSE | re.DOTALL,
)
# Digits are looked for where a run of them starts: elsewhere there is nothing to find, and a long run would
# take the square of its length.
_FRACTION = re.compile(r"[-+]?(?:(?<!\d)\d+)?\.\d+")
_INTEGER = re.compile(r"[^tT]\d+")  # the first character may be a blank, a sign or a letter
_T_SPACE = re.compile(r"(T\d+\.)\s")
_T_STAR = re.compile(r"[tT][123]\.\*")
_T_DOT = re.compile(r"t\d+\.")


def _pieces(sql: str) -> list[str]:
    return _PIECE.findall(sql)


def _parts(word: str) -> list[str]:
    return word.replace(".", " . ").split() if _T_DOT.search(word) else [word]
