"""Changes to what a row says it ran: layout, batch and model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from hpcscale.audit import zoo
from hpcscale.audit.edit import Edit, replaced
from hpcscale.audit.facts import STATED, Row
from hpcscale.audit.rates import Check
from hpcscale.audit.world import World, model_of


def layouts(row: Row, world: World, failing: Sequence[Check], peers: Sequence[Row]) -> Iterator[Edit]:
    """Another value of an axis, or other devices; one that the other rows have first."""
    for edit in _layouts(row, world, failing, peers):
        yield _familiar(edit, peers)


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
            if (
                fact
                and fact.column != STATED
                and abs(fact.value * ratio - round(fact.value * ratio)) < 1e-6
                and fact.value * ratio >= 1
            ):
                yield replaced("layout", cost, row, world, axis, float(round(fact.value * ratio)))
        for axis in ("tp", "pp", "cp", "dp"):
            seen = {peer.facts[axis].value for peer in peers if axis in row.facts and axis in peer.facts}
            for value in sorted(seen - {row.value(axis)}):
                yield replaced("layout", 1.15, row, world, axis, value)
        yield replaced("layout", 1.05, row, world, check.quantity, check.expected)
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
                yield replaced("layout", 1.1 if apart else 1.9, row, world, quantity, whole)


def batches(row: Row, world: World, failing: Sequence[Check], peers: Sequence[Row]) -> Iterator[Edit]:
    for check in failing:
        if check.part == "stated" and check.quantity in row.facts:
            yield replaced("batch", 1.0, row, world, check.quantity, check.expected)
        if check.part == "batch":
            ratio = check.printed / check.expected
            yield replaced("batch", 1.0, row, world, check.quantity, check.expected)
            if check.quantity == "global_batch_size" and row.value("accumulation") is None:
                micro = row.value("micro_batch_size") or 1.0
                power = 2.0 ** round(math.log2(check.printed))
                if power % micro == 0:
                    yield replaced(
                        "batch",
                        0.8,
                        row,
                        replace(world, stated_batch=world.stated_batch and power),
                        check.quantity,
                        power,
                    )
            for quantity, cost in (("micro_batch_size", 1.02), ("accumulation", 1.01)):
                fact = row.facts.get(quantity)
                if (
                    check.quantity == "global_batch_size"
                    and fact
                    and fact.column != STATED
                    and fact.value * ratio >= 0.5
                ):
                    yield replaced("batch", cost, row, world, quantity, max(1.0, float(round(fact.value * ratio))))
            if check.quantity == "tokens_per_step" and "sequence_length" in row.facts:
                yield replaced("batch", 1.1, row, world, "sequence_length", row.facts["sequence_length"].value * ratio)
            if check.quantity == "tokens_per_step":
                yield replaced(
                    "batch", 1.02, row, world, "global_batch_size", row.facts["global_batch_size"].value * ratio
                )
    total = row.facts.get("global_batch_size")
    if total is None or total.column == STATED:
        return
    for value in sorted({peer.facts["global_batch_size"].value for peer in peers if "global_batch_size" in peer.facts}):
        if value != total.value and _usual_batch(row, value, peers):
            yield replaced("batch", 0.95, row, world, "global_batch_size", value)
    multiple = (row.value("micro_batch_size") or 1.0) * (row.value("dp") or 1.0)
    for check in failing:
        if check.part == "rate" and {"step_seconds", "steps_per_second"} & {check.quantity, check.source}:
            for sign in (1, -1):
                value = total.value * math.exp(max(-20.0, min(20.0, sign * check.error)))
                whole = max(1.0, round(value / multiple)) * multiple
                if abs(value / whole - 1) <= max(0.004, check.tolerance):
                    yield replaced(
                        "batch", 1.0 if _usual_batch(row, whole, peers) else 1.8, row, world, "global_batch_size", whole
                    )


def _usual_batch(row: Row, value: float, peers: Sequence[Row]) -> bool:
    """Whether most rows have this batch, or as much of it per device."""
    sizes = [(peer.value("global_batch_size"), peer.value("devices") or peer.value("nodes")) for peer in peers]
    count = row.value("devices") or row.value("nodes")
    same = sum(size == value for size, _ in sizes)
    each = sum(
        bool(size and devices and count and abs(size / devices * count / value - 1) < 1e-6) for size, devices in sizes
    )
    return max(same, each) * 2 > len(sizes)


def shapes(row: Row, world: World, peers: Sequence[Row]) -> Iterator[Edit]:
    """Another model than the stated one: of the same table, the same family, or any published one."""
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
            yield replaced("shape", 1.5, row, world, quantity, value)
        if quantity in ("layers", "hidden"):
            unit = 1 if quantity == "layers" else 128
            for times in range(1, 161):
                yield replaced("shape", 1.85, row, world, quantity, float(times * unit))
    model = model_of(row, world)
    if model is None:
        return
    family = zoo.family_of(model.name)
    for name, other in zoo.models().items():
        if name != model.name and world.way is not None and not world.way.short:
            yield Edit(
                ("shape",),
                1.6 if zoo.family_of(name) == family else 1.75,
                row,
                replace(world, model=other),
                "model",
                model.name,
                name,
            )
