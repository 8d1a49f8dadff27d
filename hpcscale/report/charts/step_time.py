"""Step time: by term where rows have predictions, beside what was measured; else against the number of devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcscale.ingest.terms import GROUPS, by_group
from hpcscale.report import text
from hpcscale.report.charts import bars, lines, models, names
from hpcscale.report.charts.paper import NothingToDraw, Paper, heading, plain
from hpcscale.report.columns import Row
from hpcscale.report.curves import able, panels
from hpcscale.report.labels import inches

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 24
_VISIBLE = 0.004  # share of a bar that paper shows
# A colour and a hatch each: apart for those who see few colours, and in black and white. In the order of GROUPS.
LOOKS = (("#0072B2", ""), ("#56B4E9", ""), ("#DDDDDD", ""), ("#009E73", "////"), ("#E69F00", ""), ("#D55E00", "\\\\\\\\"), ("#7F7F7F", ""))  # fmt: skip


def draw(rows: list[Row], paper: Paper) -> Figure:
    timed = [row for row in rows if row["step_seconds"] and row["status"] == "completed"]
    if not timed:
        raise NothingToDraw("there is nothing to draw for 'step-time': no completed row has a time per step")
    foreseen = [row for row in timed if row["origin"] == "predicted" or row["predicted_step_seconds"]][:MOST]
    terms = by_group(foreseen, [models.of_row(row) for row in foreseen])
    predicted = [(row, found) for row, found in zip(foreseen, terms, strict=True) if found]
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


def _by_term(shown: list[tuple[Row, dict[str, float]]], of: int, paper: Paper) -> Figure:
    from matplotlib.figure import Figure

    rows = [row for row, _ in shown]
    titles = bars.fitting(names.of_rows(rows), paper)
    measured = any(row["origin"] != "predicted" for row in rows)
    key = _key_lines([found for _, found in shown], paper)
    shape = bars.room(titles, paper, top=0.1 + _line(paper) * len(key))
    figure = Figure(figsize=(paper.width, 1.6 + shape.row * len(rows)))
    axes = figure.subplots()
    for position, (row, found) in enumerate(shown):
        _stack(axes, position, row, found, 0.42 if shape.above else 0.62, paper)
    bars.name_rows(axes, titles, shape, paper)
    panel = paper.width - shape.left - 0.2
    rooms = (panel - inches(_numbers(row, found), paper.small) - 0.08 for row, found in shown)
    axes.set_xlim(
        0,
        max(_end(row, found) * panel / max(0.4 * panel, room) for (row, found), room in zip(shown, rooms, strict=True)),
    )
    axes.set_xlabel("seconds per step")
    axes.grid(True, axis="x", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    said = [f"{len(shown)} of {of} rows" if of > len(shown) else "", "bars: predicted, by term"]
    said.append("diamonds: measured or published" if measured else "")
    if any(row["origin"] == "predicted" and row["step_seconds_low"] is not None for row in rows):
        said.append("lines: a prediction's 80 % interval" if measured else "lines: 80 % interval")
    said.append("numbers: measured (predicted)" if measured else "")
    bars.arrange(figure, shape, heading(figure, rows, "; ".join(filter(None, said)), paper))
    _draw_key(figure, axes, key, paper)
    return figure


def _stack(axes: Axes, position: int, row: Row, found: dict[str, float], height: float, paper: Paper) -> None:
    start = 0.0
    for (colour, hatch), seconds in zip(LOOKS, found.values(), strict=True):
        axes.barh(
            position, seconds, left=start, height=height, color=colour, hatch=hatch, edgecolor="white", linewidth=0.3
        )
        start += seconds
    low, high, value = row["step_seconds_low"], row["step_seconds_high"], row["step_seconds"]
    if low is not None and high is not None:
        axes.errorbar(value, position, xerr=[[max(0.0, value - low)], [max(0.0, high - value)]], fmt="none", ecolor="black", elinewidth=0.8, capsize=2)  # fmt: skip
    if row["origin"] != "predicted":
        axes.plot(
            [value],
            [position],
            marker="D",
            color="black",
            markeredgecolor="white",
            markersize=5,
            linestyle="none",
            zorder=4,
        )
    plain(axes.text(_end(row, found), position, f"  {_numbers(row, found)}", va="center", fontsize=paper.small))


def _end(row: Row, found: dict[str, float]) -> float:
    """Where the bar and its marks end, in seconds."""
    return max(sum(found.values()), row["step_seconds"], row["step_seconds_high"] or 0)


def _numbers(row: Row, found: dict[str, float]) -> str:
    predicted = text.significant(sum(found.values()), 3)
    return predicted if row["origin"] == "predicted" else f"{text.significant(row['step_seconds'], 3)} ({predicted})"


def _line(paper: Paper) -> float:
    return 0.19 * paper.size / 9


def _box(paper: Paper) -> float:
    return 0.11 * paper.size / 9


def _key_lines(stacks: list[dict[str, float]], paper: Paper) -> list[list[tuple[str, float]]]:
    """The groups that some bar shows, in the bars' order, in lines that fit: (group, inches from the left).

    A key, not names beside the parts: no bar need have all of them, and some parts are too thin to be pointed at.
    """
    lines: list[list[tuple[str, float]]] = [[]]
    at = start = 0.16
    for group in GROUPS:
        if all(found[group] <= _VISIBLE * sum(found.values()) for found in stacks):
            continue
        wide = _box(paper) + 0.06 + inches(group, paper.small) + 0.14
        if lines[-1] and at + wide > paper.width:
            lines.append([])
            at = start
        lines[-1].append((group, at))
        at += wide
    return lines


def _draw_key(figure: Figure, axes: Axes, lines: list[list[tuple[str, float]]], paper: Paper) -> None:
    from matplotlib.patches import Rectangle

    width, height = figure.get_size_inches()
    looks, box = dict(zip(GROUPS, LOOKS, strict=True)), _box(paper)
    top = axes.get_position().y1 * height + 0.02 + _line(paper) * (len(lines) - 1)
    for number, members in enumerate(lines):
        bottom = top - number * _line(paper)
        for group, left in members:
            colour, hatch = looks[group]
            figure.add_artist(
                Rectangle(
                    (left / width, bottom / height),
                    box / width,
                    box / height,
                    facecolor=colour,
                    hatch=hatch,
                    edgecolor="white",
                    linewidth=0.3,
                )
            )
            figure.text(
                (left + box + 0.06) / width, (bottom + box / 2) / height, group, va="center", fontsize=paper.small
            )
