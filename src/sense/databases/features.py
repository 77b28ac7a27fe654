"""The SQL features of a query, told from its tokens: fast enough for every gold query of a benchmark.

No parser is used, so nothing is checked: SQL that no database would take has features too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from sense.databases.sql_tokens import code_tokens


class Feature(StrEnum):
    """What a query makes use of, anywhere in it unless said otherwise."""

    SEVERAL_COLUMNS = "several_columns"  # in the SELECT of any of its queries
    DISTINCT = "distinct"  # SELECT DISTINCT
    JOIN = "join"  # exactly one in all; a comma in FROM joins too
    TWO_JOINS = "two_joins"
    THREE_OR_MORE_JOINS = "three_or_more_joins"
    LEFT_JOIN = "left_join"
    SELF_JOIN = "self_join"
    WHERE = "where"
    SEVERAL_CONDITIONS = "several_conditions"  # in one WHERE
    OR = "or"
    NOT = "not"  # save IS NOT NULL
    NOT_EQUAL = "not_equal"
    LIKE = "like"  # or GLOB
    BETWEEN = "between"
    IS_NULL = "is_null"  # or IS NOT NULL
    IN_LIST = "in_list"
    IN_SUBQUERY = "in_subquery"
    EXISTS = "exists"
    SCALAR_SUBQUERY = "scalar_subquery"
    FROM_SUBQUERY = "from_subquery"
    CORRELATED_SUBQUERY = "correlated_subquery"  # seen only where the outer table's name stands at its column
    NESTED = "nested"  # any subquery; a part of a set operation and a WITH are none
    COUNT = "count"
    SUM = "sum"
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    COUNT_DISTINCT = "count_distinct"
    AGGREGATE_OVER_ARITHMETIC = "aggregate_over_arithmetic"
    AGGREGATE_OVER_CASE = "aggregate_over_case"
    GROUP_BY = "group_by"
    GROUP_BY_SEVERAL = "group_by_several"
    HAVING = "having"
    ORDER_BY = "order_by"
    ORDER_BY_SEVERAL = "order_by_several"
    ORDER_BY_AGGREGATE = "order_by_aggregate"
    LIMIT = "limit"
    TOP_ONE = "top_one"  # ORDER BY with LIMIT 1
    OFFSET = "offset"
    UNION = "union"
    INTERSECT = "intersect"
    EXCEPT = "except"
    CTE = "cte"
    RECURSIVE_CTE = "recursive_cte"
    WINDOW = "window"
    CASE = "case"  # or IIF
    CAST = "cast"
    COALESCE_OR_NULLIF = "coalesce_or_nullif"
    ARITHMETIC = "arithmetic"
    MATH_FUNCTION = "math_function"
    DATE_FUNCTION = "date_function"
    STRING_FUNCTION = "string_function"  # or ||


def sql_features(sql: str) -> frozenset[Feature]:
    """Tell the features of a query, in time linear in its length. What is quoted or a comment has none.

    >>> sorted(each.value for each in sql_features("SELECT a FROM t WHERE b NOT IN (SELECT b FROM u)"))
    ['in_subquery', 'nested', 'not', 'where']
    """
    return _Reader(code_tokens(sql)).read()


AGGREGATES = {name: Feature(name) for name in ("count", "sum", "avg", "min", "max")} | {"total": Feature.SUM}
_NAMES_OF_FUNCTIONS = {
    Feature.CASE: "iif if",
    Feature.CAST: "cast try_cast convert",
    Feature.COALESCE_OR_NULLIF: "coalesce ifnull nullif nvl",
    Feature.MATH_FUNCTION: """
        abs ceil ceiling exp floor ln log log10 log2 mod pow power random round sign sqrt trunc""",
    Feature.DATE_FUNCTION: """
        curdate curtime date date_add date_diff date_format date_part date_sub date_trunc datediff datetime
        day extract hour julianday minute month now second strftime time timediff timestamp timestampdiff
        to_char to_date unixepoch week year""",
    Feature.STRING_FUNCTION: """
        char char_length concat concat_ws format group_concat hex initcap instr left length lower lpad ltrim
        position printf regexp_replace replace reverse right rpad rtrim split_part string_agg strpos substr
        substring trim unicode upper""",
}
FUNCTIONS = {name: feature for feature, names in _NAMES_OF_FUNCTIONS.items() for name in names.split()}
WORDS = {
    "like": Feature.LIKE,
    "ilike": Feature.LIKE,
    "glob": Feature.LIKE,
    "!=": Feature.NOT_EQUAL,
    "<>": Feature.NOT_EQUAL,
    "isnull": Feature.IS_NULL,
    "notnull": Feature.IS_NULL,
    "exists": Feature.EXISTS,
    "||": Feature.STRING_FUNCTION,
    "current_date": Feature.DATE_FUNCTION,
    "current_time": Feature.DATE_FUNCTION,
    "current_timestamp": Feature.DATE_FUNCTION,
}
SET_OPERATIONS = {name: Feature(name) for name in ("union", "intersect", "except")}
JOINS = {1: Feature.JOIN, 2: Feature.TWO_JOINS}
SEVERAL = {
    "select": Feature.SEVERAL_COLUMNS,
    "group": Feature.GROUP_BY_SEVERAL,
    "order": Feature.ORDER_BY_SEVERAL,
    "limit": Feature.OFFSET,
}
# After these nothing stands between two operands: a minus is a sign, a star is every column.
_NO_OPERAND = """( , = == < > <= >= != <> + - * / % || select distinct all where and or not on having by
    limit offset when then else case in like between"""
NO_OPERAND = frozenset(_NO_OPERAND.split())
NO_ALIAS = {"as", "natural", "left", "right", "full", "inner", "outer", "cross", "indexed", "not", "lateral"}


@dataclass(slots=True)
class _Query:
    """A SELECT in hand."""

    clause: str = ""
    tables: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)  # of its tables, and what they are called here
    qualifiers: set[str] = field(default_factory=set)  # of its columns
    from_inside: set[str] = field(default_factory=set)  # qualifiers that the queries in it cannot explain
    expects_table: bool = False
    is_ordered: bool = False


@dataclass(slots=True)
class _Bracket:
    """An open bracket. `function` stands before it, "" where none known; `query` starts in it."""

    function: str
    query: _Query | None = None
    commas: int = 0
    betweens: int = 0  # whose AND is still to come
    has_arithmetic: bool = False
    has_case: bool = False


class _Reader:
    """Goes over the tokens once, and keeps what is open: brackets, and the queries in them."""

    def __init__(self, tokens: list[str]) -> None:
        # There are always two tokens on either side: the index -1 is one of these too.
        self._tokens = [*tokens, "", "", ""]
        self._found: set[Feature] = set()
        self._joins = 0
        self._query = _Query()
        self._queries = [self._query]
        self._bracket = _Bracket("", self._query)
        self._brackets = [self._bracket]

    def read(self) -> frozenset[Feature]:
        found = self._found
        for at, text in enumerate(self._tokens):
            if text in ACTIONS:
                ACTIONS[text](self, at)
            elif text in WORDS:
                found.add(WORDS[text])
            elif text == ";":
                break
            elif self._query.clause == "from" or "." in text:
                self._name(text)
        while len(self._brackets) > 1:
            self._close(0)
        self._end_query()
        if self._joins:
            found.add(JOINS.get(self._joins, Feature.THREE_OR_MORE_JOINS))
        return frozenset(found)

    def _name(self, token: str) -> None:
        query = self._query
        if token[:1] in _STARTS_OF_LITERALS:
            return
        if query.clause != "from":
            query.qualifiers.add(token.partition(".")[0].strip(_QUOTES))
        elif query.expects_table:
            query.expects_table = False
            query.tables.append(token)
            query.names.add(token.rpartition(".")[2].strip(_QUOTES))
        elif token not in NO_ALIAS:
            query.names.add(token.strip(_QUOTES))

    def _open(self, at: int) -> None:
        name = self._tokens[at - 1]
        if name in FUNCTIONS:
            self._found.add(FUNCTIONS[name])
            self._bracket.has_case |= FUNCTIONS[name] is Feature.CASE
        self._bracket = _Bracket(name if name in AGGREGATES else "")
        self._brackets.append(self._bracket)

    def _close(self, at: int) -> None:  # noqa: ARG002
        if len(self._brackets) == 1:
            return
        closed = self._brackets.pop()
        self._bracket = self._brackets[-1]
        if closed.query is not None:
            self._end_query()
            self._queries.pop()
            self._query = self._queries[-1]
            return
        if closed.function and not (closed.commas and closed.function in ("min", "max")):
            self._found.add(AGGREGATES[closed.function])
            if closed.has_arithmetic:
                self._found.add(Feature.AGGREGATE_OVER_ARITHMETIC)
            if closed.has_case:
                self._found.add(Feature.AGGREGATE_OVER_CASE)
            if self._query.clause == "order":
                self._found.add(Feature.ORDER_BY_AGGREGATE)
        self._bracket.has_arithmetic |= closed.has_arithmetic
        self._bracket.has_case |= closed.has_case

    def _begin(self, at: int) -> None:
        """Meet SELECT or WITH: a query of its own right behind a bracket, else one that goes on."""
        if self._tokens[at - 1] == "(" and self._bracket.query is None:
            before = at - 2
            while self._tokens[before] == "(":
                before -= 1
            self._found.update(self._role(self._tokens[before]))
            self._query.expects_table = False
            self._query = self._bracket.query = _Query()
            self._queries.append(self._query)
        if self._tokens[at] == "select":
            self._query.clause = "select"
        elif not self._query.clause:
            self._query.clause = "with"
            self._found.add(Feature.CTE)
            if self._tokens[at + 1] == "recursive":
                self._found.add(Feature.RECURSIVE_CTE)

    def _role(self, before: str) -> tuple[Feature, ...]:
        """Tell what a query in brackets is to the one around it, by the word before."""
        if before == "in":
            return Feature.NESTED, Feature.IN_SUBQUERY
        if before == "exists":
            return (Feature.NESTED,)
        if self._query.expects_table:
            return Feature.NESTED, Feature.FROM_SUBQUERY
        if self._query.clause in ("", "with"):
            return ()
        return Feature.NESTED, Feature.SCALAR_SUBQUERY

    def _end_query(self) -> None:
        query = self._query
        if len(set(query.tables)) < len(query.tables):
            self._found.add(Feature.SELF_JOIN)
        if query.from_inside & query.names:
            self._found.add(Feature.CORRELATED_SUBQUERY)
        unexplained = query.from_inside
        unexplained |= query.qualifiers
        unexplained -= query.names
        if len(self._queries) > 1:
            outer = self._queries[-2]
            # The smaller set goes into the larger: in deep nests the time stays linear.
            small, large = sorted((outer.from_inside, unexplained), key=len)
            large |= small
            outer.from_inside = large

    def _set_operation(self, at: int) -> None:
        is_between = self._query.clause and self._bracket.query is self._query
        if is_between or self._tokens[at - 1] == ")":
            self._found.add(SET_OPERATIONS[self._tokens[at]])
        if is_between:
            self._end_query()
            self._query = self._queries[-1] = self._bracket.query = _Query()

    def _clause(self, at: int) -> None:
        """Meet a word that starts a clause, unless it stands inside a function or window."""
        query, word = self._query, self._tokens[at]
        if self._bracket.query is not query:
            return
        if word == "by":
            word = self._tokens[at - 1]
            self._found.add(Feature.GROUP_BY if word == "group" else Feature.ORDER_BY)
            query.is_ordered |= word == "order"
        elif word == "from":
            if self._tokens[at - 1] == "distinct":  # IS DISTINCT FROM
                return
            query.expects_table = True
        else:
            self._found.add(Feature(word))
        query.clause = word
        amount, after = self._tokens[at + 1 : at + 3]
        if word == "limit" and query.is_ordered and amount == "1" and after not in (",", "offset"):
            self._found.add(Feature.TOP_ONE)

    def _join(self, at: int) -> None:
        self._joins += 1
        self._query.clause, self._query.expects_table = "from", True
        before = self._tokens[at - 1]
        if (self._tokens[at - 2] if before == "outer" else before) == "left":
            self._found.add(Feature.LEFT_JOIN)

    def _on(self, at: int) -> None:  # noqa: ARG002
        if self._query.clause == "from":
            self._query.clause = "on"

    def _comma(self, at: int) -> None:  # noqa: ARG002
        query, bracket = self._query, self._bracket
        bracket.commas += 1
        if bracket.query is not query:
            return
        if query.clause in ("from", "on"):
            self._joins += 1
            query.clause, query.expects_table = "from", True
        elif query.clause in SEVERAL:
            self._found.add(SEVERAL[query.clause])

    def _connective(self, at: int) -> None:
        if self._tokens[at] == "or":
            self._found.add(Feature.OR)
        elif self._bracket.betweens:
            self._bracket.betweens -= 1
            return
        if self._query.clause == "where":
            self._found.add(Feature.SEVERAL_CONDITIONS)

    def _between(self, at: int) -> None:  # noqa: ARG002
        self._found.add(Feature.BETWEEN)
        self._bracket.betweens += 1

    def _in(self, at: int) -> None:
        if self._tokens[at + 1] == "(" and self._tokens[at + 2] not in ("select", "with"):
            self._found.add(Feature.IN_LIST)

    def _not(self, at: int) -> None:
        if self._tokens[at + 1] not in ("null", "materialized"):
            self._found.add(Feature.NOT)

    def _is(self, at: int) -> None:
        if "null" in (self._tokens[at + 1], self._tokens[at + 2]):
            self._found.add(Feature.IS_NULL)

    def _distinct(self, at: int) -> None:
        before = self._tokens[at - 1]
        if before == "select":
            self._found.add(Feature.DISTINCT)
        elif before == "(" and self._bracket.function == "count":
            self._found.add(Feature.COUNT_DISTINCT)

    def _case(self, at: int) -> None:  # noqa: ARG002
        self._found.add(Feature.CASE)
        self._bracket.has_case = True

    def _over(self, at: int) -> None:
        if self._tokens[at - 1] == ")":
            self._found.add(Feature.WINDOW)

    def _operator(self, at: int) -> None:
        if self._tokens[at - 1] not in NO_OPERAND:
            self._found.add(Feature.ARITHMETIC)
            self._bracket.has_arithmetic = True


_QUOTES = ' "`[]'
_STARTS_OF_LITERALS = frozenset("'.0123456789")
ACTIONS: dict[str, Callable[[_Reader, int], None]] = {
    "(": _Reader._open,
    ")": _Reader._close,
    ",": _Reader._comma,
    "select": _Reader._begin,
    "with": _Reader._begin,
    "join": _Reader._join,
    "on": _Reader._on,
    "using": _Reader._on,
    "or": _Reader._connective,
    "and": _Reader._connective,
    "between": _Reader._between,
    "in": _Reader._in,
    "not": _Reader._not,
    "is": _Reader._is,
    "distinct": _Reader._distinct,
    "case": _Reader._case,
    "over": _Reader._over,
    **dict.fromkeys(("from", "where", "by", "having", "limit", "offset"), _Reader._clause),
    **dict.fromkeys(SET_OPERATIONS, _Reader._set_operation),
    **dict.fromkeys("+-*/%", _Reader._operator),
}
