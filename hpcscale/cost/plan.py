"""What a study will cost: one row a configuration, with its time, memory, node-hours, and whether it can be run at all."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from hpcscale.cost import flops
from hpcscale.cost.compare import Published, Tables
from hpcscale.cost.job_time import start_seconds
from hpcscale.cost.memory import OOM
from hpcscale.cost.of_points import foresee
from hpcscale.cost.predict import Predictions
from hpcscale.spec.model import Model
from hpcscale.spec.point import Point
from hpcscale.spec.units import format_seconds

# For how many points that do not fit another layout is looked for: each is a search of its own.
MOST_WAYS = 20


@dataclass(frozen=True)
class Long:
    """A training of many steps: ``seconds`` with every job's start, ``jobs`` of the queue's longest time each."""

    steps: int
    seconds: float
    node_hours: float
    jobs: int


@dataclass(frozen=True)
class Row:
    """One configuration, its repeats together. None: not known. ``reason``: why nothing is predicted.

    ``problem`` says what keeps it from running (memory, the time of its job or queue), ``way`` what would run instead.
    """

    point: Point
    repeats: int = 1
    index: int | None = None  # in the plan's predictions
    reason: str = ""
    memory_bytes: float | None = None
    usable_bytes: float | None = None
    verdict: str = ""
    step_seconds: float | None = None
    step_seconds_low: float | None = None
    step_seconds_high: float | None = None
    tokens_per_second: float | None = None
    tflops_per_device: float | None = None
    mfu: float | None = None
    protocol_seconds: float | None = None  # of one repeat
    node_hours: float | None = None  # of all repeats
    long: Long | None = None
    problem: str = ""
    way: str = ""
    published: tuple[Published, ...] = ()
    fastest: bool = False
    cheapest: bool = False

    @property
    def runs(self) -> bool:
        """Predicted, and nothing is in its way."""
        return self.step_seconds is not None and not self.problem

    @property
    def out_of_memory(self) -> bool:
        return self.verdict == OOM


@dataclass(frozen=True)
class Plan:
    """The rows of a study in its order; ``predictions`` are theirs by ``Row.index``."""

    rows: tuple[Row, ...]
    predictions: Predictions | None
    totals: dict[str, float] = field(default_factory=dict)  # node-hours by machine, of what does not run out of memory

    @property
    def node_hours(self) -> float:
        return sum(self.totals.values())


def plan(
    points: Iterable[Point], compare: Sequence[str] = (), tokens: float | None = None, steps: int | None = None
) -> Plan:
    """The plan of these points. ``tokens`` or ``steps``: what a long training is to do; ``compare``: published tables."""
    groups = _repeats_together(points)
    foreseen = foresee([point for point, _ in groups])
    tables = Tables(compare)
    rows = []
    for (point, repeats), position in zip(groups, foreseen.position, strict=True):
        published = tables.of(point)
        if isinstance(position, str) or foreseen.predictions is None:
            rows.append(Row(point, repeats, reason=str(position), published=published))
        else:
            rows.append(_row(point, repeats, published, foreseen.predictions, position, _steps(point, tokens, steps)))
    rows = _marked(_with_ways(rows))
    return Plan(tuple(rows), foreseen.predictions, _totals(rows))


def _repeats_together(points: Iterable[Point]) -> list[tuple[Point, int]]:
    """Repeats follow the point that they repeat, with which they share every part."""
    groups: list[tuple[Point, int]] = []
    before: Point | None = None
    for point in points:
        if before is not None and _repeats(point, before):
            groups[-1] = (groups[-1][0], groups[-1][1] + 1)
        else:
            groups.append((point, 1))
        before = point
    return groups


def _repeats(point: Point, before: Point) -> bool:
    parts = ("machine", "model", "layout", "training", "data", "protocol", "workload", "resources")
    return point.repeat > before.repeat and all(getattr(point, part) == getattr(before, part) for part in parts)


def _steps(point: Point, tokens: float | None, steps: int | None) -> int | None:
    """Of the long training that was asked for."""
    if tokens is None:
        return steps
    return math.ceil(tokens / (point.training.global_batch_size * point.training.sequence_length))


def _row(
    point: Point, repeats: int, published: tuple[Published, ...], found: Predictions, i: int, steps: int | None
) -> Row:
    seconds, memory, usable = float(found.seconds[i]), float(found.memory[i]), float(found.cases.memory[i])
    throughput = point.training.global_batch_size * point.training.sequence_length / seconds
    tflops, mfu = _rates(point, throughput)
    protocol = start_seconds(point.machine) + point.protocol.steps * seconds
    return Row(
        point, repeats, index=i, published=published,
        memory_bytes=memory, usable_bytes=None if math.isnan(usable) else usable, verdict=found.verdict[i],
        step_seconds=seconds, step_seconds_low=float(found.low[i]), step_seconds_high=float(found.high[i]),
        tokens_per_second=throughput, tflops_per_device=tflops, mfu=mfu, protocol_seconds=protocol,
        node_hours=repeats * point.nodes * protocol / 3600, long=_long(point, seconds, steps),
        problem=_problem(point, protocol, memory, usable, found.verdict[i]),
    )  # fmt: skip


def _rates(point: Point, tokens_per_second: float) -> tuple[float, float | None]:
    """(TFLOP/s of a device, MFU) as hpcscale's own runs count."""
    # pyright does not see the hash that pydantic gives frozen models
    work = _flops_per_token(point.model, point.training.sequence_length, point.layout.tp)  # pyright: ignore
    tflops = flops.tflops_per_device(work, tokens_per_second / point.devices)
    if point.peak_tflops is None or tflops > point.peak_tflops:
        return tflops, None
    return tflops, flops.utilisation(tflops, point.peak_tflops)


