"""The shape of a query, to tell duplicates and to count templates. It never decides what is correct.

Coarser than `normal_form`: values are left out, and what only changes the order of writing does not count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from sense.databases.sql_tokens import code_tokens

VALUE = "?"  # stands for any value, and for a list of them behind IN
TABLE, COLUMN = "t", "c"  # stand for any name in a template

_SYMMETRIC = (exp.EQ, exp.NEQ, exp.NullSafeEQ, exp.NullSafeNEQ)
_MIRRORED: dict[type[exp.Expr], type[exp.Binary]] = {
    exp.GT: exp.LT, exp.GTE: exp.LTE, exp.LT: exp.GT, exp.LTE: exp.GTE,
}  # fmt: skip
_COMPARING: tuple[type[exp.Expr], ...] = (*_SYMMETRIC, *_MIRRORED, exp.Like, exp.Glob, exp.In, exp.Between)
_NO_CALL = (exp.Connector, exp.Case, exp.If)  # functions to sqlglot alone


def skeleton(sql: str) -> str:
    """Write a query without its values, names of tables and columns kept.

    Case, white space, brackets around conditions, aliases, the order of conditions, of the sides of a
    comparison and of inner joins do not count. Values that tell a function what to do count, as in
    `round(x, 2)`; so do positions, as in `ORDER BY 1`. SQL that cannot be parsed keeps its tokens.

    >>> skeleton("SELECT T1.a FROM t AS T1 WHERE b > 3 AND 'x' = c") == skeleton(
    ...     "select A from T where C = 'y' and B > 5"
    ... )
    True
    """
    return _write(sql)


def template(sql: str) -> str:
    """Write a query without values and names, so that queries of different databases compare.

    >>> template("SELECT name FROM singer WHERE age > 20 ORDER BY age")
    'SELECT c FROM t WHERE c > ? ORDER BY c'
    """
    return _write(sql, _forget_names)


def _write(sql: str, *changes: Callable[[exp.Expr], None]) -> str:
    try:
        tree = sqlglot.parse_one(sql, dialect="sqlite")
        _drop_values(tree)
        _fold_case(tree)
        _drop_result_names(tree)
        for change in changes:
            change(tree)
        for select in list(tree.find_all(exp.Select)):
            _flatten_joins(select)
        _rename_sources(tree)
        _sort(tree)
        return tree.sql(dialect="sqlite", comments=False)
    except (SqlglotError, RecursionError):
        return " ".join(VALUE if _is_value(token) else token for token in code_tokens(sql.rstrip("; \n")))


def _is_value(token: str) -> bool:
    return token[0] == "'" or token.lstrip(".")[:1].isdigit()


def _fold_case(tree: exp.Expr) -> None:
    for identifier in tree.find_all(exp.Identifier):
        identifier.replace(exp.to_identifier(identifier.name.lower(), quoted=False))


def _forget_names(tree: exp.Expr) -> None:
    own = {cte.alias for cte in tree.find_all(exp.CTE)}
    for table in list(tree.find_all(exp.Table)):
        if table.name not in own:
            # Its columns lose the qualifier; the alias would be all that tells two such tables apart.
            table.replace(exp.to_table(TABLE))
    for column in tree.find_all(exp.Column):
        column.set("table", None)
        if not column.is_star:
            column.set("this", exp.to_identifier(COLUMN))
    for alias in tree.find_all(exp.Alias):
        alias.set("alias", exp.to_identifier(COLUMN))
    for join in tree.find_all(exp.Join):
        join.set("using", [exp.to_identifier(COLUMN) for _ in join.args.get("using") or []])


def _drop_values(tree: exp.Expr) -> None:
    for node in list(tree.find_all(exp.Literal, exp.Column)):
        if isinstance(node, exp.Column) and not _is_text(node):
            continue
        parent = node.parent
        if isinstance(parent, exp.Neg):
            node, parent = parent, parent.parent
        if isinstance(parent, exp.Count):
            node.replace(exp.Star())  # count(1)
        elif not isinstance(parent, exp.Ordered | exp.Group) and not _steers_a_call(parent):
            node.replace(exp.Placeholder())
    for listed in tree.find_all(exp.In):
        if listed.expressions and all(isinstance(each, exp.Placeholder) for each in listed.expressions):
            listed.set("expressions", [exp.Placeholder()])


def _is_text(column: exp.Column) -> bool:
    """Tell a text in double quotes, which SQLite takes, from a column: something is compared with it."""
    parent = column.parent
    if column.table or not column.this.args.get("quoted") or not isinstance(parent, _COMPARING):
        return False
    return column.arg_key in ("expression", "expressions", "low", "high")


def _steers_a_call(call: exp.Expr | None) -> bool:
    is_call = isinstance(call, exp.Func) and not isinstance(call, _NO_CALL)
    return is_call and call is not None and call.find(exp.Column, exp.Star) is not None


def _drop_result_names(tree: exp.Expr) -> None:
    """Write out what the name of a result column stands for, and drop the names that nothing refers to."""
    for select in list(tree.find_all(exp.Select)):
        called = {each.alias: each.this for each in select.expressions if isinstance(each, exp.Alias)}
        for clause in ("order", "group", "having"):
            inside = select.args.get(clause)
            for column in list(inside.find_all(exp.Column)) if inside is not None else ():
                meant = called.get(column.name)
                if meant is not None and not column.table and column.find_ancestor(exp.Select) is select:
                    column.replace(meant.copy())
    used = {column.name for column in tree.find_all(exp.Column)}
    for alias in list(tree.find_all(exp.Alias)):
        if isinstance(alias.parent, exp.Select) and alias.alias not in used:
            alias.replace(alias.this)


def _flatten_joins(select: exp.Select) -> None:
    """Make plain inner joins a list of tables, their conditions a part of WHERE."""
    joins = select.args.get("joins") or []
    start = _start(select)
    if start is None or not all(_is_plain(join) for join in joins):
        return
    conditions = [join.args["on"] for join in joins if join.args.get("on") is not None]
    listed = sorted([start.this, *(join.this for join in joins)], key=_base_name)
    start.set("this", listed[0])
    select.set("joins", [exp.Join(this=source) for source in listed[1:]])
    where = select.args.get("where")
    parts = [*conditions, *([where.this] if where is not None else [])]
    if parts:
        select.set("where", exp.Where(this=_chain(exp.And, [part.copy() for part in parts])))


def _is_plain(join: exp.Expr) -> bool:
    special = any(join.args.get(part) for part in ("side", "method", "using"))
    return not special and join.args.get("kind") in (None, "", "INNER", "CROSS")


def _rename_sources(tree: exp.Expr) -> None:
    """Call tables by their own names, numbered where one comes twice, and other sources by their place."""
    ctes = {cte.alias: f"w{n}" for n, cte in enumerate(tree.find_all(exp.CTE))}
    names: dict[int, dict[str, str]] = {}  # by identity: sqlglot takes two selects of the same text for equal
    renamed: list[tuple[exp.Expr, str | None]] = []
    for select in tree.find_all(exp.Select):
        sources = list(_sources(select))
        bases = [ctes.get(_base_name(source), _base_name(source)) for source in sources]
        counts, seen, own = Counter(bases), Counter[str](), dict[str, str]()
        for source, base in zip(sources, bases, strict=True):
            seen[base] += 1
            is_alone = counts[base] == 1 and bool(base)
            own[source.alias_or_name] = base if is_alone else f"{base}_{seen[base]}"
            renamed.append((source, None if is_alone else own[source.alias_or_name]))
        names[id(select)] = own
    for column in list(tree.find_all(exp.Column)):
        if column.table:
            _rename_qualifier(column, names)
    for source, alias in renamed:
        source.set("alias", None if alias is None else exp.TableAlias(this=exp.to_identifier(alias)))
        if isinstance(source, exp.Table) and source.name in ctes:
            source.set("this", exp.to_identifier(ctes[source.name]))
    for cte in tree.find_all(exp.CTE):
        cte.args["alias"].set("this", exp.to_identifier(ctes[cte.alias]))


def _rename_qualifier(column: exp.Column, names: dict[int, dict[str, str]]) -> None:
    own = select = column.find_ancestor(exp.Select)
    while select is not None:
        name = names[id(select)].get(column.table)
        if name is not None:
            is_alone = select is own and len(names[id(select)]) == 1
            column.set("table", None if is_alone else exp.to_identifier(name))
            return
        select = select.find_ancestor(exp.Select)


def _sort(tree: exp.Expr) -> None:
    """Order what has no order: from the innermost out, for an outer part is ordered by its text."""
    for node in reversed(list(tree.walk())):
        if isinstance(node, exp.Connector):
            if not isinstance(node.parent, type(node)):
                parts = sorted((_unbracketed(part) for part in _parts(node)), key=_text)
                node.replace(_chain(type(node), parts))
        elif isinstance(node, _SYMMETRIC):
            left, right = sorted((node.this, node.expression), key=_text)
            node.set("this", left)
            node.set("expression", right)
        elif type(node) in _MIRRORED and _text(node.this) > _text(node.expression):
            node.replace(_MIRRORED[type(node)](this=node.expression, expression=node.this))
        elif isinstance(node, exp.Group) and node.expressions:
            node.set("expressions", sorted(node.expressions, key=_text))
        elif isinstance(node, exp.Ordered) and not node.args.get("desc"):
            node.set("desc", None)  # ASC is what it is without
        elif isinstance(node, exp.Where | exp.Having):
            node.set("this", _unbracketed(node.this))


def _parts(node: exp.Connector) -> Iterator[exp.Expr]:
    kind = type(node)
    waiting: list[exp.Expr] = [node]
    while waiting:
        part = waiting.pop()
        if isinstance(part, kind):
            waiting += [part.right, part.left]
        elif isinstance(part, exp.Paren) and isinstance(part.this, kind):
            waiting.append(part.this)
        else:
            yield part


def _unbracketed(node: exp.Expr) -> exp.Expr:
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def _chain(kind: type[exp.Connector], parts: list[exp.Expr]) -> exp.Expr:
    chain, *others = [exp.Paren(this=part) if isinstance(part, exp.Connector) else part for part in parts]
    for other in others:
        chain = kind(this=chain, expression=other)
    return chain


def _text(node: exp.Expr) -> tuple[bool, str]:
    return isinstance(node, exp.Placeholder), node.sql(dialect="sqlite", comments=False)  # values last


def _base_name(source: exp.Expr) -> str:
    """Return the name of a table; other sources have none of their own."""
    return source.name if isinstance(source, exp.Table) else ""


def _start(select: exp.Select) -> exp.From | None:
    start = select.find(exp.From)
    return start if start is not None and start.parent is select else None


def _sources(select: exp.Select) -> Iterator[exp.Expr]:
    start = _start(select)
    if start is not None:
        yield start.this
    for join in select.args.get("joins") or []:
        yield join.this
