"""How a table is to be read as a whole: its header, its columns, and what is wrong with a whole column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from hpcscale.audit import edits, facts, headers, merit, rates, settle, zoo
from hpcscale.audit import world as of
from hpcscale.audit.columns import FLOPS, MEASURED
from hpcscale.audit.edit import number
from hpcscale.audit.explain import Cause, believable, with_reading
from hpcscale.audit.facts import Reading, Row
from hpcscale.audit.headers import Header
from hpcscale.audit.tables import Line, Table
from hpcscale.audit.ways import WAYS
from hpcscale.audit.world import World

_FINAL = 3  # headers that get a full trial
_TRIAL = 16  # rows that a trial looks at
_ALTERNATIVE = 0.75  # what a less usual meaning of a name costs, per row: 1 is a relation


@dataclass(frozen=True)
class Wide:
    """A cause of a whole column: the quantity that shows it (none: all rows do), its name and the factor that mends it."""

    cause: Cause
    quantity: str = ""
    name: str = ""
    factor: float = 1.0

    def concerns(self, row: Row) -> bool:
        return not self.quantity or self.quantity == "model" or self.quantity in row.facts

    def for_row(self, row: Row) -> Cause:
        fact = row.facts.get(self.quantity)
        if fact is None or self.factor == 1.0:
            return self.cause
        was, now = number(fact.value / self.factor), number(fact.value)
        return Cause(self.cause.code, f"{self.name} is {was}; {now} would follow, and so in the whole column")


@dataclass(frozen=True)
class Understood:
    """A table under its best reading; ``causes``: what is wrong with whole columns."""

    table: Table
    names: tuple[str, ...]
    reading: Reading
    rows: tuple[Row, ...]
    world: World
    causes: tuple[Wide, ...] = ()


@dataclass(frozen=True)
class _Trial:
    header: Header
    reading: Reading
    rows: Sequence[Row]
    world: World
    merit: float


def understand(table: Table, start: World, others: Sequence[tuple[str, ...]] = ()) -> Understood:
    """The reading under which most of the table agrees, and the fewest changes to whole columns that make it so."""
    small = replace(table, rows=_thinned(table))
    best = _aligned(small, start, headers.aligned(table, others))
    best, causes = _mended(small, start, best)
    if not causes or not _good(best):
        best, causes = _turned(small, start, best, causes)
    if best.header.sentence:
        causes = [Wide(Cause("columns", best.header.sentence)), *causes]
    rows = facts.rows(table, best.reading, start.context.constants)
    world = settle.settle(rows, _lasting(start, best.world))
    cut = merit.cut_columns(rows, world)
    reading = replace(best.reading, cut=cut)
    if cut:
        rows = facts.rows(table, reading, start.context.constants)
        world = settle.settle(rows, _lasting(start, best.world))
    return Understood(table, best.header.names, reading, tuple(rows), world, tuple(causes))


def _aligned(table: Table, start: World, tried: Sequence[Header]) -> _Trial:
    """The header under which most holds, among those whose names stand over cells that can be theirs."""
    wrong = {header: headers.mistyped(table, header.names) for header in tried}
    kept = [header for header in tried if wrong[header] == min(wrong.values())]
    if len(kept) > 1:
        first = [_try(table, start, header, facts.readings(table, header.names)[0]) for header in kept]
        kept = [max(first, key=lambda each: each.merit).header]
    return _best(table, start, kept[0])


def _lasting(start: World, found: World) -> World:
    """What a trial on fewer rows found out for good: a model that is not the stated one."""
    return replace(start, model=found.model)


def _thinned(table: Table) -> tuple[Line, ...]:
    step = max(1, len(table.rows) // _TRIAL)
    return table.rows[::step] if len(table.rows) > _TRIAL else table.rows


def _try(table: Table, start: World, header: Header, reading: Reading, alternative: int = 0) -> _Trial:
    rows = facts.rows(table, reading, start.context.constants)
    world = settle.settle(rows, start)
    cut = merit.cut_columns(rows, world)
    if cut:
        rows = facts.rows(table, replace(reading, cut=cut), start.context.constants)
    return _Trial(header, reading, rows, world, merit.merit(rows, world) - _ALTERNATIVE * alternative * len(rows))


def _best(table: Table, start: World, header: Header) -> _Trial:
    """The best reading of one header; a name's less usual meaning must earn its place."""
    trials = []
    readings = facts.readings(table, header.names)
    for reading in readings:
        usual = sum(reading.titles[index].meanings[0] != quantity for index, quantity in reading.meanings.items())
        trials.append(_try(table, start, header, reading, usual))
    return max(trials, key=lambda each: each.merit)


