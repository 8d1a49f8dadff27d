"""Again and again until the median is stable or the time is up.

A sample is one call, or so many of a short one that a clock can tell; of each sample the slowest rank counts.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from statistics import fmean

from hpcscale.record.median import Median, median_with_interval
from hpcscale.train.probe.cases import Call
from hpcscale.train.probe.clock import Clock
from hpcscale.train.probe.ranks import Ranks

SAMPLE_SECONDS = 1e-3  # short calls are timed together for so long: a clock, and leaving a barrier, take microseconds
MOST_CALLS = 10_000  # in one sample
FEWEST, MOST = 5, 100  # samples
STABLE = 0.01  # half the interval's width, of the median
LONGEST = 0.5  # call, as a part of a measurement's time: warm-up and repeats are at least seven
ROUNDS = 8  # the ranks talk about so often in a measurement that uses all its time


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: ``median`` and ``mean`` over the samples, each the slowest rank's, and the mean ``of_ranks``, slow or not."""

    median: Median
    mean: float
    of_ranks: float
    repeats: int

    def line(self) -> dict[str, float | int]:
        value, low, high = self.median
        return {
            "seconds": value, "seconds_low": low, "seconds_high": high, "mean_seconds": self.mean,
            "rank_seconds": self.of_ranks, "repeats": self.repeats,
        }  # fmt: skip


def measure(call: Call, clock: Clock, ranks: Ranks, seconds: float) -> Timing:
    """The timing of ``call`` after a warm-up. Takes about ``seconds``, longer only where seven calls do."""
    ranks.slowest([clock.seconds(call, 1)])  # the first call loads and allocates
    (once,) = ranks.slowest([clock.seconds(call, 1)])
    begun = time.monotonic()
    times = min(max(1, math.ceil(SAMPLE_SECONDS / once)), MOST_CALLS) if once > 0 else MOST_CALLS
    at_once = min(max(1, int(seconds / ROUNDS / max(once * times, SAMPLE_SECONDS))), MOST)
    samples: list[float] = []
    of_ranks: list[float] = []
    while True:
        own = [clock.seconds(call, times) for _ in range(at_once)]
        *shared, elapsed = ranks.slowest([*own, time.monotonic() - begun])
        samples += shared
        of_ranks += ranks.mean(own)
        timing = Timing(median_with_interval(samples), fmean(samples), fmean(of_ranks), len(samples))
        if len(samples) >= FEWEST and (elapsed >= seconds or len(samples) >= MOST or stable(timing)):
            return timing


def stable(timing: Timing) -> bool:
    value, low, high = timing.median
    return high - low <= 2 * STABLE * value


class Rates:
    """What was measured so far tells how long a larger case of the same family takes."""

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._best: dict[tuple[object, ...], float] = {}

    def too_long(self, family: tuple[object, ...], amount: int) -> bool:
        """Whether a call would take so long that few repeats of it are many times a measurement's time."""
        best = self._best.get(family)
        return best is not None and amount / best > LONGEST * self._seconds

    def add(self, family: tuple[object, ...], amount: int, seconds: float) -> None:
        if amount:
            self._best[family] = max(self._best.get(family, 0.0), amount / seconds)
