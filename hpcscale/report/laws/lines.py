"""Lines: rows of a series whose work can be compared, which is what a law is fitted to.

One global batch makes a strong line, one global batch per device a weak one. Rows with other work per device are never on the
same weak line; what is on no line has the reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hpcscale.record.median import FEW
from hpcscale.report import series
from hpcscale.report.text import ranges

Row = dict[str, Any]

# How far a run lies off the smooth line through its neighbours (standard deviation of log time). Runs that are months apart
# differ by 6 % in the median (36 layouts that public tables hold twice), the rows of one table by far less. With 1 % (and DRIFT
# in fit.py) the 80 % intervals of larger sizes foreseen from smaller ones hold 40 of 43 in the published tables: few tables, so
# rather too wide.
RUN_TO_RUN = 0.01
_NORMAL_95 = 1.96


@dataclass(frozen=True)
class Place:
    """One size on a line. ``spread``: standard deviation of the logarithm of its time; the interval is that of the row."""

    row: Row
    devices: int
    nodes: float | None
    seconds: float | None
    throughput: float  # tokens/s
    spread: float
    efficiency: float = 1.0
    efficiency_low: float | None = None  # 95 %, where the row and the smallest row have intervals
    efficiency_high: float | None = None
    serial_fraction: float | None = None

    @property
    def device_seconds_per_token(self) -> float:
        """What a token costs; constant under perfect scaling, strong or weak."""
        return self.devices / self.throughput


@dataclass(frozen=True)
class Line:
    """Places by size. ``batch``: sequences, in all (strong) or per device (weak)."""

    name: str
    kind: str
    batch: float
    places: tuple[Place, ...]
    devices_per_node: float | None  # None: the table does not say what a node is

    @property
    def sizes(self) -> list[int]:
        return [place.devices for place in self.places]

    @property
    def unit(self) -> str:
        return "devices" if self.devices_per_node is None else "nodes"

    @property
    def replica(self) -> int:
        """Devices of one copy of the model: sizes are multiples of it."""
        row = self.places[0].row
        if row["dp"]:
            return max(1, row["devices"] // row["dp"]) if row["devices"] % row["dp"] == 0 else 1
        return math.prod(row[axis] or 1 for axis in ("tp", "pp", "cp"))

    def shown(self, devices: float) -> float:
        """A size in the line's unit."""
        return devices / (self.devices_per_node or 1)

    def devices_of(self, size: float) -> float:
        """A size in the line's unit as devices."""
        return size * (self.devices_per_node or 1)

    def part(self, keep: Iterable[int]) -> Line:
        """The line with only some of its sizes. Efficiencies stay those against the whole line's smallest row."""
        kept = set(keep)
        return replace(self, places=tuple(place for place in self.places if place.devices in kept))


def lines(rows: Sequence[Row]) -> tuple[list[Line], list[str]]:
    """The lines of a table that has gone through :func:`hpcscale.report.scaling.with_scaling`, and a sentence for each group of
    rows that is on none."""
    able = [
        row
        for row in rows
        if row["origin"] != "predicted" and row["status"] == "completed" and row["tokens_per_second"]
    ]
    found: list[Line] = []
    reasons: list[str] = []
    for group in series.grouped(able).values():
        parts: dict[tuple[str, float], list[Row]] = {}
        for row in group:
            if row["efficiency"] is not None:
                parts.setdefault((row["efficiency_kind"], _batch(row)), []).append(row)
        made = [_line(kind, batch, part, able) for (kind, batch), part in parts.items()]
        kept = [line for line in made if len(line.places) > 1]
        found += [replace(line, name=f"{line.name}, {_work(line)}") if len(kept) > 1 else line for line in kept]
        reasons += _reasons(group, kept)
    return found, reasons


def _batch(row: Row) -> float:
    return row["global_batch_size"] / (row["devices"] if row["efficiency_kind"] == "weak" else 1)


def _line(kind: str, batch: float, rows: list[Row], everything: Sequence[Row]) -> Line:
    """The fastest row of each size; the first may be a guest of another series (one replica has nothing to shard)."""
    best: dict[int, Row] = {}
    for row in sorted(rows, key=lambda row: (row["devices"], -row["tokens_per_second"])):
        best.setdefault(row["devices"], row)
    first = min(rows, key=lambda row: row["devices"])
    base = round(first["devices"] * first["efficiency"] / first["speedup"])
    if base not in best:
        rate = first["tokens_per_second"] / first["speedup"]
        guest = next(
            (row for row in everything if row["devices"] == base and math.isclose(row["tokens_per_second"], rate)), None
        )
        if guest is not None:
            best[base] = guest
    ordered = [best[size] for size in sorted(best)]
    places = tuple(_place(row, ordered[0], kind) for row in ordered)
    return Line(first["series"] or "", kind, batch, places, _devices_per_node(ordered))


