"""How much memory a rank needs: a table per pipeline stage whose lines add up, and whether it fits.

    weights, gradients, optimizer states by sharding (states.py); activations by checkpointing (activations.py) and by the
    micro batches that the schedule holds at once (in_flight.py); logits (logits.py); messages; the process itself.

They differ between programs (programs.py) and over a step; the table is that of the highest moment (moments.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hpcscale.cost import in_flight
from hpcscale.cost.cases import Cases, Floats
from hpcscale.cost.moments import Stage, lines_of_moments
from hpcscale.cost.stage_layers import of_rank

Values = Mapping[str, Floats | float]

# line -> what a person reads
LINES = {
    "weights": "weights that are computed with, and FSDP's gathered ones",
    "gradients": "gradients",
    "states": "master weights and the optimizer's averages",
    "activations": "what the backward pass needs of every micro batch in flight",
    "work": "what one layer holds while it computes",
    "logits": "logits and their gradients",
    "buffers": "messages, and ALiBi's biases",
    "process": "the process, libraries, the device's context, the allocator's gaps",
}
FITS, RISKY, OOM, UNKNOWN = "fits", "risky", "OOM", "unknown"
# The share of usable memory above which a run may end for want of it: of estimates that were calibrated on a machine's own rows
# nine of ten are right to a tenth (benchmarks/prediction.py). OOM is said only above all of it, since most of those between fit.
RISKY_ABOVE = 0.90


@dataclass(frozen=True)
class Need:
    """Bytes by line, arrays [n], of the first and of the last pipeline stage (the same where there is one)."""

    first: dict[str, Floats]
    last: dict[str, Floats]

    @property
    def total(self) -> Floats:
        """Bytes of the stage that needs most."""
        return np.maximum(_sum(self.first), _sum(self.last))

    @property
    def worst(self) -> dict[str, Floats]:
        """The lines of that stage."""
        first = _sum(self.first) >= _sum(self.last)
        return {line: np.where(first, self.first[line], self.last[line]) for line in LINES}


def _sum(lines: Mapping[str, Floats]) -> Floats:
    return np.sum(list(lines.values()), axis=0)


def need(cases: Cases, values: Values) -> Need:
    """Bytes per rank. ``values``: constants ``activations``... of constants.py, numbers or arrays [n]."""
    c = cases
    alone = c.pp == 1
    ones = np.ones(len(c), dtype=bool)
    first = Stage(c, of_rank(c, last=False), ones, alone | c.v_shape, in_flight.on_first(c))
    last = Stage(c, of_rank(c, last=True), alone, alone | ~c.v_shape, in_flight.on_last(c))
    return Need(_lines(first, values), _lines(last, values))


def verdict(bytes_needed: Floats, usable: Floats) -> list[str]:
    """fits, risky or OOM; unknown where ``usable`` is nan."""
    share = bytes_needed / usable
    words = np.select([np.isnan(share), share > 1, share > RISKY_ABOVE], [UNKNOWN, OOM, RISKY], FITS)
    return [str(word) for word in words]


def _lines(stage: Stage, k: Values) -> dict[str, Floats]:
    """The lines of the moment that needs most."""
    moments = lines_of_moments(stage, k)
    largest = np.argmax([_sum(each) for each in moments], axis=0)
    lines = {line: np.choose(largest, [each[line] for each in moments]) for line in LINES if line != "process"}
    gaps = _sum(lines) * (k["gaps"] - 1)
    return {**lines, "process": k["process"] + gaps}
