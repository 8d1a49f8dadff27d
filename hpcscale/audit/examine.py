"""A file's tables, row by row: does it reproduce, and if not, why."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from hpcscale.audit import context, facts, headers, neighbours, relations, settle, tables
from hpcscale.audit.columns import FLOPS
from hpcscale.audit.explain import Cause, explain
from hpcscale.audit.facts import Row
from hpcscale.audit.rates import Check
from hpcscale.audit.tables import Table
from hpcscale.audit.understand import Understood, understand
from hpcscale.audit.world import World, model_of
from hpcscale.cost import flops
from hpcscale.spec.model import Model

Verdict = Literal["reproduces", "inconsistent", "unverifiable"]


@dataclass(frozen=True)
class RowVerdict:
    """``error``: the largest relative error of what was recomputed; ``convention``: how work is counted, if it was."""

    table: int
    line: int
    verdict: Verdict
    causes: tuple[Cause, ...] = ()
    convention: str | None = None
    error: float | None = None
    checks: tuple[Check, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableVerdict:
    """One table: what it was understood as, and its rows."""

    number: int
    line: int
    title: str
    models: tuple[str, ...]
    convention: str | None
    columns: dict[str, str]
    rows: tuple[RowVerdict, ...] = field(default_factory=tuple)
    causes: tuple[Cause, ...] = ()  # of whole columns


@dataclass(frozen=True)
class Given:
    """What the user says of every table of the file."""

    model: Model | None = None
    device: str | None = None
    devices_per_node: float | None = None


def audit(text: str, separated: str | None = None, given: Given = Given()) -> list[TableVerdict]:
    """A verdict on each row of each table in ``text``."""
    found = [(table, _start(table, given)) for table in tables.read(text, separated)]
    names = [table.header for table, _ in found]
    understood = [understand(table, start, names) for table, start in found]
    usual = _usual_way(understood)
    if usual:
        understood = [
            each if each.world.way is None or each.world.way.name == usual else _again(each, start, usual)
            for each, (_, start) in zip(understood, found, strict=True)
        ]
    judged = [_Judged.of(each) for each in understood]
    seen = neighbours.repeated([(each.understood.table.number, each.points, each.worlds) for each in judged])
    return [_table(each, seen) for each in judged]


def _start(table: Table, given: Given) -> World:
    around = context.around(table)
    if given.device:
        around = replace(around, device=given.device)
    tools = {tool: convention.name for convention in flops.CONVENTIONS for tool in convention.tools}
    text = " ".join(around.hints).lower()
    named = frozenset(name for tool, name in tools.items() if tool in text)
    return World(around, model=given.model, devices_per_node=given.devices_per_node, preferred=named)


def _usual_way(found: Sequence[Understood]) -> str | None:
    counted: Counter[str] = Counter()
    for each in found:
        if each.world.way is not None:
            counted[each.world.way.name] += len(each.rows)
    return counted.most_common(1)[0][0] if len(counted) > 1 else None


def _again(each: Understood, start: World, usual: str) -> Understood:
    """The same reading, counted as most of the file is, if that fits as well."""
    preferred = replace(start, model=each.world.model, preferred=start.preferred or frozenset({usual}))
    return replace(each, world=settle.settle(each.rows, preferred))


@dataclass(frozen=True)
class _Judged:
    """A table whose rows are explained one by one; ``rows`` and ``worlds`` are as they would be right."""

    understood: Understood
    causes: list[list[Cause]]
    rows: list[Row]
    worlds: list[World]
    points: list[neighbours.Point]

    @classmethod
    def of(cls, understood: Understood) -> _Judged:
        causes, rows, worlds = [], [], []
        wanted = headers.width(understood.table)
        for index, row in enumerate(understood.rows):
            found, right, world = _explained(understood, index, row, wanted)
            causes.append(found)
            rows.append(right)
            worlds.append(world)
        causes = _other_kinds(understood, causes)
        points = neighbours.points(rows, worlds, understood.reading, understood.names)
        return cls(understood, causes, rows, worlds, points)


def _other_kinds(understood: Understood, causes: list[list[Cause]]) -> list[list[Cause]]:
    """Rows of one kind (a word in a column of its own: LoRA) may do other work per token than the rest: no error."""
    texts = neighbours.kinds(understood.rows, understood.reading, understood.names)
    factors: dict[tuple[str, ...], list[tuple[int, float]]] = {}
    for index, row in enumerate(understood.rows):
        failing = [check for check in relations.checks(row, understood.world) if not check.holds]
        if failing and not causes[index] and all(check.way for check in failing):
            factors.setdefault(texts[index], []).append((index, failing[0].error))
    found = list(causes)
    for kind, members in factors.items():
        same = [index for index, text in enumerate(texts) if text == kind]
        errors = [error for _, error in members]
        if 2 <= len(members) == len(same) < len(texts) and max(errors) - min(errors) < 0.03:
            share = f"{100 * math.exp(sum(errors) / len(errors)):.0f} % of the usual work per token"
            for index, _ in members:
                found[index] = [
                    Cause("kind", f"rows of this kind do {share}: no way of counting is known for it", remark=True)
                ]
    return found


def _explained(understood: Understood, index: int, row: Row, wanted: int) -> tuple[list[Cause], Row, World]:
    peers = understood.rows
    world = understood.world
    found, right, after = explain(row, world, peers, understood.reading)
    line = understood.table.rows[index]
    ragged = len(line.cells) != wanted and abs(len(line.cells) - wanted) == 1
    settled = found and all(check.holds for check in relations.checks(right, after))
    failing = [check for check in relations.checks(row, world) if not check.holds]
    costly = len(found) > 1 or not settled or (found and found[0].code in ("shape",)) or len(failing) > 2
    if not (failing and costly) and not ragged:
        return found, right, after
    moved = _realigned(understood, index, wanted, 1 if ragged else 2)
    if moved is None or (settled and len(found) == 1 and not ragged):
        return found, right, after
    return [moved[0]], moved[1], world


def _realigned(understood: Understood, index: int, wanted: int, at_least: int) -> tuple[Cause, Row] | None:
    """The row with its cells moved so that all holds, and more is checked than before."""
    table, reading = understood.table, understood.reading
    before = relations.checks(understood.rows[index], understood.world)
    best: tuple[int, Cause, Row] | None = None
    for line, text in headers.realigned(table.rows[index], wanted):
        rows = (*table.rows[:index], line, *table.rows[index + 1 :])
        row = facts.rows(replace(table, rows=rows), reading, understood.world.context.constants)[index]
        checks = relations.checks(row, understood.world)
        right = all(check.holds for check in checks) and len(checks) >= max(at_least, len(before))
        if right and (best is None or len(checks) > best[0]):
            best = (len(checks), Cause("columns", f"the cells do not stand under their names: {text}"), row)
    return best[1:] if best else None


def _table(judged: _Judged, seen: dict[tuple[int, int], Cause]) -> TableVerdict:
    understood = judged.understood
    table, world, reading = understood.table, understood.world, understood.reading
    twice = neighbours.duplicates(understood.rows, reading, understood.names)
    slow = neighbours.stragglers(judged.points)
    rows = []
    for index, row in enumerate(understood.rows):
        causes = list(judged.causes[index])
        wide = [each.for_row(row) for each in understood.causes if each.concerns(row)]
        elsewhere = {cause.code for cause in causes} & {"layout", "batch", "shape", "columns"}
        if index in twice and not elsewhere and not _mistaken(twice[index], judged):
            causes.append(twice[index])
        elif index in slow and not causes:
            causes.append(slow[index])
        if (table.number, index) in seen:
            causes.append(seen[table.number, index])
        if world.aggregate_factor != 1.0 and "aggregate_pflops" in row.facts:
            text = f"{reading.title('aggregate_pflops')} divides by 1024, as the text says: 2.3 % below the figure with 1000"
            causes.append(Cause("kilo", text, remark=True))
        rows.append(_row(table.number, row, world, tuple(_unique([*wide, *causes]))))
    models = tuple(dict.fromkeys(model.name for row in understood.rows if (model := model_of(row, world))))
    names = {reading.titles[index].printed: quantity for index, quantity in reading.meanings.items()}
    title = table.headings[-1] if table.headings else ""
    way = world.way.name if world.way else None
    return TableVerdict(
        table.number,
        table.line,
        title,
        models,
        way,
        names,
        tuple(rows),
        tuple(each.cause for each in understood.causes),
    )


def _mistaken(cause: Cause, judged: _Judged) -> bool:
    """Whether the row that a duplicate is of only looks so, since its own configuration is misprinted."""
    for row, causes in zip(judged.understood.rows, judged.causes, strict=True):
        if f"line {row.line} is" in cause.sentence and {each.code for each in causes} & {
            "layout",
            "batch",
            "shape",
            "columns",
        }:
            return True
    return False


def _unique(causes: Sequence[Cause]) -> list[Cause]:
    found: dict[str, Cause] = {}
    for cause in causes:
        if cause.code not in found or (found[cause.code].remark and not cause.remark):
            found[cause.code] = cause
    return list(found.values())


def _row(number: int, row: Row, world: World, causes: tuple[Cause, ...]) -> RowVerdict:
    checks = relations.checks(row, world)
    failing = [check for check in checks if not check.holds]
    apart = any(cause.code == "kind" for cause in causes)
    causes = tuple(cause for cause in causes if cause.code != "kind")
    if apart:
        verdict: Verdict = "unverifiable"
    elif failing or any(not cause.remark for cause in causes):
        verdict = "inconsistent"
    else:
        verdict = "reproduces" if checks and row.measured else "unverifiable"
    counted = any(check.way for check in checks) or (world.way is not None and bool(set(FLOPS) & set(row.facts)))
    convention = world.way.name if world.way and counted else None
    sharp = [check for check in checks if check.digits < 0.01] or checks  # one printed digit says little of an error
    error = max((abs(check.error) for check in sharp), default=None)
    remarks = tuple(row.remarks) + (("out of memory",) if row.out_of_memory else ())
    return RowVerdict(number, row.line, verdict, causes, convention, error, tuple(checks), remarks)
