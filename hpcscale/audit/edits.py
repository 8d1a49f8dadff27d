"""Single changes to a row, each with the cause that it would be and what it costs to believe in it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from hpcscale.audit import zoo
from hpcscale.audit.columns import FLOPS, MEASURED
from hpcscale.audit.facts import STATED, Fact, Row
from hpcscale.audit.rates import Check
from hpcscale.audit.ways import WAYS, differences
from hpcscale.audit.world import World, checkpointing, device_name, model_of, precision_of, work_of
from hpcscale.spec import device

# code -> the cause in words; {name} is the column's name, {was} what is printed, {now} what it would be.
SENTENCES = {
    "unit": "{name} is {was}, which is in another unit than the name says: {now} would follow",
    "layout": "{name} is {was}; {now} would follow, since dp x tp x pp x cp is the number of devices",
    "recompute": "{name} is {was}; {now} would follow if recomputed work were counted as in the other rows",
    "embedding": "{name} is {was}; {now} would follow if embeddings were counted as in the other rows ({way})",
    "causal": "{name} is {was}; {now} would follow if masked attention were counted as in the other rows ({way})",
    "peak": "{name} is {was}; {now} would follow from the dense peak of this precision",
    "kilo": "{name} is {was}; {now} would follow with 1000 for 1024 or the other way round",
    "shape": "{name} is {was}; the figures are those of {now}",
    "columns": "the cells do not stand under their names: {now}",
    "batch": "{name} is {was}; {now} would follow",
    "rounding": "{name} is {was}; {now} follows, which its printed digits do not allow",
}

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


@dataclass(frozen=True)
class Edit:
    """A row and a world in which the row would be right; ``quantity`` is what would change, from and to."""

    codes: tuple[str, ...]
    cost: float
    row: Row
    world: World
    quantity: str
    was: str
    now: str
    way: str = ""


def number(value: float) -> str:
    """A number for a sentence: whole ones whole, others to five digits."""
    return f"{value:,.0f}" if abs(value) >= 1e5 or float(value).is_integer() else f"{value:.5g}"


def _scaled(code: str, cost: float, row: Row, world: World, quantity: str, factor: float, way: str = "") -> Edit:
    value = row.facts[quantity].value
    return Edit((code,), cost, row.scaled(quantity, factor), world, quantity, number(value), number(value * factor), way)


def _set(code: str, cost: float, row: Row, world: World, quantity: str, value: float) -> Edit:
    fact = row.facts[quantity]
    return Edit((code,), cost, row.having(quantity, Fact(value, 0.0, fact.column, fact.step)), world, quantity, number(fact.value), number(value))


def candidates(row: Row, world: World, failing: Sequence[Check], peers: Sequence[Row]) -> Iterator[Edit]:
    """Every change worth trying for what fails. The caller tries them by cost."""
    parts = {check.part for check in failing}
    if "shape" in parts:
        parts |= {"parameters"}
    involved = {check.quantity for check in failing} | {check.source for check in failing if check.part == "rate"}
    if parts & {"layout", "batch", "rate", "stated"}:
        for edit in _layouts(row, world, failing, peers):
            yield _familiar(edit, peers)
        yield from _batches(row, world, failing)
    if parts & {"rate", "scaling", "parameters"}:
        errors = [abs(check.error) for check in failing]
        yield from _factors(row, world, involved, errors)
        yield from _roundings(row, world, failing, peers)
    if parts & {"rate", "scaling"} and set(FLOPS) & set(row.facts):
        yield from _works(row, world)
    if parts & {"rate", "parameters"}:
        yield from _shapes(row, world, peers)


def _factors(row: Row, world: World, involved: set[str], errors: Sequence[float]) -> Iterator[Edit]:
    """One figure by a factor that has a name."""
    for quantity in involved:
        fact = row.facts.get(quantity)
        if fact is None or fact.column == STATED or (quantity not in MEASURED and quantity != "parameters"):
            continue
        for factor in UNITS.get(quantity, _DECIMAL):
            yield _scaled("unit", 1.0 + (0.05 if factor in (100.0, 0.01, 10.0, 0.1) else 0.0), row, world, quantity, factor)
        if quantity in _KILO_QUANTITIES:
            for factor in _KILO:
                if any(abs(error - abs(math.log(factor))) < 0.02 for error in errors):
                    cost = 1.1 + (0.3 if abs(math.log(factor)) > 0.03 else 0.0) + (0.15 if quantity == "tflops_per_device" else 0.0)
                    yield _scaled("kilo", cost, row, world, quantity, factor)
        if quantity in FLOPS:
            for factor in (4 / 3, 3 / 4):
                yield _scaled("recompute", 1.12, row, world, quantity, factor)
        if quantity in ("mfu", "hfu"):
            for factor in peak_factors(row, world):
                yield _scaled("peak", 1.1 if factor in (2.0, 0.5) else 1.3, row, world, quantity, factor)


def peak_factors(row: Row, world: World) -> list[float]:
    """What a share of the peak is multiplied with if it was taken of the sparse peak, or of another precision's."""
    found = device.find(device_name(row, world) or "")
    factors = [2.0, 0.5]
    if found is not None and not found.modes:
        own = found.peak(precision_of(row, world))
        others = {peak for peak in found.peak_tflops.values() if own and peak >= own / 4}
        factors += [each / own for each in sorted(others) if own and abs(each / own - 1) > 0.02 and each / own not in factors]
    return factors


