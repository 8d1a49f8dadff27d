"""What all ranks must agree on: a probe ends, repeats and leaves out the same everywhere, or ranks wait for each other."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist

from hpcscale.train.failures import Ended


class Ranks:
    """``stop_signal`` gives the number of the signal that asked this rank to stop, or 0."""

    def __init__(self, device: torch.device, stop_signal: Callable[[], int] = lambda: 0):
        self._device, self._stop_signal = device, stop_signal

    def slowest(self, values: list[float]) -> list[float]:
        """Each value of the rank where it is largest, the same on all ranks. Raises Ended if any of them is to stop."""
        *slowest, signal = self._reduced([*values, float(self._stop_signal())], dist.ReduceOp.MAX)
        if signal:
            raise Ended("preempted", f"stopped by signal {int(signal)} between two measurements")
        return slowest

    def mean(self, values: list[float]) -> list[float]:
        """Each value's mean over the ranks, the same on all of them."""
        ranks = dist.get_world_size() if dist.is_initialized() else 1
        return [each / ranks for each in self._reduced(values, dist.ReduceOp.SUM)]

    def _reduced(self, values: list[float], operation: dist.ReduceOp.RedOpType) -> list[float]:
        if not dist.is_initialized():
            return values
        shared = torch.tensor(values, dtype=torch.float64, device=self._device)
        dist.all_reduce(shared, operation)
        return shared.tolist()
