"""Settings: checked when made, and which of them are inputs."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field, ValidationError, model_validator

from sense.errors import ConfigError
from sense.stage import InputPath, InputPaths, ModelName, NamedInputPaths, StageConfig


class Config(StageConfig):
    data: InputPath
    more: InputPaths = ()
    named: NamedInputPaths = Field({})
    model: ModelName = "smollm2-135m"
    perhaps: InputPath | None = None
    out_of_it: Path = Path("results")
    count: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _go_together(self) -> Config:
        if self.count == 13:
            raise ValueError("13 brings bad luck")
        return self


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"cuont": 1}, "here: unknown setting 'cuont'; did you mean 'count'?", id="name"),
        pytest.param({}, "here: 'data' is needed", id="missing"),
        pytest.param({"data": "d", "count": 0}, "here: count: Input should be greater", id="range"),
        pytest.param({"data": "d", "count": 13}, "here: 13 brings bad luck", id="together"),
        pytest.param({"data": "d", "count": "x" * 999}, "here: count: ", id="long value"),
    ],
)
def test_an_error_names_the_setting(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Config.parse(settings, where="here")
    assert str(error.value).startswith(message)
    assert len(str(error.value)) < 250


def test_settings_do_not_change() -> None:
    config = Config(data=Path("d"))
    with pytest.raises(ValidationError):
        config.count = 2  # type: ignore[misc]


def test_inputs_of_every_shape_are_found(tmp_path: Path) -> None:
    config = Config.parse(
        {"data": "d", "more": "m", "named": {"x": "n"}, "model": str(tmp_path), "perhaps": "p"}, where="here"
    )
    assert [(name, str(path)) for name, path in config.inputs()] == [
        ("data", "d"), ("more", "m"), ("named", "n"), ("model", str(tmp_path)), ("perhaps", "p"),
    ]  # fmt: skip


def test_a_model_s_name_is_no_path() -> None:
    assert [name for name, _ in Config(data=Path("d")).inputs()] == ["data"]
