"""How far a point's newest attempt is, from the first and the last lines of its record: cheap for thousands of points."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcscale.record import outcome
from hpcscale.record.attempt import RECORD
from hpcscale.record.schema import FAILURES

_TAIL_BYTES = 16 * 1024  # many step lines; the first step's has the traffic of every collective and may be longer


@dataclass(frozen=True)
class Progress:
    """``status``: completed, a failure word, or unfinished. ``step`` is the last one that was recorded."""

    attempt: Path
    status: str = "unfinished"
    evidence: str = ""
    hash: str = ""
    step: int = 0
    step_seconds: float | None = None
    loss: float | str | None = None
    has_record: bool = False
    told_by_scheduler: bool = False

    @property
    def job(self) -> str:
        """The job that made the attempt."""
        return self.attempt.name.rpartition(".")[0]


def attempts(point: Path) -> list[Path]:
    """The point's attempt folders, oldest first by the time they were made; those without a record too."""
    try:
        with os.scandir(point / "attempts") as entries:
            found = [(each.stat().st_mtime, each.name) for each in entries if each.is_dir()]
    except OSError:
        return []
    return [point / "attempts" / name for _, name in sorted(found, key=lambda each: _order(each[1], each[0]))]


def _order(name: str, changed: float) -> tuple[float, int, str]:
    """Scheduler ids rise; a requeued job has the same id and a higher count. Local ones begin with their date."""
    job, _, count = name.rpartition(".")
    digits = job.split("_")[0].split("[")[0]
    number = float(digits) if digits.isdigit() else float(changed)
    return (number, int(count) if count.isdigit() else 0, name)


def progress(attempt: Path) -> Progress:
    """What the attempt's record says. Never raises for what it holds."""
    try:
        with (attempt / RECORD).open("rb") as file:
            first = _line(file.readline())
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            tail = file.read().splitlines()
    except OSError:
        tail, first, found = [], {}, outcome.read(attempt)
        return Progress(attempt, **_told(found)) if found else Progress(attempt)
    last: dict[str, Any] = {}
    step: dict[str, Any] = {}
    for raw in reversed(tail):
        line = _line(raw)
        if line.get("schema") in ("summary", "failure") and not last:
            last = line
        if line.get("schema") == "step" and isinstance(line.get("step"), int):
            step = line
            break
    point = first.get("point")
    values: dict[str, Any] = {
        "hash": str(point.get("hash", "")) if isinstance(point, dict) else "",
        "step": step.get("step", 0),
        "step_seconds": step.get("step_seconds"),
        "loss": step.get("loss"),
        "has_record": True,
    }
    if last.get("schema") == "summary":
        return Progress(attempt, "completed", **values)
    if last:
        kind = last.get("kind")
        return Progress(attempt, kind if kind in FAILURES else "error", str(last.get("evidence", "")), **values)
    found = outcome.read(attempt)
    return Progress(attempt, **(_told(found) if found else {}), **values)


def _told(found: dict[str, Any]) -> dict[str, Any]:
    return {"status": found["kind"], "evidence": str(found.get("evidence", "")), "told_by_scheduler": True}


def _line(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
