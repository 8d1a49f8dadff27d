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
        own = [*values, float(self._stop_signal())]
        if dist.is_initialized():
            shared = torch.tensor(own, dtype=torch.float64, device=self._device)
            dist.all_reduce(shared, dist.ReduceOp.MAX)
            own = shared.tolist()
        if own[-1]:
            raise Ended("preempted", f"stopped by signal {int(own[-1])} between two measurements")
        return own[:-1]
