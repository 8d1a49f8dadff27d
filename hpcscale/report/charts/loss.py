"""Loss curves, from the records of rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from hpcscale.ingest.imported import steps_of
from hpcscale.record.reader import read
from hpcscale.report import axes as look
from hpcscale.report import labels
from hpcscale.report.charts import names
from hpcscale.report.charts.paper import COLOURS, MARKERS, NothingToDraw, Paper, heading
from hpcscale.report.columns import Row
from hpcscale.report.labels import Label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 10


@dataclass(frozen=True)
class Curve:
    steps: list[int]
    tokens: list[float]  # seen after each step; empty where a step does not say how many it had
    losses: list[float]


def draw(rows: list[Row], paper: Paper) -> Figure:
    recorded = [row for row in rows if row["record"]]
    having = ((row, curve) for row in recorded if (curve := curve_of(row)) is not None)
    shown = list(islice(having, MOST))  # of thousands of runs only those are read
    if not shown:
        raise NothingToDraw("there is nothing to draw for 'loss': no row has a record with losses")
    return _figure(
        [row for row, _ in shown], [curve for _, curve in shown], paper, _left_out(len(shown), len(recorded))
    )


def _left_out(shown: int, of: int) -> str:
    if shown == of:
        return ""
    return f"the first {MOST} of {of} runs" if shown == MOST else f"{shown} of {of} runs: the others have no loss"


def curve_of(row: Row) -> Curve | None:
    """The steps of the row's record that have a finite loss; a step that stands twice counts as it was run last."""
    if not row["record"]:
        return None
    try:
        lines = {line["step"]: line for line in read(Path(row["record"])).steps}
    except OSError:
        return None
    ordered = [lines[step] for step in sorted(lines)]
    told = all(isinstance(line.get("tokens"), int | float) for line in ordered)
    curve, seen = Curve([], [], []), 0.0
    for line in ordered:
        # a line of an imported log may be the mean of several steps
        seen += line["tokens"] * steps_of(line) if told else 0.0
        if isinstance(line.get("loss"), int | float) and math.isfinite(line["loss"]):
            curve.steps.append(line["step"])
            curve.losses.append(float(line["loss"]))
            curve.tokens.extend([seen] if told else [])
    return curve if curve.steps else None


def _figure(rows: list[Row], curves: list[Curve], paper: Paper, said: str) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    # Runs of different batches can only be compared by what they have seen.
    by_tokens = len({row["tokens_per_step"] for row in rows}) > 1 and all(curve.tokens for curve in curves)
    figure = Figure(figsize=(paper.width, 4.2 if paper.width > 5 else 2.8))
    axes = figure.subplots()
    written = []
    for i, (name, curve) in enumerate(zip(names.of_rows(rows), curves, strict=True)):
        at: list[float] = list(curve.tokens) if by_tokens else [float(step) for step in curve.steps]
        colour = COLOURS[i % len(COLOURS)]
        # Layouts of one point have the same curve: markers at other steps each, so that all are seen.
        every = max(len(curves), len(at) // 8)
        axes.plot(at, curve.losses, color=colour, marker=MARKERS[i % len(MARKERS)], markevery=(i * every // len(curves), every),
                  markeredgecolor="white", markeredgewidth=0.6, clip_on=False)  # fmt: skip
        written.append(
            Label(
                labels.beside_curve(name, paper.width, paper.small) if len(rows) > 1 else "",
                at[-1],
                curve.losses[-1],
                colour,
                True,
            )
        )
    axes.set_xlabel("tokens" if by_tokens else "step")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: look.short(value)))
    axes.set_ylabel("loss")
    axes.set_xlim(left=0 if by_tokens else None)
    look.grid(axes)
    width, height = figure.get_size_inches()
    margin = labels.margin_inches(written, paper.small) if len(rows) > 1 else 0.15
    top = heading(figure, rows, said, paper)
    figure.subplots_adjust(
        left=0.65 / width, right=1 - margin / width, top=1 - (top + 0.12) / height, bottom=0.5 / height
    )
    ticks = (width - 0.65 - margin) / (0.45 * paper.size / 9)  # as many as stand beside one another
    axes.xaxis.set_major_locator(MaxNLocator(max(2, min(7, int(ticks))), integer=True))
    if len(rows) > 1:
        labels.place(axes, written, paper.small)
    return figure
