"""The columns of a report: one list for the terminal, Markdown and every other text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hpcscale.report import text

Row = dict[str, Any]
EMPTY = "-"


@dataclass(frozen=True)
class Column:
    """One column. ``cell`` gives its text (None: nothing to show); a line break in ``title`` is a space elsewhere.

    ``setting``: what was run, not what came out; named once above the table where it is the same in all rows.
    ``rank``: where a terminal is too narrow, the columns with the highest ranks go first.
    """

    title: str
    cell: Callable[[Row], str | None]
    rank: int = 1
    setting: bool = False
    left: bool = False
    empty: str = EMPTY
    beside: str | None = None  # shown only where this other column of the table has a value

    @property
    def name(self) -> str:
        return self.title.replace("\n", " ").replace(" /", "/")


def _value(name: str, show: Callable[[Any], str | None]) -> Callable[[Row], str | None]:
    return lambda row: None if row[name] is None else show(row[name])


def _printed(name: str, scale: float = 1) -> Callable[[Row], str | None]:
    """A document's figure; nothing where ours is that very figure."""
    published = f"{name}_published"
    return lambda row: (
        None if row[published] is None or row[published] == row[name] else text.as_printed(row[published], scale)
    )


def _setting(title: str, name: str, show: Callable[[Any], str] = str, rank: int = 1) -> Column:
    return Column(title, _value(name, show), rank, setting=True, left=show is str)


def _layout(row: Row) -> str | None:
    words = [f"{axis}{row[axis]}" for axis in ("dp", "tp", "pp", "cp") if row[axis] and (row[axis] > 1 or axis == "dp")]
    return " ".join(words) or None


def _resources(row: Row) -> str | None:
    return row["resources"].replace(",", " ").replace("=", " ") if row["resources"] else None


def _interval(row: Row) -> str | None:
    low, high = row["step_seconds_low"], row["step_seconds_high"]
    return None if low is None or high is None else f"{text.significant(low)}–{text.significant(high)}"


def _predicted_interval(row: Row) -> str | None:
    low, high = row["predicted_step_seconds_low"], row["predicted_step_seconds_high"]
    return None if low is None or high is None else f"{text.significant(low)}–{text.significant(high)}"


def _efficiency(kind: str) -> Callable[[Row], str | None]:
    return lambda row: text.percent(row["efficiency"], 1) if row["efficiency_kind"] == kind else None


def _pflops(value: float) -> str | None:
    # A workstation's are noise in this unit.
    return text.significant(value) if value >= 0.001 else None


_STATUS = {"completed": None, "oom": "OOM", "nan": "NaN"}


def _printed_title(title: str) -> str:
    """Units and "of a device" are said by the column beside it, unless another column has the same first line."""
    return title + "\nprinted" if title.startswith("tokens/s") else title.partition("\n")[0] + "\nprinted"


def _pair(
    title: str,
    name: str,
    show: Callable[[Any], str | None],
    rank: int,
    printed_rank: int,
    scale: int = 1,
    own: bool = True,
) -> list[Column]:
    """A figure and what a document prints for it. ``own``: worth a column where no document prints it."""
    return [
        Column(title, _value(name, show), rank, beside=None if own else f"{name}_published"),
        Column(_printed_title(title), _printed(name, scale), printed_rank),
    ]


