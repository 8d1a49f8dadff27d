"""What the collectives of this process moved: calls and bytes by operation and, if asked, when each began and ended.

Bytes are those of the tensor that the caller sees, in its own dtype: of an all-reduce, broadcast, reduce, send or receive the
tensor, of an all-gather or gather the gathered whole, of a reduce-scatter, scatter or all-to-all the input whole. (On the wire
an algorithm moves more or less than that; NCCL's tests call the same number "size".)
"""

from __future__ import annotations

from typing import NamedTuple


class Event(NamedTuple):
    """One operation: posted at ``start``, seen to be complete at ``end`` (``time.perf_counter_ns``)."""

    operation: str
    start: int
    end: int
    bytes: int


class Traffic:
    """The counts of one process. The engine's lock guards the writers."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], tuple[int, int]] = {}  # by group and operation
        self.recording = False
        self.events: list[Event] = []

    def posted(self, operation: str, size: int, group: str) -> None:
        calls, moved = self.counts.get((group, operation), (0, 0))
        self.counts[group, operation] = (calls + 1, moved + size)

    def completed(self, operation: str, start: int, end: int, size: int) -> None:
        if self.recording:
            self.events.append(Event(operation, start, end, size))


TRAFFIC = Traffic()  # one process, one MPI library, one set of counts


def traffic() -> dict[str, tuple[int, int]]:
    """{operation: (calls, bytes)} since the process began or since ``reset_traffic``."""
    total: dict[str, tuple[int, int]] = {}
    for (_, operation), (calls, moved) in TRAFFIC.counts.items():
        calls_before, moved_before = total.get(operation, (0, 0))
        total[operation] = (calls_before + calls, moved_before + moved)
    return total


def traffic_by_group() -> dict[tuple[str, str], tuple[int, int]]:
    """{(name of the process group, operation): (calls, bytes)} since the process began or since ``reset_traffic``."""
    return dict(TRAFFIC.counts)


def reset_traffic() -> None:
    TRAFFIC.counts = {}


def record_events(on: bool) -> None:
    """Switches the list of events on (and empties it) or off."""
    TRAFFIC.recording = on
    if on:
        TRAFFIC.events = []


def events() -> list[Event]:
    """The operations that were completed while events were recorded, in the order of their completion."""
    return list(TRAFFIC.events)
