"""The physical model of cost/ on a line: calibrated on some of its rows, then asked about other sizes.

What is believed before it sees the rows: for runs of one's own, what published rows say of such devices; for published rows only
the priors, since the constants that were learned from published rows may have seen the very rows that are to be foreseen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hpcscale.cost import cases as cases_of
from hpcscale.cost.constants import Fitted
from hpcscale.cost.of_rows import Described, described
from hpcscale.cost.predict import predict
from hpcscale.cost.tables import calibrated
from hpcscale.ingest.predicted import configuration
from hpcscale.report.laws.fit import Band
from hpcscale.report.laws.forms import PHYSICAL, Floats
from hpcscale.report.laws.lines import Line, Place
from hpcscale.spec import locate, machine
from hpcscale.spec.machine import Calibration, Machine

_GRID = 24  # sizes between which the curve is interpolated
_EIGHTY = 1.2816  # normal quantile of an 80 % interval


class Unable(Exception):
    """The model cannot be asked about this line; the text is the reason."""


class Model:
    """The model of one line. What it knows of a size is kept: fits of parts of the line ask for the same sizes again and again."""

    def __init__(self, line: Line):
        self.line = line
        row = line.places[0].row
        # published rows' learned constants may have seen the very rows that are to be foreseen
        self.learned: Fitted | None = {} if row["origin"] == "published" else None
        self._profile = _machine(_columns(row)["system"])
        self._at: dict[float, Described] = {}

    def fit(self, places: Sequence[Place]) -> PhysicalFit:
        """Raises Unable where the model, the device or the layout is not known well enough."""
        rows = [{**self._row(place.row), "sec_per_iter": _seconds(place)} for place in places]
        found = [self._described(row) for row in rows]
        made = PhysicalFit(self, calibrated(rows, found, self.line.name, self.learned))
        costs = np.array([place.device_seconds_per_token for place in places])
        off = np.log(costs / made.cost(np.array([float(place.devices) for place in places])))
        return replace(made, misfit=float(np.sqrt(np.mean(off**2))))

    def at(self, size: float) -> Described:
        """The configuration of the line at this many devices."""
        if size not in self._at:
            self._at[size] = self._described(self._row(_scaled(self.line, size)))
        return self._at[size]

    def _row(self, row: dict[str, Any]) -> dict[str, Any]:
        """As cost/ reads it. The rows of a calibration are known by their device, so a table that names the machine alone gets it
        from there."""
        found = _columns(row)
        device = self._profile.device_facts.name if self._profile else None
        return {**found, "gpu_type": found["gpu_type"] or device}

    def _described(self, row: dict[str, Any]) -> Described:
        found = described(row, self._profile)
        if found.values is None:
            raise Unable(found.reason)
        return found


@dataclass(frozen=True)
class PhysicalFit:
    """``model``: of all rows, of which the configurations are used, not the times. ``misfit``: how far it is off the very rows
    that it was calibrated on (root mean square of log time), which no calibration makes good."""

    model: Model
    calibration: Calibration
    misfit: float = 0.0

    @property
    def name(self) -> str:
        return PHYSICAL

    @property
    def parameters(self) -> dict[str, tuple[float, float, float]]:
        return {}  # some thirty constants; hpcscale plan --explain shows what a time consists of

    def cost(self, devices: Floats) -> Floats:
        return self.band(devices).middle

    def band(self, devices: Floats) -> Band:
        middle, low, high = (np.log(ends) for ends in _predict(self, devices))
        beside = _EIGHTY * self.misfit
        return Band(
            np.exp(middle),
            np.exp(middle - np.hypot(middle - low, beside)),
            np.exp(middle + np.hypot(high - middle, beside)),
        )

    def efficiency(self, devices: Floats, base: float) -> Band:
        found = self.band(np.append(devices, base))
        start = found.middle[-1]
        return Band(start / found.middle[:-1], start / found.high[:-1], start / found.low[:-1])


def _predict(made: PhysicalFit, devices: Floats) -> list[Floats]:
    """Costs with the ends of the model's own interval, at sizes that are whole replicas; between them along straight lines of the logarithms."""
    model, line = made.model, made.model.line
    asked = sorted({float(size) for size in devices if _possible(line, size)} | set(_grid(line, devices)))
    found = [model.at(size) for size in asked]
    cases = cases_of.made([each.values or {} for each in found])
    predictions = predict(cases, [each.kind for each in found], [made.calibration] * len(found), model.learned)
    costs = np.array(asked) / np.array([_tokens(line, size) for size in asked])
    ends = (predictions.seconds, predictions.low, predictions.high)
    return [np.exp(np.interp(np.log(devices), np.log(asked), np.log(seconds * costs))) for seconds in ends]


