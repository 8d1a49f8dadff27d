"""What follows from what in one row: each relation that its facts allow, with the error that the printed digits leave."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from hpcscale.audit.facts import STATED, Row
from hpcscale.audit.rates import SLACK, Check, estimates, rate_checks, reference
from hpcscale.audit.ways import parameter_counts
from hpcscale.audit.world import World, batch_of, devices_of, group_of, layout_of, model_of, replicas_of, sequence_of


def layout_checks(row: Row, world: World) -> list[Check]:
    """dp tp pp cp is the number of devices; where an axis is not printed, the others divide it."""
    printed = row.facts.get("devices") or row.facts.get("nodes")
    axes = [axis for axis in ("dp", "tp", "pp", "cp") if axis in row.facts and row.facts[axis].column != STATED]
    quantity = "devices" if "devices" in row.facts else "nodes"
    if printed is None or printed.column == STATED or not axes:
        return []
    product = layout_of(row)
    if "dp" in axes and world.layout_factor:
        expected = product * world.layout_factor
        return [_exact("layout", quantity, printed.value, expected, "layout")]
    if "dp" not in axes and quantity == "devices":
        left = printed.value / product
        if abs(left - round(left)) > 1e-6 or left < 1:
            return [_exact("layout", quantity, printed.value, max(1.0, round(left)) * product, "layout")]
        return [_exact("layout", quantity, printed.value, printed.value, "layout")]
    if quantity == "devices" and printed.value <= product:  # more is wrong whatever the axes are that are not printed
        return [_exact("layout", quantity, printed.value, product, "layout")]
    return []


def _exact(part: str, quantity: str, printed: float, expected: float, source: str, tolerance: float = 1e-6) -> Check:
    return Check(part, quantity, printed, expected, math.log(printed / expected), tolerance, source)


def batch_checks(row: Row, world: World) -> list[Check]:
    """GBS = MBS x accumulation x dp; without the accumulation, MBS x dp divides GBS. Tokens of a step = GBS x length."""
    found = []
    total, micro, accumulation = (
        row.facts.get("global_batch_size"),
        row.value("micro_batch_size"),
        row.value("accumulation"),
    )
    sequence, step = sequence_of(row, world), row.facts.get("tokens_per_step")
    replicas = replicas_of(row, world)
    if total and step and sequence:
        exact = total.value * sequence
        tolerance = SLACK * (step.tolerance + total.tolerance)
        expected = exact
        if step.step >= 1e5:  # "4M tokens" may be millions of either kind
            expected = min((exact, exact / 1.024, exact / 1.024**2), key=lambda each: abs(math.log(step.value / each)))
        found.append(
            _exact("batch", "tokens_per_step", step.value, expected, "global_batch_size", max(tolerance, 1e-6))
        )
        if step.tolerance < 1e-3 and total.column != STATED:
            found[-1] = replace(found[-1], tolerance=1e-6 if step.step <= 1 else found[-1].tolerance)
    if total is None or not micro or total.value < 1:
        return found
    if accumulation and replicas and world.batch_factor:
        expected = micro * accumulation * replicas * world.batch_factor
        found.append(_exact("batch", "global_batch_size", total.value, expected, "micro_batch_size"))
    elif not accumulation:
        known = replicas is not None and ("dp" in row.facts or world.batch_factor is not None)
        each = micro * (replicas if known and replicas else 1.0)
        ratio = total.value / each
        whole = ratio >= 1 and abs(ratio - round(ratio)) < 1e-6
        expected = total.value if whole else max(1.0, round(ratio)) * each
        found.append(_exact("batch", "global_batch_size", total.value, expected, "micro_batch_size"))
    return found


def stated_checks(row: Row, world: World) -> list[Check]:
    """What the text says of every row, where the table has a column for it too."""
    said, printed = world.stated_batch, row.facts.get("global_batch_size")
    if not said or printed is None or printed.column == STATED:
        return []
    return [_exact("stated", "global_batch_size", printed.value, said, "text")]


def parameter_checks(row: Row, world: World) -> list[Check]:
    printed, model = row.facts.get("parameters"), model_of(row, world)
    sequence = sequence_of(row, world) or 2048
    if printed is None or printed.column == STATED or model is None or sequence > 2**24:
        return []
    stated = "layers" in row.facts or "layers" in world.context.shape
    counts = parameter_counts(model, int(sequence))  # pyright: ignore[reportArgumentType]
    # a count that no variant of the model has, be it with or without its embeddings
    expected = min(counts, key=lambda each: abs(math.log(printed.value / each)))
    tolerance = SLACK * printed.tolerance + 3e-3  # vocabularies are padded in many ways, biases are easily forgotten
    if printed.tolerance > 3e-3:
        tolerance = max(tolerance, 0.04 if stated else 0.12)  # a name more than a count: 7B has 6.7
    return [
        Check(
            "parameters", "parameters", printed.value, expected, math.log(printed.value / expected), tolerance, "model"
        )
    ]


def shape_checks(row: Row, world: World) -> list[Check]:
    """Heads divide the hidden size."""
    hidden, heads = row.facts.get("hidden"), row.facts.get("heads")
    if hidden is None or heads is None or heads.value < 1 or STATED in (hidden.column, heads.column):
        return []
    expected = max(1.0, round(hidden.value / heads.value)) * heads.value
    return [_exact("shape", "hidden", hidden.value, expected, "heads")]


def limit_checks(row: Row) -> list[Check]:
    """No device does more than its peak."""
    found = []
    for quantity in ("mfu", "hfu"):
        fact = row.facts.get(quantity)
        if fact and fact.value > 1.0 + fact.tolerance and fact.column != STATED:
            found.append(Check("limit", quantity, fact.value, 1.0, math.log(fact.value), 1e-6, "peak"))
    return found


def constant_checks(row: Row, world: World) -> list[Check]:
    """Speedup, efficiency, hours: what follows from throughput up to a constant that most rows of a model share."""
    found = []
    group = group_of(row, world) if world.constants else ()
    for quantity, prediction in PREDICTIONS.items():
        constant, printed = (
            world.constants.get((quantity, () if quantity.startswith("training_days") else group)),
            row.facts.get(quantity.partition(":")[0]),
        )
        value = prediction(row, world) if constant and printed else None
        if constant and printed and value:
            expected = constant * value[0]
            error = math.log(printed.value / expected)
            tolerance = SLACK * (printed.tolerance + value[1]) + world.noise.get(quantity, 0.0) + 1e-3
            found.append(
                Check("scaling", printed_name(quantity), printed.value, expected, error, tolerance, "throughput")
            )
    return found


def printed_name(quantity: str) -> str:
    return quantity.partition(":")[0]


def _throughput(row: Row, world: World) -> tuple[float, float, float] | None:
    """(units of work per second of the job, tolerance, devices) by the sharpest estimate."""
    count = devices_of(row, world) or row.facts.get("nodes")
    found = estimates(row, world)
    # steps of an unknown batch tell least: only where there is nothing else
    by_node = {node: [each for each in found if each.node == node] for node in ("Q", "T", "X", "I")}
    group = next((each for each in by_node.values() if each), None)
    if group is None or count is None:
        return None
    base = reference(group)
    per_device = base.node in ("Q", "X")
    return math.exp(base.log) * (count.value if per_device else 1.0), base.tolerance, count.value


def _total(row: Row, world: World) -> tuple[float, float] | None:
    found = _throughput(row, world)
    return (found[0], found[1]) if found else None


def _each(row: Row, world: World) -> tuple[float, float] | None:
    found = _throughput(row, world)
    return (found[0] / found[2], found[1]) if found else None


def _hours(row: Row, world: World) -> tuple[float, float] | None:
    found = _throughput(row, world)
    return (found[2] / found[0], found[1]) if found else None


def _inverse_time(row: Row, world: World) -> tuple[float, float] | None:
    fact = row.facts.get("step_seconds")
    return (1 / fact.value, fact.tolerance) if fact else None


def _device_days(row: Row, world: World) -> tuple[float, float] | None:
    """Of as many devices in every row, whatever the row itself used."""
    found = _throughput(row, world)
    return (found[2] / found[0], found[1]) if found else None


def _days(row: Row, world: World) -> tuple[float, float] | None:
    found = _throughput(row, world)
    return (1 / found[0], found[1]) if found else None


def _same_batch(row: Row, world: World) -> tuple[float, float] | None:
    """A step's time, where all rows have a batch that no column tells: inverse to the throughput."""
    return _days(row, world) if batch_of(row, world) is None else None


