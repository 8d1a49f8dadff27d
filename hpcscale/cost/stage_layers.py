"""Which layers lie on the first and the last pipeline rank, and which of them selective-layer:k computes again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcscale.cost.cases import Cases, Flags, Floats


@dataclass(frozen=True)
class StageLayers:
    """Arrays [n]. ``count``: of the rank; ``recomputed``: the part of it that selective-layer:k computes again;
    ``ends_recomputed``: a virtual stage ends with such a layer. ``stages``: for each of its virtual stages in their order
    (layers, those of them that are computed again), 0 where a case has fewer."""

    count: Floats
    recomputed: Floats
    ends_recomputed: Flags
    stages: tuple[tuple[Floats, Floats], ...]


def of_rank(c: Cases, last: bool) -> StageLayers:
    """What does not divide goes to the earliest stages, a layer each (spec/stages.py); layers k, 2 k, ... are computed again,
    counted from 1 over the model."""
    share, rest = np.divmod(c.layers, c.pp * c.virtual)
    stages: list[tuple[Floats, Floats]] = []
    ends = np.zeros(len(c), dtype=bool)
    for chunk in range(int(c.virtual.max(initial=1))):
        looped = c.pp * (chunk + 1) - 1 if last else c.pp * chunk
        mirrored = (c.pp - 1 if chunk == 0 else c.pp) if last else (0 if chunk == 0 else 2 * c.pp - 1)
        stage = np.where(c.v_shape, mirrored, looped)
        start = share * stage + np.minimum(stage, rest)
        end = start + share + (stage < rest)
        exists = chunk < c.virtual
        again = np.floor(end / c.every) - np.floor(start / c.every)
        stages.append((np.where(exists, end - start, 0.0), np.where(exists, again, 0.0)))
        ends |= exists & (np.mod(end, c.every) == 0)
    count = np.maximum(np.sum([layers for layers, _ in stages], axis=0), 1.0)
    return StageLayers(count, np.sum([again for _, again in stages], axis=0) / count, ends, tuple(stages))
