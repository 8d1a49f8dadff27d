"""The laws: what a token costs in device-seconds, as a function of the number of devices.

With m = n / n0 (n0: the smallest fitted size) and u the device-seconds of a token, perfect scaling is u = constant, and efficiency
is u(n0) / u(n). Written so, every law is linear in coefficients that must not be negative, and a fit has one solution.

Amdahl 1967         u / u0 = 1 + s (m - 1)                  s: share of the smallest run's time that does not divide
Gunther 2007 (USL)  u / u0 = 1 + s (m - 1) + k m (m - 1)    k: what every pair of parts costs (coherence); equation 4.31
Gustafson 1988      u0 / u = (1 - f) + f / m                f: share of a step's time in which only one part's work is done
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Law:
    """``basis`` [size, coefficient] for ratios m. ``of_rate``: it is linear in 1/u, not in u."""

    name: str
    title: str
    kinds: tuple[str, ...]  # of lines it is for
    at_least: int  # sizes
    basis: Callable[[Floats], Floats]
    parameters: tuple[str, ...]
    of_rate: bool = False

    def cost(self, coefficients: Floats, m: Floats) -> Floats:
        """u at ratios m; ``coefficients`` [draw, coefficient] or [coefficient]."""
        value = np.maximum(coefficients @ self.basis(m).T, 1e-300)
        return 1 / value if self.of_rate else value

    def named(self, coefficients: Floats) -> dict[str, float]:
        """The parameters by name: each coefficient but the first over u0 (or 1/u0), which all but those of m (m - 1) add up to."""
        start = float((coefficients @ self.basis(np.ones(1)).T)[0])
        return {name: float(c) / start for name, c in zip(self.parameters, coefficients[1:], strict=True)}


def _amdahl(m: Floats) -> Floats:
    return np.stack([np.ones_like(m), m], axis=1)


def _usl(m: Floats) -> Floats:
    return np.stack([np.ones_like(m), m, m * (m - 1)], axis=1)


def _gustafson(m: Floats) -> Floats:
    return np.stack([np.ones_like(m), 1 / m], axis=1)


# The USL has three coefficients: below five sizes it fits anything (and fixed workloads are what Amdahl's law is for).
LAWS = (
    Law("amdahl", "Amdahl", ("strong",), 2, _amdahl, ("serial",)),
    Law("gustafson", "Gustafson", ("weak",), 2, _gustafson, ("serial",), of_rate=True),
    Law("usl", "Gunther's USL", ("strong", "weak"), 5, _usl, ("serial", "coherence")),
)
PHYSICAL = "physical"
TITLES = {**{law.name: law.title for law in LAWS}, PHYSICAL: "physical model"}
