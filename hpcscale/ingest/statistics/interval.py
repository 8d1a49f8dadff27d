"""The median of a run's steps with its bootstrap interval: exact, so there is neither a seed nor noise of drawing.

A step's time depends on that of the step before (caches, clocks, neighbours in the network), so blocks of steps are drawn and
not single ones (Künsch, Annals of Statistics 17 (1989) 1217-1241; circular: Politis and Romano, 1992). The median of such a
sample is at most v if at least half of its steps are; how many steps of a drawn block are at most v is a number between 0 and
the block's length with known frequencies, and their sum over b independent blocks has those frequencies convolved b times. So
the distribution over all n^b samples that could be drawn is computed, not sampled (for blocks of one step: Efron, Annals of
Statistics 7 (1979) 1-26, section 3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from hpcscale.ingest.statistics.dependence import (
    NORMAL,
    block_length,
    blocks_are_short_by,
    neighbours_widen_by,
    rank_scores,
)
from hpcscale.record.median import COVERAGE, Median, median_with_interval

_TINY, _PLACES = 1e-4, 64
_AT_ONCE = 9  # places: from a hundred to one in two rounds
FEWEST = 6  # below, the interval of order statistics is [smallest, largest] and covers less than 95 %


def median_interval(values: Sequence[float]) -> Median:
    """The median and its 95 % interval: block bootstrap percentiles, widened by what so few blocks cannot know.

    Never narrower than the interval of order statistics, which holds for independent steps of any distribution and any
    number: dependence between steps only widens it.
    """
    plain = median_with_interval(values)
    if len(values) < FEWEST or plain.low == plain.high:
        return plain
    series = np.asarray(values, dtype=float)
    ordered = np.sort(series)
    n, length = len(values), block_length(series)
    first, last = _independent(n)
    wider = neighbours_widen_by(rank_scores(series, ordered))
    if wider > 1:
        first = min(first, _place(n, wider))
        last = max(last, n - 1 - first)
    low, high = min(plain.low, float(ordered[first])), max(plain.high, float(ordered[last]))
    if length > 1:
        resampled = Resampled(series, length)
        if not resampled.lies_within(first, last):
            ends = resampled.ends()
            low, high = min(low, ends[0]), max(high, ends[1])
    return Median(plain.value, low, high)


def _place(n: int, wider: float) -> int:
    """Of the interval's lower end among n sorted values, ``wider`` times as far from the middle as for independent ones."""
    return max(0, math.floor((n + 1) / 2 - wider * NORMAL * math.sqrt(n) / 2) - 1)


