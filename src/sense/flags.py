"""The flags of a command, from the fields of a stage's settings: one definition serves both."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from sense.errors import ConfigError

PLAIN_TYPES: dict[object, str] = {int: "INT", float: "FLOAT", Path: "PATH"}


def add_flag(group: argparse._ArgumentGroup, name: str, field: FieldInfo) -> None:
    """Add the flag of one setting; only flags that were given appear among the parsed values."""
    kind = plain_kind(field.annotation)
    text = (field.description or "").replace("%", "%%") + _default(field)
    origin = get_origin(kind)
    if kind is bool:
        group.add_argument(
            flag_of(name), action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text
        )
    elif origin in (tuple, list, dict):
        group.add_argument(
            flag_of(name),
            nargs="+",
            action="extend",
            default=argparse.SUPPRESS,
            help=text,
            metavar=_metavar(kind),
        )
    else:
        group.add_argument(flag_of(name), default=argparse.SUPPRESS, help=text, metavar=_metavar(kind))


def flag_of(name: str) -> str:
    """Spell the flag of a setting."""
    return "--" + name.replace("_", "-")


def plain_kind(annotation: object) -> object:
    """Take the marks and the None off a type."""
    if get_origin(annotation) is Annotated:
        return plain_kind(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        parts = [part for part in get_args(annotation) if part is not NoneType]
        return plain_kind(parts[0]) if len(parts) == 1 else annotation
    return annotation


def _metavar(kind: object) -> str:
    origin = get_origin(kind)
    if origin is Literal:
        return "|".join(str(choice) for choice in get_args(kind))
    if origin is dict:
        return "NAME=" + _metavar(plain_kind(get_args(kind)[1]))
    if origin in (tuple, list):
        return _metavar(plain_kind(get_args(kind)[0]))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(str(choice.value) for choice in kind)
    return PLAIN_TYPES.get(kind, "TEXT")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return " (needed)"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value in ((), {}, ""):
        return ""
    if isinstance(value, bool):
        return f" (default: {'yes' if value else 'no'})"
    shown = " ".join(str(part) for part in value) if isinstance(value, tuple | list) else value
    return f" (default: {shown})".replace("%", "%%")


def named_values(pairs: Sequence[str], *, flag: str) -> dict[str, str]:
    """Read NAME=VALUE pairs.

    Raises:
        ConfigError: one is none.
    """
    values: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"{flag} {pair}: NAME=VALUE is expected")
        values[name] = value
    return values
