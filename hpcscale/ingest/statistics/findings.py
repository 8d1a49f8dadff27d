"""What was odd about a run's steps, in words for the notes below the table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from hpcscale.ingest.statistics.changes import LEAST, Stretch, stretches
from hpcscale.ingest.statistics.outliers import outliers
from hpcscale.ingest.statistics.slowest import Slowest


def about_steps(numbers: Sequence[int], seconds: Sequence[float]) -> list[str]:
    """Changes and outliers among measured steps; ``numbers`` are the steps' own."""
    values = np.asarray(seconds, dtype=float)
    parts = stretches(values)
    return [*_changes(numbers, parts), *_outliers(values, outliers(values, parts))]


def about_slowest(found: Slowest | None) -> list[str]:
    if found is None:
        return []
    return [
        f"rank {found.rank} was the slowest in {found.count} of {found.steps} steps, {_percent(found.behind)} behind the median rank"
    ]


def _changes(numbers: Sequence[int], parts: list[Stretch]) -> list[str]:
    if len(parts) == 3 and abs(parts[2].seconds / parts[0].seconds - 1) < LEAST:
        while_it_lasted = parts[1].seconds / parts[0].seconds - 1
        return [
            f"steps {numbers[parts[1].first]} to {numbers[parts[1].end - 1]} were {_faster(while_it_lasted)} than the others"
        ]
    said = [
        f"from step {numbers[part.first]} on {_faster(part.seconds / before.seconds - 1)}"
        for before, part in pairwise(parts)
    ]
    return [", ".join(said)] if said else []


def _outliers(seconds: np.ndarray, found: np.ndarray) -> list[str]:
    if not len(found):
        return []
    times = seconds[found] / np.median(seconds)
    low, high = float(times.min()), float(times.max())
    size = f"{high:.2g}" if high - low < 0.05 else f"{low:.2g} to {high:.2g}"
    verb = "step is an outlier" if len(found) == 1 else "steps are outliers"
    return [f"{len(found)} of {len(seconds)} {verb} of {size} times the median; none is dropped"]


def _faster(share: float) -> str:
    return f"{_percent(abs(share))} {'slower' if share > 0 else 'faster'}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.1f} %"
