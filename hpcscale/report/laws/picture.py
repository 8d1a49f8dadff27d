"""The chart of scaling laws: time of a step above, efficiency below, a column for each line.

Fitted places are full, held-out ones hollow; each law has a band, the ideal is dashed, the knee is marked on the efficiency.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcscale.report.laws.analysis import Analysis, Answer, LineAnswer
from hpcscale.report.laws.forms import PHYSICAL, TITLES, Floats
from hpcscale.report.laws.lines import Line, Place
from hpcscale.spec.problems import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
_MOST_LINES = 4
# Okabe and Ito, each law with a line of its own for readers who see few colours
_LOOKS: dict[str, tuple[str, Any]] = {
    "amdahl": ("#0072B2", "-"), "gustafson": ("#0072B2", "-"), "usl": ("#D55E00", (0, (6, 2))), PHYSICAL: ("#009E73", (0, (1, 1.2))),
}  # fmt: skip
_INK, _GREY, _GRID = "#111111", "#666666", "#DDDDDD"
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "hpcscale", "svg.fonttype": "none", "pdf.fonttype": 42, "font.size": 9.0, "axes.spines.top": False,
    "axes.spines.right": False, "axes.linewidth": 0.8, "lines.linewidth": 1.6,
}  # fmt: skip
# Neither a date nor a version: the same table gives the same bytes.
_METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}, ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}  # fmt: skip


def check_suffix(path: Path) -> None:
    """Raises InputError for a file name that says no format."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{path}: a chart is written as {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}, not '{path.suffix}'"
        )


