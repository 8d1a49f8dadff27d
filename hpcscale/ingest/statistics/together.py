"""Runs of which nothing is to be said, many at once.

Most runs have neither a change nor an outlier. Whether one run has takes a hundred microseconds, most of them numpy's calls; for a
table of runs of one length the first tests of ``changes`` and ``outliers`` are as many calls in all. What comes near to a limit is
left to those, so that rounding decides nothing.
"""

from __future__ import annotations

import numpy as np

from hpcscale.ingest.statistics import changes, outliers

_NEAR = 1e-6  # times a limit
AT_ONCE = 1000  # runs: so that all arrays of a hundred steps stay in the cache


def uneventful(seconds: np.ndarray) -> np.ndarray:
    """For each run of [run, step], whether it certainly has no change and no outlier."""
    with np.errstate(all="ignore"):  # what is no number is not certain
        logarithms = np.log(seconds)
        middle = changes.median_of(logarithms)[:, None]
        # the logarithm of the median is at most that far from the median of the logarithms
        slack = _NEAR + np.abs(np.log(changes.median_of(seconds)[:, None]) - middle)[:, 0]
        return _no_change(logarithms - middle) & _no_outlier(np.abs(logarithms - middle), slack)


def _no_outlier(off: np.ndarray, slack: np.ndarray) -> np.ndarray:
    n = off.shape[1]
    if n < outliers.LIMITS[0][0]:
        return np.full(len(off), True)
    limit = outliers.limit(n) * outliers.TO_SIGMA
    largest = off.max(axis=1) + slack
    return largest <= np.maximum(outliers.LEAST, limit * (changes.median_of(off) - slack)) * (1 - _NEAR)


def _no_change(centred: np.ndarray) -> np.ndarray:
    """As ``changes`` begins: the sum of scores, its distance and its range over what the steps vary within the parts."""
    n = centred.shape[1]
    if n < 2 * changes.SHORTEST:
        return np.full(len(centred), True)
    scores = changes.scores_of(centred)
    path = np.cumsum(scores, axis=1)
    places = np.stack([path.argmin(axis=1), path.argmax(axis=1)])
    low, high = np.take_along_axis(path, places.T, axis=1).T
    total = np.einsum("ij,ij->i", scores, scores)
    # a part of no steps, at the very end, adds nothing
    rest = np.maximum(n - 1 - places, 1)
    single = np.where(-low > high, 0, 1)
    length, height = (places + 1)[single, np.arange(len(path))], np.where(single, high, low)
    after = rest[single, np.arange(len(path))]
    once = total - height**2 / length - height**2 / after
    first, second = np.where(places[0] < places[1], [low, high], [high, low])
    begin, between = places.min(axis=0) + 1, np.maximum(np.abs(places[0] - places[1]), 1)
    twice = (
        total
        - first**2 / begin
        - (second - first) ** 2 / between
        - second**2 / np.maximum(n - 1 - places.max(axis=0), 1)
    )
    # fewer parts are divided by more: the smaller of both spreads is never too large
    sigmas = [np.sqrt(np.maximum(within / (n - 2), 0.25)) for within in (once, twice)]
    distance = np.maximum(-low, high) / np.sqrt(n) / sigmas[0]
    square = 4 * ((high - low) / np.sqrt(n) / sigmas[1]) ** 2
    chance = np.minimum(2 * np.exp(-2 * distance**2), np.where(square > 4, 2 * (square - 1) * np.exp(-square / 2), 1.0))
    return chance > changes.ALARM * (1 + _NEAR)
