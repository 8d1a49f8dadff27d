"""What a format is: by which evidence a log is known, and the patterns that read it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal

from hpcscale.ingest.logs.blocks import Log
from hpcscale.ingest.logs.collect import Collector, Match, line_of
from hpcscale.record.schema import Failure


@dataclass(frozen=True)
class Pattern:
    """``literal``: bytes in every line that can match; looking for them costs next to nothing, the expression sees no other
    lines. ``header``: looked for only where a program starts, until its first step."""

    literal: bytes
    regex: re.Pattern[bytes]
    read: Callable[[Match], None]
    header: bool = False
    start: bool = False  # what the program says when it starts


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
        text = line_of(match)
        for sign, kind in FAILURES:
            if sign.search(text):
                collector.failure(kind, text)
                return

    return Pattern(b"rror", re.compile(rb"rror"), read)


def scan(log: Log, patterns: Sequence[Pattern], collector: Collector) -> None:
    """Reads the log once; what matches is told in the order of its places."""
    starts = tuple(pattern.literal for pattern in patterns if pattern.start)
    body = tuple(pattern for pattern in patterns if not pattern.header)
    for block in log.blocks():
        at_start = collector.in_header or any(literal in block for literal in starts)
        found: list[tuple[int, int, Match]] = []
        seen = patterns if at_start else body
        for number, pattern in enumerate(seen):
            found += [(match.start(), number, match) for match in _matches(pattern, block)]
        if len(seen) > 1:
            found.sort(key=_PLACE)
        for _, number, match in found:
            seen[number].read(match)


_PLACE = itemgetter(0, 1)


def _matches(pattern: Pattern, block: bytes) -> Iterator[Match]:
    """The matches in lines that hold the literal. A line goes from line feed to line feed, both included: what ends with a
    carriage return is for the expression to tell apart."""
    literal, regex = pattern.literal, pattern.regex
    position = block.find(literal)
    while position >= 0:
        end = block.find(b"\n", position) + 1 or len(block)
        yield from regex.finditer(block, max(block.rfind(b"\n", 0, position), 0), end)
        position = block.find(literal, end)
