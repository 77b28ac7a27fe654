"""Write expressions so that the same one of two queries reads the same: tables for aliases, lower case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from sense.evaluation.query_parts import SUBQUERY

SYMBOLS: dict[type[exp.Expr], str] = {
    exp.EQ: "=", exp.NEQ: "!=", exp.LT: "<", exp.GT: ">", exp.LTE: "<=", exp.GTE: ">=",
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%", exp.DPipe: "||",
    exp.And: "and", exp.Or: "or",
}  # fmt: skip
MAX_WHOLE = 1e15  # beyond, a float no longer holds every whole number


@dataclass(slots=True)
class Scope:
    """What the names in a SELECT can mean: its own sources, then those around it."""

    outer: Scope | None
    sources: dict[str, str] = field(default_factory=dict)  # tables by what they are called here
    aliases: dict[str, str] = field(default_factory=dict)  # of result columns
    subqueries: list[exp.Expr] = field(default_factory=list)  # met in expressions, still to be read
    equalities: list[tuple[str, str]] = field(default_factory=list)  # met in ON and WHERE


class Names:
    """Names columns, and learns meanwhile which tables have them.

    Columns in `same` bear the name given there, those of the tables `alone` bear no table. Unless `exactly`,
    what COUNT counts is left out. `owners` are tables by the name of a column.
    """

    def __init__(
        self, *, owners: dict[str, set[str]], same: Mapping[str, str], alone: frozenset[str], exactly: bool
    ) -> None:
        """Start from what is known already."""
        self.owners = owners
        self._same = same
        self._alone = alone
        self._exactly = exactly

    def text(self, node: exp.Expr, scope: Scope) -> str:
        """Write an expression in lower case, with tables for aliases."""
        match node:
            case exp.Column():
                name = self.full_name(node, scope)
                name = self._same.get(name, name)
                table, _, column = name.partition(".")
                return column if column and table in self._alone else name
            case exp.Literal():
                return _number_or_text(node)
            case exp.Star():
                return "*"
            case exp.Paren():
                inside = self.text(node.this, scope)
                return inside if isinstance(node.this, exp.Column | exp.Literal | exp.Func) else f"({inside})"
            case exp.Count() if not self._exactly and not isinstance(node.this, exp.Distinct):
                return "count(*)"
            case exp.Distinct():
                return "distinct " + ", ".join(self.text(each, scope) for each in node.expressions)
            case exp.Binary() if type(node) in SYMBOLS:
                sides = [self.text(node.this, scope), self.value(node.expression, scope)]
                if isinstance(node, exp.Add | exp.Mul | exp.And | exp.Or):
                    sides.sort()
                return f" {SYMBOLS[type(node)]} ".join(sides)
            case exp.Query():
                scope.subqueries.append(node)
                return f"({SUBQUERY})"
            case exp.DataType():
                return node.sql(dialect="sqlite").lower()
        return self._call(node, scope)

    def value(self, node: exp.Expr, scope: Scope) -> str:
        """Write an expression where a constant is expected: a name in double quotes is a text there."""
        return _number_or_text(node) if is_text(node) else self.text(node, scope)

    def full_name(self, column: exp.Column, scope: Scope) -> str:
        """Write a column with its table, without where it is unclear."""
        name, qualifier = column.name.lower(), column.table.lower()
        if isinstance(column.this, exp.Star):
            return "*" if len(scope.sources) <= 1 else f"{self._owner(qualifier, scope)}.*"
        if not qualifier and name in scope.aliases:
            return scope.aliases[name]
        owner = self._owner(qualifier, scope) if qualifier else self._likely_owner(name, scope)
        if not owner:
            return name
        self.owners.setdefault(name, set()).add(owner)
        return f"{owner}.{name}"

    def _call(self, node: exp.Expr, scope: Scope) -> str:
        arguments = [
            self.text(each, scope) if isinstance(each, exp.Expr) else str(each).lower()
            for key, value in node.args.items()
            for each in (value if isinstance(value, list) else [value])
            if isinstance(each, exp.Expr) or (isinstance(each, str) and key != "this")
        ]
        named = isinstance(node, exp.Anonymous | exp.Var | exp.Identifier)
        name = node.name if named else node.key
        return f"{name.lower()}({', '.join(arguments)})" if arguments else name.lower()

    def _owner(self, qualifier: str, scope: Scope | None) -> str:
        while scope is not None:
            if qualifier in scope.sources:
                return scope.sources[qualifier]
            scope = scope.outer
        return qualifier

    def _likely_owner(self, name: str, scope: Scope) -> str:
        """Take the only source, or the one that has such a column elsewhere; "" where it is unclear."""
        sources = list(scope.sources.values())
        if len(sources) > 1:
            owners = self.owners.get(name, ())
            sources = [source for source in sources if source in owners]
        names = {self._same.get(f"{source}.{name}", source) for source in sources}
        return sources[0] if len(names) == 1 else ""


def unwrap(tree: exp.Expr) -> exp.Expr:
    """Take brackets off."""
    while isinstance(tree, exp.Subquery | exp.Paren):
        tree = tree.this
    return tree


def is_text(node: exp.Expr) -> bool:
    """Tell a text in double quotes, which the grammar takes for a name, by its lack of a table."""
    return isinstance(node, exp.Column) and not node.table and bool(node.this.args.get("quoted"))


def is_value(node: exp.Expr) -> bool:
    """Tell whether this stands on the right side of a comparison, given the choice."""
    return isinstance(unwrap(node), exp.Literal | exp.Null | exp.Neg | exp.Boolean | exp.Query) or is_text(
        node
    )


def _number_or_text(node: exp.Expr) -> str:
    """Write a number plainly, as text that is one: a column's type makes them equal more often than not."""
    try:
        number = float(node.name)
    except ValueError:
        return f"'{node.name}'"
    return str(int(number)) if number.is_integer() and abs(number) < MAX_WHOLE else str(number)
