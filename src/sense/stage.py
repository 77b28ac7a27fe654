"""What every stage has in common: a typed, frozen `Config`, and `run(config, run_dir) -> Outcome`.

One definition of a setting serves the command line, YAML and the docs: a field of the stage's `Config` with
its description. A field of type `InputPath` names something that another stage or the user wrote; its content
counts when it is asked whether a run is still up to date.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from sense.errors import ConfigError, nearest

# There are none, and to look for them among all installed packages is a good part of a quick command's time.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "true")


class _Input:
    """Marks a setting whose content, and not only its name, decides whether a run is up to date."""


INPUT = _Input()


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str | Path) else value


InputPath = Annotated[Path, INPUT]
InputPaths = Annotated[tuple[Path, ...], BeforeValidator(_as_list), INPUT]
NamedInputPaths = Annotated[dict[str, Path], INPUT]
# A model is named by a known name, a Hugging Face id, a local folder or a GGUF file; the last two are inputs.
ModelName = Annotated[str, INPUT]


class StageConfig(BaseModel):
    """The settings of a stage: checked when made, passed whole, written into the run folder."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    # Settings that change how fast a result comes and not what it is; they are no part of a run's identity.
    SPEED_ONLY: ClassVar[frozenset[str]] = frozenset({"workers"})

    # Inputs that may be added to an unfinished run, as the replies that it waits for.
    MAY_GROW: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def parse(cls, settings: Mapping[str, Any], *, where: str) -> Self:
        """Check settings that a person wrote.

        Args:
            settings: names and values as read from YAML or the command line.
            where: how to call their origin in an error.

        Raises:
            ConfigError: an unknown name (naming the nearest known one) or a value that does not fit.
        """
        for name in settings:
            if name not in cls.model_fields:
                raise ConfigError(f"{where}: unknown setting {name!r}; {nearest(name, cls.model_fields)}")
        try:
            return cls.model_validate(dict(settings))
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"]) or "settings"
            if first["type"] == "missing":
                raise ConfigError(f"{where}: {name!r} is needed") from None
            message = first["msg"].removeprefix("Value error, ")
            if not first["loc"]:  # settings that do not go together: the message says which
                raise ConfigError(f"{where}: {message}") from None
            raise ConfigError(f"{where}: {name}: {message}, got {first['input']!r:.80}") from None

    def inputs(self) -> Iterator[tuple[str, Path]]:
        """Yield the name and path of every input that is set; a model that is no local path is left out."""
        for name, info in type(self).model_fields.items():
            if INPUT not in info.metadata and not _marked(info.annotation):
                continue
            value = getattr(self, name)
            if isinstance(value, str):
                if Path(value).exists():
                    yield name, Path(value)
            elif isinstance(value, Path):
                yield name, value
            elif value is not None:
                for path in value.values() if isinstance(value, Mapping) else value:
                    yield name, path

    def check(self, made: Sequence[Path] = ()) -> None:
        """Look at what is there already, so that a chain is refused before it starts and not hours later.

        Args:
            made: folders that earlier stages of the chain fill; what lies there is not looked at.

        Raises:
            SenseError: as `run` would raise it.
        """


def _marked(annotation: object) -> bool:
    """Tell whether a type has the mark inside it, as `InputPath | None` has."""
    if INPUT in getattr(annotation, "__metadata__", ()):
        return True
    return any(_marked(part) for part in get_args(annotation))


def is_made(path: str | Path, made: Sequence[Path]) -> bool:
    """Tell whether a path lies in a folder that an earlier stage fills."""
    return any(Path(path).is_relative_to(folder) for folder in made)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a stage ended.

    `summary` is what `--json` prints. `shortfall` says what fell short (exit code 1), None if nothing did.
    `complete` is False where the same command has to be given again later, as when replies are awaited.
    """

    summary: dict[str, Any] = field(default_factory=dict)
    shortfall: str | None = None
    complete: bool = True
