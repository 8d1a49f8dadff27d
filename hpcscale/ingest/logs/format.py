"""What a format is: by which evidence a log is known, and the patterns that read it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal

from hpcscale.ingest.logs.blocks import Log
from hpcscale.ingest.logs.bulk import Bulk, Reader
from hpcscale.ingest.logs.collect import Collector, Match, line_of
from hpcscale.record.schema import Failure


@dataclass(frozen=True)
class Pattern:
    """``literal``: bytes in every line that can match; looking for them costs next to nothing, the expression sees no other
    lines. ``header``: looked for only where a program starts, until its first step. ``bulk``: how steps of which this is a line
    are read by the thousand."""

    literal: bytes
    regex: re.Pattern[bytes]
    read: Callable[[Match], None]
    header: bool = False
    start: bool = False  # what the program says when it starts
    bulk: Bulk | None = None


@dataclass(frozen=True)
class Evidence:
    """A pattern that only this tool's logs have. ``step``: a line of a step; else something that it says when it starts."""

    literal: bytes
    regex: re.Pattern[bytes]
    step: bool = True


@dataclass(frozen=True)
class Format:
    """``averages``: what a line's time is the mean of: one step, the steps since the line before, or a moving window."""

    name: str
    tool: str
    convention: str  # of the FLOPs that the tool prints, a name of cost/flops.py; empty where it prints none
    source: str  # where the lines' form was looked up
    evidence: tuple[Evidence, ...]
    reader: Callable[[Collector], Sequence[Pattern]]
    averages: Literal["step", "interval", "window"] = "step"
    memory_kind: str | None = None
    energy_source: str | None = None  # what counted the joules that it may print
    also: Evidence | None = None  # must have stood in the log before the rest counts


# What ends a training, by what then stands in the log. Slurm's words: src/slurmd/slurmstepd, "CANCELLED AT ... DUE TO ...".
FAILURES: tuple[tuple[re.Pattern[str], Failure], ...] = (
    (re.compile(r"OutOfMemoryError|out of memory|oom[-_]kill", re.IGNORECASE), "oom"),
    (re.compile(r"DUE TO TIME LIMIT"), "timeout"),
    (re.compile(r"DUE TO PREEMPTION"), "preempted"),
    (re.compile(r"DUE TO NODE FAILURE|NODE_FAIL|Watchdog caught collective operation timeout"), "node"),
    (re.compile(r"\b(?:[a-z_]\w*\.)*[A-Z]\w*Error: "), "error"),
)


def failures(collector: Collector) -> Pattern:
    """Reads the signs of failure of any tool."""

    def read(match: Match) -> None:
        text = line_of(match, around=True)
        for sign, kind in FAILURES:
            if sign.search(text):
                collector.failure(kind, text)
                return

    return Pattern(b"rror", re.compile(rb"rror"), read)


def scan(log: Log, patterns: Sequence[Pattern], collector: Collector) -> None:
    """Reads the log once; what matches is told in the order of its places."""
    starts = tuple(pattern.literal for pattern in patterns if pattern.start)
    body = tuple(pattern for pattern in patterns if not pattern.header)
    bulk = next((pattern.bulk for pattern in patterns if pattern.bulk is not None), None)
    reader = None if bulk is None else Reader(collector, bulk)
    for block in log.blocks():
        if collector.in_header or any(literal in block for literal in starts):
            _tell(patterns, block)
        elif reader is None or not _told_in_bulk(body, block, reader):
            _tell(body, block)


_PLACE = itemgetter(0, 1)
_Found = tuple[int, int, Match]


def _tell(patterns: Sequence[Pattern], block: bytes, start: int = 0, end: int | None = None) -> None:
    for _, number, match in _found(patterns, block, start, len(block) if end is None else end):
        patterns[number].read(match)


def _found(patterns: Sequence[Pattern], block: bytes, start: int, end: int) -> list[_Found]:
    found: list[_Found] = []
    for number, pattern in enumerate(patterns):
        found += [(match.start(), number, match) for match in _matches(pattern, block, start, end)]
    if len(patterns) > 1:
        found.sort(key=_PLACE)
    return found


def _told_in_bulk(patterns: Sequence[Pattern], block: bytes, reader: Reader) -> bool:
    """Tells everything in the block, or nothing where a line holds a step and something else."""
    of_steps = tuple(pattern for pattern in patterns if pattern.bulk is not None)
    others = tuple(pattern for pattern in patterns if pattern.bulk is None)
    found = _found(others, block, 0, len(block))
    places = [block.rfind(b"\n", 0, at) + 1 for at, _, _ in found]
    for place in places:
        end = block.find(b"\n", place) + 1 or len(block)
        if any(block.find(pattern.literal, place, end) >= 0 for pattern in of_steps):
            return False
    start = 0
    for place, (_, number, match) in zip(places, found, strict=True):
        _tell_steps(of_steps, block, start, place, reader)
        others[number].read(match)
        start = place
    _tell_steps(of_steps, block, start, len(block), reader)
    return True


def _tell_steps(patterns: Sequence[Pattern], block: bytes, start: int, end: int, reader: Reader) -> None:
    first, last = reader.whole(block, start, end)
    _tell(patterns, block, start, first)
    read = reader.read(block, first, last)
    _tell(patterns, block, last if read else first, end)


def _matches(pattern: Pattern, block: bytes, start: int, stop: int) -> Iterator[Match]:
    """The matches in lines that hold the literal. A line goes from line feed to line feed, both included: what ends with a
    carriage return is for the expression to tell apart."""
    literal, regex = pattern.literal, pattern.regex
    position = block.find(literal, start, stop)
    while position >= 0:
        end = block.find(b"\n", position) + 1 or len(block)
        yield from regex.finditer(block, max(block.rfind(b"\n", 0, position), 0), end)
        position = block.find(literal, end, stop)
