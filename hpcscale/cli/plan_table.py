"""A plan as a table for people: the columns that vary, what is the same above them, and what is said of single points."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hpcscale.cost.flops import OWN
from hpcscale.cost.job_time import start_seconds
from hpcscale.cost.plan import Plan, Row, gib
from hpcscale.report.text import percent, significant
from hpcscale.spec.study import Study
from hpcscale.spec.units import format_seconds

_MOST_NOTES = 20
# What goes first where a terminal is too narrow.
_DISPENSABLE = ("TFLOPs", "point", "MFU %", "jobs", "80 % interval")


@dataclass(frozen=True)
class _Column:
    title: str
    cell: Callable[[Row], Any]
    left: bool = False


def _setting(title: str, of: Callable[[Row], Any], word: str = "") -> tuple[_Column, str]:
    return _Column(title, of, left=False), word or title


# What was asked for: a column where it varies, else a word in the line above.
_SETTINGS = (
    _setting("model", lambda row: row.point.model.name, " "),
    _setting("program", lambda row: row.point.workload.name, "by"),
    _setting("seq", lambda row: row.point.training.sequence_length),
    _setting("dp", lambda row: row.point.layout.dp),
    _setting("tp", lambda row: row.point.layout.tp),
    _setting("pp", lambda row: row.point.layout.pp),
    _setting("cp", lambda row: row.point.layout.cp),
    _setting("sharding", lambda row: row.point.layout.sharding, " "),
    _setting("virtual", lambda row: row.point.layout.virtual_stages),
    _setting("schedule", lambda row: row.point.layout.schedule, " "),
    _setting("MBS", lambda row: row.point.training.micro_batch_size),
    _setting("GBS", lambda row: row.point.training.global_batch_size),
    _setting("AC", lambda row: row.point.training.activation_checkpointing),
    _setting("precision", lambda row: row.point.training.precision, " "),
)
# Not worth a word where it is the same everywhere.
_PLAIN = {"cp": 1, "virtual": 1, "schedule": "1f1b", "program": "hpcscale", "sharding": "ddp"}


def lines(rows: Sequence[Row], node_hours: float | None, width: int | None = None) -> Iterator[str]:
    """The table of one machine, what is said of its points, and their sum. ``width``: of the terminal."""
    settings = [*_SETTINGS, *_resources(rows)]
    varying = [column for column, _ in settings if len({column.cell(row) for row in rows}) > 1]
    yield _caption(rows, [(column, word) for column, word in settings if column not in varying])
    columns = [*_first(), *varying, *_figures(rows)]
    yield from _table(columns, rows, width)
    yield from _notes(rows)
    if node_hours is not None:
        yield _sum(rows, node_hours)


def _resources(rows: Sequence[Row]) -> list[tuple[_Column, str]]:
    names = dict.fromkeys(name for row in rows for name in row.point.resources)
    return [_setting(name, lambda row, name=name: row.point.resources.get(name)) for name in names]


def _caption(rows: Sequence[Row], same: list[tuple[_Column, str]]) -> str:
    machine = rows[0].point.machine
    default = machine.default_resources()
    words = []
    for column, word in same:
        value = column.cell(rows[0])
        if value in (None, _PLAIN.get(column.title), default.get(column.title)):
            continue
        words.append(str(value) if word == " " else f"{word} {value}")
    return f"{machine.name}: {', '.join(words)}"


def _first() -> list[_Column]:
    return [_Column("nodes", lambda row: row.point.nodes)]


def _figures(rows: Sequence[Row]) -> list[_Column]:
    columns = [
        _Column("GiB", _memory),
        _Column("fits", lambda row: row.verdict or "-", left=True),
        _Column("sec/it", lambda row: _number(row.step_seconds)),
        _Column("80 % interval", _interval),
    ]
    if any(row.published for row in rows):
        columns.append(_Column("published", _published))
    columns += [
        _Column("TFLOPs", lambda row: _number(row.tflops_per_device)),
        _Column("MFU %", lambda row: "-" if row.mfu is None else percent(row.mfu, 1)),
        _Column("node-h", lambda row: _number(row.node_hours)),
    ]
    if any(row.long for row in rows):
        columns += [
            _Column("long node-h", lambda row: "-" if row.long is None else f"{row.long.node_hours:,.0f}"),
            _Column("days", lambda row: "-" if row.long is None else significant(row.long.seconds / 86400, 3)),
            _Column("jobs", lambda row: "-" if row.long is None else row.long.jobs),
        ]
    marks = [_Column("best", _mark, left=True)] if any(row.fastest or row.cheapest for row in rows) else []
    return [*columns, *marks, _Column("point", lambda row: row.point.identity, left=True)]


def _memory(row: Row) -> str:
    if row.memory_bytes is None:
        return "-"
    return gib(row.memory_bytes) + (f" of {gib(row.usable_bytes)}" if row.usable_bytes else "")


def _number(value: float | None) -> str:
    return "-" if value is None else significant(value)


def _interval(row: Row) -> str:
    if row.step_seconds_low is None or row.step_seconds_high is None:
        return "-"
    return f"{significant(row.step_seconds_low)}–{significant(row.step_seconds_high)}"


def _published(row: Row) -> str:
    words = []
    for each in row.published:
        oom = "OOM" if each.status == "oom" else ""
        seconds = significant(each.step_seconds) if each.step_seconds is not None else ""
        words.append(f"{seconds} {oom}".strip())
    return "; ".join(dict.fromkeys(filter(None, words))) or "-"


def _mark(row: Row) -> str:
    return ", ".join(word for word, yes in (("fastest", row.fastest), ("cheapest", row.cheapest)) if yes)


def _table(columns: Sequence[_Column], rows: Sequence[Row], width: int | None) -> Iterator[str]:
    texts = {column.title: [column.title, *(str(column.cell(row)) for row in rows)] for column in columns}
    widths = {title: max(map(len, column)) for title, column in texts.items()}
    left_out = []
    for title in _DISPENSABLE:
        if width is None or sum(widths.values()) + 2 * (len(widths) - 1) <= width:
            break
        if widths.pop(title, None) is not None:
            left_out.append(title)
    shown = [column for column in columns if column.title in widths]
    padded = [
        [text.ljust(widths[column.title]) if column.left else text.rjust(widths[column.title]) for text in texts[column.title]]
        for column in shown
    ]  # fmt: skip
    for cells in zip(*padded, strict=True):
        yield "  ".join(cells).rstrip()
    if left_out:
        yield f"Not shown at this width: {', '.join(left_out)}."


def _notes(rows: Sequence[Row]) -> Iterator[str]:
    """What keeps points from running, each once; what cannot be predicted, by its reason."""
    troubled = [row for row in rows if row.problem]
    for row in troubled[:_MOST_NOTES]:
        yield f"{row.point.identity}: {row.problem}" + (f"; {row.way}" if row.way else "")
    if len(troubled) > _MOST_NOTES:
        yield f"and {len(troubled) - _MOST_NOTES} other points that do not run (--json has them)"
    reasons: dict[str, int] = {}
    for row in rows:
        if row.reason:
            reasons[row.reason] = reasons.get(row.reason, 0) + 1
    for reason, number in reasons.items():
        yield f"{number} point{'s' * (number > 1)} cannot be predicted: {reason}"


def _sum(rows: Sequence[Row], node_hours: float) -> str:
    left_out = sum(row.out_of_memory for row in rows)
    line = f"{rows[0].point.machine.name}: {significant(node_hours)} node-hours for the protocol"
    return line + (f", without {left_out} that run out of memory" if left_out else "")


def about(asked: Study, found: Plan) -> Iterator[str]:
    """What holds for the whole study: its sum, the budget, how figures are made."""
    budget = asked.file.budget_node_hours
    if len(found.totals) > 1 or budget is not None:
        share = (
            ""
            if budget is None
            else f" of a budget of {significant(budget)} ({percent(found.node_hours / budget, 0)} %)"
        )
        yield f"{asked.name}: {significant(found.node_hours)} node-hours{share}"
    starts = dict.fromkeys(format_seconds(start_seconds(row.point.machine)) for row in found.rows)
    yield (
        f"node-h: the protocol's steps and repeats, and {' or '.join(starts)} for each job to start. "
        f"TFLOPs of a device and MFU as {OWN}."
    )
    if any(row.long for row in found.rows):
        yield "long node-h, days, jobs: for --tokens or --steps, in jobs of the queue's longest time, each with its start."
    if any(row.fastest for row in found.rows):
        yield "fastest, cheapest (node-hours per token): among points of the same machine, model and sequence length."
    sources = dict.fromkeys(each.source for row in found.rows for each in row.published)
    if sources:
        yield f"published: sec/it of rows of {', '.join(sources)} with the same model, layout and nodes."
    foreign = dict.fromkeys(row.point.workload.name for row in found.rows if row.point.workload.foreign)
    if foreign:
        yield f"Points that {', '.join(foreign)} runs are predicted as the same layout in hpcscale's own trainer."
