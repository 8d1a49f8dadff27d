"""Bars: a row of the table each, its name at the left (above it where names are long), its value at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcscale.report.axes import GREY
from hpcscale.report.charts.paper import COLOURS, Paper, heading, plain
from hpcscale.report.columns import Row
from hpcscale.report.labels import fitted, inches

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 40


@dataclass(frozen=True)
class Bar:
    """``value`` None: nothing is drawn but ``text``. ``limit``: a mark that it is seen against; ``low`` and ``high``: its
    interval."""

    value: float | None
    text: str
    colour: str = COLOURS[0]
    hatch: str = ""
    limit: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Axis:
    """One set of bars, a bar a row."""

    title: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Room:
    """Inches: at the left of the axes, of a row, and above the axes (for labels)."""

    left: float
    row: float
    above: bool
    top: float = 0.08


def fitting(names: Sequence[str], paper: Paper) -> list[str]:
    return [fitted(name, paper.width - 0.5, paper.size) for name in names]


def room(names: Sequence[str], paper: Paper, top: float = 0.08, widest: float = 0.42) -> Room:
    left = 0.2 + max(inches(name, paper.size) for name in names)
    above = left > widest * paper.width
    return Room(0.2 if above else left, (0.4 if above else 0.27) * paper.size / 9, above, top)


def draw(rows: list[Row], names: Sequence[str], found: Sequence[Axis], paper: Paper, said: str = "") -> Figure:
    """A figure with the axes side by side, whose rows are the same."""
    from matplotlib.figure import Figure

    names = fitting(names, paper)
    shape = room(names, paper)
    figure = Figure(figsize=(paper.width, 1.2 + shape.row * len(names)))
    axes = figure.subplots(1, len(found), squeeze=False)[0]
    between = 0.25 if len(found) > 1 else 0
    for each, axis in zip(axes, found, strict=True):
        _fill(each, axis, paper, shape, _panel(paper.width, shape.left, len(found), between))
    for number, each in enumerate(axes):
        name_rows(each, names if number == 0 else [""] * len(names), shape, paper)
    arrange(figure, shape, heading(figure, rows, said, paper), between)
    return figure


def _panel(width: float, left: float, columns: int, between: float) -> float:
    """How wide each of the axes is, in inches."""
    return (width - left - 0.12 - (columns - 1) * between) / columns


def _fill(axes: Axes, axis: Axis, paper: Paper, shape: Room, width: float) -> None:
    """``width``: of the axes, in inches."""
    height = 0.42 if shape.above else 0.62
    largest = max((max(bar.value or 0, bar.limit or 0, bar.high or 0) for bar in axis.bars), default=1) or 1
    text_share = max(inches(bar.text, paper.small) for bar in axis.bars) / width * 1.4
    for position, bar in enumerate(axis.bars):
        if bar.value is not None:
            axes.barh(
                position, bar.value, color=bar.colour, height=height, hatch=bar.hatch, edgecolor="white" if bar.hatch else bar.colour,
                linewidth=0,
            )  # fmt: skip
        if bar.low is not None and bar.high is not None and bar.value is not None:
            spread = [[bar.value - bar.low], [bar.high - bar.value]]
            axes.errorbar(bar.value, position, xerr=spread, fmt="none", ecolor="black", elinewidth=0.8, capsize=2)
        if bar.limit is not None:
            axes.plot([bar.limit] * 2, [position - 0.42, position + 0.42], color="black", linewidth=1.1)
        end = max(bar.value or 0, bar.high or 0)
        # beyond the mark where the text would run through it
        wide = 1.3 * largest * text_share / max(1.0, 1 + text_share)
        if bar.limit is not None and end <= bar.limit < end + wide:
            end = bar.limit
        plain(axes.text(end, position, f" {bar.text}", va="center", fontsize=paper.small))
    axes.set_xlim(0, largest * (1.04 + text_share))
    axes.set_xlabel(axis.title)
    axes.grid(True, axis="x", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)


def name_rows(axes: Axes, names: Sequence[str], shape: Room, paper: Paper) -> None:
    """Names at the left or, where they are long, above their bars."""
    axes.set_ylim(len(names) - 0.45, -0.9 if shape.above else -0.55)
    axes.tick_params(axis="y", length=0)
    if not shape.above:
        axes.set_yticks(range(len(names)), names)
        for label in axes.get_yticklabels():
            plain(label)
        return
    axes.set_yticks([])
    for position, name in enumerate(names):
        # not on the axis itself, which would look like a letter
        written = axes.annotate(
            name,
            (0, position - 0.27),
            (3, 0),
            textcoords="offset points",
            va="bottom",
            fontsize=paper.small,
            color=GREY,
        )
        plain(written)


def arrange(figure: Figure, shape: Room, top: float, between: float = 0) -> None:
    width, height = figure.get_size_inches()
    columns = max(1, len(figure.axes))
    panel = _panel(width, shape.left, columns, between)
    figure.subplots_adjust(
        left=shape.left / width, right=1 - 0.12 / width, top=1 - (top + shape.top) / height, bottom=0.5 / height,
        wspace=between / panel,
    )  # fmt: skip


def cut(rows: list[Row], most: int = MOST) -> tuple[list[Row], str]:
    """As many rows as a page holds, and what to say about the others."""
    if len(rows) <= most:
        return rows, ""
    return rows[:most], f"the first {most} of {len(rows)} rows"
