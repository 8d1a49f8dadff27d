"""Rendering a study: for every point its point.json and job.sh, and what changed against what lay there."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hpcscale.cost import job_time
from hpcscale.jobs import files
from hpcscale.jobs.script import Scripts
from hpcscale.spec import job
from hpcscale.spec.expand import Expansion, expand
from hpcscale.spec.job import Settings, SettingsFile
from hpcscale.spec.machine import Machine
from hpcscale.spec.point import Point
from hpcscale.spec.problems import InputError, Problem
from hpcscale.spec.sets import split_sets
from hpcscale.spec.study import Study

DESCRIPTION = "point.json"
SCRIPT = "job.sh"


@dataclass(frozen=True)
class Rendered:
    """One point's files: their folder, their texts, and how they differ from what lies there."""

    point: Point
    folder: Path
    description: str
    script: str
    change: files.Change
    extra: dict[str, str] = field(default_factory=dict)  # what a foreign workload reads

    @property
    def texts(self) -> dict[str, str]:
        """Every file by name, in the order of writing: a script never stands without what it runs."""
        return {DESCRIPTION: self.description, **self.extra, SCRIPT: self.script}

    def write(self) -> None:
        """Write what differs."""
        if self.change != "same":
            _write(self)


@dataclass
class Rendering:
    """A rendered study: every point's files, compared with what lies there. Nothing is written before :meth:`write`."""

    study: str
    folder: Path
    expansion: Expansion
    points: list[Rendered] = field(default_factory=list)
    filtered: bool = False

    def write(self) -> None:
        """Write what differs; a file that would stay the same keeps its time stamp."""
        for each in self.points:
            each.write()

    @property
    def changes(self) -> Counter[str]:
        return Counter(each.change for each in self.points)

    @property
    def by_machine(self) -> Counter[str]:
        return Counter(each.point.machine.name for each in self.points)

    @property
    def warnings(self) -> Counter[str]:
        return Counter(warning for each in self.points for warning in each.point.warnings)

    def orphans(self) -> list[str]:
        """Folders of points that the study no longer has. Never removed here: they may hold results."""
        if self.filtered or not self.folder.is_dir():
            return []
        known = {each.point.identity for each in self.points}
        found = (each.name for each in self.folder.iterdir() if (each / DESCRIPTION).is_file())
        return sorted(name for name in found if name not in known)


@dataclass(frozen=True)
class Request:
    """What a person asked to have rendered."""

    machines: tuple[str, ...] = ()
    point: str | None = None
    sets: tuple[tuple[str, Any], ...] = ()
    out: Path = Path("runs")


def render(study: Study, request: Request, settings: SettingsFile) -> Rendering:
    """The study's points as files, in memory.

    Everything that can be wrong with the study and the settings is found here, before a file is written.
    """
    overrides, personal = split_sets(study, request.sets)
    expansion = job_time.resolve(expand(study, request.machines, overrides))
    machines = list(expansion.machines.values())
    own = personal_settings(machines, settings, personal)
    scripts = {machine.name: Scripts(machine, own[machine.name]) for machine in machines}
    folder = Path(os.path.abspath(request.out)) / study.name
    rendering = Rendering(study.name, folder, expansion, filtered=bool(request.machines or request.point))
    fresh = not folder.exists()
    for point in expansion.points:
        if request.point is None or fnmatchcase(point.identity, request.point):
            rendering.points.append(_rendered(point, folder / point.identity, scripts[point.machine.name], fresh))
    return rendering


def personal_settings(
    machines: Iterable[Machine], file: SettingsFile, overrides: dict[str, Any]
) -> dict[str, Settings]:
    """Each machine's settings. Raises InputError naming every required one that is missing, and the way out."""
    problems: list[Problem] = []
    result: dict[str, Settings] = {}
    for machine in machines:
        name = machine.name
        settings = job.merge_settings(file, name, overrides)
        for key in job.missing(settings, machine.requires):
            way = f"give --set {key}=<{key}>, or write it once with: hpcscale init --machine {name} --{key} <{key}>"
            problems.append(Problem("", 0, 0, f"{name} needs your {key}, and no script is written without it; {way}"))
        result[name] = settings
    if problems:
        raise InputError(problems)
    return result


def _rendered(point: Point, folder: Path, scripts: Scripts, fresh: bool) -> Rendered:
    rendered = Rendered(point, folder, point.text(), scripts.render(point, folder), "new", scripts.files(point, folder))
    return rendered if fresh else compared(rendered)


def compared(rendered: Rendered) -> Rendered:
    """With how its files differ from what lies in its folder."""
    found = {files.compare(rendered.folder / name, text) for name, text in rendered.texts.items()}
    change: files.Change = "new" if found == {"new"} else "same" if found == {"same"} else "changed"
    return replace(rendered, change=change)


def _write(rendered: Rendered) -> None:
    name = str(rendered.folder)
    os.makedirs(name, exist_ok=True)
    for file, content in rendered.texts.items():
        mode = 0o755 if file == SCRIPT else 0o644
        if rendered.change == "new" or files.compare(rendered.folder / file, content) != "same":
            files.replace(f"{name}/{file}", content, mode)


def difference(rendered: Rendered) -> str:
    """A unified diff of what lies there against what would be written."""
    parts = []
    for name, new in rendered.texts.items():
        path = rendered.folder / name
        old = path.read_text(encoding="utf-8") if path.is_file() else ""
        shown = str(path)
        lines = difflib.unified_diff(
            old.splitlines(keepends=True), new.splitlines(keepends=True), shown if old else "/dev/null", shown
        )
        parts.append("".join(lines))
    return "".join(parts)
