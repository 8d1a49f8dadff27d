"""The changes worth trying for what fails in a row: figures in another unit, counted otherwise, of another peak, rounded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from hpcscale.audit.columns import FLOPS, MEASURED
from hpcscale.audit.configurations import batches, layouts, shapes
from hpcscale.audit.edit import Edit, replaced, scaled
from hpcscale.audit.facts import STATED, Fact, Row
from hpcscale.audit.rates import Check
from hpcscale.audit.ways import WAYS, differences
from hpcscale.audit.world import World, checkpointing, device_name, precision_of, work_of
from hpcscale.spec import device

_DECIMAL = (1e-3, 1e3, 1e-6, 1e6, 1e-9, 1e9)
_TIME = (1e-3, 1e3, 1e-6, 60.0, 1 / 60, 3600.0, 1 / 3600)
UNITS: dict[str, tuple[float, ...]] = {
    "step_seconds": _TIME, "mfu": (100.0, 0.01), "hfu": (100.0, 0.01), "efficiency": (100.0, 0.01),
    "tflops_per_device": (*_DECIMAL, 100.0, 0.01, 10.0, 0.1), "aggregate_pflops": (*_DECIMAL, 100.0, 0.01),
    "steps_per_second": (1e-3, 1e3, 1 / 60, 1 / 3600), "node_hours": (60.0, 1 / 60, 24.0, 1 / 24), "device_hours": (60.0, 1 / 60),
}  # fmt: skip
_KILO = tuple(1.024**power for power in (1, -1, 2, -2, 3, -3))
_KILO_QUANTITIES = frozenset({
    "aggregate_pflops", "tokens_per_second", "tokens_per_second_per_device", "tokens_per_step", "parameters", "tflops_per_device",
})  # fmt: skip


def candidates(row: Row, world: World, failing: Sequence[Check], peers: Sequence[Row]) -> Iterator[Edit]:
    """Every change worth trying for what fails. The caller tries them by cost."""
    parts = {check.part for check in failing}
    if "shape" in parts:
        parts |= {"parameters"}
    involved = {check.quantity for check in failing} | {check.source for check in failing if check.part == "rate"}
    if parts & {"layout", "batch", "rate", "stated"}:
        yield from layouts(row, world, failing, peers)
        yield from batches(row, world, failing, peers)
    for check in failing:  # more than the peak: another peak, were it even the catalogue's next
        for factor in (2.0, 0.5, 0.25) if check.part == "limit" else ():
            yield scaled("peak", 0.9, row, world, check.quantity, factor)
    if parts & {"rate", "scaling", "parameters"}:
        errors = [abs(check.error) for check in failing]
        yield from _factors(row, world, involved, errors)
        yield from _roundings(row, world, failing, peers)
    if parts & {"rate", "scaling"} and set(FLOPS) & set(row.facts):
        yield from _works(row, world)
    if parts & {"rate", "parameters"}:
        yield from shapes(row, world, peers)


def _factors(row: Row, world: World, involved: set[str], errors: Sequence[float]) -> Iterator[Edit]:
    """One figure by a factor that has a name."""
    for quantity in involved:
        fact = row.facts.get(quantity)
        if fact is None or fact.column == STATED or (quantity not in MEASURED and quantity != "parameters"):
            continue
        for factor in UNITS.get(quantity, _DECIMAL):
            yield scaled(
                "unit", 1.0 + (0.05 if factor in (100.0, 0.01, 10.0, 0.1) else 0.0), row, world, quantity, factor
            )
        if quantity in _KILO_QUANTITIES:
            for factor in _KILO:
                if any(abs(error - abs(math.log(factor))) < 0.02 for error in errors):
                    cost = (
                        1.1
                        + (0.3 if abs(math.log(factor)) > 0.03 else 0.0)
                        + (0.15 if quantity == "tflops_per_device" else 0.0)
                    )
                    yield scaled("kilo", cost, row, world, quantity, factor)
        if quantity in FLOPS:
            for factor in (4 / 3, 3 / 4):
                yield scaled("recompute", 1.12, row, world, quantity, factor)
        if quantity in ("mfu", "hfu"):
            for factor in peak_factors(row, world):
                yield scaled("peak", 1.1 if factor in (2.0, 0.5) else 1.3, row, world, quantity, factor)


def peak_factors(row: Row, world: World) -> list[float]:
    """What a share of the peak is multiplied with if it was taken of the sparse peak, or of another precision's."""
    found = device.find(device_name(row, world) or "")
    factors = [2.0, 0.5]
    if found is not None and not found.modes:
        own = found.peak(precision_of(row, world))
        others = {peak for peak in found.peak_tflops.values() if own and peak >= own / 4}
        factors += [
            each / own for each in sorted(others) if own and abs(each / own - 1) > 0.02 and each / own not in factors
        ]
    return factors