def _works(row: Row, world: World) -> Iterator[Edit]:
    """Work per token counted otherwise, in all of a row's figures or in one."""
    for factor in (4 / 3, 3 / 4):
        yield Edit(("recompute",), 1.1, row, replace(world, work_factor=factor), "work", "", f"{factor:.3g} of the work")
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
                    each = _scaled(codes[0], cost + 0.1, row, world, quantity, usual / work, way.name)
                    yield replace(each, codes=codes)


def _familiar(edit: Edit, peers: Sequence[Row]) -> Edit:
    """A value that most other rows have is likelier than one that none has."""
    value = edit.row.value(edit.quantity)
    same = sum(peer.value(edit.quantity) == value for peer in peers)
    return replace(edit, cost=edit.cost - 0.1) if same * 2 > len(peers) else edit


def _layouts(row: Row, world: World, failing: Sequence[Check], peers: Sequence[Row]) -> Iterator[Edit]:
    for check in failing:
        if check.part != "layout":
            continue
        ratio = check.printed / check.expected
        for axis, cost in (("dp", 1.0), ("tp", 1.06), ("pp", 1.07), ("cp", 1.08)):
            fact = row.facts.get(axis)
            if fact and fact.column != STATED and abs(fact.value * ratio - round(fact.value * ratio)) < 1e-6 and fact.value * ratio >= 1:
                yield _set("layout", cost, row, world, axis, float(round(fact.value * ratio)))
        for axis in ("tp", "pp", "cp", "dp"):
            seen = {peer.facts[axis].value for peer in peers if axis in row.facts and axis in peer.facts}
            for value in sorted(seen - {row.value(axis)}):
                yield _set("layout", 1.15, row, world, axis, value)
        yield _set("layout", 1.05, row, world, check.quantity, check.expected)
    # tokens/s over tokens/s of a device says how many devices there were
    quantity = "devices" if "devices" in row.facts else "nodes"
    fact = row.facts.get(quantity)
    if fact is None or fact.column == STATED or {"dp", "tp", "pp"} <= set(row.facts):
        return
    apart = any(check.part == "layout" for check in failing)
    multiple = (row.value("tp") or 1.0) * (row.value("pp") or 1.0) if quantity == "devices" else 1.0
    for check in failing:
        for sign in (1, -1) if check.part == "rate" else ():
            value = fact.value * math.exp(max(-20.0, min(20.0, sign * check.error)))
            whole = max(1.0, round(value / multiple)) * multiple
            if value >= 0.9 and abs(value / whole - 1) < 0.01:
                yield _set("layout", 1.1 if apart else 1.9, row, world, quantity, whole)


