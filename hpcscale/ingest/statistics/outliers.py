"""Steps far from the others. They are counted and stay in every figure: a median hardly minds them."""

from __future__ import annotations

import numpy as np

from hpcscale.ingest.statistics.changes import Stretch

TO_SIGMA = 1.4826  # the MAD of a normal distribution is sigma / 1.4826
# Steps of a run -> how many sigmas (by the MAD) one must be off, so that fewer than one clean run in 200 has any: simulated
# with benchmarks/step_statistics.py (normal steps; few steps know their own spread badly).
LIMITS = ((8, 16.0), (10, 12.0), (15, 8.5), (20, 7.0), (30, 6.0), (50, 5.5), (100, 5.2), (10**9, 6.0))
LEAST = 0.05  # of the median, about: a run that hardly varies has steps many sigmas off that nobody minds


def outliers(seconds: np.ndarray, parts: list[Stretch]) -> np.ndarray:
    """The positions of outliers: off the median of their stretch by many median absolute deviations."""
    n = len(seconds)
    if n < LIMITS[0][0]:
        return np.empty(0, dtype=int)
    level = np.repeat([part.seconds for part in parts], [part.end - part.first for part in parts])
    off = np.abs(np.log(seconds / level))  # times are long-tailed, their logarithms less so
    if off.max() <= LEAST:
        return np.empty(0, dtype=int)  # as nearly always
    sigma = TO_SIGMA * float(np.median(off))
    return np.flatnonzero((off > limit(n) * sigma) & (off > LEAST))


def limit(n: int) -> float:
    """Of LIMITS, for a run of ``n`` steps."""
    return next(limit for most, limit in LIMITS if n <= most)
