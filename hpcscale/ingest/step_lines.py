"""The steps of a record as columns. Most records hold one line after another with the same keys and plain numbers: these are taken
apart without making an object of every line, in a third of the time. Everything else goes the long way, to the same result."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from hpcscale.record import outcome, reader
from hpcscale.record.reader import Record

# What a table needs of a step; the others of a usual line need only be numbers.
_NEEDED = {
    "step": int, "step_seconds": float, "loss": float, "peak_memory_bytes": int, "slowest_rank": int,
    "median_rank_seconds": float, "energy_joules": float,
}  # fmt: skip
_USUAL = frozenset(_NEEDED) | {
    "schema", "version", "fastest_rank_seconds", "gradient_norm", "learning_rate", "tokens", "warmup", "loss_scale",
}  # fmt: skip
_FIRST = _USUAL | {"collectives"}
_STEP = b'{"schema": "step"'
_NUMBER = r"[-+.0-9eE]++"
_LARGEST = 64 * 2**20  # bytes that are read at once


class Unusual(Exception):
    """A value that only looked like a number: the record has to go the long way."""


class Steps:
    """The lines of steps as columns; a value is None where its line has none."""

    def __init__(self, lines: list[dict[str, Any]]):
        self.length = len(lines)
        names = {name for line in lines for name in line}
        self._columns = {name: [line.get(name) for line in lines] for name in names}

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def column(self, name: str) -> list[Any]:
        return self._columns.get(name) or [None] * self.length

    def largest(self, name: str) -> float | None:
        """The largest number of a column."""
        return max((value for value in self.column(name) if isinstance(value, int | float)), default=None)

    def ends(self, name: str) -> list[Any]:
        """The first and the last number of a column; empty if it has none."""
        numbers = [value for value in self.column(name) if isinstance(value, int | float)]
        return [numbers[0], numbers[-1]] if numbers else []

    def not_a_number(self, name: str) -> int | None:
        """The first step whose value in this column is NaN."""
        pairs = zip(self.column("step"), self.column(name), strict=True)
        return next((number for number, value in pairs if value != value), None)


class UsualSteps(Steps):
    """A first line, and those behind it as the texts of their numbers, which become numbers when they are asked for: most of
    them never are. Raises Unusual where one is none."""

    def __init__(self, first: dict[str, Any], texts: dict[str, tuple[bytes, ...]]):
        super().__init__([first])
        self._texts = texts
        self.length = 1 + len(texts["step"])

    def __contains__(self, name: str) -> bool:
        return name in self._texts or super().__contains__(name)

    def column(self, name: str) -> list[Any]:
        if name in self._texts:
            try:
                behind = list(map(_NEEDED[name], self._texts[name]))
            except ValueError:
                raise Unusual(name) from None
            return [*(self._columns.get(name) or [None]), *behind]
        return [*(self._columns.get(name) or [None]), *[None] * (self.length - 1)]

    def largest(self, name: str) -> float | None:
        return Steps([self._columns_of_first(name), *self._some(name, set(self._texts.get(name, ())))]).largest(name)

    def ends(self, name: str) -> list[Any]:
        texts = self._texts.get(name, ())
        return Steps([self._columns_of_first(name), *self._some(name, texts[-1:])]).ends(name)

    def not_a_number(self, name: str) -> int | None:
        """Texts of these columns are digits."""
        (first,) = self._columns.get(name) or [None]
        return self._columns["step"][0] if first != first else None

    def _columns_of_first(self, name: str) -> dict[str, Any]:
        values = self._columns.get(name)
        return {name: values[0]} if values else {}

    def _some(self, name: str, texts: Iterable[bytes]) -> list[dict[str, Any]]:
        try:
            return [{name: _NEEDED[name](text)} for text in texts]
        except ValueError:
            raise Unusual(name) from None


def read(path: Path) -> tuple[Record, Steps]:
    """A record and its steps. ``record.steps`` is empty where the columns could be had without."""
    record = Record(path)
    with path.open("rb") as file:
        small = os.fstat(file.fileno()).st_size < _LARGEST
        found = _usual(record, file.read()) if small else None
    if found is None:
        return the_long_way(path)
    if record.summary is None and record.failure is None:
        record.failure = outcome.read(path.parent)
    return record, found


def the_long_way(path: Path) -> tuple[Record, Steps]:
    record = reader.read(path)
    return record, Steps(record.steps)


def _usual(record: Record, data: bytes) -> UsualSteps | None:
    """The steps of a record whose steps, but for the first one, are alike; None for any other."""
    start = 0
    for _ in range(2):  # the run and the first step, which says more than the others
        start = data.find(b"\n", start) + 1
    last = data.rfind(b"\n" + _STEP)
    end = data.find(b"\n", last + 1) + 1
    if not 0 < start < last < end:
        return None
    found = _columns(data[start:end])
    if found is None:
        return None
    for raw in data[:start].splitlines(keepends=True):
        reader.add(record, raw)
    first, record.steps = record.steps, []
    if len(first) != 1 or not _FIRST.issuperset(first[0]) or "imported" in record.point:
        return None  # what a tool printed is in no column
    for raw in data[end:].splitlines(keepends=True):
        reader.add(record, raw)
    return None if record.steps else UsualSteps(first[0], found)


def _columns(block: bytes) -> dict[str, tuple[bytes, ...]] | None:
    """The needed columns of whole lines that have the first one's keys, in its order, and numbers for values."""
    try:
        sample = json.loads(block[: block.index(b"\n")])
    except (ValueError, RecursionError):
        return None
    if not isinstance(sample, dict) or not _USUAL.issuperset(sample) or "step" not in sample:
        return None
    flags = frozenset(name for name, value in sample.items() if type(value) is bool)
    values = _pattern(tuple(sample), flags).findall(block)
    if len(values) != block.count(b"\n"):
        return None
    needed = [name for name in sample if name in _NEEDED]
    return dict(zip(needed, zip(*values, strict=True), strict=True))


@lru_cache(maxsize=64)
def _pattern(names: tuple[str, ...], flags: frozenset[str]) -> re.Pattern[bytes]:
    """A whole line with these keys; the needed values are groups. What a number is, float() says better and faster."""
    values = {
        "schema": '"step"',
        **{name: f"({_NUMBER})" if name in _NEEDED else _NUMBER for name in names if name != "schema"},
    }
    values |= dict.fromkeys(flags, "(?:true|false)")
    inner = ", ".join(f'"{re.escape(name)}": {value}' for name, value in values.items())
    return re.compile(f"^\\{{{inner}\\}}\n".encode(), re.MULTILINE)
