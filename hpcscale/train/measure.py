"""What is measured in a step, and how the ranks' numbers become one line of the record."""

from __future__ import annotations

import math
import resource
from dataclasses import astuple, dataclass
from statistics import median
from typing import Any

import torch


@dataclass(frozen=True)
class RankStep:
    """One rank's step. ``loss_share``: its part of the global mean loss, such that the sum over ranks is the mean."""

    seconds: float
    loss_share: float
    peak_memory_bytes: float
    energy_joules: float  # of the counters that this rank reads; NaN: it reads none
    stop_signal: float  # number of the signal that asked this rank to stop; 0: none
    out_of_time: float  # 1: by this rank's clock the job is nearly over

    def numbers(self) -> list[float]:
        return list(astuple(self))


@dataclass(frozen=True)
class Stop:
    """What the ranks want: all of them read the same from the gathered numbers, so all stop in the same step."""

    signal: int
    out_of_time: bool

    def __bool__(self) -> bool:
        return self.out_of_time or self.signal != 0


def combine(rows: list[list[float]]) -> tuple[dict[str, Any], Stop]:
    """(the measured part of a step's line, whether to stop), from every rank's numbers.

    A step takes as long as its slowest rank.
    """
    ranks = [RankStep(*row) for row in rows]
    seconds = [each.seconds for each in ranks]
    slowest = max(range(len(ranks)), key=seconds.__getitem__)
    line = {
        "step_seconds": seconds[slowest],
        "fastest_rank_seconds": min(seconds),
        "median_rank_seconds": median(seconds),
        "slowest_rank": slowest,
        "loss": sum(each.loss_share for each in ranks),
        "peak_memory_bytes": int(max(each.peak_memory_bytes for each in ranks)),
    }
    energy = [each.energy_joules for each in ranks if not math.isnan(each.energy_joules)]
    if energy:
        line["energy_joules"] = sum(energy)
    return line, Stop(
        int(max(each.stop_signal for each in ranks)),
        any(each.out_of_time for each in ranks),
    )


def memory_kind(device: torch.device) -> str:
    """What ``peak_memory_bytes`` counts: the allocator's bytes on a GPU, the process's resident set on a CPU."""
    return "allocated" if device.type == "cuda" else "resident"


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory that this rank has held so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def wait_for(device: torch.device) -> None:
    """A GPU runs behind the host: a clock read without waiting for it measures nothing."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