def _tokens(line: Line, size: float) -> float:
    """Of a step."""
    length = line.places[0].row["sequence_length"] or 1
    return line.batch * length * (size if line.kind == "weak" else 1)


def _seconds(place: Place) -> float:
    """Of a step, as its throughput says: a document's own seconds and its tokens/s may differ by their rounding."""
    if not place.row["tokens_per_step"]:
        raise Unable("the rows do not say how many tokens a step has (sequence_length)")
    return place.row["tokens_per_step"] / place.throughput


def _grid(line: Line, devices: Floats) -> list[float]:
    """Sizes over the range that is asked for at which the batch divides evenly among whole replicas; those between them would
    leave replicas waiting, and nobody runs them."""
    low, high = min(devices.min(), line.sizes[0]) / line.replica, max(devices.max(), line.sizes[-1]) / line.replica
    row = line.places[0].row
    if line.kind == "weak" or not row["dp"]:
        counts = np.unique(np.round(np.geomspace(max(1, low), max(1, high), _GRID))).tolist()
    else:
        counts = [count for count in _divisors(int(line.batch // (row["micro_batch_size"] or 1))) if low <= count]
        above = next((i for i, count in enumerate(counts) if count >= high), None)
        # beyond one micro batch a replica there is nothing to run; what the model says there is as good as any
        counts = counts[: above + 1] if above is not None else [*counts, float(np.ceil(high))]
    return [float(count * line.replica) for count in counts]


def _divisors(number: int) -> list[int]:
    """In order; in the time of the root, since a table may state any batch."""
    small = [each for each in range(1, math.isqrt(number) + 1) if number % each == 0]
    return sorted({*small, *(number // each for each in small)})


def _possible(line: Line, size: float) -> bool:
    """Whether a run of this size exists: it is one of the line's, or its batch divides."""
    if size in line.sizes:
        return True
    replicas, rest = divmod(size, line.replica)
    row = line.places[0].row
    evenly = line.kind == "weak" or not row["dp"] or line.batch % (replicas * (row["micro_batch_size"] or 1)) == 0
    return replicas >= 1 and rest == 0 and evenly


def _scaled(line: Line, size: float) -> dict[str, Any]:
    """The configuration of the nearest measured size with more or fewer replicas."""
    row = min(line.places, key=lambda place: abs(np.log(place.devices / size))).row
    factor = size / row["devices"]
    batch = row["global_batch_size"] * (factor if line.kind == "weak" else 1)
    return {
        **row, "devices": round(size), "dp": round(row["dp"] * factor) if row["dp"] else None, "global_batch_size": batch,
        "ranks": round(row["ranks"] * factor) if row["ranks"] else None,
        "nodes": max(1, round(row["nodes"] * factor)) if row["nodes"] else None,
    }  # fmt: skip


def _columns(row: dict[str, Any]) -> dict[str, Any]:
    found = configuration(row)
    if found is None:
        raise Unable(f"the catalogue has no model '{row['model']}'")
    return found


def _machine(system: str | None) -> Machine | None:
    if system is None or system not in locate.available("machines"):
        return None
    return machine.read(locate.find(system, "machines", "machine"))
