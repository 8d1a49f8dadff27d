"""Where in a run the step time changed for good or for a while: throttling, a slow node, a neighbour's job.

A step's distance from the median is summed up from the first step on (a CUSUM; Page, Biometrika 41 (1954) 100-115). Without a
change the sum wanders like a Brownian bridge; a change makes it run away: to one side if it lasts to the end (the largest distance
has Kolmogorov's distribution), there and back if it lasts a while (the range has Kuiper's; Levin and Kline, Statistics in Medicine
4 (1985) 469-488). Distances are relative, in units of what neighbours differ by, and cut off at some of those (Huber's scores), so a
few very slow steps are no change. How far the sum may wander is estimated within the parts, and wider where a step's time has to do
with that of the step before. Parts are searched again (binary segmentation).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

# Of each of the two tests, by their limits for long runs: in all 1 % at most (benchmarks/step_statistics.py).
ALARM = 1e-4
LEAST = 0.02  # a smaller change of the median is of no interest
# Found by simulation (benchmarks/step_statistics.py), so that a run raises a false alarm in 1 % at any correlation up to 0.8:
_BIAS = 2.5  # times Kendall's bias is taken off r, since the cuts are where the parts look flattest
_MARGIN = 1.5  # times r / sqrt(n) is added to it: the larger r is, the more an error of it matters
_AT_MOST = 4.0  # times 1 / sqrt(n): r is believed to be so much above what differences of neighbours say, and no more
_CUT_OFF = 6.0  # noises; further away is as far
_LEAST_NOISE = 0.001  # of the step time: times that are equal to the digit have no noise to measure by
_TO_SIGMA = 1.4826  # a normal distribution's sigma over its median absolute deviation
SHORTEST = 5  # steps: one odd step is an outlier, a few are not yet a change
MOST = 6  # stretches that are told apart


@dataclass(frozen=True)
class Stretch:
    """Steps ``first`` to before ``end`` (positions), between changes, and their median."""

    first: int
    end: int
    seconds: float


def stretches(seconds: np.ndarray) -> list[Stretch]:
    """The run's parts between changes, in order; one if nothing changed."""
    cuts = [0, len(seconds)]
    waiting = [(0, len(seconds))]
    while waiting and len(cuts) <= MOST:
        first, end = waiting.pop(0)
        found = _cuts(seconds[first:end])
        if found:
            inner = [first, *(first + cut for cut in found), end]
            cuts = sorted({*cuts, *inner})
            waiting += list(pairwise(inner))
    return _merged(seconds, cuts)


def _merged(seconds: np.ndarray, cuts: list[int]) -> list[Stretch]:
    """The stretches between these cuts; neighbours that hardly differ are one."""
    parts = [Stretch(first, end, float(median_of(seconds[first:end]))) for first, end in pairwise(cuts)]
    alike = [place for place, (a, b) in enumerate(pairwise(parts), 1) if abs(b.seconds / a.seconds - 1) < LEAST]
    return _merged(seconds, [cut for place, cut in enumerate(cuts) if place != alike[0]]) if alike else parts


def _cuts(seconds: np.ndarray) -> list[int]:
    """One or two positions at which the steps change most, if they do."""
    n = len(seconds)
    if n < 2 * SHORTEST:
        return []
    logarithms = np.log(seconds)
    scores = scores_of(logarithms)
    path = np.cumsum(scores)
    low, high = int(np.argmin(path)), int(np.argmax(path))
    single, double = [(low if -path[low] > path[high] else high) + 1], sorted((low + 1, high + 1))
    once = max(-float(path[low]), float(path[high])) / math.sqrt(n)
    there_and_back = float(path[high] - path[low]) / math.sqrt(n)
    total = float(scores @ scores)
    sigmas = [_sigma_within(total, path, cuts) for cuts in (single, double)]
    if min(_kolmogorov(once / sigmas[0]), _kuiper(there_and_back / sigmas[1])) > ALARM:
        return []  # as nearly always; dependence between steps could only make the sum wander further
    most = _correlation_of_differences(logarithms)
    candidates = [
        (_kolmogorov(once / sigmas[0] / _further(scores, single, most)), single),
        (_kuiper(there_and_back / sigmas[1] / _further(scores, double, most)), double),
    ]
    for chance, cuts in sorted(candidates, key=lambda each: each[0]):
        kept = [cut for cut in cuts if SHORTEST <= cut <= n - SHORTEST]
        if chance <= ALARM and kept and not (len(kept) == 2 and kept[1] - kept[0] < SHORTEST):
            return kept
    return []


