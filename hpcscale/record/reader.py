"""Reading a record, whatever state it is in: cut off, being written, or with lines of a later version."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from hpcscale.record import outcome
from hpcscale.record.schema import FAILURES, Status

_TOGETHER = 256  # lines that are parsed at a time
_START = b'{"schema": "'  # of every line that a writer of ours wrote
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
    """The record at ``path``. Never raises for its content; OSError if the file cannot be opened.

    An attempt that was killed without a last line failed as the scheduler says, if hpcscale has noted that beside it.
    """
    record = Record(path)
    with path.open("rb") as file:
        while lines := list(islice(file, _TOGETHER)):
            _add_all(record, lines)
    if record.summary is None and record.failure is None:
        record.failure = outcome.read(path.parent)
    return record


class Follower:
    """Reads a record while it is written: each call of :meth:`record` reads only what is new."""

    def __init__(self, path: Path):
        self._record, self._offset = Record(path), 0

    def record(self) -> Record:
        """The record as far as its last whole line; an empty one while the file does not exist."""
        with contextlib.suppress(FileNotFoundError), self._record.path.open("rb") as file:
            file.seek(self._offset)
            for raw in file:
                if not raw.endswith(b"\n"):
                    break
                self._offset += len(raw)
                add(self._record, raw)
        return self._record


def _add_all(record: Record, lines: Sequence[bytes]) -> None:
    """Lines of the file as parts of the record; whole ones at once, which is nearly twice as fast."""
    if all(line.startswith(_START) for line in lines):
        try:
            found = json.loads(b"[" + b",".join(lines) + b"]")
        except (ValueError, RecursionError):
            found = []
        # as many objects as lines: none ends within another
        if len(found) == len(lines) and all(type(line) is dict for line in found):
            for line in found:
                _sort_in(record, line)
            return
    for raw in lines:
        add(record, raw)


def add(record: Record, raw: bytes) -> None:
    """One line of the file as a part of the record."""
    text = raw.strip()
    if not text:
        return
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        line = None
    if not isinstance(line, dict):
        record.damaged_lines += 1
        return
    _sort_in(record, line)


def _sort_in(record: Record, line: dict[str, Any]) -> None:
    match line.get("schema"):
        case "run" if not record.run:
            record.run = line
        case "step" if type(line.get("step")) is int:
            record.steps.append(_finite_strings(line))
        case "summary":
            record.summary = line
        case "failure":
            record.failure = line


def _finite_strings(line: dict[str, Any]) -> dict[str, Any]:
    for key in ("loss", "gradient_norm"):
        value = line.get(key)
        if isinstance(value, str) and value in _NOT_FINITE:
            line[key] = _NOT_FINITE[value]
    return line
