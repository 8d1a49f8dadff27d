"""Attempts: a log's steps in the order of their numbers, parted where the training began anew.

Several ranks may print the same step: its time is that of the slowest, its memory that of the rank that needs most. A new
attempt begins where the program prints what it prints at its start, or where a rank goes back to an earlier step.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import mul, sub
from pathlib import Path
from typing import IO, Any

from hpcscale.record.schema import Failure
from hpcscale.record.writer import step_line, step_lines

# Lines of other ranks may come this many steps late; a rank without a name may not go back further.
LATE_STEPS = 8
_BUFFERED_LINES = 512
_LARGEST = ("step_seconds", "peak_memory_bytes")
_FLOPS = frozenset(("tflops_per_device_published", "mfu_published"))

Values = dict[str, Any]


@dataclass
class Attempt:
    """One try at training, as far as it was read. Steps lie in the file ``steps``, as lines of a record."""

    steps: Path
    facts: dict[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    first_line: int = 0  # of the log: that of the first step, or of the program's first words
    count: int = 0  # lines with a step
    last_step: int = 0
    planned_steps: int | None = None
    seconds: float | None = 0.0  # of all steps; None where one of them is not known
    peak_memory_bytes: int | None = None
    failure: tuple[Failure, str] | None = None
    averaged: int = 1  # steps that the widest line is a mean of
    prints_flops: bool = False
    prints_energy: bool = False

    @property
    def completed(self) -> bool:
        return self.planned_steps is not None and self.last_step >= self.planned_steps

    def remember(self, size: int | None) -> None:
        if size is not None:
            self.peak_memory_bytes = max(size, self.peak_memory_bytes or 0)


class Steps:
    """The steps of one attempt on their way to its file: merged over ranks, in order, in little memory."""

    def __init__(self, attempt: Attempt, means_of_intervals: bool):
        self.attempt = attempt
        self._means = means_of_intervals
        self._pending: dict[int, Values] = {}
        self._newest = 0
        self._in_order = True  # of the pending ones
        self._echoes = False  # ranks without names print every step
        self._last: dict[bytes, int] = {}  # by rank
        self._lines: list[bytes] = []
        self._file: IO[bytes] | None = None

    @property
    def any(self) -> bool:
        return self._newest > 0

    def follows(self, step: int) -> bool:
        """Whether there are steps, none of them behind this one."""
        return 0 < self._newest <= step

    def began_anew(self, rank: bytes, step: int) -> bool:
        """Whether this step, printed by this rank, can only be that of a new attempt."""
        if step >= self._newest:
            return False
        if rank:
            return step < self._last.get(rank, 0)
        return not (self._echoes and step in self._pending)

    def add(self, rank: bytes, step: int, values: Values) -> None:
        self._last[rank] = step
        known = self._pending.get(step)
        if known is not None:
            self._echoes = True
            for name in _LARGEST:
                if (values.get(name) or 0) > (known.get(name) or 0):
                    known[name] = values[name]
            return
        if step > self._newest:
            self._newest = step
        elif step <= self.attempt.last_step:
            return  # a rank that is later than that: the step is written
        else:
            self._in_order = False
        self._pending[step] = values
        if len(self._pending) > LATE_STEPS:
            self._write(next(iter(self._pending)) if self._in_order else min(self._pending))

    def add_many(self, ranks: Sequence[bytes], steps: Sequence[int], columns: Mapping[str, Sequence[Any]]) -> None:
        """What :meth:`add` does for each. ``steps`` never go back, not behind the newest either; columns are those of
        :func:`step_lines`, of which seconds and memory are numbers."""
        late = bisect_right(steps, self._newest)
        firsts = [i for i in range(late, len(steps)) if i == late or steps[i] != steps[i - 1]]
        kept = firsts[-LATE_STEPS] if len(firsts) > LATE_STEPS else late
        self._add_each(ranks, steps, columns, range(late))
        if kept > late:
            self._write_all_pending()
            self._echoes = self._echoes or len(firsts) < len(steps) - late
            direct = firsts[:-LATE_STEPS]
            self._write_many([steps[i] for i in direct], _merged(columns, direct, kept))
            self._newest, self._in_order = steps[kept - 1], True
        self._add_each(ranks, steps, columns, range(kept, len(steps)))
        self._last.update(zip(ranks, steps, strict=True))

    def _add_each(
        self, ranks: Sequence[bytes], steps: Sequence[int], columns: Mapping[str, Sequence[Any]], rows: range
    ) -> None:
        for i in rows:
            self.add(ranks[i], steps[i], {name: _number(values[i]) for name, values in columns.items()})

    def close(self) -> None:
        self._write_all_pending()
        self._spool()
        if self._file is not None:
            self._file.close()

    def _write(self, step: int) -> None:
        values, attempt = self._pending.pop(step), self.attempt
        first = values.pop("first_averages", 1)
        averaged = 1
        if self._means:
            averaged = step - attempt.last_step if attempt.count else first
            if averaged > 1:
                values["averaged_steps"] = averaged
                attempt.averaged = max(attempt.averaged, averaged)
        seconds = values["step_seconds"]
        if seconds is None or attempt.seconds is None:
            attempt.seconds = None
        else:
            attempt.seconds += seconds * averaged
        if (memory := values.get("peak_memory_bytes")) is not None:
            attempt.remember(memory)
        if not attempt.prints_flops:
            attempt.prints_flops = not _FLOPS.isdisjoint(values)
        attempt.prints_energy = attempt.prints_energy or "energy_joules" in values
        attempt.count += 1
        attempt.last_step = step
        self._lines.append(step_line({"step": step, **values}))
        if len(self._lines) >= _BUFFERED_LINES:
            self._spool()

    def _write_all_pending(self) -> None:
        for step in sorted(self._pending):
            self._write(step)

    def _write_many(self, steps: list[int], columns: Mapping[str, Sequence[Any]]) -> None:
        """As :meth:`_write` for each, of one after the other; none of them is the attempt's first."""
        attempt = self.attempt
        averaged = list(map(sub, steps, [attempt.last_step, *steps])) if self._means else [1] * len(steps)
        seconds = columns["step_seconds"]
        if attempt.seconds is not None:
            attempt.seconds = None if seconds[0] is None else sum(map(mul, seconds, averaged), attempt.seconds)
        attempt.averaged = max(attempt.averaged, *averaged)
        attempt.remember(max(columns["peak_memory_bytes"]) if "peak_memory_bytes" in columns else None)
        attempt.prints_flops = attempt.prints_flops or not _FLOPS.isdisjoint(columns)
        attempt.prints_energy = attempt.prints_energy or "energy_joules" in columns
        attempt.count += len(steps)
        attempt.last_step = steps[-1]
        start = 0
        for width, members in groupby(averaged):
            end = start + len(list(members))
            part = {name: values[start:end] for name, values in {"step": steps, **columns}.items()}
            self._lines.append(step_lines(part if width == 1 else {**part, "averaged_steps": [width] * (end - start)}))
            start = end
        self._spool()

    def _spool(self) -> None:
        if not self._lines:
            return
        if self._file is None:
            self._file = self.attempt.steps.open("wb")
        self._file.write(b"".join(self._lines))
        self._lines.clear()


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, bytes) else value


def _merged(columns: Mapping[str, Sequence[Any]], firsts: list[int], end: int) -> Mapping[str, Sequence[Any]]:
    """A value a step: that of the rank that printed it first, of some columns the largest. ``firsts``: where a step begins."""
    if len(firsts) == end - firsts[0]:
        return {name: values[firsts[0] : end] for name, values in columns.items()}
    ends = [*firsts[1:], end]
    return {
        name: [max(values[i:j]) for i, j in zip(firsts, ends, strict=True)]
        if name in _LARGEST and values[0] is not None
        else [values[i] for i in firsts]
        for name, values in columns.items()
    }
