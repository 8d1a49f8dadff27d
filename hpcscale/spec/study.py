"""A study: one YAML file that asks a question. Reading it; its expansion into points is in sweep.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from hpcscale.spec import keys, locate
from hpcscale.spec.layout import Data, Protocol
from hpcscale.spec.problems import InputError, Problem
from hpcscale.spec.typed import Strict, validate
from hpcscale.spec.workload import WorkloadKey
from hpcscale.spec.yaml12 import Document, Location, load

LayoutPart = keys.PARTS["layout"]
TrainingPart = keys.PARTS["training"]
JobPart = keys.PARTS["job"]


def _folder_name(value: str) -> str:
    if (
        not value
        or value in (".", "..")
        or "/" in value
        or any(ord(c) < 32 for c in value)
        or len(value.encode()) > 200
    ):
        raise ValueError(f"{value!r} cannot name a folder; use letters, digits, '_', '-' and '.'")
    return value


class Sweep(Strict):
    """Which values vary: all combinations of ``product``, row by row through ``zip``, and the explicit ``points``."""

    set: dict[str, Any] = Field(default_factory=dict)
    product: dict[str, list[Any]] = Field(default_factory=dict)
    zip: dict[str, list[Any]] = Field(default_factory=dict)
    points: list[dict[str, Any]] = Field(default_factory=list)
    exclude: list[dict[str, Any] | str] = Field(default_factory=list)
    derive: dict[str, str | int | float] = Field(default_factory=dict)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


Sweeps = Annotated[list[Sweep], BeforeValidator(_as_list, json_schema_input_type=Sweep | list[Sweep])]


class MachineEntry(Strict):
    """What a study says for one machine: it replaces the study's own values."""

    model: str | dict[str, Any] | None = None
    layout: LayoutPart | None = None  # type: ignore[valid-type]
    training: TrainingPart | None = None  # type: ignore[valid-type]
    job: JobPart | None = None  # type: ignore[valid-type]
    protocol: Protocol | None = None
    data: Data | None = None
    workload: WorkloadKey | None = None
    resources: dict[str, int] = Field(default_factory=dict)
    derive: dict[str, str | int | float] = Field(default_factory=dict)
    sweep: Sweeps = Field(default_factory=list)


class StudyFile(Strict):
    """A study as its file has it."""

    name: Annotated[str, AfterValidator(_folder_name)]
    title: str = ""
    description: str = ""
    model: str | dict[str, Any] | None = None
    layout: LayoutPart | None = None  # type: ignore[valid-type]
    training: TrainingPart | None = None  # type: ignore[valid-type]
    job: JobPart | None = None  # type: ignore[valid-type]
    data: Data | None = None
    protocol: Protocol | None = None
    workload: WorkloadKey | None = None  # whose program runs; empty: hpcscale's own trainer
    scaling: Literal["strong", "weak", "none"] = "none"
    machines: dict[str, MachineEntry | None] = Field(min_length=1)
    derive: dict[str, str | int | float] = Field(default_factory=dict)
    sweep: Sweeps = Field(default_factory=list)
    compare: str | list[str] = Field(default_factory=list)
    budget_node_hours: float | None = Field(default=None, gt=0)  # hpcscale submit refuses to queue more than this


@dataclass(frozen=True)
class Study:
    """A study that was read: its typed content, and the document for places in messages."""

    file: StudyFile
    document: Document
    path: Path

    @property
    def name(self) -> str:
        return self.file.name

    def problem(self, location: Location, message: str) -> Problem:
        return self.document.problem(location, message)


def read(name: str) -> Study:
    """The study that ``name`` means (a path or a name). Raises InputError with every problem of the file."""
    path = locate.find(name, "studies", "study")
    document = load(path)
    problems = _accept_mp(document)
    if problems:
        raise InputError(problems)
    asked = Study(validate(StudyFile, document), document, path)
    compare = asked.file.compare
    for table in [compare] if isinstance(compare, str) else compare:
        try:
            locate.find(table, "studies/published", "published table", ".csv")
        except InputError as error:
            raise InputError(asked.problem(("compare",), error.problems[0].message)) from None
    return asked


def _accept_mp(document: Document) -> list[Problem]:
    """Turn ``mp`` into ``tp`` in every layout; both at once are two values for one axis."""
    problems = []
    if not isinstance(document.data, dict):
        return []
    places: list[Location] = [("layout",)]
    machines = document.data.get("machines")
    if isinstance(machines, dict):
        places += [("machines", name, "layout") for name in machines]
    for place in places:
        layout: Any = document.data
        for step in place:
            layout = layout.get(step) if isinstance(layout, dict) else None
        if not isinstance(layout, dict) or "mp" not in layout:
            continue
        if "tp" in layout:
            message = (
                f"two values for one axis: mp: {layout['mp']} and tp: {layout['tp']} (mp is a spelling of tp); keep one"
            )
            problems.append(document.problem((*place, "mp"), message))
            continue
        layout["tp"] = layout.pop("mp")
        document.places[(*place, "tp")] = document.places[(*place, "mp")]
    return problems
