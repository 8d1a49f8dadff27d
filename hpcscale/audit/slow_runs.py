"""Measured rows that are implausibly slow beside the others of their series: a bad node, a full network, a wrong setting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hpcscale.audit.slow_points import Slow, Speed, slow_points

Row = dict[str, Any]

# Rows that agree in these are comparable; sizes, batches and lengths of sequences differ among them.
KIND = (
    "source", "machine", "device", "resources", "model", "tp", "pp", "cp", "sharding",
    "activation_checkpointing", "precision", "scaling",
)  # fmt: skip


def slow_runs(rows: Sequence[Row]) -> list[str]:
    """A sentence for each measured row that is far slower than its neighbours, by more than either's interval."""
    points = [point for index, row in enumerate(rows) if (point := _point(index, row)) is not None]
    return [_sentence(slow) for slow in slow_points(points) if not _overlap(rows[slow.index], rows[slow.beside], slow)]


def _point(index: int, row: Row) -> Speed | None:
    speed, devices = row["tokens_per_second_per_device"], row["devices"]
    if row["origin"] != "measured" or row["status"] != "completed" or not speed or not devices:
        return None
    work = row["flops_per_token"]
    kind = tuple(row[name] for name in KIND)
    return Speed(
        index=index, speed=math.log(speed), work=math.log(work) if work else None, devices=devices,
        sequence=row["sequence_length"] or 0, micro_batch=row["micro_batch_size"] or 0, total_batch=row["global_batch_size"],
        kind=kind,
    )  # fmt: skip


def _overlap(slow: Row, other: Row, found: Slow) -> bool:
    """Whether the steps of both vary so much that the difference may be theirs."""
    low, value, high = slow["step_seconds_low"], slow["step_seconds"], other["step_seconds_high"]
    if not (low and value and high and other["step_seconds"]):
        return False
    return (1 - found.share) * (value / low) * (high / other["step_seconds"]) >= 1


def _sentence(slow: Slow) -> str:
    return (
        f"row {slow.index + 1}: a device does {100 * slow.share:.0f} % less than in row {slow.beside + 1} {slow.where}; "
        "look for a slow node or a busy network, or run it again"
    )
