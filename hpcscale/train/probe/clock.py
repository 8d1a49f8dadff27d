"""Seconds of a call on this rank."""

from __future__ import annotations

import time

import torch

from hpcscale.train.probe.cases import Call


class Clock:
    """A GPU's time is taken by its own events: the host runs ahead of it."""

    def __init__(self, device: torch.device):
        self._cuda = device.type == "cuda"

    def seconds(self, call: Call, times: int) -> float:
        """Of one of ``times`` calls, one after the other."""
        return (self._on_gpu if self._cuda else self._on_cpu)(call, times) / times

    def _on_cpu(self, call: Call, times: int) -> float:
        before = time.perf_counter()
        for _ in range(times):
            call()
        return time.perf_counter() - before

    def _on_gpu(self, call: Call, times: int) -> float:
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        for _ in range(times):
            call()
        after.record()
        after.synchronize()
        return before.elapsed_time(after) / 1e3
