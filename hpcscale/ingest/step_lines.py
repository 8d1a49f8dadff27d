"""The steps of a record as columns. Most records hold one line after another with the same keys and plain numbers: these are taken
apart without making an object of every line, in a third of the time. Everything else goes the long way, to the same result."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Steps:
    """Columns of equal length; a value is None where its line has none."""

    columns: dict[str, list[Any]]
    length: int

    def column(self, name: str) -> list[Any]:
        return self.columns.get(name) or [None] * self.length


def read(path: Path) -> tuple[Record, Steps]:
    """A record and its steps. ``record.steps`` is empty where the columns could be had without."""
    record = Record(path)
    with path.open("rb") as file:
        small = os.fstat(file.fileno()).st_size < _LARGEST
        found = _usual(record, file.read()) if small else None
    if found is None:
        record = reader.read(path)
        return record, of_lines(record.steps)
    if record.summary is None and record.failure is None:
        record.failure = outcome.read(path.parent)
    return record, found


def of_lines(lines: list[dict[str, Any]]) -> Steps:
    names = {name for line in lines for name in line}
    return Steps({name: [line.get(name) for line in lines] for name in names}, len(lines))


def _usual(record: Record, data: bytes) -> Steps | None:
    """The columns of a record whose steps, but for the first one, are alike; None for any other."""
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
    first = of_lines(record.steps)
    if "imported" in record.point:
        return None  # what a tool printed is in no column
    if first.length != 1 or not _FIRST.issuperset(first.columns):
        return None
    record.steps = []
    for raw in data[end:].splitlines(keepends=True):
        reader.add(record, raw)
    if record.steps:
        return None
    length = first.length + len(found["step"])
    columns = {name: first.column(name) + values for name, values in found.items()}
    return Steps(columns, length)


def _columns(block: bytes) -> dict[str, list[Any]] | None:
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
    try:
        return {name: list(map(_NEEDED[name], texts)) for name, texts in zip(needed, zip(*values, strict=True), strict=True)}
    except ValueError:
        return None  # 1.2.3, or a step that is no whole number


@lru_cache(maxsize=64)
def _pattern(names: tuple[str, ...], flags: frozenset[str]) -> re.Pattern[bytes]:
    """A whole line with these keys; the needed values are groups. What a number is, float() says better and faster."""
    values = {"schema": '"step"', **{name: f"({_NUMBER})" if name in _NEEDED else _NUMBER for name in names if name != "schema"}}
    values |= dict.fromkeys(flags, "(?:true|false)")
    inner = ", ".join(f'"{re.escape(name)}": {value}' for name, value in values.items())
    return re.compile(f"^\\{{{inner}\\}}\n".encode(), re.MULTILINE)
