"""What stands in one proportion in most rows: devices to nodes and layout, global batch to micro batches."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from hpcscale.audit import rates
from hpcscale.audit import world as of
from hpcscale.audit.facts import STATED, Row
from hpcscale.audit.world import World


def _most(values: Iterable[float], share: float, usual: float | None = 1.0, usual_share: float = 0.4) -> float | None:
    """The value that most have; ``usual`` already where fewer do."""
    counted = Counter(round(value, 6) for value in values)
    total = sum(counted.values())
    if not total:
        return None
    if usual is not None and counted[usual] >= usual_share * total and counted[usual] > 0:
        return usual
    value, count = counted.most_common(1)[0]
    return value if count >= share * total else None


def with_layout(rows: Sequence[Row], world: World) -> World:
    """Devices of a node, and whether layout and batch multiply out as printed."""
    world = replace(world, devices_per_node=_per_node(rows, world))
    ratios, complete = [], True
    for row in rows:
        printed = row.facts.get("devices") or row.facts.get("nodes")
        if printed is None or printed.column == STATED or "dp" not in row.facts or row.facts["dp"].column == STATED:
            continue
        ratios.append(printed.value / math.prod(row.value(axis) or 1.0 for axis in ("dp", "tp", "pp", "cp")))
        complete = complete and {"tp", "pp"} <= set(row.facts)
    factor = _most(ratios, 0.6)
    if factor is None and ratios and complete and any("devices" in row.facts for row in rows):
        factor = 1.0
    if factor is not None and factor != 1.0 and not _whole(factor) and not (factor and _whole(1 / factor)):
        factor = 1.0 if complete else None
    if factor is not None and factor < 1 and any("devices" in row.facts for row in rows) and not _two_in_one(ratios):
        factor = 1.0 if complete else None
    world = replace(world, layout_factor=factor)
    return replace(world, batch_factor=_batch_factor(rows, world))


def _two_in_one(ratios: Sequence[float]) -> bool:
    """Whether all say that a device is two to the layout, as cards with two dies are. A layout has no more parts otherwise."""
    return len(ratios) >= 3 and set(ratios) == {0.5}


def _whole(value: float) -> bool:
    return value >= 1 and abs(value - round(value)) < 1e-6


def _batch_factor(rows: Sequence[Row], world: World) -> float | None:
    products, divisions = [], []
    for row in rows:
        total, micro, accumulation = (
            row.value(each) for each in ("global_batch_size", "micro_batch_size", "accumulation")
        )
        replicas = of.replicas_of(row, world)
        if not total or not micro or not replicas:
            continue
        if accumulation:
            products.append(total / (micro * accumulation * replicas))
        divisions.append(_whole(total / (micro * replicas)))
    if products:
        factor = _most(products, 0.6)
        axes = all({"tp", "pp"} <= set(row.facts) or "dp" in row.facts for row in rows)
        if factor is not None and (factor == 1.0 or (len(products) >= 3 and not axes and factor < 1)):
            return factor
        return 1.0 if axes or len(products) < 3 else None
    return 1.0 if divisions and sum(divisions) * 2 > len(divisions) else None


def _per_node(rows: Sequence[Row], world: World) -> float | None:
    known = world.devices_per_node or world.context.constants.get("devices_per_node")
    if known or not any("nodes" in row.facts for row in rows):
        return known
    if world.context.device == "a64fx":
        return 1.0
    bare = replace(world, devices_per_node=None, layout_factor=None)
    ratios = []
    for row in rows:
        nodes = row.value("nodes")
        by_node = {each.node: each for each in rates.estimates(row, bare)}
        for whole, one in (("T", "Q"), ("A", "X")):
            if nodes and "devices" not in row.facts and whole in by_node and one in by_node:
                ratios.append(math.exp(by_node[whole].log - by_node[one].log) / nodes)
    rounded = [float(round(each)) for each in ratios if 0.7 < each < 1e4 and abs(each / max(1, round(each)) - 1) < 0.05]
    if rounded and (found := _most(rounded, 0.5, None)):
        return found
    layouts = []
    for row in rows:
        if "nodes" in row.facts and "dp" in row.facts and {"tp", "pp"} & set(row.facts):
            each = math.prod(row.value(axis) or 1.0 for axis in ("dp", "tp", "pp", "cp")) / (row.value("nodes") or 1.0)
            layouts.append(each)
    found = _most(layouts, 0.4, 1.0, 0.3)
    return found if found and _whole(found) else None
