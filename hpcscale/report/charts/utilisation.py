"""MFU by convention: the same throughputs as each tool would count them, since their figures cannot be compared otherwise."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from hpcscale.cost.flops import CONVENTIONS, Convention, convention, tflops_per_device
from hpcscale.report.axes import GREY
from hpcscale.report.charts import bars, models, names
from hpcscale.report.charts.paper import COLOURS, PALE, NothingToDraw, Paper, heading, plain
from hpcscale.report.columns import Row
from hpcscale.report.labels import fitted, inches
from hpcscale.report.series import grouped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The four that published figures are counted by; a row's own is there too
SHOWN = ("palm-full", "6N", "megatron-causal", "eq3-hardware")
MOST = 6  # rows; a page holds no more of their groups


def draw(rows: list[Row], paper: Paper) -> Figure:
    able = [
        row for row in rows if row["tokens_per_second_per_device"] and row["peak_tflops"] and row["sequence_length"]
    ]
    counted = ((row, found) for row in _fastest(able) if (found := shares(row)))
    shown = list(islice(counted, MOST))
    if not shown:
        raise NothingToDraw(
            "there is nothing to draw for 'mfu': no row has a throughput, a known model and a device's known peak"
        )
    said = f"{len(shown)} of {len(able)} rows, the fastest of each series" if len(shown) < len(able) else ""
    return _figure([row for row, _ in shown], [found for _, found in shown], paper, said)


def _fastest(rows: list[Row]) -> list[Row]:
    """Of each series the row with the highest throughput per device."""
    groups = grouped(rows).values()
    if len(rows) <= MOST:
        return rows
    return [max(group, key=lambda row: row["tokens_per_second_per_device"]) for group in groups]


def shares(row: Row) -> list[tuple[Convention, float]]:
    """Share of the peak under each convention (a hardware convention's is HFU), the row's own among them."""
    model = models.of_row(row)
    if model is None:
        return []
    wanted = list(dict.fromkeys((*SHOWN, *filter(None, [row["flops_convention"]]))))
    found = []
    for each in (convention(name) for name in wanted):
        counted = each.flops_per_token(
            model, row["sequence_length"], row["tp"] or 1, row["activation_checkpointing"] or "none"
        )
        share = tflops_per_device(counted, row["tokens_per_second_per_device"]) / row["peak_tflops"]
        found.append((each, share))
    return sorted(found, key=lambda pair: CONVENTIONS.index(pair[0]))


def _figure(rows: list[Row], found: list[list[tuple[Convention, float]]], paper: Paper, said: str) -> Figure:
    from matplotlib.figure import Figure

    left = 0.2 + max(inches(each.name, paper.small) for group in found for each, _ in group)
    titles = [fitted(name, paper.width - left - 0.2, paper.size, True) for name in names.of_rows(rows)]
    row_inches = 0.205 * paper.size / 9
    places = sum(len(group) + 1.55 for group in found)
    figure = Figure(figsize=(paper.width, 1.25 + row_inches * places))
    axes = figure.subplots()
    at, marks = 0.0, []
    for row, title, group in zip(rows, titles, found, strict=True):
        plain(
            axes.annotate(
                title,
                (0, at + 0.05),
                (3, 0),
                textcoords="offset points",
                fontsize=paper.size,
                fontweight="bold",
                va="center",
            )
        )
        at += 1
        for each, share in group:
            _bar(axes, at, each, share, each.name == row["flops_convention"], paper)
            marks.append((at, each.name))
            at += 1
        at += 0.55
    axes.set_yticks([place for place, _ in marks], [name for _, name in marks], fontsize=paper.small)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(at - 0.8, -0.8)
    largest = max(share for group in found for _, share in group)
    axes.set_xlim(0, max(100 * largest * 1.1, 10))
    axes.set_xlabel("share of the device's peak (%)")
    axes.grid(True, axis="x", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    explained = "dark: as the row's own source counts; hatched: counts recomputed work, so HFU"
    shape = bars.Room(left, row_inches, False)
    bars.arrange(figure, shape, heading(figure, rows, "; ".join(filter(None, (said, explained))), paper))
    return figure


def _bar(axes: Axes, at: float, each: Convention, share: float, own: bool, paper: Paper) -> None:
    hatch = "////" if each.hardware else ""
    axes.barh(at, 100 * share, height=0.74, color=COLOURS[0] if own else PALE, hatch=hatch, edgecolor="white" if hatch else "none", linewidth=0)  # fmt: skip
    said = f" {100 * share:.1f}" + ("  impossible: above the peak" if share > 1 else "")
    axes.text(100 * share, at, said, va="center", fontsize=paper.small, color="black" if own else GREY)
