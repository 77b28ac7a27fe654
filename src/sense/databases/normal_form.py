"""The form of a query that tells duplicates, of pairs or questions. It never decides what is correct."""

from __future__ import annotations

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError


def normal_form(sql: str) -> str:
    """Write a query so that case, white space and the names of aliases do not count; literals do.

    SQL that cannot be parsed is only freed of superfluous white space. Equal forms mean the same query;
    unequal ones may still be equivalent.

    >>> normal_form("select T1.name from singer as T1") == normal_form("SELECT Name FROM Singer")
    True
    >>> normal_form("SELECT a FROM t WHERE b = 'x'") == normal_form("SELECT a FROM t WHERE b = 'X'")
    False
    """
    try:
        tree = sqlglot.parse_one(sql, dialect="sqlite")
        _rename_sources(tree)
        _drop_unused_names(tree)
        for identifier in tree.find_all(exp.Identifier):
            # A quoted one keeps its case: where no such column exists SQLite takes it for a text.
            if not identifier.args.get("quoted"):
                identifier.set("this", identifier.name.lower())
        return tree.sql(dialect="sqlite", comments=False)
    except (SqlglotError, RecursionError):
        return " ".join(sql.split()).rstrip("; ")


def _rename_sources(tree: exp.Expr) -> None:
    """Name what stands in FROM by its place, and take the qualifier off where there is only one source."""
    sources = [(select, _sources(select)) for select in tree.find_all(exp.Select)]
    names: dict[int, dict[str, str]] = {}  # by identity: sqlglot takes two selects of the same text for equal
    for select, own in sources:
        names[id(select)] = {
            source.alias_or_name.lower(): f"t{len(names)}_{n}" for n, source in enumerate(own)
        }
    for column in list(tree.find_all(exp.Column)):
        if column.table:
            _rename_qualifier(column, names)
    for select, own in sources:
        for source in own:
            name = names[id(select)][source.alias_or_name.lower()]
            source.set("alias", exp.TableAlias(this=exp.to_identifier(name)))


def _rename_qualifier(column: exp.Column, names: dict[int, dict[str, str]]) -> None:
    own = select = column.find_ancestor(exp.Select)
    while select is not None:
        name = names[id(select)].get(column.table.lower())
        if name is not None:
            alone = select is own and len(names[id(select)]) == 1
            column.set("table", None if alone else exp.to_identifier(name))
            return
        select = select.find_ancestor(exp.Select)


def _drop_unused_names(tree: exp.Expr) -> None:
    """Take the names off result columns that nothing refers to."""
    used = {column.name.lower() for column in tree.find_all(exp.Column)}
    for alias in list(tree.find_all(exp.Alias)):
        if isinstance(alias.parent, exp.Select) and alias.alias.lower() not in used:
            alias.replace(alias.this)


def _sources(select: exp.Select) -> list[exp.Expr]:
    start = select.find(exp.From)
    first = [start.this] if start is not None and start.parent is select else []
    return [*first, *(join.this for join in select.args.get("joins") or [])]
