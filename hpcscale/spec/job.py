"""How a point is run: time, queue and the directives that a person adds; and what differs per person."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, field_validator

from hpcscale.spec.problems import InputError, suggestion
from hpcscale.spec.typed import Strict, validate
from hpcscale.spec.units import format_seconds, parse_seconds
from hpcscale.spec.yaml12 import Document, load, loads

AUTO = "auto"


def _time(value: Any) -> Any:
    return value if value is None or value == AUTO else parse_seconds(value)


JobTime = Annotated[
    int | Literal["auto"],
    BeforeValidator(_time),
    PlainSerializer(lambda time: time if time == AUTO else format_seconds(time), return_type=str),
    WithJsonSchema({"type": "string", "examples": ["02:00:00", "90m", AUTO]}),
]


class Job(Strict):
    """One job's demands on the scheduler; they do not change what is measured."""

    time: JobTime | None = None  # auto: what a prediction of the point says (cost/job_time.py)
    queue: str | None = None
    mail_user: str | None = None
    mail_type: str | None = None
    reservation: str | None = None
    qos: str | None = None
    exclude: str | None = None
    nodelist: str | None = None
    node_shape: str | None = None  # PJM: 8x24x32:torus
    priority: int | None = None
    retries: int = Field(default=3, ge=0, le=100)  # how often a job goes on after a time limit, preemption or lost node
    on_oom: Literal["fail", "halve_mbs"] = "fail"  # halve_mbs: out of memory is retried with half the micro batch
    directives: dict[str, str | int | bool] = Field(default_factory=dict)

    @field_validator("time")
    @classmethod
    def _some_time(cls, value: int | str | None) -> int | str | None:
        if value == 0:
            raise ValueError("a job of no time at all runs nothing; write, for example, 02:00:00")
        return value

    @property
    def seconds(self) -> int | None:
        """The time that a person wrote; None for ``auto`` and for none."""
        return self.time if isinstance(self.time, int) else None


class Environment(Strict):
    """What a job needs before Python starts."""

    modules: tuple[str, ...] = ()
    venv: str | None = None
    archive: str | None = None
    local_folder: str | None = None  # where the archive goes on each node; default: what the machine's profile says
    container: str | None = None
    container_options: tuple[str, ...] = ()
    setup: str = ""
    variables: dict[str, str] = Field(default_factory=dict)


class WorkloadPlaces(Strict):
    """Where one foreign system and what it reads lie on one machine."""

    path: str | None = None
    data: str | None = None
    tokenizer: str | None = None
    weights: str | None = None


class Settings(Strict):
    """What differs per person on one machine. A machine ignores what it does not use."""

    account: str | None = None
    group: str | None = None
    project: str | None = None
    volumes: tuple[str, ...] = ()
    environment: Environment = Environment()
    python: str | None = None
    workloads: dict[str, WorkloadPlaces] = Field(default_factory=dict)


class SettingsFile(Strict):
    """The user's configuration file: settings for every machine and by machine."""

    defaults: Settings = Settings()
    machines: dict[str, Settings] = Field(default_factory=dict)

    @field_validator("machines", mode="before")
    @classmethod
    def _nothing_is_empty(cls, value: Any) -> Any:
        """A heading whose content is commented out is no mistake."""
        if isinstance(value, dict):
            return {name: {} if settings is None else settings for name, settings in value.items()}
        return {} if value is None else value


def configuration_folder() -> Path:
    """Where the user's own machines, studies, templates and settings lie."""
    given = os.environ.get("HPCSCALE_CONFIG_HOME")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "hpcscale"


def settings_path() -> Path:
    return configuration_folder() / "settings.yaml"


def read_settings(path: Path | None = None) -> SettingsFile:
    """The user's settings; an absent or empty file is no error."""
    path = path or settings_path()
    if not path.exists():
        return SettingsFile()
    document = load(path)
    if document.data is None:
        return SettingsFile()
    return validate(SettingsFile, document)


SettingKey = Literal["account", "group", "project", "volumes", "python"]


def is_setting(key: str) -> bool:
    return key.split(".", 1)[0] in Settings.model_fields


def parse_value(text: str) -> Any:
    """The value of ``--set key=value``, by YAML's rules; text that is no YAML stays text."""
    try:
        return loads(text).data
    except InputError:
        return text


def merge_settings(file: SettingsFile, machine: str, overrides: dict[str, Any]) -> Settings:
    """Defaults, then the machine's, then ``overrides`` (``account``, ``environment.venv``, ``fugaku.group``)."""
    merged = _merge(
        file.defaults.model_dump(exclude_unset=True),
        file.machines[machine].model_dump(exclude_unset=True) if machine in file.machines else {},
    )
    for key, value in overrides.items():
        parts = key.split(".")
        if parts[0] == machine and is_setting(".".join(parts[1:])):
            parts = parts[1:]
        elif not is_setting(key):
            continue
        nested: Any = value
        for part in reversed(parts):
            nested = {part: nested}
        merged = _merge(merged, _as_written(nested))
    return validate(Settings, Document(merged, "--set"))


def _as_written(nested: dict[str, Any]) -> dict[str, Any]:
    """Text stays text (an account may be a number), and one value may stand for a list of one."""
    for key in ("account", "group", "project", "python"):
        if key in nested and isinstance(nested[key], int | float):
            nested[key] = str(nested[key])
    if isinstance(nested.get("volumes"), str):
        nested["volumes"] = nested["volumes"].split(":") if ":" in nested["volumes"] else [nested["volumes"]]
    environment = nested.get("environment")
    for key in ("modules", "container_options"):
        if isinstance(environment, dict) and isinstance(environment.get(key), str):
            environment[key] = environment[key].split()
    return nested


def _merge(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    result = dict(low)
    for key, value in high.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merge(result[key], value) if both else value
    return result


def missing(settings: Settings, requires: tuple[str, ...]) -> list[str]:
    """Those of the machine's required settings that are not given."""
    return [key for key in requires if not getattr(settings, key, None)]


def unknown_set_key(key: str, valid: list[str]) -> str:
    return f"--set {key}: there is no such key{suggestion(key, valid)}"