def save(found: Analysis, path: Path) -> None:
    """Draw the lines that have laws. Raises InputError where there is none, or more than fit side by side."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    check_suffix(path)
    drawn = [each for each in found.lines if each.answers]
    if not drawn:
        raise InputError("there is nothing to draw: no line has two sizes that laws may be fitted on")
    if len(drawn) > _MOST_LINES:
        names = "; ".join(each.line.name for each in drawn[:6])
        raise InputError(
            f"a chart holds {_MOST_LINES} lines and there are {len(drawn)}; choose with --series, for example of: {names}"
        )
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(max(5.6, 4.4 * len(drawn)), 6.6))
        grid = figure.subplots(2, len(drawn), squeeze=False, sharex="col", height_ratios=(3, 2))
        for column, each in enumerate(drawn):
            _column(grid[0][column], grid[1][column], each, found)
        grid[0][0].set_ylabel("seconds per step")
        grid[1][0].set_ylabel("efficiency (%)")
        _legend(figure, drawn)
        figure.savefig(path, dpi=160, metadata=_METADATA[path.suffix.lower()])


def _column(top: Axes, bottom: Axes, each: LineAnswer, found: Analysis) -> None:
    line = each.line
    sizes = _range(each, found)
    for answer in each.answers:
        if answer.judged.fit:
            _law(top, bottom, each, answer, sizes)
    _ideal(top, bottom, line, sizes)
    _measured(top, bottom, each)
    _knees(bottom, each, found.question.efficiency)
    top.set_title(line.name, loc="left", fontsize=9, fontweight="bold")
    bottom.set_xlabel(line.unit)
    _axes(top, bottom, line, sizes)


def _range(each: LineAnswer, found: Analysis) -> Floats:
    """The sizes that are drawn: the rows', --to, and the best law's knee if it lies not far beyond."""
    sizes = [float(size) for size in each.line.sizes]
    if found.question.to:
        sizes.append(each.line.devices_of(found.question.to))
    knees = [answer.knee.devices for answer in each.answers if answer.knee and answer.knee.devices]
    sizes += [size for size in knees if size < 4 * max(sizes)]
    return np.geomspace(min(sizes), max(sizes), 80)


def _law(top: Axes, bottom: Axes, each: LineAnswer, answer: Answer, sizes: Floats) -> None:
    fit = answer.judged.fit
    assert fit is not None
    colour, dashes = _LOOKS[answer.judged.name]
    x = sizes / (each.line.devices_per_node or 1)
    # From the smallest fitted size on: a law is not asked about what lies before it.
    start = float(each.fitted[0].devices)
    scale = _step(each.line, sizes)
    band, share = fit.band(sizes), fit.efficiency(sizes, start)
    for axes, middle, low, high in (
        (top, band.middle * scale, band.low * scale, band.high * scale),
        (bottom, 100 * share.middle, 100 * share.low, 100 * share.high),
    ):
        axes.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0, zorder=1)
        axes.plot(x, middle, color=colour, linestyle=dashes, zorder=2)


def _step(line: Line, devices: Floats) -> Floats:
    """What turns device-seconds per token into seconds per step."""
    length = line.places[0].row["sequence_length"] or 1
    return line.batch * length * (np.ones_like(devices) if line.kind == "weak" else 1 / devices)


def _ideal(top: Axes, bottom: Axes, line: Line, sizes: Floats) -> None:
    first = line.places[0]
    ideal = first.device_seconds_per_token * _step(line, sizes)
    look: dict[str, Any] = {"color": _GREY, "linewidth": 0.9, "linestyle": (0, (4, 3)), "zorder": 1}
    top.plot(sizes / (line.devices_per_node or 1), ideal, **look)
    bottom.axhline(100, **look)


def _measured(top: Axes, bottom: Axes, each: LineAnswer) -> None:
    for place in each.line.places:
        x = each.line.shown(place.devices)
        hollow = place in each.held_out
        seconds = place.device_seconds_per_token * float(_step(each.line, np.array([float(place.devices)]))[0])
        look: dict[str, Any] = {
            "marker": "o",
            "markersize": 5.5,
            "color": _INK,
            "markerfacecolor": "white" if hollow else _INK,
        }
        top.plot([x], [seconds], zorder=4, **look)
        bottom.plot([x], [100 * place.efficiency], zorder=4, clip_on=False, **look)
        _bars(top, bottom, place, x, seconds)


def _bars(top: Axes, bottom: Axes, place: Place, x: float, seconds: float) -> None:
    low, middle, high = (place.row[name] for name in ("step_seconds_low", "step_seconds", "step_seconds_high"))
    look: dict[str, Any] = {"fmt": "none", "ecolor": _INK, "elinewidth": 1, "capsize": 2.5, "zorder": 3}
    if low and middle and high and high > low:
        top.errorbar([x], [seconds], yerr=[[seconds * (1 - low / middle)], [seconds * (high / middle - 1)]], **look)
    if place.efficiency_low is not None and place.efficiency_high is not None:
        below, above = place.efficiency - place.efficiency_low, place.efficiency_high - place.efficiency
        bottom.errorbar([x], [100 * place.efficiency], yerr=[[100 * below], [100 * above]], **look)


def _knees(bottom: Axes, each: LineAnswer, bound: float) -> None:
    low, high = bottom.get_xlim()
    bottom.axhline(100 * bound, color=_GREY, linewidth=0.7, zorder=1)
    for answer in each.answers:
        knee = answer.knee.devices if answer.knee else None
        if knee is not None and low <= each.line.shown(knee) <= high:
            colour = _LOOKS[answer.judged.name][0]
            bottom.plot([each.line.shown(knee)] * 2, [0, 100 * bound], color=colour, linewidth=0.9, zorder=2)
            bottom.plot([each.line.shown(knee)], [100 * bound], marker="v", markersize=6, color=colour, zorder=5)


def _axes(top: Axes, bottom: Axes, line: Line, sizes: Floats) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

    low, high = (each / (line.devices_per_node or 1) for each in (sizes[0], sizes[-1]))
    bottom.set_xscale("log", base=2)
    bottom.set_xlim(low / 1.12, high * 1.12)
    doublings = [low * 2**k for k in range(20) if low * 2**k <= high * 1.01]
    ticks = (
        doublings if all(each == int(each) for each in doublings) else [2**k for k in range(24) if low <= 2**k <= high]
    )
    bottom.xaxis.set_major_locator(FixedLocator(ticks[:: 1 + len(ticks) // 9]))
    bottom.xaxis.set_minor_locator(NullLocator())
    bottom.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    seconds = [
        place.device_seconds_per_token * float(_step(line, np.array([float(place.devices)]))[0])
        for place in line.places
    ]
    if line.kind == "strong" and max(seconds) > 2 * min(seconds):
        top.set_yscale("log")
        top.yaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
        top.yaxis.set_minor_formatter(NullFormatter())
    else:  # a weak line's times are nearly the same: from zero, or every loss looks large
        top.set_ylim(0, min(top.get_ylim()[1], 2 * max(seconds)))
    top.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    bottom.set_ylim(0, max(110.0, 105 * max(place.efficiency for place in line.places)))
    bottom.set_yticks(range(0, 101, 20))
    for axes in (top, bottom):
        axes.grid(True, color=_GRID, linewidth=0.6)
        axes.set_axisbelow(True)


def _legend(figure: Figure, drawn: list[LineAnswer]) -> None:
    """One for all columns, in the top margin."""
    from matplotlib.lines import Line2D

    names = dict.fromkeys(answer.judged.name for each in drawn for answer in each.answers if answer.judged.fit)
    handles = [
        Line2D([], [], color=_LOOKS[name][0], linestyle=_LOOKS[name][1], label=f"{TITLES[name]}, 80 %")
        for name in names
    ]
    dot: dict[str, Any] = {"marker": "o", "color": _INK, "linestyle": "none"}
    handles.append(Line2D([], [], label="fitted", **dot))
    if any(each.held_out for each in drawn):
        handles.append(Line2D([], [], label="held out", markerfacecolor="white", **dot))
    handles.append(Line2D([], [], color=_GREY, linewidth=0.9, linestyle=(0, (4, 3)), label="ideal"))
    handles.append(Line2D([], [], color=_GREY, marker="v", linestyle="none", label="knee"))
    width, height = figure.get_size_inches()
    columns = min(len(handles), max(3, int(width / 1.45)))
    lines = -(-len(handles) // columns)
    figure.legend(
        handles=handles,
        loc="upper left",
        ncols=columns,
        frameon=False,
        fontsize=8,
        bbox_to_anchor=(0.0, 1.0),
        columnspacing=1.4,
    )
    figure.subplots_adjust(
        left=0.75 / width, right=1 - 0.2 / width, bottom=0.5 / height, top=1 - (0.45 + 0.19 * lines) / height, hspace=0.08, wspace=0.18,
    )  # fmt: skip
