"""The profile's queues against the scheduler's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hpcscale.jobs.doctor.limits import Limits
from hpcscale.spec.machine import Machine, Queue
from hpcscale.spec.units import format_seconds


@dataclass(frozen=True)
class Difference:
    """One value of one queue. ``promises``: the profile lets jobs through that the scheduler will not run."""

    queue: int
    name: str
    key: tuple[str | int, ...]  # below the queue: ("time", "max"), ("nodes", 1)
    what: str
    profile: str
    scheduler: str
    promises: bool

    def __str__(self) -> str:
        return f"{self.name}: {self.what} is {self.scheduler}, and the profile says {self.profile}"


def differences(machine: Machine, found: dict[str, Limits]) -> list[Difference]:
    return [
        each
        for number, queue in enumerate(machine.queues)
        if (name := place(machine, queue)) in found and comparable(machine, queue)
        for each in _of_queue(number, queue, found[name])
    ]


def place(machine: Machine, queue: Queue) -> str:
    """What the scheduler calls it: Slurm's partition, PJM's resource group; empty where it has no such name."""
    return (queue.partition or "") if machine.scheduler == "slurm" else queue.name


def comparable(machine: Machine, queue: Queue) -> bool:
    """A QOS, or a part of a partition's node range, has limits that the partition does not tell."""
    same = [each for each in machine.queues if place(machine, each) == place(machine, queue)]
    return len(same) == 1 and "qos" not in queue.directives


def _of_queue(number: int, queue: Queue, limits: Limits) -> Iterator[Difference]:
    rows: list[tuple[tuple[str | int, ...], str, int | None, int | None, bool]] = [
        # key, words, the profile's, the scheduler's, whether a larger value in the profile promises too much
        (("nodes", 0), "the fewest nodes", queue.nodes[0], limits.nodes_min, False),
        (("nodes", 1), "the most nodes", queue.nodes[1], limits.nodes_max, True),
        (("time", "max"), "the longest time", queue.time.max, limits.seconds_max, True),
        (("time", "min"), "the shortest time", queue.time.min or None, limits.seconds_min, False),
        (("time", "default"), "the default time", queue.time.default, limits.seconds_default, True),
    ]
    for key, what, ours, theirs, upper in rows:
        if ours is None or theirs is None or ours == theirs:
            continue
        promises = key != ("time", "default") and ((ours > theirs) == upper)
        shown = [format_seconds(each) if key[0] == "time" else str(each) for each in (ours, theirs)]
        yield Difference(number, queue.name, key, what, shown[0], shown[1], promises)
