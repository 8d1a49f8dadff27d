"""Whether one rank holds up all others step after step."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

FEWEST = 8  # steps
SHARE = 0.5  # of the steps
BEHIND = 0.02  # behind the median rank; less is of no interest
CHANCE = 0.001


@dataclass(frozen=True)
class Slowest:
    """``rank`` was the slowest in ``count`` of ``steps`` steps, then ``behind`` (a share) the median rank."""

    rank: int
    count: int
    steps: int
    behind: float


def often_slowest(ranks: Sequence[object], size: int) -> int | None:
    """The rank that is the slowest in most steps, by more than chance: any of ``size`` ranks being slowest that often if each step
    drew it anew (a binomial tail times ``size``)."""
    if len(ranks) < FEWEST or size < 2:
        return None
    # a damaged record may hold anything
    (each, count), *_ = Counter(ranks if set(map(type, ranks)) == {int} else map(str, ranks)).most_common(1)
    rank = str(each)
    if count < SHARE * len(ranks) or not rank.isdecimal() or size * _tail(len(ranks), 1 / size, count) > CHANCE:
        return None
    return int(rank)


def persistently_slowest(
    ranks: Sequence[object], seconds: Sequence[float], of_median_rank: Sequence[float | None], size: int
) -> Slowest | None:
    """The rank that is slowest in most steps, if that is neither chance nor too little to matter."""
    rank = often_slowest(ranks, size)
    behind = [
        own / middle - 1
        for each, own, middle in zip(ranks, seconds, of_median_rank, strict=True)
        if each == rank and middle
    ]
    if rank is None or not behind or median(behind) < BEHIND:
        return None
    return Slowest(rank, sum(each == rank for each in ranks), len(ranks), median(behind))


def _tail(n: int, share: float, count: int) -> float:
    """P(Binomial(n, share) >= count)."""
    terms = (
        math.exp(
            math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
            + k * math.log(share) + (n - k) * math.log1p(-share)
        )
        for k in range(count, n + 1)
    )  # fmt: skip
    return math.fsum(terms)
