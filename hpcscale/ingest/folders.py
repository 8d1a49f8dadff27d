"""Points and attempts below a folder of runs, each read once and asked about as seldom as can be: on a parallel file system
every question takes a while."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hpcscale.ingest.cache import Cache, Stamp, stamp, stamp_of
from hpcscale.ingest.run import Run, digest, never_started
from hpcscale.record import reader
from hpcscale.record.attempt import RECORD
from hpcscale.record.json_text import loads
from hpcscale.record.outcome import OUTCOME
from hpcscale.record.reader import Record

DESCRIPTION = "point.json"
ATTEMPTS = "attempts"


@dataclass
class Found:
    """A run and the folder of its point. Paths are texts here: making objects of thousands takes longer than asking the disk."""

    run: Run
    folder: str

    @property
    def record(self) -> str:
        return f"{self.folder}/{ATTEMPTS}/{self.run.attempt}/{RECORD}"


def points(folder: Path) -> Iterator[tuple[str, Stamp]]:
    """The points in ``folder`` (it is one, or holds them one or two levels below): path from there, point.json's stamp."""
    own = stamp_of(f"{folder}/{DESCRIPTION}")
    if own is not None:
        yield "", own
    for name in _folders(folder):
        found = stamp_of(f"{folder}/{name}/{DESCRIPTION}")
        if found is not None:
            yield name, found
            continue
        for below in _folders(f"{folder}/{name}"):
            found = stamp_of(f"{folder}/{name}/{below}/{DESCRIPTION}")
            if found is not None:
                yield f"{name}/{below}", found


def point(folder: Path, name: str, point_stamp: Stamp, cache: Cache) -> Found:
    """The run that counts of a point: of its newest completed attempt, else of its newest one."""
    place = f"{folder}/{name}" if name else str(folder)
    known = cache.get(name)
    if known.get("point") != point_stamp:
        known = {}
    description = _Description(place)
    entry: dict[str, Any] = {"point": point_stamp, "attempts": {}}
    runs, fresh, settled = [], False, cache.old_enough(point_stamp)
    for attempt, record_stamp in sorted(_attempts(place)):
        folder_of_attempt = f"{place}/{ATTEMPTS}/{attempt}"
        run, remembered = _remembered(known, attempt, folder_of_attempt, record_stamp)
        if run is None:
            run, remembered = _read(folder_of_attempt, record_stamp, description)
            fresh = True
            settled = settled and cache.old_enough(*(each for each in remembered[:2] if each))
        entry["attempts"][attempt] = remembered
        runs.append(run)
    if not runs:
        run = _run_of(known.get("missing"))
        fresh = run is None
        run = run or description.never_run()
        entry["missing"] = vars(run)
        runs.append(run)
    if settled:
        cache.put(name, entry, fresh)
    runs.sort(key=lambda run: (run.started, run.attempt))
    completed = [run for run in runs if run.status == "completed"]
    return Found((completed or runs)[-1], place)


def attempt(folder: Path) -> Found:
    """The run of an attempt's folder, wherever that lies."""
    record = reader.read(folder / RECORD)
    place = folder.parent.parent
    content = record.point
    if not content and (place / DESCRIPTION).is_file():
        content, _ = _json_object(place / DESCRIPTION)
    return Alone(digest(content, record), str(place), str(folder))


@dataclass
class Alone(Found):
    """The run of an attempt that was named itself: its folder may have been moved out of its point's."""

    attempt: str

    @property
    def record(self) -> str:
        return f"{self.attempt}/{RECORD}"


class _Description:
    """point.json, read when it is needed."""

    def __init__(self, place: str):
        self._place, self._name = place, os.path.basename(place)  # noqa: PTH119

    @cached_property
    def _read(self) -> tuple[dict[str, Any], str]:
        return _json_object(f"{self._place}/{DESCRIPTION}")

    def of_attempt(self, record: Record) -> dict[str, Any]:
        """The content, or what the record says was to be done."""
        return {"point": self._name, **(self._read[0] or record.point)}

    def never_run(self) -> Run:
        content, problem = self._read
        return never_started({"point": self._name, **content}, problem)


def _json_object(path: str | Path) -> tuple[dict[str, Any], str]:
    """A file's content, or an empty one and what is wrong with it."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            content = loads(file.read())
    except FileNotFoundError:
        return {}, ""
    except (ValueError, RecursionError) as error:
        return {}, f"{path} is no JSON: {error}"
    return (content, "") if isinstance(content, dict) else ({}, f"{path} holds no JSON object")


def _read(folder: str, record_stamp: Stamp, description: _Description) -> tuple[Run, list[Any]]:
    """An attempt's run, and how it is remembered: the record's stamp, that of what the scheduler said (False where the record
    itself says how it ended), the run."""
    outcome_stamp = stamp_of(f"{folder}/{OUTCOME}")
    record = reader.read(Path(f"{folder}/{RECORD}"))
    run = digest(description.of_attempt(record), record)
    started = record.run.get("time")
    run.started = float(started) if isinstance(started, int | float) else record_stamp[1] / 1e9
    has_end = record.summary is not None or (record.failure is not None and "schema" in record.failure)
    return run, [record_stamp, False if has_end else outcome_stamp, vars(run)]


def _remembered(known: dict[str, Any], attempt: str, folder: str, record_stamp: Stamp) -> tuple[Run | None, list[Any]]:
    found = known.get("attempts", {}).get(attempt)
    if not isinstance(found, list) or len(found) != 3 or found[0] != record_stamp:
        return None, []
    if found[1] is not False and found[1] != stamp_of(f"{folder}/{OUTCOME}"):
        return None, []
    return _run_of(found[2]), found


def _run_of(values: Any) -> Run | None:
    try:
        return Run(**values)
    except TypeError:
        return None


def _folders(folder: str | Path) -> list[str]:
    """Names of the folders in ``folder``, but those of attempts: they hold checkpoints with thousands of files."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.name != ATTEMPTS and entry.is_dir())
    except (PermissionError, NotADirectoryError, FileNotFoundError):
        return []


def _attempts(place: str) -> Iterator[tuple[str, Stamp]]:
    try:
        with os.scandir(f"{place}/{ATTEMPTS}") as entries:
            names = [entry.name for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        try:
            status = os.stat(f"{place}/{ATTEMPTS}/{name}/{RECORD}")  # noqa: PTH116 (a Path takes longer than the question)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if stat.S_ISREG(status.st_mode):
            yield name, stamp(status)