class Resampled:
    """The median's distribution over all samples of whole blocks of a run's steps."""

    def __init__(self, values: np.ndarray, length: int | None = None):
        n = len(values)
        self.length = block_length(values) if length is None else length
        order = np.argsort(values, kind="stable")
        self.ordered = values[order]
        self._values = values
        place = np.empty(n, dtype=np.int64)
        place[order] = np.arange(n)
        self._circle = np.concatenate([place, place[: self.length - 1]])
        self._blocks = max(1, round(n / self.length))
        self._drawn = self._blocks * self.length

    def ends(self) -> tuple[float, float]:
        """Of the 95 % percentile interval, further out by what blocks are short by."""
        n, sigmas = len(self.ordered), NORMAL * blocks_are_short_by(self.length, len(self.ordered))
        tail = self._tail()
        # Where the ends should lie if the number of steps below the median were normally distributed.
        spread = self._spread()
        guesses = [n / 2 - sigmas * spread, n / 2 + sigmas * spread]
        near = np.unique(np.clip(np.round([[guess + k for k in range(-4, 4)] for guess in guesses]), 0, n - 1)).astype(
            np.int64
        )
        lower, upper = self._both(near)
        ends = []
        for reached, share, is_upper in ((lower, tail, False), (upper, 1 - tail, True)):
            found = int(np.searchsorted(reached, share))
            inside = found < len(near) and (near[found] == 0 or (found > 0 and near[found - 1] == near[found] - 1))
            ends.append(float(self.ordered[near[found]]) if inside else self.quantile(share, is_upper))
        return ends[0], ends[1]

    def lies_within(self, first: int, last: int) -> bool:
        """Whether these places of the sorted values hold the interval: asked of two places, which takes less than to find its ends."""
        if first == 0 and last == len(self.ordered) - 1:
            return True
        tail = self._tail()
        lower, upper = self._both(np.array([max(0, first - 1), last]))
        return bool((first == 0 or lower[0] < tail) and upper[1] >= 1 - tail)

    def _tail(self) -> float:
        return math.erfc(NORMAL * blocks_are_short_by(self.length, len(self.ordered)) / math.sqrt(2)) / 2

    def _spread(self) -> float:
        """Standard deviation of the number of steps in a sample that are below the run's median, of n."""
        n, middle = len(self.ordered), np.array([(len(self.ordered) - 1) // 2])
        counts = self._frequencies(middle)[0]
        steps = np.arange(self.length + 1)
        variance = max(1e-9, float(counts @ steps**2) - float(counts @ steps) ** 2)
        return math.sqrt(variance * self._blocks) * n / self._drawn

    @property
    def widening(self) -> float:
        """How many times too near the median drawn samples are: :func:`median_interval` widens the interval by as much."""
        n = len(self.ordered)
        if n < FEWEST:
            return 1.0
        neighbours = neighbours_widen_by(rank_scores(self._values, self.ordered))
        if neighbours > 1 and self.length > 1:
            neighbours *= math.sqrt(n) / 2 / self._spread()
        return max(blocks_are_short_by(self.length, n), neighbours)

    def quantile(self, share: float, upper: bool = False) -> float:
        """The smallest value that the median of a sample does not exceed with probability ``share``. Of an even number of
        steps the lower or ``upper`` one of the two in the middle counts: the interval between both holds their mean."""
        low, high = 0, len(self.ordered) - 1
        while low < high:
            # several places at once: numpy's calls take longer than what they do here
            places = np.unique(np.linspace(low, high - 1, _AT_ONCE).astype(np.int64))
            reached = int(np.searchsorted(self.probability(places, upper), share))
            low, high = (
                int(places[reached - 1]) + 1 if reached else low,
                int(places[reached]) if reached < len(places) else high,
            )
        return float(self.ordered[low])

    def probability(self, places: np.ndarray, upper: bool = False) -> np.ndarray:
        """That the median of a sample is at most the value at each of these places of the sorted ones; ``places`` ascend."""
        return self._both(places)[upper]

    def _both(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The probabilities for the lower and the upper one of two steps in the middle."""
        # The b-fold convolution, by the theorem of that name; sums reach ``drawn``, so nothing wraps round.
        size = 1 << self._drawn.bit_length()
        sums = np.fft.irfft(_power(np.fft.rfft(self._frequencies(places), size), self._blocks), size)
        half = (self._drawn + 1) // 2
        lower = sums[:, half : self._drawn + 1].sum(axis=1)
        upper = lower if self._drawn % 2 else lower - sums[:, half]
        return np.maximum.accumulate(lower), np.maximum.accumulate(upper)

    def _frequencies(self, places: np.ndarray) -> np.ndarray:
        """For each place, how often 0, 1, ... steps of a block are at most the value there: [place, steps]."""
        n, kinds = len(self.ordered), self.length + 1
        counts = np.zeros((len(places), n + self.length), dtype=np.int64)
        np.cumsum(self._circle <= places[:, None], axis=1, out=counts[:, 1:])
        in_block = counts[:, self.length :] - counts[:, :n]
        in_block += kinds * np.arange(len(places))[:, None]
        return np.bincount(in_block.ravel(), minlength=kinds * len(places)).reshape(len(places), kinds) / n

    def draw(self, random: np.random.Generator, count: int) -> np.ndarray:
        """Medians of ``count`` samples: by inverting the distribution, so a long run costs no more than a short one."""
        places, reached = _distribution_of_independent(len(self.ordered)) if self.length == 1 else self.distribution()
        found = np.searchsorted(reached, random.random(count) * reached[-1])
        return self.ordered[places[np.minimum(found, len(places) - 1)]]

    def distribution(self) -> tuple[np.ndarray, np.ndarray]:
        """Places of sorted values that a median may take, at most some dozens, and how probable it is not to be beyond."""
        first, last = (int(np.searchsorted(self.ordered, self.quantile(share))) for share in (_TINY, 1 - _TINY))
        places = np.unique(np.linspace(first, last, min(last - first + 1, _PLACES)).astype(np.int64))
        return places, (self.probability(places) + self.probability(places, upper=True)) / 2


def _power(spectrum: np.ndarray, exponent: int) -> np.ndarray:
    """By squaring: numpy's power of complex numbers takes a logarithm of each."""
    result = np.ones_like(spectrum)
    while exponent:
        if exponent & 1:
            result = result * spectrum
        spectrum, exponent = spectrum * spectrum, exponent >> 1
    return result


@lru_cache(maxsize=256)
def _distribution_of_independent(n: int) -> tuple[np.ndarray, np.ndarray]:
    return Resampled(np.arange(n, dtype=float), 1).distribution()


@lru_cache(maxsize=1024)
def _independent(n: int) -> tuple[int, int]:
    """Places of the interval's ends among n sorted values, for blocks of one step: they depend on n alone."""
    places = Resampled(np.arange(n, dtype=float), 1)
    tail = (1 - COVERAGE) / 2
    return int(places.quantile(tail)), int(places.quantile(1 - tail, upper=True))