def _batches(row: Row, world: World, failing: Sequence[Check]) -> Iterator[Edit]:
    for check in failing:
        if check.part == "stated" and check.quantity in row.facts:
            yield _set("batch", 1.0, row, world, check.quantity, check.expected)
        if check.part == "batch":
            ratio = check.printed / check.expected
            yield _set("batch", 1.0, row, world, check.quantity, check.expected)
            if check.quantity == "global_batch_size" and row.value("accumulation") is None:
                micro = row.value("micro_batch_size") or 1.0
                power = 2.0 ** round(math.log2(check.printed))
                if power % micro == 0:
                    yield _set("batch", 0.8, row, replace(world, stated_batch=world.stated_batch and power), check.quantity, power)
            for quantity, cost in (("micro_batch_size", 1.02), ("accumulation", 1.01)):
                fact = row.facts.get(quantity)
                if check.quantity == "global_batch_size" and fact and fact.column != STATED and fact.value * ratio >= 0.5:
                    yield _set("batch", cost, row, world, quantity, max(1.0, float(round(fact.value * ratio))))
            if check.quantity == "tokens_per_step" and "sequence_length" in row.facts:
                yield _set("batch", 1.1, row, world, "sequence_length", row.facts["sequence_length"].value * ratio)
            if check.quantity == "tokens_per_step":
                yield _set("batch", 1.02, row, world, "global_batch_size", row.facts["global_batch_size"].value * ratio)
    total = row.facts.get("global_batch_size")
    if total is None or total.column == STATED:
        return
    multiple = (row.value("micro_batch_size") or 1.0) * (row.value("dp") or 1.0)
    for check in failing:
        if check.part == "rate" and {"step_seconds", "steps_per_second"} & {check.quantity, check.source}:
            for sign in (1, -1):
                value = total.value * math.exp(max(-20.0, min(20.0, sign * check.error)))
                whole = max(1.0, round(value / multiple)) * multiple
                if abs(value / whole - 1) <= max(0.004, check.tolerance):
                    yield _set("batch", 1.8, row, world, "global_batch_size", whole)


def _shapes(row: Row, world: World, peers: Sequence[Row]) -> Iterator[Edit]:
    """Another model than the stated one: of the same table, the same family, or any published one."""
    model = model_of(row, world)
    if model is None:
        return
    labels = {peer.words.get("model", "") for peer in peers} - {row.words.get("model", "")}
    for label in sorted(labels):
        if label and row.words.get("model"):
            yield Edit(("shape",), 1.5, row.saying("model", label), world, "model", row.words["model"], label)
    for quantity in ("layers", "hidden", "heads", "ffn", "vocab", "kv_heads"):
        fact = row.facts.get(quantity)
        if fact is None or fact.column == STATED:
            continue
        seen = {peer.facts[quantity].value for peer in peers if quantity in peer.facts} - {fact.value}
        for value in sorted(seen):
            yield _set("shape", 1.5, row, world, quantity, value)
        if quantity in ("layers", "hidden"):
            unit = 1 if quantity == "layers" else 128
            for times in range(1, 161):
                yield _set("shape", 1.85, row, world, quantity, float(times * unit))
    family = zoo.family_of(model.name)
    for name, other in zoo.models().items():
        if name != model.name and world.way is not None and not world.way.short:
            yield Edit(("shape",), 1.6 if zoo.family_of(name) == family else 1.75, row, replace(world, model=other), "model", model.name, name)


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
            yield replace(_set("rounding", 0.8, row, world, quantity, expected))
        elif difference <= 1.02 * ulp:
            yield replace(_set("rounding", 0.9, row, world, quantity, expected))
        elif difference <= 0.05 * fact.value:
            yield replace(_set("rounding", 3.0, row, world, quantity, expected))


def _last_digit(fact: Fact, peers: Sequence[Fact]) -> float:
    """One unit of the last digit that is not zero, if the column's others have more digits."""
    units = round(fact.value / fact.step)
    zeros = len(str(units)) - len(str(units).rstrip("0")) if units else 0
    most = max((len(str(round(peer.value / peer.step)).rstrip("0")) for peer in peers if peer.step), default=0)
    fewer = most - len(str(units).rstrip("0"))
    return fact.step * 10.0 ** min(zeros, max(0, fewer))
