"""From cases to predictions: seconds with an 80 % interval, memory and a verdict, with what each machine's own rows say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcscale.cost import cases as cases_of
from hpcscale.cost import memory, of_rows
from hpcscale.cost import time as times
from hpcscale.cost.calibration import NO_CORRECTION, Correction, features, interval
from hpcscale.cost.cases import Cases, Floats
from hpcscale.cost.constants import Fitted, Kind, values_of
from hpcscale.cost.memory import Need
from hpcscale.cost.time import Step
from hpcscale.spec.machine import Calibration


@dataclass(frozen=True)
class Predictions:
    """Arrays [n]: seconds per step with the ends of their 80 % interval, bytes per rank, verdicts. ``step`` has the terms
    (their sum times ``correction`` is ``seconds``), ``need`` the lines of memory."""

    cases: Cases
    seconds: Floats
    low: Floats
    high: Floats
    correction: Floats
    memory: Floats
    verdict: list[str]
    step: Step
    need: Need

    def __len__(self) -> int:
        return len(self.seconds)

    @property
    def device_seconds(self) -> Floats:
        """Of one step, all ranks together."""
        return self.seconds * self.cases.ranks


def predict(
    cases: Cases,
    kinds: Sequence[Kind],
    calibrations: Sequence[Calibration | None] | None = None,
    learned: Fitted | None = None,
) -> Predictions:
    """``kinds`` and ``calibrations`` by case; ``learned`` as in :func:`hpcscale.cost.constants.values_of`."""
    given = calibrations or [None] * len(cases)
    values = values_of(kinds, [each.constants if each else {} for each in given] if any(given) else None, learned)
    return _predictions(cases, values, *_corrections(cases, given))


def predict_alike(
    cases: Cases, kind: Kind, calibration: Calibration | None = None, learned: Fitted | None = None
) -> Predictions:
    """The same where all cases are of one machine: one value a constant, whatever their number."""
    values = values_of([kind], [calibration.constants] if calibration else None, learned)
    correction = correction_of(calibration) if calibration and calibration.rows else NO_CORRECTION
    return _predictions(cases, values, *correction.of(cases))


def _predictions(cases: Cases, values: Mapping[str, Floats], logs: Floats, deviation: Floats) -> Predictions:
    step = times.step(cases, values)
    factor = np.exp(logs)
    seconds = step.total * factor
    low, high = interval(seconds, deviation)
    need = memory.need(cases, values)
    total = need.total
    return Predictions(cases, seconds, low, high, factor, total, memory.verdict(total, cases.memory), step, need)


def _corrections(cases: Cases, given: Sequence[Calibration | None]) -> tuple[Floats, Floats]:
    logs, deviation = NO_CORRECTION.of(cases)
    for each in {id(one): one for one in given if one is not None and one.rows}.values():
        mask: npt.NDArray[np.bool_] = np.array([one is each for one in given])
        logs[mask], deviation[mask] = correction_of(each).of(cases[mask])
    return logs, deviation


def correction_of(calibration: Calibration) -> Correction:
    """What the rows of a calibration block say; rows that no longer describe a case are left out."""
    return _correction(tuple(tuple(sorted(row.items())) for row in calibration.rows))


@lru_cache(maxsize=32)
def _correction(rows: tuple[tuple[tuple[str, Any], ...], ...]) -> Correction:
    found: list[tuple[dict[str, float | bool], float]] = []
    for row in rows:
        cells: Mapping[str, Any] = dict(row)
        described = of_rows.described(cells)
        if described.values is not None:
            found.append((described.values, float(cells["residual"])))
    if not found:
        return NO_CORRECTION
    return Correction(features(cases_of.made([values for values, _ in found])), np.array([each for _, each in found]))