def scores_of(logarithms: np.ndarray) -> np.ndarray:
    """How many noises a step is off the median, cut off and about 0, of runs [..., step]. Noise: from what neighbours differ by,
    which a change leaves alone."""
    noise = np.maximum(_TO_SIGMA * median_of(np.abs(np.diff(logarithms))) / math.sqrt(2), _LEAST_NOISE)
    off = (logarithms - median_of(logarithms)[..., None]) / noise[..., None]
    scores = np.minimum(np.maximum(off, -_CUT_OFF), _CUT_OFF)
    return scores - scores.sum(axis=-1, keepdims=True) / scores.shape[-1]


def median_of(values: np.ndarray) -> np.ndarray:
    """Of the last axis, as numpy's, which takes five times as long for so few."""
    ordered = np.sort(values)
    n = ordered.shape[-1]
    return (ordered[..., (n - 1) // 2] + ordered[..., n // 2]) / 2


def _correlation_of_differences(logarithms: np.ndarray) -> float:
    """The correlation r of neighbours from steps one and two apart, E d2^2 / E d1^2 = 1 + r, plus its error. A change adds to very
    few differences; the error is that of medians, which squares of long memories share, and so several times 1 / sqrt(n)."""
    one, two = (median_of(np.abs(logarithms[apart:] - logarithms[:-apart])) for apart in (1, 2))
    return float((two / one) ** 2) - 1 + _AT_MOST / math.sqrt(len(logarithms)) if one > 0 else 0.0


def _sigma_within(total: float, path: np.ndarray, cuts: list[int]) -> float:
    """The standard deviation of the scores within the parts, from the sum of their squares and the sums that led to the cuts."""
    ends = [0, *cuts, len(path)]
    sums = [0.0, *(float(path[cut - 1]) for cut in cuts), 0.0]
    parts = [
        (end - first, b - a) for (first, end), (a, b) in zip(pairwise(ends), pairwise(sums), strict=True) if end > first
    ]
    within = total - sum(part_sum**2 / length for length, part_sum in parts)
    # At least as if the steps were noisy: equal times cannot be surer than that.
    return math.sqrt(max(within / max(1, len(path) - 2 * len(parts)), 0.25))


def _further(scores: np.ndarray, cuts: list[int], most: float) -> float:
    """How much further the sum wanders where a step has to do with the one before: sqrt((1 + r) / (1 - r)).

    r is the correlation of neighbours within the parts, with the bias of so few values taken off: (1 + 3 r) / n for each mean that
    is subtracted (Kendall, Biometrika 41 (1954) 403), and more than once, since the cuts are chosen. A further change within a part
    looks like correlation too, so r is at most what differences of neighbours allow.
    """
    ends = [0, *cuts, len(scores)]
    parts = [scores[first:end] for first, end in pairwise(ends) if end > first]
    rest = np.concatenate([part - part.sum() / len(part) for part in parts])
    n, means = len(rest), len(parts)
    total = float(rest @ rest) or 1.0
    correlation = (float(rest[1:] @ rest[:-1]) / total + _BIAS * means / n) / max(0.2, 1 - 3 * _BIAS * means / n)
    correlation = min(max(min(correlation, most), 0.0) * (1 + _MARGIN / math.sqrt(n)), 0.98)
    return math.sqrt((1 + correlation) / (1 - correlation))


def _kolmogorov(distance: float) -> float:
    """P(max |Brownian bridge| > distance), its first term: an upper bound where it matters."""
    return min(1.0, 2 * math.exp(-2 * distance**2))


def _kuiper(distance: float) -> float:
    """P(range of a Brownian bridge > distance), its first term; meant for the small probabilities only."""
    square = 4 * distance**2
    return min(1.0, 2 * (square - 1) * math.exp(-square / 2)) if square > 4 else 1.0
