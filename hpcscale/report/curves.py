"""What a chart draws: panels, curves and points, from the table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hpcscale.ingest import schema
from hpcscale.report import series

MOST_IN_ONE_PANEL = 8

Row = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """One row. ``low`` and ``high`` bound tokens/s; ``efficiency`` is 0 to 1, or None where there is none; ``seconds`` of
    a step."""

    devices: int
    tokens_per_second: float
    low: float
    high: float
    efficiency: float | None
    seconds: float | None = None


@dataclass(frozen=True)
class Curve:
    """One series: its best row of each size in ``points``, by size; rows with comparable batches in ``parts``."""

    label: str
    points: tuple[Point, ...]
    parts: tuple[tuple[Point, ...], ...]


@dataclass(frozen=True)
class Panel:
    """Curves that share axes."""

    title: str
    curves: tuple[Curve, ...]


def drawable(table: pd.DataFrame) -> list[Row]:
    """The rows that a chart can show: they completed, and both size and throughput are known."""
    return able(schema.rows(table))


def able(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row["status"] == "completed" and row["devices"] and row["tokens_per_second"]]


def panels(rows: list[Row]) -> list[Panel]:
    """The curves, in one panel or, where they are many, in one a machine and precision.

    Series of one size are points where there is room for them, and left out where there is not.
    """
    groups = series.grouped(rows)
    scaling = {key: group for key, group in groups.items() if len({row["devices"] for row in group}) > 1}
    if not scaling:
        return []
    if len(groups) <= MOST_IN_ONE_PANEL:
        return [_panel("", groups)]
    if len(scaling) <= MOST_IN_ONE_PANEL:
        return [_panel("", scaling)]
    split: dict[str, dict[series.Identity, list[Row]]] = {}
    for key, group in scaling.items():
        first = group[0]
        title = " ".join(filter(None, (first["machine"] or first["device"], first["precision"])))
        split.setdefault(title or first["source"], {})[key] = group
    return [_panel(title, group) for title, group in split.items()]


def _panel(title: str, groups: dict[series.Identity, list[Row]]) -> Panel:
    names = series.names(groups)
    return Panel(title, tuple(_curve(names[key], group) for key, group in groups.items()))


def _curve(label: str, rows: list[Row]) -> Curve:
    best: dict[int, Row] = {}
    parts: dict[tuple[str, float], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row["devices"], -row["tokens_per_second"])):
        best.setdefault(row["devices"], row)
        if row["efficiency"] is not None:
            batch = row["global_batch_size"] / (row["devices"] if row["efficiency_kind"] == "weak" else 1)
            parts.setdefault((row["efficiency_kind"], batch), []).append(row)
    return Curve(
        label,
        tuple(_point(row) for row in best.values()),
        tuple(tuple(_point(row) for row in part) for part in parts.values()),
    )


def _point(row: Row) -> Point:
    throughput, seconds = row["tokens_per_second"], row["step_seconds"]
    low, high = row["step_seconds_low"], row["step_seconds_high"]
    return Point(
        devices=row["devices"],
        tokens_per_second=throughput,
        low=throughput * seconds / high if seconds and high else throughput,
        high=throughput * seconds / low if seconds and low else throughput,
        efficiency=row["efficiency"],
        seconds=seconds,
    )