def _good(trial: _Trial) -> bool:
    """Whether at most a few rows fail and the figures of work follow from a way that is known."""
    fails = sum(bool(each) for each in merit.failing(trial.rows, trial.world))
    return fails * 2 < max(1, len(trial.rows)) and not _unexplained(trial)


def _unexplained(trial: _Trial) -> bool:
    work = any(quantity in row.facts for row in trial.rows for quantity in FLOPS)
    known = any(of.model_of(row, trial.world) for row in trial.rows)
    return work and known and trial.world.way is None


def _mended(table: Table, start: World, best: _Trial) -> tuple[_Trial, list[Wide]]:
    """Changes to whole columns, one after the other, as long as each mends most of what fails."""
    causes: list[Wide] = []
    for _ in range(2):
        if _good(best) or not best.rows:
            break
        found: list[tuple[float, _Trial, Wide]] = []
        for quantity, code, factor, cost in _column_factors(best):
            column = best.reading.column(quantity)
            if column is None:
                continue
            trial = _try(table, start, best.header, with_reading(best.reading, column, factor))
            if all(believable(row, trial.world) for row in trial.rows):
                cause = _column_cause(code, best.reading, quantity, factor)
                found.append((trial.merit - cost, trial, Wide(cause, quantity, best.reading.title(quantity), factor)))
        found += _other_models(table, start, best)
        need = max(1.0, 0.5 * len(best.rows))
        found = [each for each in found if each[0] - best.merit >= need and _better(each[1], best)]
        if not found:
            break
        _, best, wide = max(found, key=lambda each: each[0])
        causes.append(wide)
    return best, causes


def _better(trial: _Trial, before: _Trial) -> bool:
    fails = sum(bool(each) for each in merit.failing(trial.rows, trial.world))
    was = sum(bool(each) for each in merit.failing(before.rows, before.world))
    return fails <= was and (fails < was or trial.world.way is not None)


def _column_factors(best: _Trial) -> list[tuple[str, str, float, float]]:
    """(quantity, code, factor, cost) of the factors whose size is that of an error that most rows have."""
    errors: dict[str, list[float]] = {}
    for each in merit.failing(best.rows, best.world):
        for check in each:
            errors.setdefault(check.quantity, []).append(abs(check.error))
            if check.part in ("rate", "scaling"):
                errors.setdefault(check.source, []).append(abs(check.error))
    sizes = {quantity: median(each) for quantity, each in errors.items()}
    off = _work_off(best)
    if off is not None:
        for quantity in (
            *FLOPS,
            "step_seconds",
            "tokens_per_second",
            "tokens_per_second_per_device",
            "samples_per_second",
        ):
            sizes[quantity] = off
    found = []
    for quantity in dict.fromkeys(("step_seconds", *sizes)):
        if (
            quantity not in sizes
            or best.reading.column(quantity) is None
            or quantity not in (*MEASURED, "parameters", "tokens_per_step")
        ):
            continue
        named = [
            ("unit", factor, 0.1 * place)
            for place, factor in enumerate(edits.UNITS.get(quantity, (1e-3, 1e3, 1e-6, 1e6)))
        ]
        if quantity in ("mfu", "hfu"):
            factors = {factor for row in best.rows[:1] for factor in edits.peak_factors(row, best.world)}
            known = any(of.peaks_of(row, best.world) for row in best.rows)
            named += [("peak", factor, 0.2 + (factor not in (2.0, 0.5))) for factor in sorted(factors) if known]
            named += [("recompute", factor, 0.5) for factor in (3 / 4, 4 / 3)]
        if quantity in ("aggregate_pflops", "tokens_per_second", "tokens_per_step"):
            named += [("kilo", factor, 0.3) for factor in (1.024, 1 / 1.024, 1.024**2, 1.024**-2)]
        width = 0.35 if off is not None else 0.03
        found += [
            (quantity, code, factor, cost) for code, factor, cost in named
            if abs(abs(math.log(factor)) - sizes[quantity]) < width or (code == "unit" and abs(abs(math.log(factor)) - sizes[quantity]) < 0.5)
        ]  # fmt: skip
    return found


