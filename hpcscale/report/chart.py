"""Charts: throughput and efficiency against the number of devices, as PNG or SVG.

Readable in print and by people who see few colours: every series has a marker of its own and its name at its end.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from hpcscale.report import axes as look
from hpcscale.report import labels, text
from hpcscale.report.columns import lay_out
from hpcscale.report.curves import Curve, Panel, Point, Row, drawable, panels
from hpcscale.report.labels import Label
from hpcscale.report.series import grouped, identity, names
from hpcscale.spec.problems import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")
# Okabe and Ito's colours without yellow, which paper swallows, and two dark ones
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F", "#882255", "#44580B")
MARKERS = ("o", "s", "^", "D", "v", "p", "<", ">", "h", "8", "d")
_MOST_BARS = 40
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "hpcscale",  # the same chart is the same file
    "svg.fonttype": "none",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.5,
}


def check_suffix(path: Path) -> None:
    """Raises InputError for a file name that says neither PNG nor SVG."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: a chart is written as {' or '.join(SUFFIXES)}, not '{path.suffix}'")


def save(frame: pd.DataFrame, path: Path) -> None:
    """Draw the table's chart into ``path``. Raises InputError for another suffix, or if no row has a throughput."""
    import matplotlib as mpl

    check_suffix(path)
    rows = drawable(frame)
    if not rows:
        raise InputError("there is nothing to draw: no completed row has both a number of devices and a throughput")
    with mpl.rc_context(_STYLE):
        found = panels(rows)
        figure = _curves(rows, found) if found else _bars(rows)
        # Neither a date nor a version: the same table gives the same bytes.
        svg = path.suffix.lower() == ".svg"
        figure.savefig(path, dpi=160, metadata={"Date": None, "Creator": None} if svg else {"Software": None})


def _curves(rows: list[Row], found: list[Panel]) -> Figure:
    """A column for each panel: throughput above, efficiency (where there is any) below."""
    from matplotlib.figure import Figure

    efficiencies = [
        100 * (p.efficiency or 0) for panel in found for c in panel.curves for part in c.parts for p in part
    ]
    figure = Figure(figsize=(max(7.2, 4.2 * len(found)), 6.8 if efficiencies else 4.4))
    figure.subplots(
        2 if efficiencies else 1, len(found), squeeze=False, sharex="col", sharey="row",
        height_ratios=(3, 2) if efficiencies else None,
    )  # fmt: skip
    top_row, bottom_row = figure.axes[: len(found)], figure.axes[-len(found) :]
    looks = _looks(found)
    written = [_throughput(top, panel, looks) for top, panel in zip(top_row, found, strict=True)]
    for bottom, panel in zip(bottom_row, found, strict=True):
        if efficiencies:
            look.efficiency(bottom, max(efficiencies))
            for curve in panel.curves:
                for part in curve.parts:
                    _points(bottom, part, [100 * (point.efficiency or 0) for point in part], *looks[curve.label])
        look.devices(bottom, [point.devices for curve in panel.curves for point in curve.points])
        bottom.set_xlabel("nodes" if all(row["nodes"] == row["devices"] for row in rows) else "devices")
    look.throughput(top_row[0])
    for each in figure.axes:
        look.grid(each)
    top_row[0].set_ylabel("tokens/s")
    if efficiencies:
        bottom_row[0].set_ylabel(_efficiency_title(rows))
    margin = max(labels.margin_inches(each) for each in written)
    _arrange(figure, len(found), margin, _heading(figure, rows, found))
    for top, each in zip(top_row, written, strict=True):
        labels.place(top, each)
    return figure


