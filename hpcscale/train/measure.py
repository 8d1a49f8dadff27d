"""What is measured in a step, and how the ranks' numbers become one line of the record."""

from __future__ import annotations

import resource
from dataclasses import astuple, dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class RankStep:
    """One rank's step. ``loss`` is the mean over its part of the batch, ``loss_share`` that part's share of the whole."""

    seconds: float
    loss: float
    loss_share: float
    peak_memory_bytes: float
    stop_signal: float  # number of the signal that asked this rank to stop; 0: none

    def numbers(self) -> list[float]:
        return list(astuple(self))


def combine(rows: list[list[float]]) -> tuple[dict[str, Any], int]:
    """(the measured part of a step's line, the signal that any rank received), from every rank's numbers.

    A step takes as long as its slowest rank.
    """
    ranks = [RankStep(*row) for row in rows]
    seconds = [each.seconds for each in ranks]
    slowest = max(range(len(ranks)), key=seconds.__getitem__)
    line = {
        "step_seconds": seconds[slowest],
        "fastest_rank_seconds": min(seconds),
        "slowest_rank": slowest,
        "loss": sum(each.loss * each.loss_share for each in ranks),
        "peak_memory_bytes": int(max(each.peak_memory_bytes for each in ranks)),
    }
    return line, int(max(each.stop_signal for each in ranks))


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
