"""A study's expansion: every machine's sweeps into assignments, assignments into points, refused ones with a reason."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from hpcscale.spec import keys, locate, machine
from hpcscale.spec.assemble import Assembler
from hpcscale.spec.assignment import Assignment, Sections, Skipped
from hpcscale.spec.keys import Key
from hpcscale.spec.machine import Machine
from hpcscale.spec.point import Point
from hpcscale.spec.problems import InputError, Problem, suggestion
from hpcscale.spec.study import MachineEntry, Study
from hpcscale.spec.sweep import Sweeps

# The order of a slug's words; keys that are not here follow in the order of the study.
_FIRST: list[Key] = [("model",), *(("layout", name) for name in ("dp", "tp", "pp", "cp", "sharding"))]


@dataclass
class Expansion:
    """What became of a study. ``points`` is consumed once; the lists fill while it is."""

    study: Study
    machines: dict[str, Machine]
    skipped: list[Skipped] = field(default_factory=list)
    duplicates: int = 0
    _points: Iterator[Point] = field(default_factory=lambda: iter(()))

    def __iter__(self) -> Iterator[Point]:
        return self._points


def expand(study: Study, only: Iterable[str] = (), overrides: dict[str, Any] | None = None) -> Expansion:
    """Every point of a study, on the machines of ``only`` (default: all), with ``overrides`` (key -> value) on top.

    Raises InputError for what is wrong with the study itself; a point that breaks a rule goes to ``skipped``.
    """
    machines = _machines(study, list(only))
    expansion = Expansion(study, machines)
    problems: list[Problem] = []
    sections = {}
    assignments: list[Assignment] = []
    for name, profile in machines.items():
        entry = study.file.machines[name] or MachineEntry()
        sections[name] = _sections(study, name)
        found = Sweeps(study, name, profile, sections[name], problems).assignments(entry)
        assignments += [_with_overrides(each, overrides or {}, profile, problems) for each in found]
    if problems:
        raise InputError(problems)
    varying = _varying(assignments, sections)
    expansion._points = _points(expansion, assignments, sections, varying)
    return expansion


def _machines(study: Study, only: list[str]) -> dict[str, Machine]:
    chosen: dict[str, Machine] = {}
    problems = []
    for name in only:
        if name not in study.file.machines:
            message = f"the study {study.name} has no machine '{name}'{suggestion(name, study.file.machines)}"
            raise InputError(message)
    for name in study.file.machines:
        if only and name not in only:
            continue
        try:
            chosen[name] = _machine(name)
        except InputError as error:
            if any(problem.file for problem in error.problems):
                problems += error.problems
            else:
                problems += [study.problem(("machines", name), problem.message) for problem in error.problems]
    if problems:
        raise InputError(problems)
    return chosen


def _machine(name: str) -> Machine:
    return machine.read(locate.find(name, "machines", "machine"))


def _sections(study: Study, machine: str) -> Sections:
    """The study's values with the machine's on top, as plain mappings of what was written (and validated)."""
    data = study.document.data
    own = data["machines"][machine] or {}
    result: Sections = {
        name: {**(data.get(name) or {}), **(own.get(name) or {})} for name in (*keys.SECTIONS, "resources")
    }
    result["model"] = own.get("model") or data.get("model")
    return result


def _with_overrides(
    assignment: Assignment, overrides: dict[str, Any], profile: Machine, problems: list[Problem]
) -> Assignment:
    values = dict(assignment.values)
    for name, value in overrides.items():
        try:
            key = keys.resolve(name, profile.resources)
            reason = keys.check(key, value)
        except ValueError as error:
            reason, key = str(error), ()
        if reason:
            problem = Problem("--set", 0, 0, reason)
            if problem not in problems:
                problems.append(problem)
        else:
            values[key] = value
    return Assignment(assignment.machine, values, assignment.location, assignment.derive)


def _varying(assignments: list[Assignment], sections: dict[str, Sections]) -> list[Key]:
    """The keys whose values differ between points: what a point's slug names."""
    distinct: dict[Key, set[str]] = {}
    absent: dict[Key, int] = {}
    for each in assignments:
        for key, value in each.values.items():
            distinct.setdefault(key, set()).add(_written(value))
            absent[key] = absent.get(key, 0) + 1
    for key, values in distinct.items():
        if absent[key] < len(assignments):
            values.add("")
    bases = {_written(section["model"]) for section in sections.values()}
    if len(bases) > 1:
        distinct.setdefault(("model",), set()).update(bases)
    for name in ("tp", "pp", "cp", "dp"):
        found = {_written(section["layout"].get(name, 1)) for section in sections.values()}
        if len(found) > 1:
            distinct.setdefault(("layout", name), set()).update(found)
    # A job's demands (time, queue) are no part of what a point is.
    found = [key for key, values in distinct.items() if len(values) > 1 and key[0] != "job"]
    return sorted(found, key=lambda key: _FIRST.index(key) if key in _FIRST else len(_FIRST))


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _points(
    expansion: Expansion, assignments: list[Assignment], sections: dict[str, Sections], varying: list[Key]
) -> Iterator[Point]:
    seen: set[str] = set()
    assemblers = {
        name: Assembler(expansion.study, profile, sections[name], varying)
        for name, profile in expansion.machines.items()
    }
    for each in assignments:
        for point in assemblers[each.machine].points(each):
            if isinstance(point, Skipped):
                expansion.skipped.append(point)
            elif point.identity in seen:
                expansion.duplicates += 1
            else:
                seen.add(point.identity)
                yield point
