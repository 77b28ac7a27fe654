"""Read YAML that a person wrote: settings, recipes, values on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sense.errors import ConfigError


def parse_override(override: str) -> tuple[str, object]:
    """Split `name=value`; the value is YAML.

    >>> parse_override("sft.bf16=false")
    ('sft.bf16', False)
    """
    name, equals, text = override.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"--set {override}: NAME=VALUE is expected")
    return name.strip(), parse_yaml(text, where=f"--set {override}")


def read_yaml_mapping(file: Path) -> dict[str, Any]:
    """Read a YAML file that holds names and values.

    Raises:
        ConfigError: the file is missing, is not YAML, or holds something else.
    """
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file") from None
    except IsADirectoryError:
        raise ConfigError(f"{file}: a YAML file is expected, this is a folder") from None
    values = parse_yaml(data, where=str(file))
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise ConfigError(f"{file}: names and values like 'name: value' are expected")
    return values


def parse_yaml(text: str | bytes, *, where: str) -> object:
    """Parse YAML in which no name is given twice.

    Raises:
        ConfigError: it is not YAML; names the line.
    """
    try:
        value: object = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{where}{line}: not YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{where}: not YAML: {str(error).splitlines()[0]}") from None
    return value


class _Loader(yaml.SafeLoader):
    """YAML's own loader keeps the last of two equal names, and so loses a step in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                problem = f"{key.value!r} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)
