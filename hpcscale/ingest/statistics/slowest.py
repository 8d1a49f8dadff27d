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


def persistently_slowest(
    ranks: Sequence[int | None], seconds: Sequence[float], of_median_rank: Sequence[float | None], size: int
) -> Slowest | None:
    """The rank that is slowest in most steps, if that is neither chance nor too little to matter.

    Chance: any of ``size`` ranks being slowest that often if each step drew it anew (a binomial tail times ``size``).
    """
    known = [
        (rank, own / middle - 1)
        for rank, own, middle in zip(ranks, seconds, of_median_rank, strict=True)
        if rank is not None and middle
    ]
    if len(known) < FEWEST or size < 2:
        return None
    rank, count = Counter(rank for rank, _ in known).most_common(1)[0]
    if count < SHARE * len(known) or size * _tail(len(known), 1 / size, count) > CHANCE:
        return None
    behind = median(share for each, share in known if each == rank)
    return Slowest(rank, count, len(known), behind) if behind >= BEHIND else None


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