def _growing_batch(row: Row, world: World) -> tuple[float, float] | None:
    """The same, where the batch grows with the devices."""
    return _hours(row, world) if batch_of(row, world) is None else None


def _step_hours(row: Row, world: World) -> tuple[float, float] | None:
    fact, count = row.facts.get("step_seconds"), devices_of(row, world) or row.facts.get("nodes")
    return (fact.value * count.value, fact.tolerance) if fact and count else None


# What each is proportional to. Some have two usual definitions (`:` parts their names): the one that most rows follow counts.
PREDICTIONS: Mapping[str, Callable[[Row, World], tuple[float, float] | None]] = {
    "speedup": _total, "speedup:time": _inverse_time, "efficiency": _each, "efficiency:time": _inverse_time,
    "node_hours": _hours, "node_hours:steps": _step_hours, "device_hours": _hours, "device_hours:steps": _step_hours,
    "step_seconds:growing": _growing_batch, "step_seconds:same": _same_batch, "training_days": _days, "training_days:devices": _device_days,
}  # fmt: skip


def checks(row: Row, world: World) -> list[Check]:
    """Every relation that this row's facts allow."""
    return [
        *layout_checks(row, world), *batch_checks(row, world), *stated_checks(row, world), *rate_checks(row, world),
        *limit_checks(row),
        *shape_checks(row, world), *parameter_checks(row, world), *constant_checks(row, world),
    ]  # fmt: skip
