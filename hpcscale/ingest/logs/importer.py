"""Importing logs: recognise, read once, describe, write."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcscale.ingest.logs import described, given, jube, store
from hpcscale.ingest.logs.attempt import Attempt
from hpcscale.ingest.logs.blocks import Log
from hpcscale.ingest.logs.collect import Collector
from hpcscale.ingest.logs.detect import JUBE, Recognised, named, recognise
from hpcscale.ingest.logs.format import Format, failures, scan
from hpcscale.spec.problems import InputError, Problem


@dataclass(frozen=True)
class Imported:
    """What became of one configuration of one log. ``unknown``: keys that --set could fill in."""

    log: Path
    recognised: Recognised
    folder: Path
    attempts: int
    lines: int
    last_step: int
    unknown: tuple[str, ...]
    remarks: tuple[str, ...]


def import_logs(
    logs: Sequence[Path], runs: Path, study: str, form: str = "auto", sets: Sequence[tuple[str, Any]] = ()
) -> list[Imported]:
    """Every log as runs below ``runs/study``. All formats are recognised before the first file is written."""
    filled = given.facts(sets)
    known = None if form == "auto" else named(form)
    recognised = _recognise_all(logs, known)
    return [each for log, found in recognised for each in _import(log, found, runs, study, filled)]


def _recognise_all(logs: Sequence[Path], known: Format | None) -> list[tuple[Log, Recognised]]:
    found, problems = [], []
    for path in logs:
        log = Log(path)
        try:
            path.open("rb").close()
            found.append((log, Recognised(known) if known is not None else recognise(log)))
        except InputError as error:
            problems += error.problems
        except OSError as error:
            problems.append(Problem("", 0, 0, f"{path} cannot be read: {error.strerror}"))
    if problems:
        raise InputError(problems)
    return found


def _import(log: Log, recognised: Recognised, runs: Path, study: str, filled: Mapping[str, Any]) -> list[Imported]:
    with store.workshop(runs) as folder:
        attempts = _read(log, recognised.format, folder, filled)
        if not attempts:
            raise InputError(
                f"{log.path} has no step and no start of {recognised.format.tool}; is it another --format?"
            )
        points = _points(log, recognised.format, attempts, filled)
        time = log.path.stat().st_mtime
        result = []
        for number, point in enumerate(points, 1):
            name = store.identity(log.path, number)
            place = store.write(point, name, described.hash_of(point.told), study, runs, folder, time)
            result.append(_result(log, recognised, point, place))
        return result


def _read(log: Log, form: Format, folder: Path, filled: Mapping[str, Any]) -> list[Attempt]:
    if form is JUBE:
        return jube.read(log, folder, filled)
    collector = Collector(log, folder, form.averages == "interval", filled)
    scan(log, (*form.reader(collector), failures(collector)), collector)
    return collector.close()


def _points(log: Log, form: Format, attempts: list[Attempt], filled: Mapping[str, Any]) -> list[store.Point]:
    """Attempts by what they ran: those that differ in it are points of their own, as are the lines of a table."""
    points: list[store.Point] = []
    for attempt in attempts:
        if problems := given.contradictions(str(log.path), attempt.facts, filled):
            raise InputError([Problem("", 0, 0, problem) for problem in problems])
        told = described.description({**filled, **attempt.facts, **_exact(filled)})
        same = next((point for point in points if point.told == told), None)
        if same is None or form is JUBE:
            same = store.Point(told, _imported(log, form, attempt))
            points.append(same)
        same.attempts.append(attempt)
        same.imported["remarks"] = list(dict.fromkeys([*same.imported["remarks"], *attempt.remarks]))
    return points


def _exact(filled: Mapping[str, Any]) -> dict[str, Any]:
    """A device of the catalogue that a person names says more than the name that a log has for it."""
    return {"device": filled["device"]} if "device" in filled else {}


def _imported(log: Log, form: Format, attempt: Attempt) -> dict[str, Any]:
    remarks = [log.damage] if log.damage else []
    if log.cut_off:
        remarks.append("the log's last line is cut off and was left out")
    if form.averages == "window" and attempt.count:
        remarks.append("times are means over a moving window")
    return {
        "tool": form.tool, "format": form.name, "file": os.fsencode(log.path.name).decode("utf-8", "replace"), "line": attempt.first_line,
        "flops_convention": (form.convention or None) if attempt.prints_flops else None, "memory_kind": form.memory_kind,
        "energy_source": form.energy_source if attempt.prints_energy else None, "averages": attempt.averaged, "remarks": remarks,
    }  # fmt: skip


def _result(log: Log, recognised: Recognised, point: store.Point, place: Path) -> Imported:
    lines, last = sum(each.count for each in point.attempts), max(each.last_step for each in point.attempts)
    return Imported(
        log.path, recognised, place, len(point.attempts), lines, last, tuple(described.unknown(point.told)),
        tuple(point.imported["remarks"]),
    )  # fmt: skip
