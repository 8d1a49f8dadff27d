"""How much slower B is than A in one configuration, with a 95 % bootstrap interval."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from hpcscale.ingest.statistics.interval import Resampled
from hpcscale.report.comparison.sides import Row, Side

DRAWS = 4000
COVERAGE = 0.95
_SIGMAS = 1.96  # half the width of a 95 % interval of a normal distribution


@dataclass(frozen=True)
class Metric:
    """What is compared: the title of its column, and whether less of it is better."""

    name: str
    title: str
    less_is_better: bool


METRICS = {
    each.name: each
    for each in (
        Metric("step_seconds", "sec/it", True),
        Metric("tokens_per_second", "tokens/s", False),
        Metric("tokens_per_second_per_device", "tokens/s/device", False),
    )
}


@dataclass(frozen=True)
class Ratio:
    """B's figure over A's. ``low`` and ``high`` are None where neither steps, runs nor an interval tell how far to trust it.

    ``logarithms``: of drawn ratios, for combining several configurations.
    """

    value: float
    low: float | None
    high: float | None
    logarithms: np.ndarray | None


def ratio(a: Side, b: Side, metric: Metric, label: str) -> Ratio | None:
    """None where a side lacks the figure. ``label`` seeds the drawing: the same input gives the same interval."""
    before, after = a.row[metric.name], b.row[metric.name]
    if not before or not after:
        return None
    random = np.random.default_rng(zlib.crc32(label.encode()))
    spread_a, spread_b = _spread(a, random), _spread(b, random)
    if spread_a is None or spread_b is None:
        return Ratio(after / before, None, None, None)
    # Every metric follows from the seconds of a step: what is fast once is fast in all.
    sign = 1 if metric.less_is_better else -1
    logarithms = math.log(after / before) + sign * (spread_b - spread_a)
    tail = (1 - COVERAGE) / 2
    low, high = np.exp(np.quantile(logarithms, [tail, 1 - tail])).tolist()
    return Ratio(after / before, min(low, after / before), max(high, after / before), logarithms)


def _spread(side: Side, random: np.random.Generator) -> np.ndarray | None:
    """Logarithms of drawn seconds per step over the row's own."""
    centre = math.log(side.row["step_seconds"])
    if len(side.runs) > 1:
        return _over_runs(side.runs, random)
    if side.runs and len(side.runs[0]) > 1:
        return np.log(Resampled(side.runs[0]).draw(random, DRAWS)) - centre
    return _from_interval(side.row, random)


def _over_runs(runs: tuple[np.ndarray, ...], random: np.random.Generator) -> np.ndarray:
    """Hierarchical: runs are drawn, and blocks of steps within each; the median over the drawn runs' medians.

    A few runs look more alike than runs are: their variance is short by (R - 1) / R, and it is itself a guess. So deviations are
    widened by sqrt(R / (R - 1)) and by Student's t with R - 1 degrees of freedom over the normal distribution's quantile.
    """
    count = len(runs)
    medians = np.stack([Resampled(run).draw(random, DRAWS) if len(run) > 1 else np.repeat(run, DRAWS) for run in runs])
    chosen = random.integers(count, size=(count, DRAWS))
    drawn = np.log(np.median(np.take_along_axis(medians, chosen, axis=0), axis=0))
    widening = math.sqrt(count / (count - 1)) * float(stdtrit(count - 1, (1 + COVERAGE) / 2)) / _SIGMAS
    return widening * (drawn - math.log(np.median([np.median(run) for run in runs])))


def _from_interval(row: Row, random: np.random.Generator) -> np.ndarray | None:
    """A table's row has no steps, but it may have an interval."""
    low, high = row["step_seconds_low"], row["step_seconds_high"]
    if not low or not high or not 0 < low < high:
        return None
    return random.normal(0.0, math.log(high / low) / (2 * _SIGMAS), DRAWS)
