"""How long the steps of a run remember each other: the block length of a block bootstrap."""

from __future__ import annotations

import math

import numpy as np

_SIGNIFICANT = 2.0  # Politis and White's c: a correlation beyond c sqrt(log10 n / n) is none of chance's


def block_length(values: np.ndarray) -> int:
    """The automatic block length of the circular block bootstrap, 1 where the steps look independent.

    Politis and White, Econometric Reviews 23 (2004) 53-70, with the correction of Patton, Politis and White, ibid. 28 (2009)
    372-375: L = (2 G^2 / D)^(1/3) n^(1/3), D = 4/3 g(0)^2, with the flat-top window of width 2m, m the lag beyond which no
    correlation is significant. Taken of the indicators "not slower than the median", of which the median's spread is made;
    single slow steps weigh nothing in them.
    """
    n = len(values)
    if n < 8:
        return 1  # no correlation of so few is significant
    below = (values <= np.partition(values, (n - 1) // 2)[(n - 1) // 2]).astype(float)
    below -= below.mean()
    together = max(5, math.ceil(math.sqrt(math.log10(n))))
    largest = min(n - 1, math.ceil(math.sqrt(n)) + together)
    covariance = _covariance(below, largest)
    if covariance[0] <= 0:
        return 1  # all steps alike
    significant = np.flatnonzero(np.abs(covariance[1:]) >= _SIGNIFICANT * math.sqrt(math.log10(n) / n) * covariance[0])
    memory = _memory(significant + 1, together)
    if memory == 0:
        return 1
    lags = np.arange(1, min(2 * memory, largest) + 1)
    window = np.clip(2 * (1 - lags / (2 * memory)), 0, 1) * covariance[lags]
    spectrum = covariance[0] + 2 * window.sum()
    slope = 2 * (lags * window).sum()
    if spectrum <= 0:
        return 1  # steps that alternate: a median of theirs is surer than one of independent steps
    length = (2 * slope**2 / (4 / 3 * spectrum**2)) ** (1 / 3) * n ** (1 / 3)
    return int(min(max(1, round(length)), math.ceil(min(3 * math.sqrt(n), n / 3))))


def _covariance(centred: np.ndarray, largest: int) -> np.ndarray:
    """At lags 0 to ``largest``."""
    n = len(centred)
    if n < 500:  # all lags at once cost less than a few one by one
        return np.correlate(centred, centred, "full")[n - 1 : n + largest] / n
    return np.array([centred[lag:] @ centred[: n - lag] for lag in range(largest + 1)]) / n


def _memory(significant: np.ndarray, together: int) -> int:
    """The last lag before ``together`` insignificant ones in a row; 0 if the very first are."""
    last = 0
    for lag in significant.tolist():
        if lag - last > together:
            break
        last = lag
    return last
