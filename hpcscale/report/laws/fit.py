"""Fitting a law to a line, and how sure of it one can be.

A fit minimises relative errors, each size weighted by how sure its time is. Coefficients must not be negative, so the solution is
that of a non-negative least-squares problem: unique, and found exactly. Intervals are made of draws (a parametric bootstrap): the
rows' times are drawn again with the noise that the rows show, shrunk towards what is known of runs in general (few sizes say little
about their own noise), the law is fitted to each draw, and beyond the largest fitted size each draw drifts off the law.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from hpcscale.report.laws.forms import Floats, Law
from hpcscale.report.laws.lines import Place

DRAWS = 400
# Ends of an 80 % interval, as predictions have everywhere here.
LOW, HIGH = 0.1, 0.9
# How many rows' worth of belief the noise of runs in general has.
_BELIEF = 4.0
# How far a law drifts off for each factor e beyond what it was fitted on (standard deviation of log time). Amdahl from the three
# smallest sizes of a published line is off by 6 % at 8 times, 3 % at 2 times and 2 % at larger ones. What the fitted rows themselves
# show (each predicted from smaller ones) counts beside it, against _BELIEF rows' worth of this.
DRIFT = 0.02
# Sizes nearer than that to the fitted ones say of noise more than of drift, which a division by their distance would blow up.
_NEAREST = float(np.log(1.5))


@dataclass(frozen=True)
class Band:
    """Device-seconds per token with the ends of an 80 % interval, at each of some sizes."""

    middle: Floats
    low: Floats
    high: Floats


class Fit(Protocol):
    """A fitted law, or the physical model."""

    @property
    def name(self) -> str: ...
    @property
    def parameters(self) -> dict[str, tuple[float, float, float]]:
        """Value and 80 % interval by name."""
        ...

    def cost(self, devices: Floats) -> Floats:
        """Device-seconds per token."""
        ...

    def band(self, devices: Floats) -> Band:
        """The same with the interval in which a measurement would lie."""
        ...

    def efficiency(self, devices: Floats, base: float) -> Band:
        """Cost at ``base`` over cost at ``devices``, with its own interval (no new measurement's noise)."""
        ...


@dataclass(frozen=True)
class LawFit:
    """``drift``: see DRIFT. Sizes as devices."""

    law: Law
    coefficients: Floats
    sizes: Floats
    costs: Floats
    spread: Floats
    drift: float = DRIFT

    @property
    def name(self) -> str:
        return self.law.name

    def cost(self, devices: Floats) -> Floats:
        return self.law.cost(self.coefficients, devices / self.sizes[0])

    @cached_property
    def _noise(self) -> tuple[float, float]:
        """Degrees of freedom and sum of squares (in units of ``spread``) of what is known of this line's noise."""
        residuals = np.log(self.costs / self.cost(self.sizes)) / self.spread
        free = max(0, len(self.sizes) - len(self.coefficients))
        return _BELIEF + free, _BELIEF + float(residuals @ residuals)

    @cached_property
    def _draws(self) -> tuple[Floats, Floats, Floats]:
        """(coefficients [draw, coefficient], noise of a new measurement [draw], drift [draw]). The seed is fixed: the same table
        gives the same report."""
        random = np.random.default_rng(20)
        free, squares = self._noise
        scale = np.sqrt(squares / random.chisquare(free, DRAWS))
        noise = random.standard_normal((DRAWS, len(self.sizes))) * self.spread * scale[:, None]
        times = self.cost(self.sizes) * np.exp(noise)
        coefficients = np.array([solve(self.law, self.sizes, each, self.spread) for each in times])
        new = random.standard_normal(DRAWS) * float(np.median(self.spread)) * scale
        return coefficients, new, random.standard_normal(DRAWS) * self.drift

    def _drawn(self, devices: Floats) -> Floats:
        """[draw, size]"""
        coefficients, _, drift = self._draws
        beyond = np.log(np.maximum(devices / self.sizes[-1], 1))
        return self.law.cost(coefficients, devices / self.sizes[0]) * np.exp(drift[:, None] * beyond)

    def band(self, devices: Floats) -> Band:
        drawn = self._drawn(devices) * np.exp(self._draws[1])[:, None]
        return _band(self.cost(devices), drawn)

    def efficiency(self, devices: Floats, base: float) -> Band:
        start = np.array([base])
        return _band(self.cost(start) / self.cost(devices), self._drawn(start) / self._drawn(devices))

    @property
    def parameters(self) -> dict[str, tuple[float, float, float]]:
        value = self.law.named(self.coefficients)
        drawn = [self.law.named(each) for each in self._draws[0]]
        ends = {name: np.quantile([each[name] for each in drawn], (LOW, HIGH)) for name in value}
        return {name: (value[name], float(ends[name][0]), float(ends[name][1])) for name in value}


def _band(middle: Floats, drawn: Floats) -> Band:
    low, high = np.quantile(drawn, (LOW, HIGH), axis=0)
    return Band(middle, np.minimum(low, middle), np.maximum(high, middle))


def fit(law: Law, places: Sequence[Place], drift: float = DRIFT) -> LawFit:
    """The law through these places."""
    sizes = np.array([place.devices for place in places], dtype=float)
    costs = np.array([place.device_seconds_per_token for place in places])
    spread = np.array([place.spread for place in places])
    return LawFit(law, solve(law, sizes, costs, spread), sizes, costs, spread, drift)


def solve(law: Law, sizes: Floats, costs: Floats, spread: Floats) -> Floats:
    """The coefficients with the smallest sum of ((law - measured) / (measured * spread))²."""
    from scipy.optimize import nnls

    wanted = 1 / costs if law.of_rate else costs
    rows = law.basis(sizes / sizes[0]) / (wanted * spread)[:, None]
    return nnls(rows, 1 / spread)[0]


def drift_of(errors: Sequence[tuple[float, float]], noise: float) -> float:
    """A law's own drift from (relative error, size over the largest fitted size) of sizes that it predicted from smaller ones."""
    squares = [
        max(0.0, np.log1p(error) ** 2 - 2 * noise**2) / max(np.log(ratio), _NEAREST) ** 2 for error, ratio in errors
    ]
    return float(np.sqrt((_BELIEF * DRIFT**2 + sum(squares)) / (_BELIEF + len(squares))))
