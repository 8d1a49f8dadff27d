"""Points far slower than those around them, of whatever table: the same model and layout on more or fewer devices, or with
sequences of another length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

DIP = 0.10  # below both neighbours; published repeats of one layout differ by 5.6 % in the median
EDGE = 0.065  # fewer devices, the same micro batch, and yet slower than the next row
SHORTER = 0.12  # a shorter sequence, as many tokens a micro batch, and yet slower than the longer one


@dataclass(frozen=True, kw_only=True)
class Speed:
    """A point that ran. ``speed``: logarithm of what one device does in a second (tokens or the like); ``work``: that of the FLOPs
    of a unit of it. Points of one ``kind`` are comparable. ``index``: its place in the table."""

    index: int
    speed: float
    work: float | None
    devices: float
    sequence: float
    micro_batch: float
    total_batch: float | None
    kind: tuple[object, ...]


@dataclass(frozen=True)
class Slow:
    """A device of point ``index`` does ``share`` less than one of the point ``beside`` it."""

    index: int
    beside: int
    share: float
    where: str


def slow_points(found: Sequence[Speed]) -> list[Slow]:
    """The points whose speed is implausible beside their neighbours', each once."""
    slow: dict[int, Slow] = {}
    groups: dict[tuple[object, ...], list[Speed]] = {}
    for point in found:
        groups.setdefault((point.kind, point.sequence), []).append(point)
    for group in groups.values():
        for point, other in _by_devices(group):
            slow[point.index] = _slow(point, other, f"on {other.devices:g} devices")
    lengths: dict[tuple[object, ...], list[Speed]] = {}
    for point in found:
        if point.work is not None and point.index not in slow:
            lengths.setdefault((point.kind, point.devices), []).append(point)
    for group in lengths.values():
        for point, other in _by_length(group):
            slow.setdefault(point.index, _slow(point, other, f"at length {other.sequence:g}"))
    return list(slow.values())


def _slow(point: Speed, other: Speed, where: str) -> Slow:
    speed, reference = point.speed, other.speed
    if point.sequence != other.sequence and point.work is not None and other.work is not None:
        speed, reference = speed + point.work, reference + other.work
    return Slow(point.index, other.index, 1 - math.exp(speed - reference), where)


def _by_devices(group: Sequence[Speed]) -> list[tuple[Speed, Speed]]:
    """(slow point, the neighbour that shows it), along the number of devices."""
    best: dict[float, Speed] = {}
    for point in group:
        if point.devices not in best or point.speed > best[point.devices].speed:
            best[point.devices] = point
    line = [best[devices] for devices in sorted(best)]
    slow = []
    for place, point in enumerate(line):
        before, after = line[place - 1] if place else None, line[place + 1] if place + 1 < len(line) else None
        if before and after:
            nearest = min(before, after, key=lambda each: each.speed)
            if nearest.speed - point.speed > DIP and point.micro_batch >= min(before.micro_batch, after.micro_batch):
                slow.append((point, nearest))
        elif after and after.speed - point.speed > EDGE and point.micro_batch == after.micro_batch:
            slow.append((point, after))
        elif before and len(line) >= 3 and _breaks(line):
            slow.append((point, before))
    return slow


def _breaks(line: Sequence[Speed]) -> bool:
    """Whether the last point falls far below the trend. Strong scaling falls faster and faster, weak scaling does not."""
    steps = [
        (line[i].speed - line[i + 1].speed) / math.log(line[i + 1].devices / line[i].devices)
        for i in range(len(line) - 1)
    ]
    per_device = {round((point.total_batch or 0) / point.devices, 6) for point in line}
    weak = len(per_device) == 1 and per_device != {0.0}
    drop = line[-2].speed - line[-1].speed
    usual = max(0.02, *(abs(each) for each in steps[:-1]))
    return drop > (0.12 if weak else 0.3) and steps[-1] > 4 * usual and line[-1].micro_batch >= line[-2].micro_batch


def _by_length(group: Sequence[Speed]) -> list[tuple[Speed, Speed]]:
    """Shorter sequences need no more work a token than longer ones: their FLOP/s do not fall suddenly."""
    best: dict[float, Speed] = {}
    for point in group:
        if point.sequence not in best or point.speed > best[point.sequence].speed:
            best[point.sequence] = point
    level: Speed | None = None
    slow = []
    for length in sorted(best, reverse=True):
        point = best[length]
        if level is not None and level.work is not None and point.work is not None:
            fall = level.speed + level.work - point.speed - point.work
            tokens = point.micro_batch * point.sequence >= 0.5 * level.micro_batch * level.sequence
            if fall > SHORTER and tokens:
                slow.append((point, level))
                continue
        level = point
    return slow