@lru_cache(maxsize=4096)
def _flops_per_token(model: Model, sequence_length: int, tp: int) -> float:
    return flops.convention(flops.OWN).flops_per_token(model, sequence_length, tp)


def _long(point: Point, step_seconds: float, steps: int | None) -> Long | None:
    if steps is None:
        return None
    work = steps * step_seconds
    longest = point.queue.time.max if point.queue is not None else math.inf
    start = start_seconds(point.machine)
    jobs = max(1, math.ceil(work / max(longest - start, step_seconds)))
    seconds = work + jobs * start
    return Long(steps, seconds, point.nodes * seconds / 3600, jobs)


def _problem(point: Point, protocol_seconds: float, memory: float, usable: float, verdict: str) -> str:
    if verdict == OOM:
        return f"out of memory: a rank needs {gib(memory)} of {gib(usable)} GiB"
    limit, seconds = point.job_seconds, math.ceil(protocol_seconds)
    if limit is None or seconds <= limit:
        return ""
    needs = f"out of time: {point.protocol.steps} steps and the start take {format_seconds(seconds)}"
    if point.queue is not None and seconds > point.queue.time.max:
        return f"{needs}, and {point.queue.name} gives {format_seconds(point.queue.time.max)} at most"
    return f"{needs}, and its job has {format_seconds(limit)}; write job.time: auto"


def gib(size: float) -> str:
    return f"{size / 2**30:.1f}"


def _with_ways(rows: list[Row]) -> list[Row]:
    """Rows that cannot run, with the nearest layout that can: of the same nodes where memory is short, else of the study."""
    found, searched = [], 0
    running: dict[tuple[Any, ...], dict[int, Row]] = {}
    for row in rows:
        if row.runs:
            running.setdefault(_contest(row.point), {}).setdefault(row.point.nodes, row)
    for row in rows:
        way = ""
        if row.out_of_memory and searched < MOST_WAYS:
            searched += 1
            way = _nearest_layout(row.point)
        if row.problem and not way and "job.time: auto" not in row.problem:
            way = _nearest_row(row, running.get(_contest(row.point), {}))
        found.append(replace(row, way=way) if way else row)
    return found


def _nearest_layout(point: Point) -> str:
    # until hpcscale/cost/nearest.py is merged
    if importlib.util.find_spec("hpcscale.cost.nearest") is None:
        return ""
    found = importlib.import_module("hpcscale.cost.nearest").nearest(point)
    return "" if found is None else str(found[1])


def _nearest_row(row: Row, running: dict[int, Row]) -> str:
    """Of those that do the same work and run, by their nodes: the one with the most similar number."""
    if not running:
        return ""
    best = min(running, key=lambda nodes: abs(math.log(nodes / row.point.nodes)))
    return f"{running[best].point.identity} would run"


def _contest(point: Point) -> tuple[Any, ...]:
    """Rows that do the same work on the same machine: only these can be compared."""
    return point.machine.name, point.model.name, point.training.sequence_length


def _marked(rows: list[Row]) -> list[Row]:
    """The fastest and the cheapest per token of each contest that has more than one row."""
    contests: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row.runs:
            contests.setdefault(_contest(row.point), []).append(row)
    fastest, cheapest = set(), set()
    for group in contests.values():
        if len(group) > 1:
            fastest.add(id(max(group, key=lambda row: row.tokens_per_second or 0)))
            cheapest.add(id(max(group, key=lambda row: (row.tokens_per_second or 0) / row.point.nodes)))
    return [
        replace(row, fastest=id(row) in fastest, cheapest=id(row) in cheapest) if id(row) in fastest | cheapest else row
        for row in rows
    ]


def _totals(rows: Sequence[Row]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for row in rows:
        if row.node_hours is not None:
            spent = 0.0 if row.out_of_memory else row.node_hours
            totals[row.point.machine.name] = totals.get(row.point.machine.name, 0.0) + spent
    return totals
