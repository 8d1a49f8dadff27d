"""What a probe measured, as tables for people: rates by shape, times and bandwidths by message size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import TypeVar

from rich.box import SIMPLE_HEAD
from rich.table import Table

from hpcscale.record.probe import Attention, Beside, Matmul, Measurement, Message, Probe
from hpcscale.report.text import significant

M = TypeVar("M", bound=Measurement)


def tables(probe: Probe) -> list[Table]:
    """Those of the kinds that were measured."""
    found = [_small(probe)] if probe.memory or probe.launches else []
    for dtype in dict.fromkeys(each.dtype for each in probe.matmuls):
        found.append(_matmuls([each for each in probe.matmuls if each.dtype == dtype], dtype))
    for dtype in dict.fromkeys(each.dtype for each in probe.attentions):
        found.append(_attentions([each for each in probe.attentions if each.dtype == dtype], dtype))
    for span, ranks in dict.fromkeys((each.span, each.ranks) for each in probe.messages):
        found.append(_messages([each for each in probe.messages if (each.span, each.ranks) == (span, ranks)]))
    for span, ranks in dict.fromkeys((each.span, each.ranks) for each in probe.besides):
        found.append(_besides([each for each in probe.besides if (each.span, each.ranks) == (span, ranks)]))
    return found


def sentence(probe: Probe) -> str:
    """Where it was measured, how much of it, and how well the medians are known."""
    words = [probe.machine, probe.device_name, _counted(probe.ranks, "rank")]
    words += [_counted(probe.nodes, "node")] if probe.nodes > 1 else []
    words += [f"{_counted(probe.threads, 'thread')} each"] if probe.threads else []
    words += [probe.backend] if probe.backend != "none" else []
    told = [_counted(len(probe.measurements), "measurement")]
    told += [f"{_counted(probe.left_out, 'larger size')} left out"] if probe.left_out else []
    if probe.unmeasured_precisions:
        told.append(f"no {' or '.join(probe.unmeasured_precisions)}, for which the device has no instructions")
    if probe.measurements:
        wide = median((each.seconds_high - each.seconds_low) / 2 / each.seconds for each in probe.measurements)
        told.append(f"half of the medians are known to {significant(100 * wide, 2)} % or better")
    return f"{', '.join(words)}: {', '.join(told)}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def duration(seconds: float) -> str:
    if not seconds:
        return "0"
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= scale:
            return f"{significant(seconds / scale, 3)} {unit}"
    return f"{significant(seconds / 1e-6, 3)} us"


def size(count: int) -> str:
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= scale:
            return (
                f"{significant(count / scale, 3).rstrip('0').rstrip('.') if count % scale else count // scale} {unit}"
            )
    return f"{count} B"


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def _small(probe: Probe) -> Table:
    table = _table("Memory and launch", ("", "time", "95 % interval", "GB/s a rank"))
    for each in probe.memory:
        rate = significant(each.bytes_per_second / 1e9, 3)
        table.add_row(f"{each.operation}, {size(each.bytes)} read and written", *_time(each), rate)
    for each in probe.launches:
        table.add_row("a kernel on one element", *_time(each), "")
    return table


def _time(each: Measurement) -> tuple[str, str]:
    return duration(each.seconds), f"{duration(each.seconds_low)} to {duration(each.seconds_high)}"


def _matmuls(found: Sequence[Matmul], dtype: str) -> Table:
    return _grid(
        f"Matrix products in {dtype}, GFLOP/s a rank", ("features in", "out"), "tokens", found,
        row=lambda each: (each.k, each.n), column=lambda each: each.m, cell=_gigaflops,
    )  # fmt: skip


def _attentions(found: Sequence[Attention], dtype: str) -> Table:
    return _grid(
        f"Causal attention in {dtype}, forward and backward, GFLOP/s a rank (whole square)", ("sequence", "head size"), "batch", found,
        row=lambda each: (each.sequence, each.head_size), column=lambda each: each.batch, cell=_gigaflops,
    )  # fmt: skip


def _gigaflops(each: Matmul | Attention) -> str:
    return significant(each.flops_per_second / 1e9, 3)


def _besides(found: Sequence[Beside]) -> Table:
    table = _table(
        f"Collectives beside a layer's products among {_group(found[0])}",
        ("tokens, hidden", "collective", "bytes", "product alone", "collective alone", "both", "added"),
    )
    for each in found:
        times = (each.product_seconds, each.collective_seconds, each.seconds, each.added_seconds)
        table.add_row(f"{each.m}, {each.k}", each.collective, size(each.bytes), *map(duration, times))
    return table


def _group(first: Message | Beside) -> str:
    return f"{first.ranks} ranks {'on one node' if first.span == 'node' else 'over nodes'}"


def _messages(found: Sequence[Message]) -> Table:
    return _grid(
        f"Messages among {_group(found[0])}: time, GB/s (bus)", ("bytes",), "", found,
        row=lambda each: (each.bytes,), column=lambda each: each.kind,
        cell=lambda each: f"{duration(each.seconds)}  {significant(each.bus_bytes_per_second / 1e9, 3)}",
        label=size,
    )  # fmt: skip


def _grid(
    title: str,
    row_titles: Sequence[str],
    column_title: str,
    found: Iterable[M],
    row: Callable[[M], tuple[int, ...]],
    column: Callable[[M], int | str],
    cell: Callable[[M], str],
    label: Callable[[int], str] = str,
) -> Table:
    """One row and one column a value, a cell for what was measured there; empty where nothing was."""
    cells = {(row(each), column(each)): cell(each) for each in found}
    columns = dict.fromkeys(name for _, name in cells)
    ordered = sorted(columns) if column_title else list(columns)  # type: ignore[type-var]
    table = _table(title, [*row_titles, *(f"{column_title} {name}".strip() for name in ordered)])
    for key in sorted({key for key, _ in cells}):
        table.add_row(*map(label, key), *(cells.get((key, name), "") for name in ordered))
    return table
