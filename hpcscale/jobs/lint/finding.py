"""What lint has to say about one line of a script."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, order=True)
class Finding:
    """One sentence about one line, with the way out in it. ``line`` counts from 1."""

    file: str
    line: int
    severity: Severity
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.severity}: {self.message}"


@dataclass(frozen=True)
class Remark:
    """A finding before its file is known."""

    line: int
    severity: Severity
    message: str


def error(line: int, message: str) -> Remark:
    return Remark(line, "error", message)


def warning(line: int, message: str) -> Remark:
    return Remark(line, "warning", message)
