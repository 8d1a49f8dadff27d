"""How long the steps of a run remember each other, and how much less is known of their median for that.

Two answers, since each misses what the other sees. The block length of a block bootstrap holds for any kind of memory, but a few
hundred steps hardly show it. That a step depends on the one before (an autoregression of first order, with the correlation of the
steps' ranks) is seen in a few dozen, and is what caches, clocks and neighbours in the network mostly make.
"""

from __future__ import annotations

import math

import numpy as np

_SIGNIFICANT = 2.0  # Politis and White's c: a correlation beyond c sqrt(log10 n / n) is none of chance's
_BEYOND_CHANCE = 1.645  # times 1 / sqrt(n): one in twenty independent runs has neighbours as alike as that
_MOST = 0.95  # more correlation than that is a drift, which no interval describes
_FREEDOM = 3.0  # degrees at least
NORMAL = 1.96


def rank_scores(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """How many values are smaller less how many are larger, [n], which add up to 0; equal values have equal scores."""
    return np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right") - len(values)


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
    below -= below.sum() / n
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


def blocks_are_short_by(length: int, n: int) -> float:
    """How many times too narrow the interval of a block bootstrap with the best length is, 1 for blocks of one step.

    Its variance misses what reaches beyond a block, G / L of g(0), which is sqrt(2 L / 3 n) at that length (the squared bias is
    half of the variance there), and the mean's own, L / n (Künsch 1989, theorem 3.3). It is a guess itself, with 3 n / 2 L degrees
    of freedom (that of Bartlett's window), so Student's t stands for the normal distribution.
    """
    if length == 1:
        return 1.0
    share = length / n
    return student(1.5 / share) / NORMAL / math.sqrt((1 - math.sqrt(2 * share / 3)) * (1 - share))


def neighbours_widen_by(scores: np.ndarray) -> float:
    """How many times wider the median's interval is where each step depends on the one before; 1 where that may be chance.

    ``scores`` are those of ranks. With r the correlation of neighbours, without the bias of so few (Kendall, Biometrika 41 (1954)
    403), normal steps k apart lie on the same side of the median with correlation (2 / pi) asin(r^k), which adds up to the
    variance of the median over that of independent steps. n (1 - r) / (1 + r) steps would say as much if they were independent.
    """
    n = len(scores)
    total = float(scores @ scores)
    if total <= 0:
        return 1.0
    correlation = (float(scores[1:] @ scores[:-1]) / total + 1 / n) / (1 - 3 / n)
    if correlation <= _BEYOND_CHANCE / math.sqrt(n):
        return 1.0
    # of normal steps, whose ranks correlate a little less
    correlation = min(2 * math.sin(math.pi * min(correlation, 1.0) / 6), _MOST)
    lags = np.arange(1, math.ceil(math.log(1e-3) / math.log(correlation)) + 1)
    variance = 1 + 4 / math.pi * float(np.arcsin(correlation**lags).sum())
    return math.sqrt(variance) * student(n * (1 - correlation) / (1 + correlation)) / NORMAL


def student(freedom: float) -> float:
    """Student's t that 2.5 % lie above, to 1 % from three degrees of freedom on (Cornish and Fisher; Abramowitz and Stegun 26.7.5);
    fewer count as three."""
    f, z = max(freedom, _FREEDOM), 1.959964
    return (
        z
        + (z**3 + z) / (4 * f)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * f**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * f**3)
    )


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
