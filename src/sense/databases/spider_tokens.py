"""Cut SQL into the tokens of Spider's own parser: those of NLTK's tokenizer of English text."""

from __future__ import annotations

import re


def tokenize(sql: str) -> list[str] | None:
    """Return the tokens, in lower case; a quoted text is one, in double quotes and in its own case.

    None where a quote is left open; an apostrophe opens and closes as a double quote does.

    >>> tokenize("SELECT a FROM t WHERE b >= 'X y' AND c>=1")
    ['select', 'a', 'from', 't', 'where', 'b', '>=', '"X y"', 'and', 'c', '>', '=1']

    Source: taoyds/test-suite-sql-eval, process_sql.py, tokenize; nltk, tokenize/destructive.py,
        NLTKWordTokenizer, with the text as one line. Its rules for quotes have nothing left to apply to.
    """
    sql = sql.replace("'", '"')
    if sql.count('"') % 2:
        return None
    quoted: dict[str, str] = {}

    def put_away(match: re.Match[str]) -> str:
        # A plain word for the rules below: what stands against the quotes grows together with it.
        key = f"__val_{match.start()}_{match.end() - 1}__"
        quoted[key] = match.group()
        return key

    words = (word.lower() for word in _words(re.sub(r'"[^"]*"', put_away, sql)))
    return _join_operators([quoted.get(word, word) for word in words])


_OPENING = re.compile("[«“‘„]|``|`")  # noqa: RUF001
_PAUSE = re.compile(r"([:,])(\D|$)")  # takes the next character along: of two commas the second is not seen
_APART = re.compile(r"\.{2,}|--|[;@#$%&?!*\[\](){}<>\u2012-\u2015»”’]")  # noqa: RUF001
_CONTRACTION = re.compile(
    r"\b(can(?=not\b)|gim(?=me\b)|gon(?=na\b)|got(?=ta\b)|lem(?=me\b)|wan(?=na\s))(\w+)", re.IGNORECASE
)
_AFTER_LAST_PERIOD = "])}>»”’ "  # noqa: RUF001


def _words(text: str) -> list[str]:
    text = _part_last_period(_OPENING.sub(r" \g<0> ", text))
    text = _PAUSE.sub(r" \1 \2", text)
    text = _APART.sub(r" \g<0> ", text) + " "
    return _CONTRACTION.sub(r" \1 \2 ", text).split()


def _part_last_period(text: str) -> str:
    """Set the period that ends the text apart; elsewhere it belongs to its word."""
    sentence = text.rstrip().rstrip(_AFTER_LAST_PERIOD)
    if len(sentence) < 2 or sentence[-1] != "." or sentence[-2] == ".":
        return text
    return f"{sentence[:-1]} . {text[len(sentence) :]}"


def _join_operators(words: list[str]) -> list[str]:
    joined: list[str] = []
    for word in words:
        if word == "=" and joined and joined[-1] in ("!", ">", "<"):
            joined[-1] += word
        else:
            joined.append(word)
    return joined
