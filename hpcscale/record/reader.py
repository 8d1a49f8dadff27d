"""Reading a record, whatever state it is in: cut off, being written, or with lines of a later version."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcscale.record import outcome
from hpcscale.record.json_text import loads
from hpcscale.record.schema import FAILURES, Status

_TOGETHER = 2**20  # bytes that are read, and parsed, at a time
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
    with open(path, "rb") as file:  # noqa: PTH123 (Path.open takes as long as opening does)
        rest: list[bytes] = []  # of a line that goes on
        while block := file.read(_TOGETHER):
            end = block.rfind(b"\n") + 1
            if end:
                _add_all(record, b"".join((*rest, block[:end])))
                rest = []
            rest.append(block[end:])
        add(record, b"".join(rest))
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


def _add_all(record: Record, block: bytes) -> None:
    """Whole lines of the file as parts of the record: as one list, which is nearly twice as fast."""
    lines = block.count(b"\n")
    if block.startswith(_START) and block.count(b"\n" + _START) == lines - 1:
        try:
            found = loads(b"[" + block[:-1].replace(b"\n", b",") + b"]")
        except (ValueError, RecursionError):
            found = []
        # as many objects as lines: none ends within another
        if len(found) == lines and set(map(type, found)) == {dict}:
            for line in found:
                # nearly all lines are steps with numbers, and a call for each takes as long as the rest of this
                if (
                    line.get("schema") == "step"
                    and type(line.get("step")) is int
                    and type(line.get("loss")) is not str
                    and type(line.get("gradient_norm")) is not str
                ):
                    record.steps.append(line)
                else:
                    _sort_in(record, line)
            return
    for raw in block.split(b"\n"):
        add(record, raw)


def add(record: Record, raw: bytes) -> None:
    """One line of the file as a part of the record."""
    text = raw.strip()
    if not text:
        return
    try:
        line = loads(text)
    except (ValueError, RecursionError):
        line = None
    if not isinstance(line, dict):
        record.damaged_lines += 1
        return
    _sort_in(record, line)


def _sort_in(record: Record, line: dict[str, Any]) -> None:
    match line.get("schema"):
        case "step":
            if type(line.get("step")) is int:
                if type(line.get("loss")) is str or type(line.get("gradient_norm")) is str:
                    _make_numbers(line)
                record.steps.append(line)
        case "run" if not record.run:
            record.run = line
        case "summary":
            record.summary = line
        case "failure":
            record.failure = line


def _make_numbers(line: dict[str, Any]) -> None:
    for key in ("loss", "gradient_norm"):
        value = line.get(key)
        if isinstance(value, str) and value in _NOT_FINITE:
            line[key] = _NOT_FINITE[value]
