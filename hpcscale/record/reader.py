"""Reading a record, whatever state it is in: cut off, being written, or with lines of a later version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcscale.record.schema import FAILURES, Status

_NOT_FINITE = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}


@dataclass
class Record:
    """One attempt as its record tells it. Lines that cannot be read are counted, never guessed at."""

    path: Path
    run: dict[str, Any] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] | None = None
    failure: dict[str, Any] | None = None
    damaged_lines: int = 0

    @property
    def status(self) -> Status:
        """``completed``, one of the failure words, ``unfinished`` (running, or killed without a word), ``unreadable``."""
        if self.failure is not None:
            kind = self.failure.get("kind")
            return kind if kind in FAILURES else "error"
        if self.summary is not None:
            return "completed"
        return "unreadable" if self.damaged_lines and not self.run else "unfinished"

    @property
    def point(self) -> dict[str, Any]:
        """The resolved spec that this attempt ran (the content of point.json)."""
        point = self.run.get("point")
        return point if isinstance(point, dict) else {}


def read(path: Path) -> Record:
    """The record at ``path``. Never raises for its content; OSError if the file cannot be opened."""
    record = Record(path)
    for line in _lines(path, record):
        match line.get("schema"):
            case "run" if not record.run:
                record.run = line
            case "step" if type(line.get("step")) is int:
                record.steps.append(_finite_strings(line))
            case "summary":
                record.summary = line
            case "failure":
                record.failure = line
    return record


def _lines(path: Path, record: Record) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for raw in file:
            text = raw.strip()
            if not text:
                continue
            try:
                line = json.loads(text)
            except (ValueError, RecursionError):
                record.damaged_lines += 1
                continue
            if isinstance(line, dict):
                yield line
            else:
                record.damaged_lines += 1


def _finite_strings(line: dict[str, Any]) -> dict[str, Any]:
    for key in ("loss", "gradient_norm"):
        value = line.get(key)
        if isinstance(value, str) and value in _NOT_FINITE:
            line[key] = _NOT_FINITE[value]
    return line
