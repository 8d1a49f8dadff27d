"""What holds for a whole table: the way of counting, models, sizes and peaks under which most of its rows agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from hpcscale.audit import rates, relations
from hpcscale.audit import world as of
from hpcscale.audit.columns import FLOPS
from hpcscale.audit.facts import STATED, Row
from hpcscale.audit.merit import merit
from hpcscale.audit.proportions import with_layout
from hpcscale.audit.rates import Estimate
from hpcscale.audit.ways import WAYS
from hpcscale.audit.world import World
from hpcscale.spec import device

_LENGTHS = (2048.0, 4096.0, 8192.0, 1024.0, 512.0, 16384.0, 32768.0)
_NEAR = 0.004  # how far a figure may be from the way that the table is counted by: means of few runs are
_SAMPLE = 40  # rows that choosing looks at
# Dense peaks as tools round them, beside the catalogue's: torchtitan 989 and 1300, NVIDIA's datasheet 989.4 and 990.
_ROUNDED = {
    989.5: (989.5, 989.4, 989.0, 990.0),
    1307.4: (1307.4, 1300.0, 1307.0),
    191.5: (191.5, 192.0),
    312.0: (312.0,),
}


@dataclass(frozen=True)
class Fit:
    """How well a way fits: rows within the printed digits, rows near, the median error. More is better."""

    near: int
    exact: int
    error: float
    order: int
    preferred: bool = False  # the document names its tool, or other tables of it are counted this way

    @property
    def key(self) -> tuple[float, ...]:
        return (self.near, self.exact, self.preferred, -self.error, -self.order)


def settle(rows: Sequence[Row], world: World) -> World:
    """The world in which most of ``rows`` agree."""
    sample = _sampled(rows)
    world = with_layout(sample, _with_stated(rows, world))
    world = _with_work(sample, world)
    if world.context.divides_by_1024:
        divided = replace(world, aggregate_factor=1.024)
        world = max(divided, world, key=lambda each: merit(sample, each))
    world = _with_constants(sample, world)
    return _with_noise(rows, world)


def _with_stated(rows: Sequence[Row], world: World) -> World:
    """The text's global batch, where the table has one too: a study of several batches is no contradiction."""
    said = world.context.constants.get("global_batch_size")
    printed = {row.value("global_batch_size") for row in rows}
    value = next(iter(printed)) if len(printed) == 1 else None
    # 8092 beside 8096 is a misprint, 4096 beside 8096 another run
    near = bool(said and value and abs(said / value - 1) < 0.05)
    return replace(world, stated_batch=said if near else None)


