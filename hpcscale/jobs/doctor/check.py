"""One thing that was looked at, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Check:
    """``message``: one sentence, with the way out where something is wrong."""

    name: str
    status: Status
    message: str

    def __str__(self) -> str:
        return f"{self.status:<8} {self.name:<12} {self.message}"
