"""Which law to believe: each size predicted from the others, and large sizes from smaller ones, which is what a law is for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hpcscale.report.laws import fit, physical
from hpcscale.report.laws.fit import Fit
from hpcscale.report.laws.forms import LAWS, PHYSICAL, Law
from hpcscale.report.laws.lines import Line, Place

Fitter = Callable[[Sequence[Place]], Fit]


@dataclass(frozen=True)
class Foreseen:
    """One size predicted from others. Costs are device-seconds per token; ``error`` is predicted over measured, less one."""

    devices: int
    from_devices: tuple[int, ...]
    error: float
    covered: bool  # the measurement lies in the 80 % interval

    @property
    def ratio(self) -> float:
        """Its size over the largest one that was known."""
        return self.devices / max(self.from_devices)


@dataclass(frozen=True)
class Validation:
    """``one_out``: each size from all others. ``larger``: from the k smallest sizes each larger one, for every k."""

    one_out: tuple[Foreseen, ...] = ()
    larger: tuple[Foreseen, ...] = ()

    @property
    def one_out_error(self) -> float | None:
        return _mean(self.one_out)

    @property
    def larger_error(self) -> float | None:
        return _mean(self.larger)

    @property
    def largest(self) -> Foreseen | None:
        """The largest size, predicted from all others."""
        return self.larger[-1] if self.larger else None


def _mean(found: Sequence[Foreseen]) -> float | None:
    return float(np.mean([abs(each.error) for each in found])) if found else None


def validate(fitter: Fitter, places: Sequence[Place], at_least: int) -> Validation:
    """``at_least``: sizes that the law needs; one more is what it can be tested on."""
    if len(places) <= at_least:
        return Validation()
    one_out = [_foresee(fitter, [*places[:i], *places[i + 1 :]], [place]) for i, place in enumerate(places)]
    cuts = range(max(at_least, 2), len(places))
    larger = [_foresee(fitter, places[:cut], places[cut:]) for cut in cuts]
    return Validation(
        tuple(each for group in one_out for each in group), tuple(each for group in larger for each in group)
    )


def _foresee(fitter: Fitter, known: Sequence[Place], others: Sequence[Place]) -> list[Foreseen]:
    made = fitter(known)
    band = made.band(np.array([place.devices for place in others], dtype=float))
    sizes = tuple(place.devices for place in known)
    measured = [place.device_seconds_per_token for place in others]
    return [
        Foreseen(place.devices, sizes, float(middle) / cost - 1, bool(low <= cost <= high))
        for place, cost, middle, low, high in zip(others, measured, band.middle, band.low, band.high, strict=True)
    ]


@dataclass(frozen=True)
class Judged:
    """A fit on all known places, and how well its like foresaw some of them from others. ``reason``: why there is no fit."""

    name: str
    fit: Fit | None
    validation: Validation = Validation()
    reason: str = ""


def judged(line: Line, places: Sequence[Place]) -> list[Judged]:
    """Every law that is for such a line, and the physical model."""
    found = [_law(law, places) for law in LAWS if line.kind in law.kinds]
    return [*found, _physical(line, places)]


def _law(law: Law, places: Sequence[Place]) -> Judged:
    if len(places) < law.at_least:
        return Judged(law.name, None, reason=f"needs {law.at_least} sizes or more, and there are {len(places)}")
    found = validate(lambda known: fit.fit(law, known), places, law.at_least)
    errors = [(each.error, each.ratio) for each in found.larger]
    noise = float(np.median([place.spread for place in places]))
    return Judged(law.name, fit.fit(law, places, fit.drift_of(errors, noise)), found)


def _physical(line: Line, places: Sequence[Place]) -> Judged:
    try:
        model = physical.Model(line)
        return Judged(PHYSICAL, model.fit(places), validate(model.fit, places, 2))
    except physical.Unable as reason:
        return Judged(PHYSICAL, None, reason=str(reason))