def _sampled(rows: Sequence[Row]) -> Sequence[Row]:
    step = max(1, len(rows) // _SAMPLE)
    return rows[::step] if len(rows) > _SAMPLE else rows


def _bare(rows: Sequence[Row], world: World) -> list[list[Estimate]]:
    return [rates.estimates(row, world) for row in rows]


def _with_work(rows: Sequence[Row], world: World) -> World:
    """The way, family, length, checkpointing and peak that most figures of work agree with."""
    if not any(quantity in row.facts for row in rows for quantity in (*FLOPS, "hardware_tflops_per_device")):
        return replace(world, sequence_length=world.sequence_length or world.context.constants.get("sequence_length"))
    families = list(dict.fromkeys(family for row in rows for family in of.models_of(row, world)))
    lengths = [world.sequence_length] if all("sequence_length" in row.facts for row in rows) else list(_LENGTHS)
    silent = any(of.checkpointing(row.words.get("activation_checkpointing")) is None for row in rows)
    best: tuple[tuple[float, ...], World] | None = None
    for length in lengths:
        for full in (False, True) if silent else (False,):
            for peak in _peaks(rows, world):
                start = replace(world, sequence_length=length, full=full, peak=peak)
                bare = {
                    flag: _bare(rows, replace(start, way=WAYS[4] if flag else None, work_factor=0.0))
                    for flag in (False, True)
                }
                for family in [world.family] if world.model else families or [None]:
                    for order, way in enumerate(WAYS):
                        tried = replace(start, way=way, family=family)
                        tried, fit = _fitted_peak(rows, tried, bare[way.hardware], order)
                        plain = -0.01 * (_LENGTHS.index(length) if length in _LENGTHS else 0) - 0.005 * full
                        key = (fit.key[0], fit.key[1] + plain, *fit.key[2:])
                        if fit.near and (best is None or key > best[0]):
                            best = (key, tried)
    seen = sum(_comparable(found) for found in _bare(rows, world))
    if best is not None and best[0][0] * 2 >= max(1, seen):
        return best[1]
    return _with_fitted_work(rows, replace(world, sequence_length=world.sequence_length))


def _comparable(found: Sequence[Estimate]) -> int:
    """How many figures of work stand beside a throughput in one row."""
    if not any(each.quantity not in _WORK for each in found):
        return 0
    return sum(each.quantity in _WORK for each in found)


_WORK = frozenset({*FLOPS, "hardware_tflops_per_device"})


def _peaks(rows: Sequence[Row], world: World) -> list[float | None]:
    if world.peak is not None or not any({"mfu", "hfu"} & set(row.facts) for row in rows):
        return [world.peak]
    known = {peak for row in rows for peak in of.peaks_of(row, world)}
    if not known:
        return [None]
    single = len({of.peaks_of(row, world) for row in rows}) == 1
    rounded = [each for peak in sorted(known) for each in _ROUNDED.get(peak, (peak,))]
    return [None, *rounded] if single else [None]


def _fitted_peak(
    rows: Sequence[Row], world: World, bare: Sequence[Sequence[Estimate]], order: int
) -> tuple[World, Fit]:
    """The fit of one way; where no device is known, also the peak that most MFU figures then imply."""
    if world.peak is None and all(of.peak_of(row, world) is None for row in rows):
        implied = []
        for row, found in zip(rows, bare, strict=True):
            others = [each for each in found if each.quantity not in _WORK]
            flops = of.work_of(row, world)
            share = row.value("mfu")
            power = next(
                (each.log for each in found if each.quantity == "tflops_per_device" and each.node == "X"), None
            )
            if share and power is not None:
                implied.append(math.exp(power) / share / 1e12)
            elif share and flops and others and (base := rates.reference(others)).node == "Q":
                implied.append(math.exp(base.log) * flops / share / 1e12)
        if len(implied) >= 2:
            world = replace(world, peak=_named_peak(median(implied)))
            bare = _bare(
                rows, replace(world, way=WAYS[4] if world.way and world.way.hardware else None, work_factor=0.0)
            )
    return world, _fit(rows, world, bare, order)


def _named_peak(value: float) -> float:
    """A device's dense peak where one is that near, else the value itself."""
    known = {peak for each in device.catalogue().values() for peak in each.peak_tflops.values()}
    near = min(known, key=lambda peak: abs(math.log(peak / value)), default=value)
    return near if abs(near / value - 1) < 3e-3 else value


def _fit(rows: Sequence[Row], world: World, bare: Sequence[Sequence[Estimate]], order: int) -> Fit:
    near = exact = 0
    errors = []
    for row, found in zip(rows, bare, strict=True):
        flops = of.work_of(row, world)
        if not flops:
            continue
        by_node = {"Q": "X", "T": "A"}
        others = [each for each in found if each.quantity not in _WORK and each.node in by_node]
        if not others:
            continue
        base = rates.reference(others)
        for each in found:
            if each.quantity in _WORK and each.node == by_node[base.node]:
                error = abs(each.log - math.log(flops) - base.log)
                tolerance = rates.SLACK * (each.tolerance + base.tolerance)
                near += error <= max(tolerance, _NEAR)
                exact += error <= tolerance + 3e-5
                errors.append(error)
    close = [error for error in errors if error < 0.02]
    preferred = world.way is not None and world.way.name in world.preferred
    return Fit(near, exact, round(median(close), 4) if close else 9.0, order, preferred)


def _with_fitted_work(rows: Sequence[Row], world: World) -> World:
    """Where no way fits: the work per token that the rows of one model share, if they do."""
    world = replace(world, way=None)
    groups: dict[tuple[object, ...], list[float]] = {}
    for row in rows:
        found = rates.estimates(row, world)
        others = [each for each in found if each.quantity not in _WORK and each.node in ("Q", "T")]
        if not others:
            continue
        base = rates.reference(others)
        for each in found:
            if each.quantity in _WORK and each.node == {"Q": "X", "T": "A"}[base.node]:
                groups.setdefault(of.group_of(row, world), []).append(each.log - base.log)
    fitted = {}
    for group, values in groups.items():
        middle = median(values)
        if len(values) >= 3 and sum(abs(each - middle) < 0.012 for each in values) * 3 >= 2 * len(values):
            fitted[group] = math.exp(middle)
    return replace(world, fitted=fitted)


def plausible(rows: Sequence[Row], world: World) -> bool:
    """Whether fitted work is near what the known models do: within a half of it."""
    for row in rows:
        fitted = world.fitted.get(of.group_of(row, world))
        for way in (WAYS[0], WAYS[3]):
            usual = of.work_of(row, replace(world, way=way))
            if fitted and usual and not 0.6 < fitted / usual < 1.6:
                return False
    return True


def _with_constants(rows: Sequence[Row], world: World) -> World:
    """Constants of what is only proportional to throughput: the baseline of a speedup, the steps of node-hours."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(of.group_of(row, world), []).append(row)
    constants = dict(world.constants)
    groups[()] = list(rows)
    for group, members in groups.items():
        best: dict[str, tuple[int, str, float]] = {}
        for quantity in relations.PREDICTIONS:
            if quantity.startswith("training_days") != (group == ()):
                continue  # the days for so many tokens compare all models, the rest only rows of one
            found = _constant(members, world, quantity)
            name = relations.printed_name(quantity)
            if found and found[0] > best.get(name, (0, "", 0.0))[0]:
                best[name] = (found[0], quantity, found[1])
        constants.update({(quantity, group): constant for _, quantity, constant in best.values()})
    return replace(world, constants=constants)


def _constant(rows: Sequence[Row], world: World, quantity: str) -> tuple[int, float] | None:
    """(rows that it holds for, the constant), if that is most of three or more."""
    ratios = []
    for row in rows:
        printed = row.facts.get(relations.printed_name(quantity))
        value = relations.PREDICTIONS[quantity](row, world)
        if printed and printed.column != STATED and value:
            ratios.append((math.log(printed.value / value[0]), rates.SLACK * (printed.tolerance + value[1])))
    if len(ratios) < 3:
        return None
    middle = median(each for each, _ in ratios)
    holding = sum(abs(each - middle) <= tolerance + 5e-3 for each, tolerance in ratios)
    # nothing names the batch that step times are compared by, so more of them must agree
    share = 0.75 if quantity.startswith("step_seconds") else 0.5
    return (holding, math.exp(middle)) if holding > share * len(ratios) else None


def _with_noise(rows: Sequence[Row], world: World) -> World:
    """How far figures of one column usually are from what follows: means of runs do not multiply out to the digit."""
    errors: dict[str, list[float]] = {}
    for row in rows:
        for check in relations.checks(row, world):
            if check.part in ("rate", "scaling") and abs(check.error) < 0.03:
                errors.setdefault(check.quantity, []).append(abs(check.error))
    noise = {}
    for quantity, each in errors.items():
        usual = max(5 * median(each), 2 * sorted(each)[3 * (len(each) - 1) // 4])
        noise[quantity] = min(0.01, usual) if len(each) >= 4 else 0.006
    return replace(world, noise=noise)
