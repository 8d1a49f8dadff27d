"""The median of a few measurements, and how far it can be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import median
from typing import NamedTuple

COVERAGE = 0.95
# Of two to five normal values [smallest, largest] holds the truth in 50, 75, 88 and 94 % of cases only. By what half its length is to
# be multiplied: for 95 % (for two values Student's t with one degree of freedom), and for the standard deviation of their median,
# on average. Simulated with four million samples each.
FEW = {2: (12.71, 1.254), 3: (2.684, 0.792), 4: (1.477, 0.530), 5: (1.120, 0.461)}


class Median(NamedTuple):
    """A median and its interval, in the unit of the values."""

    value: float
    low: float
    high: float


def median_with_interval(values: Sequence[float]) -> Median:
    """The median and its distribution-free interval: the pair of order statistics x(k), x(n+1-k) with the largest k
    that still covers the true median with probability 95 % or more, 1 - 2 P(Binomial(n, 1/2) < k).

    Below six values no pair reaches 95 %; the interval is then [smallest, largest], which covers 1 - 2^(1-n): 94 % for
    five values, 88 % for four, 75 % for three, 50 % for two, and says nothing for one. Raises ValueError for none.
    """
    if not values:
        raise ValueError("there is no median of nothing")
    ordered = sorted(values)
    k = _rank(len(ordered))
    return Median(float(median(ordered)), float(ordered[k - 1]), float(ordered[-k]))


@lru_cache(maxsize=1024)
def _rank(n: int) -> int:
    """The largest k whose pair of order statistics covers the median often enough; 1 if none does."""
    # What lies ten standard deviations below the middle adds nothing to the tail; runs may have a million steps.
    k = max(0, int(n / 2 - 5 * math.sqrt(n)))
    tail, whole = 0.0, math.lgamma(n + 1) - n * math.log(2)
    while k < n // 2:
        tail += math.exp(whole - math.lgamma(k + 1) - math.lgamma(n - k + 1))
        if 1 - 2 * tail < COVERAGE:
            break
        k += 1
    return max(k, 1)
