"""Throughput above, efficiency below, against the number of devices; bars where no series has two sizes.

Readable in print and by people who see few colours: every series has a marker of its own and its name at its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcscale.report import axes as look
from hpcscale.report import labels, text
from hpcscale.report.charts import bars, names
from hpcscale.report.charts.paper import COLOURS, MARKERS, PALE, NothingToDraw, Paper, heading, plain
from hpcscale.report.columns import Row
from hpcscale.report.curves import Curve, Panel, Point, able, panels
from hpcscale.report.labels import Label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOTHING = "no completed row has both a number of devices and a throughput"


def draw(rows: list[Row], paper: Paper) -> Figure:
    """Raises NothingToDraw if no row has a throughput."""
    shown = able(rows)
    if not shown:
        raise NothingToDraw(f"there is nothing to draw: {NOTHING}")
    found = panels(shown)
    return _curves(shown, found, paper) if found else throughput_bars(shown, paper)


def throughput_bars(rows: list[Row], paper: Paper, per_device: bool = True) -> Figure:
    """No series has two sizes: throughput row by row."""
    shown, said = bars.cut(rows)
    axis = bars.Axis("tokens/s per device" if per_device else "tokens/s", tuple(_bar(row, per_device) for row in shown))
    return bars.draw(shown, names.of_rows(shown), [axis], paper, said)


def _bar(row: Row, per_device: bool) -> bars.Bar:
    value = row["tokens_per_second"] / (row["devices"] if per_device else 1)
    low, high = (row["step_seconds"] / end if end and row["step_seconds"] else None for end in (row["step_seconds_high"], row["step_seconds_low"]))  # fmt: skip
    colour = PALE if row["origin"] == "predicted" else COLOURS[0]
    return bars.Bar(value, text.significant(value), colour, low=low and value * low, high=high and value * high)


def _curves(rows: list[Row], found: list[Panel], paper: Paper) -> Figure:
    """A column for each panel: throughput above, efficiency (where there is any) below."""
    from matplotlib.figure import Figure

    efficiencies = [
        100 * (p.efficiency or 0) for panel in found for c in panel.curves for part in c.parts for p in part
    ]
    figure = Figure(figsize=_size(paper, len(found), bool(efficiencies)))
    figure.subplots(
        2 if efficiencies else 1, len(found), squeeze=False, sharex="col", sharey="row",
        height_ratios=(3, 2) if efficiencies else None,
    )  # fmt: skip
    top_row, bottom_row = figure.axes[: len(found)], figure.axes[-len(found) :]
    looks = looks_of(found)
    written = [_throughput(top, panel, looks, paper) for top, panel in zip(top_row, found, strict=True)]
    for bottom, panel in zip(bottom_row, found, strict=True):
        if efficiencies:
            look.efficiency(bottom, max(efficiencies))
            for curve in panel.curves:
                for part in curve.parts:
                    draw_points(bottom, part, [100 * (point.efficiency or 0) for point in part], *looks[curve.label])
        look.devices(bottom, [point.devices for curve in panel.curves for point in curve.points])
        bottom.set_xlabel(size_title(rows))
    look.doublings(top_row[0])
    for each in figure.axes:
        look.grid(each)
    top_row[0].set_ylabel("tokens/s")
    if efficiencies:
        bottom_row[0].set_ylabel("efficiency (%)" if paper.width < 5 else efficiency_title(rows))
    margin = max(labels.margin_inches(each, paper.small) for each in written)
    _arrange(figure, len(found), margin, heading(figure, rows, how_to_read(rows, found), paper))
    for top, each in zip(top_row, written, strict=True):
        labels.place(top, each, paper.small)
    for bottom in bottom_row:
        look.thin(bottom, paper.size)
    return figure


def _size(paper: Paper, columns: int, with_efficiency: bool) -> tuple[float, float]:
    narrow = paper.width < 5
    if with_efficiency:
        return max(paper.width, 4.2 * columns if columns > 1 else 0), 4.6 if narrow else 6.8
    return max(paper.width, 4.2 * columns if columns > 1 else 0), 2.9 if narrow else 4.4


def size_title(rows: list[Row]) -> str:
    return "nodes" if all(row["nodes"] == row["devices"] for row in rows) else "devices"


def looks_of(found: list[Panel]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each label: the same in every panel."""
    distinct = dict.fromkeys(curve.label for panel in found for curve in panel.curves)
    return {label: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, label in enumerate(distinct)}


