"""Step time: by term where rows have predictions, beside what was measured; else against the number of devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcscale.ingest.terms import by_group
from hpcscale.report import text
from hpcscale.report.charts import bars, lines, models, names
from hpcscale.report.charts.paper import NothingToDraw, Paper, heading, inches, plain
from hpcscale.report.columns import Row
from hpcscale.report.curves import able, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 24
# A colour and a hatch each: apart for those who see few colours, and in black and white. In the order of GROUPS.
LOOKS = (("#0072B2", ""), ("#56B4E9", ""), ("#DDDDDD", ""), ("#009E73", "////"), ("#E69F00", ""), ("#D55E00", "\\\\\\\\"), ("#7F7F7F", ""))  # fmt: skip


def draw(rows: list[Row], paper: Paper) -> Figure:
    timed = [row for row in rows if row["step_seconds"] and row["status"] == "completed"]
    if not timed:
        raise NothingToDraw("there is nothing to draw for 'step-time': no completed row has a time per step")
    terms = by_group(timed, [models.of_row(row) for row in timed])
    predicted = [(row, found) for row, found in zip(timed, terms, strict=True) if found]
    if predicted:
        return _by_term(predicted, len(timed), paper)
    if panels(able(timed)):
        return lines.draw(timed, paper, "step-time")
    shown, said = bars.cut(timed)
    found = tuple(_plain_bar(row) for row in shown)
    return bars.draw(shown, names.of_rows(shown), [bars.Axis("seconds per step", found)], paper, said)


def _plain_bar(row: Row) -> bars.Bar:
    value = row["step_seconds"]
    return bars.Bar(value, text.significant(value), low=row["step_seconds_low"], high=row["step_seconds_high"])


def _by_term(predicted: list[tuple[Row, dict[str, float]]], of: int, paper: Paper) -> Figure:
    from matplotlib.figure import Figure

    shown = predicted[:MOST]
    rows = [row for row, _ in shown]
    titles = names.of_rows(rows)
    measured = any(row["origin"] != "predicted" for row in rows)
    shape = bars.room(titles, paper, top=0.5)
    figure = Figure(figsize=(paper.width, 1.6 + shape.row * len(rows)))
    axes = figure.subplots()
    for position, (row, found) in enumerate(shown):
        _stack(axes, position, row, found, 0.42 if shape.above else 0.62, paper)
    bars.name_rows(axes, titles, shape, paper)
    ends = [max(sum(found.values()), row["step_seconds"], row["step_seconds_high"] or 0) for row, found in shown]
    axes.set_xlim(0, max(ends) * 1.12)
    axes.set_xlabel("seconds per step")
    axes.grid(True, axis="x", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    said = [f"{len(shown)} of {of} rows" if of > len(shown) else "", "bars: predicted, by term"]
    said.append("diamonds: measured or published" if measured else "lines: 80 % interval")
    bars.arrange(figure, shape, heading(figure, rows, "; ".join(filter(None, said)), paper))
    longest = max(range(len(shown)), key=lambda i: sum(shown[i][1].values()))
    _name_terms(axes, shown[longest][1], longest, paper)
    return figure


def _stack(axes: Axes, position: int, row: Row, found: dict[str, float], height: float, paper: Paper) -> None:
    start = 0.0
    for (colour, hatch), seconds in zip(LOOKS, found.values(), strict=True):
        axes.barh(position, seconds, left=start, height=height, color=colour, hatch=hatch, edgecolor="white", linewidth=0.3)
        start += seconds
    low, high, value = row["step_seconds_low"], row["step_seconds_high"], row["step_seconds"]
    if low is not None and high is not None:
        axes.errorbar(value, position, xerr=[[max(0.0, value - low)], [max(0.0, high - value)]], fmt="none", ecolor="black", elinewidth=0.8, capsize=2)  # fmt: skip
    if row["origin"] != "predicted":
        axes.plot([value], [position], marker="D", color="black", markeredgecolor="white", markersize=5, linestyle="none", zorder=4)
    plain(axes.text(max(start, value, high or 0), position, f"  {text.significant(start, 3)}", va="center", fontsize=paper.small))


def _name_terms(axes: Axes, found: dict[str, float], longest: int, paper: Paper) -> None:
    """The groups' names above the axes, each as near as possible to its part of the longest bar, with a line to it."""
    width = axes.get_window_extent().width / axes.figure.dpi
    scale = width / axes.get_xlim()[1]
    total, start, wanted = sum(found.values()), 0.0, []
    for (group, seconds), (colour, _) in zip(found.items(), LOOKS, strict=True):
        if seconds > 0.004 * total:
            wanted.append((group, (start + seconds / 2) * scale, colour))
        start += seconds
    rows_of_names = _two_rows(wanted, width, paper)
    for level, members in enumerate(rows_of_names):
        for (group, at, colour), place in members:
            above = (0.10 + 0.17 * level) * paper.size / 9
            axes.annotate(
                group, xy=(at / scale, longest - 0.3), xytext=(place / width, 1 + above / (axes.get_window_extent().height / axes.figure.dpi)),
                textcoords="axes fraction", ha="center", va="bottom", fontsize=paper.small, annotation_clip=False,
                arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0},
            )  # fmt: skip


Name = tuple[str, float, str]


def _two_rows(wanted: list[Name], width: float, paper: Paper) -> list[list[tuple[Name, float]]]:
    """In one row where they fit, else alternating in two: (name, its centre in inches)."""
    for count in (1, 2, 3):
        levels = [wanted[level::count] for level in range(count)]
        if all(sum(_wide(name, paper) for name in level) <= width + 0.6 for level in levels):
            break
    return [_placed(level, width, paper) for level in levels]


def _wide(name: Name, paper: Paper) -> float:
    return inches(name[0], paper.small) + 0.12


def _placed(level: list[Name], width: float, paper: Paper) -> list[tuple[Name, float]]:
    """Moved apart so that none touches its neighbour and none begins before the axes."""
    centres: list[float] = []
    edge = -0.1
    for name in level:
        half = _wide(name, paper) / 2
        centres.append(max(name[1], edge + half))
        edge = centres[-1] + half
    edge = width + 0.12
    for i in reversed(range(len(level))):
        half = _wide(level[i], paper) / 2
        centres[i] = min(centres[i], edge - half)
        edge = centres[i] - half
    return list(zip(level, centres, strict=True))


