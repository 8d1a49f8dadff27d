"""Where in a run the step time changed for good or for a while: throttling, a slow node, a neighbour's job.

A step time's rank among all steps is summed up from the first step on. Without a change the sum wanders like a Brownian
bridge; a change makes it run away: to one side if it lasts to the end (Pettitt, Applied Statistics 28 (1979) 126-135; its
largest distance has Kolmogorov's distribution), there and back if it lasts a while (the range has Kuiper's distribution; Levin
and Kline, Statistics in Medicine 4 (1985) 469-488). Ranks, because step times have long tails. Parts are searched again (binary
segmentation).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

ALARM = 0.001  # of each of the two tests; both together stay below 1 % also where steps depend on each other
LEAST = 0.02  # a smaller change of the median is of no interest
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
    parts = list(pairwise(cuts))
    return [Stretch(first, end, _median(seconds[first:end])) for first, end in parts]


def _cuts(seconds: np.ndarray) -> list[int]:
    """One or two positions at which the steps change most, if they do."""
    n = len(seconds)
    if n < 2 * SHORTEST:
        return []
    ranks = _centred_ranks(seconds)
    spread = math.sqrt(float(ranks @ ranks))  # sqrt(n) times the standard deviation, ties included
    if spread == 0:
        return []
    path = np.cumsum(ranks)
    low, high = int(np.argmin(path)), int(np.argmax(path))
    once = max(-float(path[low]), float(path[high])) / spread
    there_and_back = float(path[high] - path[low]) / spread
    if _kolmogorov(once) > ALARM and _kuiper(there_and_back) > ALARM:
        return []  # dependence between steps would only make it less
    turn = low if -path[low] > path[high] else high
    single, double = [turn + 1], sorted((low + 1, high + 1))
    candidates = [
        (_kolmogorov(once / _inflation(ranks, single)), single),
        (_kuiper(there_and_back / _inflation(ranks, double)), double),
    ]
    for chance, cuts in sorted(candidates, key=lambda each: each[0]):
        kept = [cut for cut in cuts if SHORTEST <= cut <= n - SHORTEST]
        if chance <= ALARM and kept and _matters(seconds, kept):
            return kept
    return []


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks about 0; equal values share their mean rank."""
    n = len(values)
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    ranks = np.empty(n)
    if np.all(ordered[1:] > ordered[:-1]):
        ranks[order] = np.arange(n) - (n - 1) / 2
        return ranks
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[inverse] - (n - 1) / 2


def _matters(seconds: np.ndarray, cuts: list[int]) -> bool:
    medians = [_median(part) for part in np.split(seconds, cuts)]
    if len(cuts) == 2 and cuts[1] - cuts[0] < SHORTEST:
        return False
    return any(abs(after / before - 1) >= LEAST for before, after in pairwise(medians))


def _median(values: np.ndarray) -> float:
    """As numpy's, which takes five times as long for so few."""
    ordered = np.sort(values)
    n = len(ordered)
    return float(ordered[(n - 1) // 2] + ordered[n // 2]) / 2


def _inflation(ranks: np.ndarray, cuts: list[int]) -> float:
    """How much further the sum wanders where a step's rank has to do with the one before: sqrt((1 + r) / (1 - r)), r the
    correlation of neighbours within the parts, with the bias of so few values taken off (Kendall, Biometrika 41 (1954) 403)."""
    parts = np.split(ranks, cuts)
    rest = np.concatenate([part - part.mean() for part in parts if len(part)])
    total = float(rest @ rest)
    if total == 0:
        return 1.0
    n, means = len(rest), len(parts)
    correlation = (float(rest[1:] @ rest[:-1]) / total + means / n) / max(0.2, 1 - 3 * means / n)
    correlation = min(max(correlation, 0.0), 0.98)
    return math.sqrt((1 + correlation) / (1 - correlation))


def _kolmogorov(distance: float) -> float:
    """P(max |Brownian bridge| > distance), its first term: an upper bound where it matters."""
    return min(1.0, 2 * math.exp(-2 * distance**2))


def _kuiper(distance: float) -> float:
    """P(range of a Brownian bridge > distance), its first term; meant for the small probabilities only."""
    square = 4 * distance**2
    return min(1.0, 2 * (square - 1) * math.exp(-square / 2)) if square > 4 else 1.0
