"""Peak memory of each row against its device's memory; rows that ran out are hatched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcscale.report import text
from hpcscale.report.charts import bars, names
from hpcscale.report.charts.paper import COLOURS, PALE, NothingToDraw, Paper
from hpcscale.report.columns import Row
from hpcscale.spec import device

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GIB = 2**30
_KINDS = {
    "node": "of a node", "resident": "resident in a process", "allocated": "allocated on a device",
    "reserved": "reserved on a device", "predicted": "of a device, predicted",
}  # fmt: skip


def draw(rows: list[Row], paper: Paper) -> Figure:
    rows, said = bars.cut([row for row in rows if row["peak_memory_bytes"]])
    if not rows:
        raise NothingToDraw("there is nothing to draw for 'memory': no row says how much memory it used")
    limits = [_limit(row) for row in rows]
    marked = sorted({limit for limit in limits if limit is not None})
    owner = "node" if {row["memory_kind"] for row in rows} == {"node"} else "device"
    explained = (
        f"upright mark: the {owner} has {marked[0]:.4g} GiB"
        if len(marked) == 1
        else f"upright mark: what the {owner} has"
    )
    oom = "hatched: out of memory" if any(row["status"] == "oom" for row in rows) else ""
    found = tuple(_bar(row, limit) for row, limit in zip(rows, limits, strict=True))
    kinds = {row["memory_kind"] for row in rows}
    title = " ".join(
        filter(
            None, ("peak memory", _KINDS.get(kinds.pop() or "") if len(kinds) == 1 and paper.width > 5 else "", "(GiB)")
        )
    )
    said = "; ".join(filter(None, (said, explained if marked else "", oom)))
    return bars.draw(rows, names.of_rows(rows), [bars.Axis(title, found)], paper, said)


def _limit(row: Row) -> float | None:
    found = device.find(row["device"]) if row["device"] else None
    # What a process of many on a node has is not known from the node's device.
    return found.memory / _GIB if found is not None and found.memory and row["memory_kind"] != "resident" else None


def _bar(row: Row, limit: float | None) -> bars.Bar:
    used, oom = row["peak_memory_bytes"] / _GIB, row["status"] == "oom"
    share = f" ({100 * used / limit:.0f} %)" if limit else ""
    colour = COLOURS[1] if oom else PALE if row["origin"] == "predicted" else COLOURS[0]
    return bars.Bar(
        used, text.significant(used, 3) + share + (" OOM" if oom else ""), colour, "////" if oom else "", limit
    )
