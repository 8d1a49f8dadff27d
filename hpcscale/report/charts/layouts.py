"""Layouts as a heat map: the best throughput per device for each tensor- and pipeline-parallel size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcscale.report import text
from hpcscale.report.charts.paper import NothingToDraw, Paper, heading, plain
from hpcscale.report.columns import Row
from hpcscale.report.labels import fitted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 4  # maps
_ALIKE = ("model", "machine", "device", "devices", "sequence_length", "precision", "origin")
_SAID = (("model", "{}"), ("machine", "{}"), ("devices", "{:,} devices"), ("sequence_length", "seq {:,}"), ("precision", "{}"), ("origin", "{}"))  # fmt: skip
Cells = dict[tuple[int, int], Row]


def draw(rows: list[Row], paper: Paper) -> Figure:
    groups: dict[tuple[object, ...], Cells] = {}
    shown = having_a_layout(rows)
    for row in shown:
        cells = groups.setdefault(tuple(row[name] for name in _ALIKE), {})
        place = (row["tp"], row["pp"])
        if place not in cells or row["tokens_per_second"] > cells[place]["tokens_per_second"]:
            cells[place] = row
    maps = sorted((cells for cells in groups.values() if len(cells) > 1), key=len, reverse=True)
    if not maps:
        raise NothingToDraw("there is nothing to draw for 'layouts': no two rows of one size differ in their tp or pp")
    said = f"the {MOST} largest of {len(maps)} maps" if len(maps) > MOST else ""
    return _figure(maps[:MOST], paper, said)


def having_a_layout(rows: list[Row]) -> list[Row]:
    return [
        row
        for row in rows
        if row["status"] == "completed" and row["devices"] and row["tokens_per_second"] and row["tp"] and row["pp"]
    ]


def _figure(maps: list[Cells], paper: Paper, said: str) -> Figure:
    from matplotlib.figure import Figure

    everything = [row for cells in maps for row in cells.values()]
    columns = 1 if len(maps) == 1 or paper.width < 5 else 2
    lines = -(-len(maps) // columns)
    tall = [max(len({pp for _, pp in cells}) for cells in maps[i * columns : (i + 1) * columns]) for i in range(lines)]
    heights = [max(0.75, 0.5 * count) * paper.size / 9 + 0.85 for count in tall]
    figure = Figure(figsize=(paper.width, 0.75 + sum(heights)))
    axes = figure.subplots(lines, columns, squeeze=False, height_ratios=tall)
    differing = [(name, form) for name, form in _SAID if len({row[name] for row in everything}) > 1]
    for each, cells in zip(axes.flat, maps, strict=False):
        first = next(iter(cells.values()))
        title = ", ".join(form.format(first[name]) for name, form in differing if first[name] is not None)
        plain(
            each.set_title(
                fitted(title, (paper.width - 1) / columns, paper.size, True),
                loc="left",
                fontsize=paper.size,
                fontweight="bold",
            )
        )
        _map(each, cells, paper)
    for each in list(axes.flat)[len(maps) :]:
        each.set_visible(False)
    explained = "tokens/s per device of each layout's fastest row, with its dp and micro batch"
    top = heading(figure, everything, "; ".join(filter(None, (said, explained))), paper)
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=0.6 / width, right=1 - 0.15 / width, top=1 - (top + 0.3) / height, bottom=0.5 / height, hspace=0.85 / (sum(tall) / lines * 0.5),
        wspace=0.2,
    )  # fmt: skip
    return figure


def _map(axes: Axes, cells: Cells, paper: Paper) -> None:
    import numpy as np

    tps, pps = sorted({tp for tp, _ in cells}), sorted({pp for _, pp in cells})
    grid = np.full((len(pps), len(tps)), np.nan)
    for (tp, pp), row in cells.items():
        grid[pps.index(pp), tps.index(tp)] = row["tokens_per_second"] / row["devices"]
    low, high = float(np.nanmin(grid)), float(np.nanmax(grid))
    axes.imshow(grid, cmap="cividis", aspect="auto", vmin=min(low, 0.5 * high), vmax=high)
    for (tp, pp), row in cells.items():
        value = row["tokens_per_second"] / row["devices"]
        light = (value - min(low, 0.5 * high)) / ((high - min(low, 0.5 * high)) or 1) > 0.55
        ink = "black" if light else "white"
        at = (tps.index(tp), pps.index(pp))
        axes.text(*at, text.significant(value, 3), ha="center", va="bottom", fontsize=paper.size, color=ink, fontweight="bold" if value == high else "normal")  # fmt: skip
        axes.text(*at, _detail(row), ha="center", va="top", fontsize=paper.small - 1, color=ink)
    axes.set_xticks(range(len(tps)), [str(tp) for tp in tps])
    axes.set_yticks(range(len(pps)), [str(pp) for pp in pps])
    axes.set_xlabel("tensor parallel (tp)")
    axes.set_ylabel("pipeline (pp)")
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def _detail(row: Row) -> str:
    words = [f"dp{row['dp']}" if row["dp"] else "", f"MBS {row['micro_batch_size']}" if row["micro_batch_size"] else ""]
    return " ".join(filter(None, words))
