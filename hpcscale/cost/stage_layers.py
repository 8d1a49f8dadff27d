"""Which layers lie on the first and the last pipeline rank, and which of them selective-layer:k computes again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcscale.cost.cases import Cases, Flags, Floats


@dataclass(frozen=True)
class StageLayers:
    """Arrays [n]. ``count``: of the rank; ``of_first``: of the first of its virtual stages. ``recomputed``: the part of ``count``
    that selective-layer:k computes again; ``ends_recomputed``: a virtual stage ends with such a layer."""

    count: Floats
    of_first: Floats
    recomputed: Floats
    ends_recomputed: Flags


def of_rank(c: Cases, last: bool) -> StageLayers:
    """What does not divide goes to the earliest stages, a layer each (spec/stages.py); layers k, 2 k, ... are computed again,
    counted from 1 over the model."""
    share, rest = np.divmod(c.layers, c.pp * c.virtual)
    found, count, of_first = np.zeros(len(c)), np.zeros(len(c)), share
    ends = np.zeros(len(c), dtype=bool)
    for chunk in range(int(c.virtual.max(initial=1))):
        looped = c.pp * (chunk + 1) - 1 if last else c.pp * chunk
        mirrored = (c.pp - 1 if chunk == 0 else c.pp) if last else (0 if chunk == 0 else 2 * c.pp - 1)
        stage = np.where(c.v_shape, mirrored, looped)
        start = share * stage + np.minimum(stage, rest)
        end = start + share + (stage < rest)
        exists = chunk < c.virtual
        found += np.where(exists, np.floor(end / c.every) - np.floor(start / c.every), 0.0)
        count += np.where(exists, end - start, 0.0)
        ends |= exists & (np.mod(end, c.every) == 0)
        of_first = end - start if chunk == 0 else of_first
    count = np.maximum(count, 1.0)
    return StageLayers(count, of_first, found / count, ends)