def _works(row: Row, world: World) -> Iterator[Edit]:
    """Work per token counted otherwise, in all of a row's figures or in one."""
    for factor in (4 / 3, 3 / 4):
        yield Edit(
            ("recompute",), 1.1, row, replace(world, work_factor=factor), "work", "", f"{factor:.3g} of the work"
        )
    for factor in peak_factors(row, world):
        if {"mfu", "hfu"} <= set(row.facts):
            yield Edit(("peak",), 1.15, row, replace(world, peak_factor=1 / factor), "mfu", "", "another peak")
    mode = checkpointing(row.words.get("activation_checkpointing"))
    if mode in ("full", "none"):
        other = "none" if mode == "full" else "full"
        changed = row.saying("activation_checkpointing", other)
        yield Edit(("recompute",), 1.12, changed, world, "activation_checkpointing", mode, other)
    if world.way is None:
        return
    usual = work_of(row, world)
    for way in WAYS:
        codes = differences(world.way, way)
        if not codes:
            continue
        cost = 1.2 + 0.5 * (len(codes) - 1) + (0.15 if way.hardware != world.way.hardware else 0.0)
        cost += 0.3 if way.attention == "none" != world.way.attention else 0.0
        yield Edit(codes, cost, row, replace(world, way=way), "work", "", "", way.name)
        work = work_of(row, replace(world, way=way))
        if work and usual:
            for quantity in FLOPS:
                if quantity in row.facts and len(set(FLOPS) & set(row.facts)) > 1:
                    each = scaled(codes[0], cost + 0.1, row, world, quantity, usual / work, way.name)
                    yield replace(each, codes=codes)


def _roundings(row: Row, world: World, failing: Sequence[Check], peers: Sequence[Row]) -> Iterator[Edit]:
    """A figure that was cut off, or rounded to fewer digits than it is printed with."""
    by_quantity: dict[str, float] = {}
    for check in failing:
        by_quantity.setdefault(check.quantity, check.expected)
        if check.part == "rate" and check.source in row.facts:
            printed = row.facts[check.source].value
            error = max(-1.0, min(1.0, check.error))
            inverse = "step_seconds" in (check.source, check.quantity) and check.source == "step_seconds"
            by_quantity.setdefault(check.source, printed * math.exp(-error if inverse else error))
    for quantity, expected in by_quantity.items():
        fact = row.facts.get(quantity)
        if fact is None or fact.column == STATED or not fact.step or quantity not in MEASURED:
            continue
        difference = abs(fact.value - expected)
        ulp = _last_digit(fact, [peer.facts[quantity] for peer in peers if quantity in peer.facts])
        if difference <= 1.02 * fact.step:
            yield replace(replaced("rounding", 0.8, row, world, quantity, expected))
        elif difference <= 1.02 * ulp:
            yield replace(replaced("rounding", 0.9, row, world, quantity, expected))
        elif difference <= 0.05 * fact.value:
            yield replace(replaced("rounding", 3.0, row, world, quantity, expected))


def _last_digit(fact: Fact, peers: Sequence[Fact]) -> float:
    """One unit of the last digit that is not zero, if the column's others have more digits."""
    units = round(fact.value / fact.step)
    zeros = len(str(units)) - len(str(units).rstrip("0")) if units else 0
    most = max((len(str(round(peer.value / peer.step)).rstrip("0")) for peer in peers if peer.step), default=0)
    fewer = most - len(str(units).rstrip("0"))
    return fact.step * 10.0 ** min(zeros, max(0, fewer))