def _place(row: Row, base: Row, kind: str) -> Place:
    speedup = row["tokens_per_second"] / base["tokens_per_second"]
    ratio = row["devices"] / base["devices"]
    low, high = _efficiency_interval(row, base, speedup / ratio)
    return Place(
        row, row["devices"], row["nodes"], row["step_seconds"], row["tokens_per_second"], _spread(row), speedup / ratio, low, high,
        serial_fraction(speedup, ratio, kind),
    )  # fmt: skip


def serial_fraction(speedup: float, ratio: float, kind: str) -> float | None:
    """The experimentally determined serial fraction. Strong: (1/S - 1/p) / (1 - 1/p) (Karp and Flatt 1990, equation 2). Weak:
    (p - S) / (p - 1), the same question asked of Gustafson's scaled speedup S = p - f (p - 1) (1988). None for p = 1."""
    if ratio <= 1:
        return None
    return (1 / speedup - 1 / ratio) / (1 - 1 / ratio) if kind == "strong" else (ratio - speedup) / (ratio - 1)


def _spread(row: Row) -> float:
    """Of the logarithm of the row's time. Steps of one run say nothing of how another run would go; repeats do."""
    low, high, runs = row["step_seconds_low"], row["step_seconds_high"], row["repeats"] or 1
    half = math.log(high / low) / 2 if low and high and high > low else 0.0
    values = values_behind(row)
    sigma = half * FEW[values][1] if values in FEW else half / _NORMAL_95
    return max(sigma, RUN_TO_RUN / math.sqrt(runs)) if runs > 1 else math.hypot(sigma, RUN_TO_RUN)


def values_behind(row: Row) -> int | None:
    """How many values the row's interval was made of: repeats, or the steps of one run. None where it does not say."""
    repeats = row["repeats"] or 1
    return repeats if repeats > 1 else row["measured_steps"]


def _efficiency_interval(row: Row, base: Row, efficiency: float) -> tuple[float | None, float | None]:
    """95 %: the two rows' intervals added as independent errors of logarithms."""
    bounds = [_log_bounds(row), _log_bounds(base)]
    if row is base or None in bounds:
        return None, None
    (faster, slower), (base_faster, base_slower) = (each for each in bounds if each is not None)
    return efficiency * math.exp(-math.hypot(slower, base_faster)), efficiency * math.exp(
        math.hypot(faster, base_slower)
    )


def _log_bounds(row: Row) -> tuple[float, float] | None:
    """How far the ends of the row's 95 % interval lie off; fewer than six values have none that holds so often, and are stretched."""
    low, seconds, high = row["step_seconds_low"], row["step_seconds"], row["step_seconds_high"]
    if not (low and seconds and high and low <= seconds <= high):
        return None
    values = values_behind(row)
    if values not in FEW:
        return math.log(seconds / low), math.log(high / seconds)
    half = FEW[values][0] * math.log(high / low) / 2
    return half, half


def _devices_per_node(rows: Sequence[Row]) -> float | None:
    """Of the largest row: smaller ones may fill a node only partly."""
    last = rows[-1]
    return last["devices"] / last["nodes"] if last["nodes"] and len({row["nodes"] for row in rows}) > 1 else None


def _work(line: Line) -> str:
    return f"{line.batch:g} sequences{' a device' if line.kind == 'weak' else ''}"


def _reasons(group: Sequence[Row], kept: Sequence[Line]) -> list[str]:
    """Why rows of a series are on no line, or on several."""
    name = group[0]["series"] or "the series"
    said = []
    weak = [line for line in kept if line.kind == "weak"]
    if len(weak) > 1:
        batches = ", ".join(f"{line.batch:g}" for line in weak)
        said.append(
            f"{name}: {len(weak)} weak lines, not one: a device has other work in each ({batches} sequences a step)"
        )
    on = {id(place.row) for line in kept for place in line.places}
    off = [row for row in group if id(row) not in on and row["efficiency"] is None]
    by_reason: dict[str, list[Row]] = {}
    for row in off:
        by_reason.setdefault(row["efficiency_kind"] or "nothing to compare it with", []).append(row)
    for reason, rows in by_reason.items():
        sizes = ranges([row["devices"] for row in rows])
        said.append(f"{name}, {sizes} devices: on no line: {reason}{_batches(rows)}")
    return said


def _batches(rows: Sequence[Row]) -> str:
    """The work per device of rows that no rule compares: what a weak line would have to have in common."""
    known = [row for row in rows if row["global_batch_size"]]
    if len({row["devices"] for row in known}) < 2:
        return ""
    each = ", ".join(
        f"{row['global_batch_size'] / row['devices']:g}" for row in sorted(known, key=lambda row: row["devices"])
    )
    return f" ({each} sequences a device: different work per device is no weak scaling)"
