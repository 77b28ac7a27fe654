"""Read SQL by the grammar of Spider (2018), as its exact set match and its hardness need it.

It is no parser of SQL: joins but `JOIN`, names after FROM without `AS`, `WITH`, `CASE`, window functions and
brackets around conditions are refused, while what follows a complete query is ignored. Its answers are those
of the official script, right or wrong.
"""

from __future__ import annotations

from typing import NamedTuple

from sense.databases.schema import Schema
from sense.databases.spider_query import (
    NONE,
    ColumnUnit,
    Comparison,
    Compound,
    Conditions,
    Expression,
    Order,
    Query,
    Selected,
    Value,
)
from sense.databases.spider_tokens import tokenize

MAX_NESTING = 100  # queries in queries, well within Python's recursion limit; the official script ends at it

AGGREGATES = (NONE, "max", "min", "count", "sum", "avg")
UNIT_OPERATORS = (NONE, "-", "+", "*", "/")
CONDITION_OPERATORS = ("not", "between", "=", ">", "<", ">=", "<=", "!=", "in", "like", "is", "exists")
CONNECTIVES = ("and", "or")
SET_OPERATORS = ("intersect", "union", "except")
CLAUSES = ("select", "from", "where", "group", "order", "limit", *SET_OPERATORS)  # HAVING is not among them
ENDS_OF_CLAUSE = (*CLAUSES, ")", ";")
JOINS = ("join", "on", "as")
ENDS_OF_VALUE = (*CLAUSES, *JOINS, ",", ")", "and")  # OR is not: after a column it is lost, with all it joins


def parse(sql: str, schema: Schema) -> Query | None:
    """Read a query; None where the grammar refuses it or a name is unknown.

    An alias is one for the whole text, whichever query of it defines it: the last definition holds.

    Source: taoyds/test-suite-sql-eval, process_sql.py, get_sql. Names are looked up in `schema`, there in the
        database file. Refused too: nesting deeper than MAX_NESTING, and conditions in a row without AND or OR
        with a connective at a condition's place, on which the official script fails after it has read them.
    """
    tokens = tokenize(sql)
    if tokens is None:
        return None
    try:
        return _Parser(tokens, _Names.of(schema, tokens)).query()
    except _RefusedError:
        return None


class _RefusedError(Exception):
    pass


class _Names(NamedTuple):
    """What a name in the query stands for. `known`: tables, `table.column` and `*`."""

    sources: dict[str, str]
    columns: dict[str, frozenset[str]]
    known: frozenset[str]

    @classmethod
    def of(cls, schema: Schema, tokens: list[str]) -> _Names:
        columns = {
            table.name.lower(): frozenset(column.name.lower() for column in table.columns)
            for table in schema.tables
        }
        if tokens[-1:] == ["as"]:
            raise _RefusedError
        places = [at for at, word in enumerate(tokens) if word == "as"]
        aliases = {tokens[at + 1]: tokens[at - 1] for at in places}
        if not aliases.keys().isdisjoint(columns):
            raise _RefusedError
        qualified = (f"{table}.{column}" for table, names in columns.items() for column in names)
        return cls(
            aliases | {table: table for table in columns}, columns, frozenset({"*", *columns, *qualified})
        )


