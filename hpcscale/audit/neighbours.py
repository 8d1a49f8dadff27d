"""What only the other rows can tell: the same run printed twice, a point far slower than those around it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from hpcscale.audit import columns, rates
from hpcscale.audit.explain import Cause
from hpcscale.audit.facts import Reading, Row
from hpcscale.audit.slow_points import Speed, slow_points
from hpcscale.audit.world import World, device_name, devices_of, model_of, sequence_of, work_of

_NO_KEY = re.compile(
    r"mem|loss|power|watt|energy|temp|^(?:num|no|index|idx|row|id)?$|elapsed|hours|speed|rank of", re.IGNORECASE
)


@dataclass(frozen=True)
class Point(Speed):
    """A row that ran, with what it is comparable by."""

    row: Row
    layout: tuple[float | None, ...]


def _texts(row: Row, reading: Reading, names: Sequence[str]) -> dict[int, str]:
    """Cells that configure a run, as printed: those of columns that are no measurement."""
    found = {}
    for index, text in enumerate(row.texts):
        quantity = reading.meanings.get(index)
        if quantity in columns.MEASURED or quantity == "peak_tflops":
            continue
        title = columns.normal(names[index]) if index < len(names) else ""
        label = not title and not text.replace(".", "").isdigit()  # a nameless first column may say what a row is
        if quantity is None and not label and _NO_KEY.search(title):
            continue
        # an estimate that is nearly named: "tflops recomputed"
        if quantity is None and columns.name(title).meanings and columns.name(title).meanings[0] in columns.MEASURED:
            continue
        found[index] = text.lower()
    return found


def duplicates(rows: Sequence[Row], reading: Reading, names: Sequence[str]) -> dict[int, Cause]:
    """Rows of one configuration with different measurements; a sweep differs in some column and is none."""
    groups: dict[tuple[tuple[int, str], ...], list[int]] = {}
    for index, row in enumerate(rows):
        if row.measured:
            groups.setdefault(tuple(sorted(_texts(row, reading, names).items())), []).append(index)
    found = {}
    for key, members in groups.items():
        if len(members) < 2 or len(key) < 1 or not any(text for _, text in key):
            continue
        if len(members) * 2 > len(rows) and len(rows) > 2:
            continue  # repeats are the table's purpose, or no column tells its rows apart
        first = rows[members[0]]
        for index in members:
            other = rows[members[1]] if index == members[0] else first
            unlike = _unlike(rows[index], other, reading)
            if unlike:
                found[index] = Cause("duplicate", f"line {other.line} is of the same configuration, with {unlike}")
    return found


def _unlike(row: Row, other: Row, reading: Reading) -> str:
    for quantity in columns.MEASURED:
        mine, theirs = row.facts.get(quantity), other.facts.get(quantity)
        if mine and theirs and mine.value != theirs.value:
            share = 100 * (theirs.value / mine.value - 1)
            return f"{reading.title(quantity)} {theirs.value:g} instead of {mine.value:g} ({share:+.1f} %)"
    return ""


def kinds(rows: Sequence[Row], reading: Reading, names: Sequence[str]) -> list[tuple[str, ...]]:
    """What kind of run each row is: the words of columns that several rows share and that mean nothing known."""
    words = [_texts(row, reading, names) for row in rows]
    found = []
    for texts in words:
        shared = [
            texts.get(column, "") for column in sorted(texts)
            if (column not in reading.meanings or reading.meanings[column] in columns.WORDS - {"model"})
            and len({each.get(column) for each in words}) * 2 <= len(rows)
        ]  # fmt: skip
        found.append(tuple(shared))
    return found


def points(rows: Sequence[Row], worlds: Sequence[World], reading: Reading, names: Sequence[str]) -> list[Point]:
    """The rows that have a speed, with what makes them comparable."""
    texts = kinds(rows, reading, names)
    found = []
    for index, (row, world) in enumerate(zip(rows, worlds, strict=True)):
        estimates = [each for each in rates.estimates(row, world) if each.node in ("Q", "X")]
        devices = devices_of(row, world) or row.facts.get("nodes")
        if not estimates or devices is None:
            continue
        base = rates.reference(estimates)
        if any(each.node != base.node for each in estimates):
            base = rates.reference([each for each in estimates if each.node == "Q"] or estimates)
        flops = work_of(row, world)
        model = model_of(row, world)
        text = texts[index]
        layout = tuple(row.value(axis) for axis in ("tp", "pp", "cp"))
        kind = (
            model.name if model else row.words.get("model"),
            base.node,
            layout,
            text,
            row.value("hidden"),
            row.value("layers"),
        )
        work = math.log(flops) if flops else None
        length = sequence_of(row, world) or 0.0
        found.append(
            Point(
                index=index, speed=base.log, work=work, devices=devices.value, sequence=length,
                micro_batch=row.value("micro_batch_size") or 0.0, total_batch=row.value("global_batch_size"), kind=kind,
                row=row, layout=layout,
            )
        )  # fmt: skip
    return found


def stragglers(found: Sequence[Point]) -> dict[int, Cause]:
    """Points whose arithmetic is right and whose speed is implausible beside their neighbours'."""
    lines = {point.index: point.row.line for point in found}
    return {
        slow.index: Cause(
            "straggler",
            f"the figures agree, but a device does {100 * slow.share:.0f} % less than in line {lines[slow.beside]} {slow.where}",
        )
        for slow in slow_points(found)
    }


def repeated(tables: Sequence[tuple[int, Sequence[Point], Sequence[World]]]) -> dict[tuple[int, int], Cause]:
    """Remarks on runs that another table of the file has too, with another speed: how far runs of one layout differ."""
    seen: dict[tuple[object, ...], tuple[int, Point]] = {}
    found: dict[tuple[int, int], Cause] = {}
    for number, each, worlds in tables:
        for point in each:
            row = point.row
            key = (
                point.kind[0], point.devices, point.sequence, row.value("dp"), *point.layout, row.value("micro_batch_size"),
                row.value("global_batch_size"), device_name(row, worlds[point.index]), row.words.get("precision"),
            )  # fmt: skip
            if row.value("dp") is None or row.value("global_batch_size") is None:
                continue
            if key not in seen:
                seen[key] = (number, point)
                continue
            other_number, other = seen[key]
            share = 100 * (math.exp(point.speed - other.speed) - 1)
            if other_number != number and abs(share) > 1:
                text = "the same layout in table {}, line {}, is {:.1f} % {}"
                found[number, point.index] = Cause(
                    "duplicate",
                    text.format(other_number, other.row.line, abs(share), "slower" if share > 0 else "faster"),
                    remark=True,
                )
                found[other_number, other.index] = Cause(
                    "duplicate",
                    text.format(number, row.line, abs(share), "faster" if share > 0 else "slower"),
                    remark=True,
                )
    return found
