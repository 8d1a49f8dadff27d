"""A study's expansion: every machine's sweeps into assignments, assignments into points, refused ones with a reason."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hpcscale.spec import claim, keys, locate, machine
from hpcscale.spec.assemble import Assembler
from hpcscale.spec.assignment import Assignment, Sections, Skipped
from hpcscale.spec.keys import Key
from hpcscale.spec.machine import Machine
from hpcscale.spec.point import Point
from hpcscale.spec.problems import InputError, Problem, suggestion
from hpcscale.spec.study import MachineEntry, Study
from hpcscale.spec.sweep import Sweeps

# The order of a slug's words; keys that are not here follow in the order of the study.
_FIRST: list[Key] = [("workload",), ("model",), *(("layout", name) for name in ("dp", "tp", "pp", "cp", "sharding"))]


@dataclass(frozen=True)
class Expansion:
    """What became of a study: its points, those that break a rule, and how many stood in it twice."""

    study: Study
    machines: dict[str, Machine]
    points: list[Point]
    skipped: list[Skipped]
    duplicates: int


def expand(study: Study, only: Iterable[str] = (), overrides: dict[str, Any] | None = None) -> Expansion:
    """Every point of a study, on the machines of ``only`` (default: all), with ``overrides`` (key -> value) on top.

    Raises InputError for what is wrong with the study itself; a point that breaks a rule goes to ``skipped``. A point has
    the same name whichever machines are asked for.
    """
    only = list(only)
    for name in only:
        if name not in study.file.machines:
            message = f"the study {study.name} has no machine '{name}'{suggestion(name, study.file.machines)}"
            raise InputError(message)
    machines = _machines(study)
    problems: list[Problem] = []
    sections = {name: _sections(study, name) for name in machines}
    assignments = {
        name: Sweeps(study, name, profile, sections[name], problems).assignments(
            study.file.machines[name] or MachineEntry()
        )
        for name, profile in machines.items()
    }
    varying = _varying([each for found in assignments.values() for each in found], sections)
    chosen = {name: profile for name, profile in machines.items() if not only or name in only}
    wanted = [
        _with_overrides(each, overrides or {}, profile, problems)
        for name, profile in chosen.items()
        for each in assignments[name]
    ]
    if problems:
        raise InputError(problems)
    assemblers = {name: Assembler(study, profile, sections[name], varying) for name, profile in chosen.items()}
    made = [point for each in wanted for point in assemblers[each.machine].points(each)]
    points: dict[str, Point] = {}
    for point in made:
        if isinstance(point, Point):
            points.setdefault(point.hash, point)
    skipped = [point for point in made if isinstance(point, Skipped)]
    claim.check(study, list(points.values()))
    return Expansion(study, chosen, list(points.values()), skipped, len(made) - len(points) - len(skipped))


def _machines(study: Study) -> dict[str, Machine]:
    machines: dict[str, Machine] = {}
    problems = []
    for name in study.file.machines:
        try:
            found = machines[name] = _machine(name)
            if [each.name for each in machines.values()].count(found.name) > 1:
                problems.append(
                    study.problem(("machines", name), f"the machine {found.name} stands here a second time")
                )
        except InputError as error:
            if any(problem.file for problem in error.problems):
                problems += error.problems
            else:
                problems += [study.problem(("machines", name), problem.message) for problem in error.problems]
    if problems:
        raise InputError(problems)
    return machines


def _machine(name: str) -> Machine:
    return machine.read(locate.find(name, "machines", "machine"))


def _sections(study: Study, machine: str) -> Sections:
    """The study's values with the machine's on top, as plain mappings of what was written (and validated)."""
    data = study.document.data
    own = data["machines"][machine] or {}
    result: Sections = {
        name: {**(data.get(name) or {}), **(own.get(name) or {})} for name in (*keys.SECTIONS, "resources")
    }
    for name in ("model", "workload"):
        result[name] = own.get(name) or data.get(name)
    return result


def _with_overrides(
    assignment: Assignment, overrides: dict[str, Any], profile: Machine, problems: list[Problem]
) -> Assignment:
    """The assignment with what ``--set`` says, which wins over swept, set and derived values."""
    values, derive = dict(assignment.values), dict(assignment.derive)
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
            derive = {spelled: entry for spelled, entry in derive.items() if _key(spelled, profile) != key}
    return Assignment(assignment.machine, values, assignment.location, derive)


def _key(name: str, profile: Machine) -> Key | None:
    try:
        return keys.resolve(name, profile.resources)
    except ValueError:
        return None


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
    for name in ("model", "workload"):
        bases = {_written(section[name]) for section in sections.values()}
        if len(bases) > 1:
            distinct.setdefault((name,), set()).update(bases)
    for name in ("tp", "pp", "cp", "dp"):
        found = {_written(section["layout"].get(name, 1)) for section in sections.values()}
        if len(found) > 1:
            distinct.setdefault(("layout", name), set()).update(found)
    # A job's demands (time, queue) are no part of what a point is.
    found = [key for key, values in distinct.items() if len(values) > 1 and key[0] != "job"]
    return sorted(found, key=lambda key: _FIRST.index(key) if key in _FIRST else len(_FIRST))


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
