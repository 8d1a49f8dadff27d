"""Tokens per joule and watts per device, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcscale.report import text
from hpcscale.report.charts import bars, names
from hpcscale.report.charts.paper import COLOURS, NothingToDraw, Paper
from hpcscale.report.columns import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(rows: list[Row], paper: Paper) -> Figure:
    rows, said = bars.cut([row for row in rows if _tokens_per_joule(row) is not None or row.get("watts_per_device")])
    if not rows:
        raise NothingToDraw("there is nothing to draw for 'energy': no row says how much energy its steps took")
    quantities = (
        ("tokens per joule", [_tokens_per_joule(row) for row in rows], COLOURS[2]),
        ("watts per device", [row.get("watts_per_device") for row in rows], COLOURS[4]),
    )
    found = [
        bars.Axis(title, tuple(_bar(value, colour) for value in values))
        for title, values, colour in quantities
        if any(value is not None for value in values)
    ]
    return bars.draw(rows, names.of_rows(rows), found, paper, said)


def _tokens_per_joule(row: Row) -> float | None:
    if row.get("tokens_per_joule") is not None:
        return float(row["tokens_per_joule"])
    joules = row.get("energy_joules_per_step")
    return row["tokens_per_step"] / joules if joules and row["tokens_per_step"] else None


def _bar(value: float | None, colour: str) -> bars.Bar:
    return bars.Bar(value, "not known" if value is None else text.significant(value, 3), colour)
