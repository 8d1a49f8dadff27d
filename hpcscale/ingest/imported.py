"""Rows of imported logs: lines that stand for several steps, what the tool itself printed, and where it all comes from."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import Any

from hpcscale.record.median import Median
from hpcscale.record.reader import Record

Line = dict[str, Any]

# Columns that a step's line may hold: what the tool printed for it.
PRINTED = (
    "tokens_per_second_published", "tokens_per_second_per_device_published", "samples_per_second_published",
    "tflops_per_device_published", "mfu_published",
)  # fmt: skip


def is_imported(description: dict[str, Any]) -> bool:
    return isinstance(description.get("imported"), dict)


def steps_of(line: Line) -> int:
    """How many steps a line is the mean of."""
    averaged = line.get("averaged_steps", 1)
    return averaged if type(averaged) is int and averaged > 0 else 1


def after_warmup(places: list[int], warmup_steps: int, averaged: list[Any] | None) -> list[int]:
    """The lines (by their places) behind the first ``warmup_steps`` steps; a mean that holds one of them is dropped as well.

    ``averaged``: how many steps each line is the mean of, None where each is one."""
    if averaged is None:
        return places[max(0, warmup_steps) :]
    seen = 0
    for position, place in enumerate(places):
        if seen >= warmup_steps:
            return places[position:]
        seen += steps_of({"averaged_steps": averaged[place]})
    return []


def weighted(found: Median, lines: list[Line]) -> Median:
    """The median in which a line counts as often as it stands for steps. The interval stays that of the lines: the steps
    behind a mean are not known, and taking them for as many measurements would make it too narrow."""
    value = _median("step_seconds", lines)
    return found if value is None else Median(value, min(found.low, value), max(found.high, value))


def printed(record: Record, measured: list[Line]) -> dict[str, float]:
    """The medians of what the tool printed, over the measured lines, or all where no line has a time."""
    found = {name: _median(name, measured or record.steps) for name in PRINTED}
    return {name: value for name, value in found.items() if value is not None}


def _median(name: str, lines: list[Line]) -> float | None:
    """Of the steps that have it, a mean of k steps being k of them."""
    values = sorted((float(line[name]), steps_of(line)) for line in lines if isinstance(line.get(name), int | float))
    total = sum(count for _, count in values)
    if not total:
        return None
    ends = list(accumulate(count for _, count in values))
    low, high = (values[bisect_right(ends, place)][0] for place in ((total - 1) // 2, total // 2))
    return (low + high) / 2


def remarks(description: dict[str, Any]) -> list[str]:
    """Which log, which tool, and what there is to know about its figures."""
    source = description.get("imported")
    if not isinstance(source, dict):
        return []
    about = f"{source.get('tool')} log {source.get('file')}, from line {source.get('line')}"
    if isinstance(source.get("averages"), int) and source["averages"] > 1:
        about += f", a line the mean of up to {source['averages']} steps"
    if source.get("flops_convention"):
        about += f", TFLOPs printed as {source['flops_convention']}"
    others = source.get("remarks")
    return [about, *map(str, others if isinstance(others, list) else [])]