def _throughput(axes: Axes, panel: Panel, looks: dict[str, tuple[str, str]], paper: Paper) -> list[Label]:
    plain(
        axes.set_title(
            labels.fitted(panel.title, 3.0, paper.size, True), loc="left", fontsize=paper.size, fontweight="bold"
        )
    )
    written = []
    for curve in panel.curves:
        colour, marker = looks[curve.label]
        _ideal(axes, curve, colour)
        draw_points(axes, curve.points, [p.tokens_per_second for p in curve.points], colour, marker)
        intervals(axes, curve, colour)
        end = curve.points[-1]
        written.append(
            Label(
                labels.beside_curve(curve.label, paper.width, paper.small),
                end.devices,
                end.tokens_per_second,
                colour,
                len(curve.points) > 1,
            )
        )
    return written


def _ideal(axes: Axes, curve: Curve, colour: str) -> None:
    for part in (part for part in curve.parts if len(part) > 1):
        per_device = part[0].tokens_per_second / part[0].devices
        sizes = [point.devices for point in part]
        axes.plot(
            sizes, [per_device * size for size in sizes], color=colour, linewidth=0.9, linestyle=look.IDEAL, alpha=0.7
        )


def intervals(axes: Axes, curve: Curve, colour: str) -> None:
    below = [p.tokens_per_second - p.low for p in curve.points]
    above = [p.high - p.tokens_per_second for p in curve.points]
    if any(below) or any(above):
        axes.errorbar(
            [p.devices for p in curve.points], [p.tokens_per_second for p in curve.points], yerr=[below, above],
            fmt="none", ecolor=colour, elinewidth=1, capsize=2.5,
        )  # fmt: skip


def draw_points(axes: Axes, points: tuple[Point, ...], heights: list[float], colour: str, marker: str) -> None:
    line = "-" if len(points) > 1 else "none"
    axes.plot(
        [p.devices for p in points], heights, color=colour, marker=marker, linestyle=line, markeredgecolor="white",
        markeredgewidth=0.6, zorder=3, clip_on=False,
    )  # fmt: skip


def efficiency_title(rows: list[Row]) -> str:
    kinds = {row["efficiency_kind"] for row in rows if row["efficiency"] is not None}
    return f"{kinds.pop()}-scaling efficiency (%)" if len(kinds) == 1 else "scaling efficiency (%)"


def how_to_read(rows: list[Row], found: list[Panel]) -> str:
    drawn = sum(len(curve.points) for panel in found for curve in panel.curves)
    said = []
    if any(curve.parts for panel in found for curve in panel.curves):
        said.append("dashed: ideal, from the smallest row that can be compared")
    if len(rows) > drawn:
        left_out = len(rows) - drawn
        start = "1 row is" if left_out == 1 else f"{left_out} rows are"
        said.append(f"{start} not drawn: no other size, or another batch was faster")
    return "; ".join(said)


def _arrange(figure: Figure, columns: int, margin: float, heading: float) -> None:
    """Leave room for the heading, and at the right of each panel for its names (inches)."""
    width, height = figure.get_size_inches()
    left, between = 0.75, margin + 0.2
    panel = (width - left - margin - (columns - 1) * between) / columns
    titled = 0.28 if columns > 1 else 0.12
    figure.subplots_adjust(
        left=left / width, right=1 - margin / width, top=1 - (heading + titled) / height, bottom=0.5 / height, hspace=0.1,
        wspace=between / panel,
    )  # fmt: skip