class _Parser:
    """Reads tokens from left to right; a method starts at the next token and stops after what it returns."""

    def __init__(self, tokens: list[str], names: _Names) -> None:
        self.tokens = tokens
        self.names = names
        self.at = 0
        self.depth = 0

    def query(self) -> Query:
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise _RefusedError
        in_brackets = self._skip("(")
        start = self.at
        tables, named, on = self._from()  # before SELECT: a column may stand there without its table
        end, self.at = self.at, start
        distinct, selected = self._select(named)
        self.at = end
        query = Query(
            distinct=distinct,
            select=selected,
            tables=tables,
            on=on,
            where=_align(self._conditions(named)) if self._skip("where") else Conditions(),
            group=self._group(named),
            having=_align(self._conditions(named)) if self._skip("having") else Conditions(),
            order=self._order(named),
            limited=self._skip("limit") and bool(self._next()),
        )
        self._skip_semicolons()
        if in_brackets:
            self._expect(")")
            self._skip_semicolons()
        if self._peek() in SET_OPERATORS:
            query = query._replace(compound=Compound(self._next(), self.query()))
        self.depth -= 1
        return query

    def _from(self) -> tuple[tuple[str | Query, ...], list[str], Conditions]:
        try:
            self.at = self.tokens.index("from", self.at) + 1
        except ValueError:
            raise _RefusedError from None
        tables: list[str | Query] = []
        named: list[str] = []  # each once, or a thousand joins would make a search of a thousand steps
        on: list[Comparison | str] = []
        while self._peek():
            in_brackets = self._skip("(")
            if self._peek() == "select":
                tables.append(self.query())
            else:
                self._skip("join")
                name = self._table()
                tables.append(name)
                if name not in named:
                    named.append(name)
            if self._skip("on"):
                conditions = self._conditions(named)
                on += ["and", *conditions] if on else conditions
            if in_brackets:
                self._expect(")")
            if self._peek() in ENDS_OF_CLAUSE:
                break
        return tuple(tables), named, _align(on)

    def _table(self) -> str:
        name = self.names.sources.get(self._next())
        if name is None or name not in self.names.known:
            raise _RefusedError
        if self._skip("as"):
            self._next()
        return name

    def _select(self, tables: list[str]) -> tuple[bool, tuple[Selected, ...]]:
        self._expect("select")
        distinct = self._skip("distinct")
        found: list[Selected] = []
        while self._peek() and self._peek() not in CLAUSES:
            aggregate = self._next() if self._peek() in AGGREGATES else NONE
            found.append(Selected(aggregate, self._expression(tables)))
            self._skip(",")
        return distinct, tuple(found)

    def _group(self, tables: list[str]) -> tuple[ColumnUnit, ...]:
        found: list[ColumnUnit] = []
        if self._skip("group"):
            self._expect("by")
            while self._peek() and self._peek() not in ENDS_OF_CLAUSE:
                found.append(self._column_unit(tables))
                if not self._skip(","):
                    break
        return tuple(found)

    def _order(self, tables: list[str]) -> Order | None:
        if not self._skip("order"):
            return None
        self._expect("by")
        direction = "asc"
        found: list[Expression] = []
        while self._peek() and self._peek() not in ENDS_OF_CLAUSE:
            found.append(self._expression(tables))
            if self._peek() in ("asc", "desc"):
                direction = self._next()
            if not self._skip(","):
                break
        return Order(direction, tuple(found))

    def _conditions(self, tables: list[str]) -> list[Comparison | str]:
        found: list[Comparison | str] = []
        while self._peek():
            expression = self._expression(tables)
            negated = self._skip("not")
            operator = self._next()
            if operator not in CONDITION_OPERATORS:
                raise _RefusedError
            value, second = self._value(tables), None
            if operator == "between":
                self._expect("and")
                second = self._value(tables)
            found.append(Comparison(negated, operator, expression, value, second))
            if self._peek() in ENDS_OF_CLAUSE or self._peek() in JOINS:
                break
            if self._peek() in CONNECTIVES:
                found.append(self._next())
        return found

    def _value(self, tables: list[str]) -> Value:
        start = self.at
        in_brackets = self._skip("(")
        value: Value
        if self._peek() == "select":
            value = self.query()
        elif '"' in self._peek():
            value = self._next()
        else:
            try:
                value = float(self._peek())
                self.at += 1
            except ValueError:
                while self._peek() and self._peek() not in ENDS_OF_VALUE:
                    self.at += 1
                # The first column stands for them all; no closing bracket is among them: `(a)` is refused.
                value = _Parser(self.tokens[start : self.at], self.names)._column_unit(tables)
        if in_brackets:
            self._expect(")")
        return value

    def _expression(self, tables: list[str]) -> Expression:
        in_brackets = self._skip("(")
        left, right, operator = self._column_unit(tables), None, NONE
        if self._peek() in UNIT_OPERATORS:
            operator = self._next()
            right = self._column_unit(tables)
        if in_brackets:
            self._expect(")")
        return Expression(operator, left, right)

    def _column_unit(self, tables: list[str]) -> ColumnUnit:
        in_brackets = self._skip("(")
        if self._peek() in AGGREGATES:
            aggregate = self._next()
            self._expect("(")
            distinct = self._skip("distinct")
            column = self._column(tables)
            self._expect(")")  # that of the aggregate: one of `in_brackets` is left to whoever asked
            return ColumnUnit(aggregate, column, distinct)
        distinct = self._skip("distinct")
        column = self._column(tables)
        if in_brackets:
            self._expect(")")
        return ColumnUnit(NONE, column, distinct)

    def _column(self, tables: list[str]) -> str:
        word = self._next()
        if word == "*":
            return word
        if "." in word:
            alias, name = word.split(".", maxsplit=1)
            column = f"{self.names.sources.get(alias, '')}.{name}"
            if "." in name or alias not in self.names.sources or column not in self.names.known:
                raise _RefusedError
            return column
        for each in tables:
            table = self.names.sources.get(each, "")
            if table not in self.names.columns:
                raise _RefusedError
            if word in self.names.columns[table]:
                return f"{table}.{word}"
        raise _RefusedError

    def _peek(self) -> str:
        """Return the next token, "" at the end: no token is empty."""
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise _RefusedError
        self.at += 1
        return token

    def _skip(self, token: str) -> bool:
        found = self._peek() == token
        self.at += found
        return found

    def _skip_semicolons(self) -> None:
        while self._skip(";"):
            pass

    def _expect(self, token: str) -> None:
        if not self._skip(token):
            raise _RefusedError


def _align(found: list[Comparison | str]) -> Conditions:
    comparisons = tuple(each for each in found[::2] if isinstance(each, Comparison))
    if len(comparisons) < len(found[::2]):
        raise _RefusedError
    return Conditions(comparisons, tuple(found[1::2]))
