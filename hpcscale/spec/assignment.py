"""An assignment: the values of one point before they are put together; and a point that was skipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hpcscale.spec.keys import Key
from hpcscale.spec.yaml12 import Location

Sections = dict[str, Any]


@dataclass(frozen=True)
class Assignment:
    """Values of one point before they are put together; ``location`` is where its sweep stands in the file."""

    machine: str
    values: dict[Key, Any]
    location: Location
    derive: dict[str, tuple[Any, Location]]


@dataclass(frozen=True)
class Skipped:
    """A point that breaks a rule, with the sentence that says why. ``place``: file:line:column of its sweep."""

    place: str
    machine: str
    what: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: skipped {self.what}: {self.reason}"
