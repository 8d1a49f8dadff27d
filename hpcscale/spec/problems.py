"""What is wrong with an input: one sentence, with the place and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

_MOST_LISTED = 30


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong. ``line`` and ``column`` count from 1; 0 means the whole file."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else f"{self.file}: " if self.file else ""
        return place + self.message


class InputError(Exception):
    """The input is wrong. Carries every problem that was found, not only the first."""

    def __init__(self, problems: Problem | str | Iterable[Problem]):
        if isinstance(problems, str):
            problems = Problem("", 0, 0, problems)
        if isinstance(problems, Problem):
            problems = [problems]
        self.problems: list[Problem] = sorted(set(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def suggestion(name: object, valid: Iterable[object]) -> str:
    """``"; did you mean 'x'?"`` for the nearest valid name, else the valid ones, or the nearest of many."""
    names = sorted({str(each) for each in valid})
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{near[0]}'?"
    if not names:
        return ""
    if len(names) <= _MOST_LISTED:
        return "; valid: " + ", ".join(names)
    nearest = difflib.get_close_matches(str(name), names, n=8, cutoff=0.0)
    return f"; the nearest of {len(names)} valid ones: " + ", ".join(nearest)