COLUMNS: tuple[Column, ...] = (
    _setting("Origin", "origin"),
    _setting("Source", "source", rank=5),
    _setting("Table", "table", rank=4),
    _setting("Machine", "machine", rank=5),
    _setting("Device", "device"),
    Column("Resources", _resources, 7, setting=True, left=True),
    _setting("Model", "model"),
    Column("Parameters", _value("parameters", text.whole), 9, setting=True),
    _setting("Seq.\nlength", "sequence_length", text.whole),
    _setting("Precision", "precision", rank=2),
    _setting("Nodes", "nodes", text.whole, rank=0),
    _setting("Devices", "devices", text.whole, rank=0),
    _setting("Ranks", "ranks", text.whole, rank=6),
    Column("Layout", _layout, 1, setting=True, left=True),
    _setting("Sharding", "sharding", rank=3),
    Column("DP\nprinted", _printed("dp"), 5),
    _setting("MBS", "micro_batch_size", text.whole, rank=2),
    _setting("GBS", "global_batch_size", text.whole, rank=2),
    _setting("AC", "activation_checkpointing", rank=2),
    Column("Memory\n(GiB)", lambda row: text.significant(row["peak_memory_bytes"] / 2**30) if row["peak_memory_bytes"] else None, 2),
    Column("sec/it", _value("step_seconds", text.significant), 1),
    Column("sec/it\ninterval", _interval, 2),
    Column("sec/it\nprinted", _printed("step_seconds"), 4),
    Column("sec/it\npredicted", _value("predicted_step_seconds", text.significant), 0),
    Column("predicted\n80 %", _predicted_interval, 3),
    *_pair("iter/s", "steps_per_second", text.significant, 6, 5, own=False),
    *_pair("samples/s", "samples_per_second", text.significant, 8, 8, own=False),
    *_pair("tokens/s", "tokens_per_second", text.significant, 0, 5),
    *_pair("tokens/s\n/device", "tokens_per_second_per_device", text.significant, 3, 7),
    _setting("FLOPs\ncounted as", "flops_convention"),
    *_pair("TFLOPs\n/device", "tflops_per_device", text.significant, 1, 3),
    *_pair("PFLOPs\nin all", "aggregate_pflops", _pflops, 4, 4),
    *_pair("MFU\n(%)", "mfu", text.percent, 1, 1, 100),
    *_pair("HFU\n(%)", "hfu", text.percent, 2, 3, 100),
    Column("Joules\n/step", _value("energy_joules_per_step", text.significant), 5),
    Column("W\n/device", _value("watts_per_device", text.significant), 4),
    Column("tokens\n/joule", _value("tokens_per_joule", text.significant), 2),
    Column("Speedup", lambda row: None if row["speedup"] is None else f"{row['speedup']:.2f}", 3),
    Column("Strong\neff. (%)", _efficiency("strong"), 0),
    Column("Weak\neff. (%)", _efficiency("weak"), 0),
    Column("Status", lambda row: _STATUS.get(row["status"], row["status"]), 0, left=True, empty=""),
)  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """The columns that a table shows, their cells row by row, and what is the same in all rows (title, text)."""

    columns: tuple[Column, ...]
    cells: tuple[tuple[str, ...], ...]
    common: tuple[tuple[str, str], ...]


def lay_out(rows: list[Row], numbered: bool = False) -> Layout:
    """Choose columns: those empty in all rows go, settings that all rows share move above the table, and of node,
    device and rank counts that are equal in all rows one stays."""
    counts = [name for name in ("nodes", "devices", "ranks") if any(row[name] is not None for row in rows)]
    repeated = {name for i, name in enumerate(counts) if any(_equal(rows, name, other) for other in counts[:i])}
    shown, cells, common = [], [], []
    if numbered:
        shown.append(Column("#", lambda _: None))
        cells.append([str(number) for number in range(1, len(rows) + 1)])
    for column in COLUMNS:
        if column.title.lower() in repeated or (column.beside and all(row[column.beside] is None for row in rows)):
            continue
        texts = [column.cell(row) for row in rows]
        if all(each is None for each in texts):
            continue
        # A table of one row would consist of nothing else.
        if column.setting and len(set(texts)) == 1 and (len(rows) > 1 or column.left):
            common.append((column.name, texts[0] or ""))
            continue
        shown.append(column)
        cells.append([each if each is not None else column.empty for each in texts])
    return Layout(tuple(shown), tuple(zip(*cells, strict=True)), tuple(common))


def _equal(rows: list[Row], name: str, other: str) -> bool:
    return all(row[name] == row[other] for row in rows)
