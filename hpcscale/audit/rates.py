"""Throughput in all its forms: what each printed figure says of it, and whether they agree.

Each printed figure gives an estimate of one of four rates: tokens per second (T) or
of one device (Q), FLOP/s (A) or of one device (X). T = Q D and A = X D with D devices; A = T F and X = Q F with F FLOPs per
token. Estimates that these join must agree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hpcscale.audit.facts import Fact, Row
from hpcscale.audit.world import World, batch_of, devices_of, hardware_of, peak_of, sequence_of, work_of

SLACK = 1.1  # of what the digits allow: digits of a digit
FLOOR = 4e-4  # below it nobody is misled, and tools that print many digits do not carry all of them along


@dataclass(frozen=True)
class Check:
    """One relation in one row. ``error`` and ``tolerance`` are relative; ``part`` is the kind of relation."""

    part: str
    quantity: str
    printed: float
    expected: float
    error: float
    tolerance: float
    source: str
    way: bool = False  # whether FLOPs per token entered
    digits: float = 0.0  # the tolerance that the printed digits alone leave

    @property
    def holds(self) -> bool:
        return abs(self.error) <= self.tolerance


@dataclass(frozen=True)
class Estimate:
    """A rate that a printed quantity says: ``node`` is T, Q, X or A; ``log`` its logarithm, SI units."""

    quantity: str
    node: str
    log: float
    tolerance: float
    uses_work: bool = False


def estimates(row: Row, world: World) -> list[Estimate]:
    """What each printed figure says of the row's throughput, joined as far as devices and work per token are known."""
    sequence, batch, devices = sequence_of(row, world), batch_of(row, world), devices_of(row, world)
    tokens = sequence or 1.0
    peak, hardware = peak_of(row, world), hardware_of(row, world)
    found: list[Estimate] = []

    def add(quantity: str, node: str, factor: float | None, by: Fact | None = None, inverse: bool = False) -> None:
        fact = row.facts.get(quantity)
        if fact is None or not factor or fact.value <= 0:
            return
        value = factor / fact.value if inverse else fact.value * factor
        if value > 0 and math.isfinite(value):
            found.append(Estimate(quantity, node, math.log(value), fact.tolerance + (by.tolerance if by else 0.0)))

    add("step_seconds", "T" if batch else "I", batch.value * tokens if batch else 1.0, batch, inverse=True)
    add("steps_per_second", "T" if batch else "I", batch.value * tokens if batch else 1.0, batch)
    add("samples_per_second", "T", tokens)
    add("samples_per_second_per_device", "Q", tokens)
    if sequence or not ({"samples_per_second", "samples_per_second_per_device"} & set(row.facts) or batch):
        add("tokens_per_second", "T", 1.0)
        add("tokens_per_second_per_device", "Q", 1.0)
        add("tokens_per_second_per_node", "T", row.value("nodes"))
    add("tflops_per_device", "X", 1e12)
    add("hardware_tflops_per_device", "X", 1e12 / hardware if hardware else None)
    add("aggregate_pflops", "A", 1e15 * world.aggregate_factor)
    add("mfu", "X", peak * 1e12 if peak else None)
    add("hfu", "X", peak * 1e12 / hardware if peak and hardware else None)
    return [_joined(each, devices, work_of(row, world)) for each in found]


def _joined(each: Estimate, devices: Fact | None, flops: float | None) -> Estimate:
    """The estimate as tokens/s of a device where that is known, else as near to it as devices and work lead."""
    if flops and each.node in ("X", "A"):
        each = replace(each, node={"X": "Q", "A": "T"}[each.node], log=each.log - math.log(flops), uses_work=True)
    if devices and devices.value > 0 and each.node in ("T", "A"):
        each = replace(each, node={"T": "Q", "A": "X"}[each.node], log=each.log - math.log(devices.value))
    return each


# The figure that the others are recomputed from: what is measured, before what is derived.
_ORDER = (
    "tokens_per_second", "tokens_per_second_per_device", "tokens_per_second_per_node", "step_seconds",
    "samples_per_second", "samples_per_second_per_device", "steps_per_second", "tflops_per_device", "mfu",
    "hardware_tflops_per_device", "hfu", "aggregate_pflops",
)  # fmt: skip


def reference(found: Sequence[Estimate]) -> Estimate:
    """The sharpest estimate; one that needs no FLOPs before one that does."""
    return min(found, key=lambda each: (each.uses_work, max(each.tolerance, 1e-3), _ORDER.index(each.quantity)))


def rate_checks(row: Row, world: World) -> list[Check]:
    groups: dict[str, list[Estimate]] = {}
    for each in estimates(row, world):
        groups.setdefault(each.node, []).append(each)
    found = []
    for group in groups.values():
        base = reference(group)
        for each in group:
            if each is base:
                continue
            error = each.log - base.log
            inverse = each.quantity == "step_seconds"
            printed = row.facts[each.quantity].value
            expected = printed * math.exp(max(-300.0, min(300.0, error if inverse else -error)))
            digits = each.tolerance + base.tolerance
            tolerance = max(SLACK * digits + FLOOR, world.noise.get(each.quantity, 0.0))
            joins = each.uses_work or base.uses_work
            found.append(
                Check("rate", each.quantity, printed, expected, error, tolerance, base.quantity, joins, digits)
            )
    return found
