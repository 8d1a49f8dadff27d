"""How much slower B is than A in one configuration, with a 95 % bootstrap interval."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from hpcscale.ingest.statistics.interval import FEWEST, Resampled
from hpcscale.record.median import FEW
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


@dataclass(frozen=True)
class Spread:
    """Logarithms of drawn seconds per step over the row's own; ``freedom``: degrees of it that the width was guessed with."""

    logarithms: np.ndarray
    freedom: float = math.inf

    @property
    def variance(self) -> float:
        return float(self.logarithms.var())


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
    drawn = spread_b.logarithms - spread_a.logarithms
    logarithms = math.log(after / before) + sign * _wider_for_few(spread_a, spread_b) * drawn
    tail = (1 - COVERAGE) / 2
    low, high = np.exp(np.quantile(logarithms, [tail, 1 - tail])).tolist()
    return Ratio(after / before, min(low, after / before), max(high, after / before), logarithms)


def _wider_for_few(*spreads: Spread) -> float:
    """Student's t over the normal distribution's quantile, with the degrees of freedom of a sum of guessed variances
    (Satterthwaite, Biometrics Bulletin 2 (1946) 110-114; Welch, Biometrika 34 (1947) 28-35)."""
    guessed = sum(each.variance**2 / each.freedom for each in spreads)
    total = sum(each.variance for each in spreads)
    if guessed <= 0 or total <= 0:
        return 1.0
    return float(stdtrit(total**2 / guessed, (1 + COVERAGE) / 2)) / _SIGMAS


def _spread(side: Side, random: np.random.Generator) -> Spread | None:
    """None where nothing tells."""
    if len(side.runs) > 1:
        return _over_runs(side.runs, random)
    if side.runs and len(side.runs[0]) > 1:
        return _over_steps(side.runs[0], random)
    return _from_interval(side.row, random)


def _over_steps(run: np.ndarray, random: np.random.Generator) -> Spread:
    """Of one run. A handful of steps is treated as a handful of runs is."""
    count, logarithms = len(run), np.log(_medians(run, random) / np.median(run))
    if count >= FEWEST:
        return Spread(logarithms)
    return Spread(math.sqrt(count / (count - 1)) * logarithms, count - 1)


def _medians(run: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Of drawn samples of a run's steps, as far off its median as the run's interval is: at most its fastest and slowest step."""
    resampled = Resampled(run)
    middle = float(np.median(run))
    return np.clip(middle * (resampled.draw(random, DRAWS) / middle) ** resampled.widening, np.min(run), np.max(run))


def _over_runs(runs: tuple[np.ndarray, ...], random: np.random.Generator) -> Spread:
    """Hierarchical: runs are drawn, and blocks of steps within each; the median over the drawn runs' medians.

    A few runs look more alike than runs are: their variance is short by (R - 1) / R, so deviations are widened by the root of
    R / (R - 1), and it is itself a guess with R - 1 degrees of freedom.
    """
    count = len(runs)
    medians = np.stack([_medians(run, random) if len(run) > 1 else np.repeat(run, DRAWS) for run in runs])
    chosen = random.integers(count, size=(count, DRAWS))
    drawn = np.log(np.median(np.take_along_axis(medians, chosen, axis=0), axis=0))
    centred = drawn - math.log(np.median([np.median(run) for run in runs]))
    return Spread(math.sqrt(count / (count - 1)) * centred, count - 1)


def _from_interval(row: Row, random: np.random.Generator) -> Spread | None:
    """A table's row has no steps, but it may have an interval."""
    low, high = row["step_seconds_low"], row["step_seconds_high"]
    if not low or not high or not 0 < low < high:
        return None
    repeats = row["repeats"] or 1
    values = repeats if repeats > 1 else row["measured_steps"]
    half = math.log(high / low) / 2
    if values in FEW:  # as a report's own rows are
        return Spread(random.normal(0.0, half * FEW[values][1], DRAWS), values - 1)
    return Spread(random.normal(0.0, half / _SIGMAS, DRAWS))