def _work_off(best: _Trial) -> float | None:
    """How far the figures of work are from what the models do, where no way fits; as a logarithm."""
    if not _unexplained(best):
        return None
    ratios = []
    for row in best.rows:
        found = rates.estimates(row, replace(best.world, fitted={}))
        usual = of.work_of(row, replace(best.world, way=WAYS[0], sequence_length=best.world.sequence_length or 2048.0))
        by_node = {each.node: each.log for each in found}
        for work, rate in (("X", "Q"), ("A", "T")):
            if usual and work in by_node and rate in by_node:
                ratios.append(abs(by_node[work] - by_node[rate] - math.log(usual)))
    return median(ratios) if ratios else None


def _column_cause(code: str, reading: Reading, quantity: str, factor: float) -> Cause:
    name = reading.title(quantity)
    times = f"{factor:.6g}" if factor >= 1 else f"1/{1 / factor:.6g}"
    words = {
        "unit": f"the whole column '{name}' is in another unit than its name says: its figures times {times} agree with the others",
        "peak": f"the whole column '{name}' is of another peak than the device's dense one: its figures times {times} agree with the others",
        "recompute": f"the whole column '{name}' counts recomputed work otherwise than its name says: its figures times {times} agree with the others",
        "kilo": f"the whole column '{name}' takes 1024 for 1000 or the other way round: its figures times {times} agree with the others",
    }
    return Cause(code, words[code])


def _other_models(table: Table, start: World, best: _Trial) -> list[tuple[float, _Trial, Wide]]:
    """The stated model does not give the figures: another of its family may, to the printed digits."""
    stated = {model.name: model for row in best.rows if (model := of.model_of(row, best.world))}
    if not _unexplained(best) or len(stated) != 1:
        return []
    model = next(iter(stated.values()))
    found = []
    for name, other in zoo.models().items():
        if name == model.name or zoo.family_of(name)[:5] != zoo.family_of(model.name)[:5]:
            continue
        trial = _try(table, replace(start, model=other), best.header, best.reading)
        if trial.world.way is not None and not trial.world.way.short:
            text = f"the figures are not those of {model.name}; {name} gives them"
            found.append((trial.merit - 1.0, trial, Wide(Cause("shape", text), "model")))
    return found


def _turned(table: Table, start: World, best: _Trial, causes: list[Wide]) -> tuple[_Trial, list[Wide]]:
    """Names that changed places, where most rows fail or names stand over cells that cannot be theirs."""
    names = best.header.names
    wrong = headers.mistyped(table, names)
    fails = sum(bool(each) for each in merit.failing(best.rows, best.world))
    if (not wrong and fails * 2 < max(2, len(best.rows))) or len(names) < 3:
        return best, causes
    found = []
    for header in _promising(table, start, names, wrong):
        trial = _best(table, start, header)
        left = headers.mistyped(table, header.names)
        gain = trial.merit - best.merit
        broken = sum(bool(each) for each in merit.failing(trial.rows, trial.world))
        enough = gain >= max(1.5, 0.75 * len(best.rows)) or (left < wrong and gain >= 0)
        if enough and broken <= fails:
            found.append((trial.merit + 2 * (wrong - left), trial))
    if not found:
        return best, causes
    turned = max(found, key=lambda each: each[0])[1]
    if causes and turned.merit < best.merit + 1:
        return best, causes
    turned, more = _mended(table, start, turned)
    return turned, more


def _promising(table: Table, start: World, names: tuple[str, ...], wrong: int) -> list[Header]:
    """The headers worth a full trial: by their likeliest reading, those under which most holds."""
    tried = []
    for header in headers.shifted(names):
        left = headers.mistyped(table, header.names)
        if left < wrong or (not wrong and not left):
            first = _try(table, start, header, facts.readings(table, header.names)[0])
            tried.append((first.merit + 2 * (wrong - left), header))
    return [header for _, header in sorted(tried, key=lambda each: -each[0])[:_FINAL]]