def _looks(found: list[Panel]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each label: the same in every panel."""
    distinct = dict.fromkeys(curve.label for panel in found for curve in panel.curves)
    return {label: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, label in enumerate(distinct)}


def _throughput(axes: Axes, panel: Panel, looks: dict[str, tuple[str, str]]) -> list[Label]:
    axes.set_title(panel.title, loc="left", fontsize=9, fontweight="bold")
    written = []
    for curve in panel.curves:
        colour, marker = looks[curve.label]
        _ideal(axes, curve, colour)
        _points(axes, curve.points, [p.tokens_per_second for p in curve.points], colour, marker)
        _intervals(axes, curve, colour)
        end = curve.points[-1]
        written.append(Label(curve.label, end.devices, end.tokens_per_second, colour, len(curve.points) > 1))
    return written


def _ideal(axes: Axes, curve: Curve, colour: str) -> None:
    for part in (part for part in curve.parts if len(part) > 1):
        per_device = part[0].tokens_per_second / part[0].devices
        sizes = [point.devices for point in part]
        axes.plot(
            sizes, [per_device * size for size in sizes], color=colour, linewidth=0.9, linestyle=look.IDEAL, alpha=0.7
        )


def _intervals(axes: Axes, curve: Curve, colour: str) -> None:
    below = [p.tokens_per_second - p.low for p in curve.points]
    above = [p.high - p.tokens_per_second for p in curve.points]
    if any(below) or any(above):
        axes.errorbar(
            [p.devices for p in curve.points], [p.tokens_per_second for p in curve.points], yerr=[below, above],
            fmt="none", ecolor=colour, elinewidth=1, capsize=2.5,
        )  # fmt: skip


def _points(axes: Axes, points: tuple[Point, ...], heights: list[float], colour: str, marker: str) -> None:
    line = "-" if len(points) > 1 else "none"
    axes.plot(
        [p.devices for p in points], heights, color=colour, marker=marker, linestyle=line, markeredgecolor="white",
        markeredgewidth=0.6, zorder=3, clip_on=False,
    )  # fmt: skip


def _efficiency_title(rows: list[Row]) -> str:
    kinds = {row["efficiency_kind"] for row in rows if row["efficiency"] is not None}
    return f"{kinds.pop()}-scaling efficiency (%)" if len(kinds) == 1 else "scaling efficiency (%)"


def _heading(figure: Figure, rows: list[Row], found: list[Panel]) -> float:
    """What all rows share, and how to read the chart. Returns its height in inches."""
    drawn = sum(len(curve.points) for panel in found for curve in panel.curves)
    said = []
    if any(curve.parts for panel in found for curve in panel.curves):
        said.append("dashed: ideal, from the smallest row that can be compared")
    if len(rows) > drawn:
        said.append(f"{len(rows) - drawn} rows are not drawn: no other size, or another batch was faster")
    return _write_heading(figure, rows, "; ".join(said))


_COMMON = ("Source", "Machine", "Model", "Devices", "Seq. length", "Precision", "GBS", "MBS", "AC")
_SELF_EVIDENT = ("Source", "Machine", "Model", "Precision")


def _write_heading(figure: Figure, rows: list[Row], said: str) -> float:
    common = dict(lay_out(rows).common)
    words = [
        common[title] if title in _SELF_EVIDENT else f"{title} {common[title]}"
        for title in _COMMON
        if common.get(title)
    ]
    width, height = figure.get_size_inches()
    at = 0.12
    unbroken = [word.replace(" ", "\N{NO-BREAK SPACE}") for word in words]
    for line in textwrap.wrap(" · ".join(unbroken), int((width - 0.3) / 0.08)):
        figure.text(0.12 / width, 1 - at / height, line, va="top", fontsize=9, fontweight="bold")
        at += 0.19
    if said:
        figure.text(0.12 / width, 1 - at / height, said, va="top", fontsize=8, color=look.GREY)
        at += 0.19
    return at


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


def _bars(rows: list[Row]) -> Figure:
    """No series has two sizes: throughput per device, row by row."""
    from matplotlib.figure import Figure

    shown = rows[:_MOST_BARS]
    series_names = names(grouped(shown))
    one_size = len({row["devices"] for row in shown}) == 1
    titles = [series_names[identity(row)] + ("" if one_size else f", {row['devices']:,} devices") for row in shown]
    values = [row["tokens_per_second_per_device"] for row in shown]
    figure = Figure(figsize=(7.2, 1.1 + 0.27 * len(shown)))
    axes = figure.subplots()
    axes.barh(range(len(shown)), values, color=COLOURS[0], height=0.62)
    for position, value in enumerate(values):
        axes.text(value, position, " " + text.significant(value), va="center", fontsize=8)
    axes.set_yticks(range(len(shown)), titles)
    axes.invert_yaxis()
    axes.set_xlabel("tokens/s per device")
    axes.set_xlim(0, max(values) * 1.12)
    axes.tick_params(axis="y", length=0)
    said = f"the first {len(shown)} of {len(rows)} rows" if len(rows) > len(shown) else ""
    heading = _write_heading(figure, rows, said)
    width, height = figure.get_size_inches()
    left = 0.3 + 0.072 * max(len(title) for title in titles)
    figure.subplots_adjust(
        left=left / width, right=1 - 0.3 / width, top=1 - (heading + 0.08) / height, bottom=0.5 / height
    )
    return figure
