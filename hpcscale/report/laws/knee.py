"""The knee: the most devices at which a fit's efficiency is still above a bound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcscale.report.laws.fit import Fit
from hpcscale.report.laws.forms import Floats

# Beyond this multiple of the largest fitted size no knee is looked for: nothing here knows such machines.
FARTHEST = 64
_POINTS = 256


@dataclass(frozen=True)
class Knee:
    """Devices, and the 80 % interval. None: above the bound as far as anybody looks (``FARTHEST`` times the largest size)."""

    devices: float | None
    low: float | None
    high: float | None


def knee(fit: Fit, smallest: float, largest: float, efficiency: float) -> Knee:
    """Where the fit's efficiency, against its own value at ``smallest``, first falls below ``efficiency``."""
    sizes = np.geomspace(smallest, largest * FARTHEST, _POINTS)
    band = fit.efficiency(sizes, smallest)
    return Knee(*(_last_above(sizes, each, efficiency) for each in (band.middle, band.low, band.high)))


def _last_above(sizes: Floats, efficiencies: Floats, bound: float) -> float | None:
    below = np.flatnonzero(efficiencies < bound)
    if not len(below):
        return None
    i = int(below[0])
    if i == 0:
        return float(sizes[0])
    span = efficiencies[i - 1] - efficiencies[i]
    share = (efficiencies[i - 1] - bound) / span if span > 0 else 0.0
    return float(np.exp(np.log(sizes[i - 1]) + share * np.log(sizes[i] / sizes[i - 1])))


def whole(devices: float, replica: int, devices_per_node: float | None) -> int:
    """The largest size up to ``devices`` that can be run: whole replicas of the model on whole nodes."""
    unit = int(np.lcm(replica, max(1, round(devices_per_node or 1))))
    return max(unit, int(devices * (1 + 1e-9)) // unit * unit)
