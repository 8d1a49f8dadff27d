"""``job.time: auto``: the wall time of a job from the prediction of its point, and the queue that such a time goes to.

wall time = start + steps x (upper end of the 80 % interval) + room, rounded up to five minutes
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hpcscale.spec.assignment import Skipped
from hpcscale.spec.expand import Expansion
from hpcscale.spec.job import AUTO
from hpcscale.spec.machine import Machine, Queue
from hpcscale.spec.point import Point
from hpcscale.spec.units import format_seconds

# What passes before the first step: Python and torch on every node, the ranks' meeting, weights, the first compilation. A
# round figure: ten minutes are little of a long job, and thousands of nodes that read one file system need some of them.
START_SECONDS = 600
# Here there are two or three processes and no shared file system.
START_SECONDS_LOCALLY = 30
# Room beyond the interval, which one run in ten exceeds: a share of what was computed, at least five minutes (the trainer
# stops some minutes early to save).
ROOM_SHARE, ROOM_SECONDS = 0.1, 300
ROUND_SECONDS = 300


@dataclass(frozen=True)
class Need:
    """The wall time that a point's job should ask for, and how that came about."""

    seconds: int
    sentence: str


def start_seconds(machine: Machine) -> int:
    """What passes before the first step of a job on this machine."""
    return START_SECONDS_LOCALLY if machine.scheduler == "local" else START_SECONDS


def need(steps: int, step_seconds: float, high: float, start: int = START_SECONDS) -> Need:
    """The time for ``steps`` of a predicted ``step_seconds`` whose 80 % interval ends at ``high``."""
    work = start + steps * high
    room = max(ROOM_SECONDS, ROOM_SHARE * work)
    seconds = math.ceil((work + room) / ROUND_SECONDS) * ROUND_SECONDS
    sentence = (
        f"predicted: {format_seconds(start)} to start, {steps} step{'s' * (steps > 1)} of {step_seconds:.4g} s "
        f"(at most {high:.4g} s in 9 of 10 runs), and {format_seconds(round(room))} of room"
    )
    return Need(seconds, sentence)


def resolve(expansion: Expansion) -> Expansion:
    """The expansion with a time and a queue for every point whose ``job.time`` is ``auto``; no hash changes.

    A point that cannot be predicted is skipped, with the reason and the way out.
    """
    waiting = [point for point in expansion.points if point.job.time == AUTO]
    if not waiting:
        return expansion
    from hpcscale.cost.of_points import foresee  # numpy: most studies write their times and do without it

    foreseen = foresee(waiting)
    times: dict[str, Point | Skipped] = {}
    for point, position in zip(waiting, foreseen.position, strict=True):
        if isinstance(position, str) or foreseen.predictions is None:
            times[point.identity] = _skipped(expansion, point, str(position))
            continue
        found = foreseen.predictions
        wanted = need(
            point.protocol.steps,
            float(found.seconds[position]),
            float(found.high[position]),
            start_seconds(point.machine),
        )
        times[point.identity] = timed(point, wanted)
    points = [times.get(point.identity, point) for point in expansion.points]
    return replace(
        expansion,
        points=[each for each in points if isinstance(each, Point)],
        skipped=[*expansion.skipped, *(each for each in points if isinstance(each, Skipped))],
    )


def timed(point: Point, wanted: Need) -> Point:
    """The point with this time, as far as a queue allows it, and with that queue."""
    queue, seconds, warnings, source = point.queue, wanted.seconds, point.warnings, wanted.sentence
    queues = _candidates(point)
    if queues:
        queue = next((each for each in queues if seconds <= each.time.max), None)
        if queue is None:
            queue = max(queues, key=lambda each: each.time.max)
            warnings = (*warnings, _too_long(point, queue, seconds))
            source = f"all that {queue.name} gives of {format_seconds(seconds)} {source}"
        seconds = min(max(seconds, queue.time.min), queue.time.max)
    job = point.job.model_copy(update={"time": seconds})
    return replace(point, job=job, queue=queue, warnings=warnings, time_source=source)


def _candidates(point: Point) -> Sequence[Queue]:
    """The queues that may take the point, whatever its time."""
    named = point.job.queue
    return [
        queue
        for queue in point.machine.queues
        if (queue.name == named if named else not queue.on_request) and queue.admits(point.nodes, None) is None
    ]


def _too_long(point: Point, queue: Queue, seconds: int) -> str:
    if not point.training.checkpoint.enabled and not point.workload.foreign:
        way = "it cannot go on without checkpoints; set training.checkpoint.every_steps"
    else:
        way = f"it goes on from its checkpoints in up to {point.job.retries} further jobs (job.retries)"
    return (
        f"the prediction wants {format_seconds(seconds)}, and {queue.name} gives {format_seconds(queue.time.max)} "
        f"at most: {way}"
    )


def _skipped(expansion: Expansion, point: Point, reason: str) -> Skipped:
    message = f"job.time: auto needs a prediction, and {reason}; or write a time, such as job.time: 02:00:00"
    return Skipped(str(expansion.study.path), point.machine.name, point.identity, message)
