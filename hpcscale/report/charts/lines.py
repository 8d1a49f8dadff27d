"""One quantity against the number of devices: throughput, throughput per device, efficiency or step time.

Panels (a machine and precision each, where series are many) stand below one another, so that the chart keeps to the paper.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from hpcscale.report import axes as look
from hpcscale.report import labels
from hpcscale.report.charts.paper import NothingToDraw, Paper, heading, plain
from hpcscale.report.charts.scaling import (
    NOTHING,
    draw_points,
    efficiency_title,
    how_to_read,
    looks_of,
    size_title,
    throughput_bars,
)  # fmt: skip
from hpcscale.report.columns import Row
from hpcscale.report.curves import Curve, Panel, Point, able, panels
from hpcscale.report.labels import Label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Value = Callable[[Point], float | None]


@dataclass(frozen=True)
class Measure:
    """``value`` of a point and of its interval's ends; ``ideal`` of a point, from the smallest one of its part.
    ``in_parts``: only points that can be compared are joined."""

    title: str
    value: Value
    low: Value
    high: Value
    ideal: Callable[[Point, Point], float | None]
    scale: Callable[[Axes, float, float], None]
    in_parts: bool = False


_WIDE = 10  # on an axis from zero, what is so many times less can no longer be read


def _from_zero(axes: Axes, lowest: float, highest: float) -> None:
    from matplotlib.ticker import FuncFormatter

    if lowest * _WIDE < highest:
        look.doublings(axes)
        return
    axes.set_ylim(0, 1.08 * highest)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: look.short(value)))


def _doublings(axes: Axes, _: float, __: float) -> None:
    look.doublings(axes)


def _per_second(scale: Callable[[Point], float]) -> tuple[Value, Value, Value]:
    return (
        lambda point: point.tokens_per_second * scale(point),
        lambda point: point.low * scale(point),
        lambda point: point.high * scale(point),
    )


def _efficiency(scale: Callable[[Point], float]) -> Value:
    return lambda point: None if point.efficiency is None else 100 * point.efficiency * scale(point)


def _seconds(scale: Callable[[Point], float]) -> Value:
    return lambda point: None if point.seconds is None else point.seconds * scale(point)


def _ideal_seconds(point: Point, first: Point) -> float | None:
    """The step's tokens over the throughput that the first point's devices, so many more of them, would have."""
    if point.seconds is None:
        return None
    ideal = first.tokens_per_second / first.devices * point.devices
    return point.seconds * point.tokens_per_second / ideal


MEASURES = {
    "throughput": Measure(
        "tokens/s", *_per_second(lambda _: 1.0), lambda p, first: first.tokens_per_second / first.devices * p.devices, _doublings
    ),
    "per-device": Measure(
        "tokens/s per device", *_per_second(lambda p: 1 / p.devices), lambda _, first: first.tokens_per_second / first.devices, _from_zero
    ),
    "efficiency": Measure(
        "", _efficiency(lambda _: 1.0), _efficiency(lambda p: p.low / p.tokens_per_second), _efficiency(lambda p: p.high / p.tokens_per_second),
        lambda *_: None, lambda axes, _, highest: look.efficiency(axes, highest), in_parts=True,
    ),
    "step-time": Measure(
        "seconds per step", _seconds(lambda _: 1.0), _seconds(lambda p: p.tokens_per_second / p.high),
        _seconds(lambda p: p.tokens_per_second / p.low), _ideal_seconds, _doublings,
    ),
}  # fmt: skip


def draw(rows: list[Row], paper: Paper, kind: str) -> Figure:
    measure, shown = MEASURES[kind], able(rows)
    if not shown:
        raise NothingToDraw(f"there is nothing to draw for '{kind}': {NOTHING}")
    found = panels(shown)
    looks = looks_of(found)  # before some are left out: a series looks the same in every chart
    if measure.in_parts:
        found = _comparable(found)
    if not any(measure.value(point) is not None for panel in found for curve in panel.curves for point in curve.points):
        if kind in ("efficiency", "step-time"):
            raise NothingToDraw(
                f"there is nothing to draw for '{kind}': no two rows differ in their number of devices alone"
            )
        return throughput_bars(shown, paper, kind == "per-device")
    return _figure(shown, found, measure, looks, paper)


def _comparable(found: list[Panel]) -> list[Panel]:
    kept = [Panel(panel.title, tuple(c for c in panel.curves if c.parts)) for panel in found]
    return [panel for panel in kept if panel.curves]


def _figure(
    rows: list[Row], found: list[Panel], measure: Measure, looks: dict[str, tuple[str, str]], paper: Paper
) -> Figure:
    from matplotlib.figure import Figure

    each = (4.0 if len(found) == 1 else 2.7) * (0.72 if paper.width < 5 else 1)
    figure = Figure(figsize=(paper.width, 0.6 + each * len(found)))
    axes = list(figure.subplots(len(found), 1, squeeze=False, sharex=True, sharey=True)[:, 0])
    points = [p for panel in found for curve in panel.curves for p in curve.points]
    lowest = min(value for p in points if (value := measure.value(p)) is not None)
    highest = max(value for p in points if (value := _highest(measure, p)) is not None)
    written = []
    for panel, on in zip(found, axes, strict=True):
        plain(
            on.set_title(
                labels.fitted(panel.title, paper.width - 1, paper.size, True),
                loc="left",
                fontsize=paper.size,
                fontweight="bold",
            )
        )
        written.append([_curve(on, curve, measure, *looks[curve.label], paper) for curve in panel.curves])
        look.grid(on)
        on.set_ylabel(measure.title or efficiency_title(rows))
    measure.scale(axes[0], lowest, highest)  # all share it
    for on in axes[1:] if measure.in_parts else []:
        look.ideal_efficiency(on)
    look.devices(axes[0], [p.devices for p in points])
    axes[-1].set_xlabel(size_title(rows))
    margin = max(labels.margin_inches(each, paper.small) for each in written)
    _arrange(figure, margin, heading(figure, rows, how_to_read(rows, found), paper), bool(found[0].title))
    for on, names in zip(axes, written, strict=True):
        labels.place(on, names, paper.small)
    look.thin(axes[0], paper.size)
    return figure


def _highest(measure: Measure, point: Point) -> float | None:
    return measure.high(point) if measure.high(point) is not None else measure.value(point)


def _curve(axes: Axes, curve: Curve, measure: Measure, colour: str, marker: str, paper: Paper) -> Label:
    parts = curve.parts if measure.in_parts else (curve.points,)
    for part in curve.parts:
        ideal = [measure.ideal(p, part[0]) for p in part]
        if len(part) > 1 and None not in ideal:
            axes.plot([p.devices for p in part], ideal, color=colour, linewidth=0.9, linestyle=look.IDEAL, alpha=0.7)  # type: ignore[arg-type]
    for part in parts:
        _part(axes, tuple(p for p in part if measure.value(p) is not None), measure, colour, marker)
    end = max((p for part in parts for p in part if measure.value(p) is not None), key=lambda p: p.devices)
    return Label(
        labels.beside_curve(curve.label, paper.width, paper.small),
        end.devices,
        measure.value(end) or 0.0,
        colour,
        len(curve.points) > 1,
    )


def _part(axes: Axes, points: tuple[Point, ...], measure: Measure, colour: str, marker: str) -> None:
    values = [measure.value(p) or 0.0 for p in points]
    draw_points(axes, points, values, colour, marker)
    below = [value - (measure.low(p) or value) for p, value in zip(points, values, strict=True)]
    above = [(measure.high(p) or value) - value for p, value in zip(points, values, strict=True)]
    if any(below) or any(above):
        axes.errorbar(
            [p.devices for p in points], values, yerr=[[max(0.0, e) for e in below], [max(0.0, e) for e in above]], fmt="none",
            ecolor=colour, elinewidth=1, capsize=2.5,
        )  # fmt: skip


def _arrange(figure: Figure, margin: float, top: float, titled: bool) -> None:
    width, height = figure.get_size_inches()
    panel = (height - top - 0.6) / len(figure.axes)
    figure.subplots_adjust(
        left=0.75 / width, right=1 - margin / width, top=1 - (top + (0.28 if titled else 0.12)) / height, bottom=0.5 / height,
        hspace=0.55 / panel if len(figure.axes) > 1 else 0,
    )  # fmt: skip


KINDS = {kind: partial(draw, kind=kind) for kind in MEASURES}
