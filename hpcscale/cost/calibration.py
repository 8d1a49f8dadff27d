"""Fits: the constants of a class of machines from published rows, and those of one machine from its own.

Both are maximum a posteriori fits of log constants: a ridge towards the prior, robust to outliers. What rows say beyond any
constant (a head size that is slow, a library's quirk) goes on to similar cases by a Gaussian process over the rows' residuals,
which is also where intervals come from: wide where nothing similar was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hpcscale.cost.cases import FULL, SELECTIVE_OP, Cases, Floats
from hpcscale.cost.constants import BY_GENERATION, Kind, names, priors, values_of
from hpcscale.cost.memory import need
from hpcscale.cost.time import step

# Spreads of log time. Two systems of the same hardware differ by _SYSTEM (software), rows of one by _ROW, of which similar
# rows share all but _NOISE (the same layout measured twice: 5.6 % in public tables, half of it here since medians are kept).
_SYSTEM, _ROW, _NOISE = 0.08, 0.10, 0.03
# A machine is nearer to its class than classes' priors are to the truth.
_MACHINE_SHARE, _MACHINE_SIGMA = 0.7, 0.06
_CLASS_SIGMA, _CLASS_SYSTEM = 0.2, 0.12
_MEMORY_SIGMA = 0.08
# nothing but a few kernels' rates is known of CPUs before they are measured
_CPU_DOUBT = 2.5
_STUDENT = 2.0
_LENGTH = 1.5
_SMALL = float(np.sqrt(np.finfo(float).eps))  # of a derivative's step
# normal quantile of an 80 % interval
_EIGHTY = 1.2816

Own = Mapping[str, float]


@dataclass(frozen=True)
class _Space:
    """Log constants as a vector: entry i is constant ``keys[i][0]`` of class or generation ``keys[i][1]``."""

    keys: tuple[tuple[str, str], ...]
    start: Floats
    spread: Floats

    def values(self, x: Floats, kinds: Sequence[Kind], base: dict[str, Floats]) -> dict[str, Floats]:
        found = dict(base)
        index = {key: i for i, key in enumerate(self.keys)}
        for name in names("time"):
            codes = np.array([index.get((name, _owner(name, kind)), -1) for kind in kinds])
            found[name] = np.where(codes >= 0, np.exp(x)[codes], base[name])
        return found


def _owner(name: str, kind: Kind) -> str:
    """GPUs of all generations share what is no device's own; one kind of CPU says nothing of another."""
    own = name in BY_GENERATION or kind.kind == "cpu"
    return kind.generation if own and kind.generation else kind.kind


def _space(kinds: Sequence[Kind], share: float, start: Mapping[str, Floats]) -> _Space:
    found: dict[tuple[str, str], tuple[float, float]] = {}
    for name in names("time"):
        for position, kind in enumerate(kinds):
            key = (name, _owner(name, kind))
            if key not in found:
                spread = priors()[name].spread * share
                found[key] = (float(np.log(start[name][position])), spread)
    pairs = np.array(list(found.values()))
    return _Space(tuple(found), pairs[:, 0], pairs[:, 1])


def fit_class(
    cases: Cases, kinds: Sequence[Kind], seconds: Floats, systems: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Constants by class and generation, from rows of several systems: constant -> {class or generation: value}.

    Each system has an offset of its own, so that what all of its rows share (its software) moves no constant; each counts as
    20 rows at most.
    """
    from scipy.optimize import least_squares

    base = values_of(kinds, learned={})
    space = _space(kinds, 1.0, base)
    # What all software has in common belongs into the constants that say what it does.
    space = replace(space, spread=np.where([name == "overall" for name, _ in space.keys], 0.01, space.spread))
    order = sorted(set(systems))
    column = np.array([order.index(system) for system in systems])
    counts = np.bincount(column)
    weights = np.minimum(1.0, np.sqrt(20 / counts[column]))
    n, logs = len(space.keys), np.log(seconds)

    def residuals(z: Floats) -> Floats:
        x, offsets = z[:n], z[n:]
        error = np.log(step(cases, space.values(x, kinds, base)).total) - logs + offsets[column]
        tied = np.append(offsets / _CLASS_SYSTEM, [offsets.mean() / 0.02, offsets[column].mean() / 0.02])
        return np.concatenate([weights * _student(error / _CLASS_SIGMA), (x - space.start) / space.spread, tied])

    start = np.concatenate([space.start, np.zeros(len(order))])
    scale = np.concatenate([space.spread, np.full(len(order), 0.1)])
    x = least_squares(residuals, start, x_scale=scale, max_nfev=60).x[:n]
    fitted: dict[str, dict[str, float]] = {}
    for (name, owner), value in zip(space.keys, np.exp(x), strict=True):
        fitted.setdefault(name, {})[owner] = float(value)
    return fitted


def fit_machine(cases: Cases, kinds: Sequence[Kind], seconds: Floats, base: Mapping[str, Floats]) -> dict[str, float]:
    """A machine's own constants from its rows; ``base``: what was believed of it before, by row."""
    from scipy.optimize import least_squares

    space = _space(kinds[:1], _MACHINE_SHARE, base)
    # what the rest of a system's software does is not shared by its class
    spread = np.where([name == "overall" for name, _ in space.keys], priors()["overall"].spread, space.spread)
    spread = spread * (_CPU_DOUBT if kinds[0].kind == "cpu" else 1.0)
    logs = np.log(seconds)
    times = _AtPoints(cases, [name for name, _ in space.keys], dict(base))

    def residuals(x: Floats) -> Floats:
        error = np.log(times.at(x[None])[0]) - logs
        return np.concatenate([_student(error / _MACHINE_SIGMA), (x - space.start) / spread])

    def jacobian(x: Floats) -> Floats:
        """By differences, as least_squares would take them; but all of them are one array of cases, not a call each."""
        ahead = x + _SMALL * np.where(x >= 0, 1, -1) * np.maximum(1, np.abs(x))
        points = np.vstack([x, np.where(np.eye(len(x), dtype=bool), ahead, x)])
        found = _student((np.log(times.at(points)) - logs) / _MACHINE_SIGMA)
        return np.vstack([((found[1:] - found[0]) / (ahead - x)[:, None]).T, np.diag(1 / spread)])

    # the stubs know of words only
    x = least_squares(residuals, space.start, jac=jacobian, x_scale=spread, max_nfev=60).x  # pyright: ignore[reportArgumentType]
    return {name: float(value) for (name, _), value in zip(space.keys, np.exp(x), strict=True)}


class _AtPoints:
    """Seconds of cases of one machine at several vectors of log constants at once: [points, cases]."""

    def __init__(self, cases: Cases, own: Sequence[str], base: Mapping[str, Floats]):
        self._cases, self._own, self._base = cases, own, base
        self._tiled: dict[int, tuple[Cases, dict[str, Floats]]] = {}

    def at(self, points: Floats) -> Floats:
        count, n = len(points), len(self._cases)
        if count not in self._tiled:
            base = {name: np.tile(value, count) for name, value in self._base.items() if name not in self._own}
            self._tiled[count] = (self._cases[np.tile(np.arange(n), count)], base)
        cases, base = self._tiled[count]
        constants = np.repeat(np.exp(points), n, axis=0).T
        return step(cases, {**base, **dict(zip(self._own, constants, strict=True))}).total.reshape(count, n)


def fit_memory(cases: Cases, kinds: Sequence[Kind], measured: Floats, base: Mapping[str, Floats]) -> dict[str, float]:
    """A machine's own constants of memory from bytes that its rows measured."""
    from scipy.optimize import least_squares

    own = names("memory")
    start = np.array([np.log(base[name][0]) for name in own])
    spread = np.array([priors()[name].spread for name in own])

    def residuals(x: Floats) -> Floats:
        values = {**base, **{name: np.full(len(cases), value) for name, value in zip(own, np.exp(x), strict=True)}}
        error = np.log(need(cases, values).total / measured)
        return np.concatenate([_student(error / _MEMORY_SIGMA), (x - start) / spread])

    x = least_squares(residuals, start, x_scale=spread, max_nfev=60).x
    return {name: float(value) for name, value in zip(own, np.exp(x), strict=True)}


def _student(r: Floats) -> Floats:
    """Residuals of a Student t likelihood, as least squares wants them: outliers pull less the further they are."""
    return np.sign(r) * np.sqrt((_STUDENT + 1) * np.log1p(r * r / _STUDENT))


def features(cases: Cases) -> Floats:
    """[n, k]: coordinates in which cases that behave alike lie near each other, about one for each doubling."""
    c = cases
    log = np.log2
    columns = [
        log(c.hidden), 0.7 * log(c.sequence), 0.5 * log(c.ranks), log(c.tp), 0.7 * log(c.pp), 0.5 * log(c.micro_batch),
        log(c.cp), 0.5 * log(c.layers), log(c.head_size), 2.0 * (c.checkpointing == FULL), c.checkpointing == SELECTIVE_OP,
        3.0 * c.fp8, 3.0 * c.rowwise, c.eager, c.async_tp, 2.0 * c.is_fsdp,
    ]  # fmt: skip
    return np.stack([np.asarray(column, dtype=float) for column in columns], axis=1)


@dataclass(frozen=True)
class Correction:
    """What a machine's rows say beyond its constants: log factors for other cases, and how sure they are."""

    places: Floats  # [rows, k]
    residuals: Floats  # log(measured / predicted) [rows]

    def of(self, cases: Cases) -> tuple[Floats, Floats]:
        """(log factor, standard deviation of log time) [n]."""
        here = features(cases)
        alone = np.full(len(cases), _SYSTEM**2 + _ROW**2)
        if not len(self.residuals):
            return np.zeros(len(cases)), np.sqrt(alone)
        among = _SYSTEM**2 + _near(self.places, self.places)
        inverse = np.linalg.inv(among + _NOISE**2 * np.eye(len(self.residuals)))
        mean, variance = np.empty(len(cases)), np.empty(len(cases))
        rows = np.linalg.inv(_near(self.places, self.places) + _NOISE**2 * np.eye(len(self.residuals)))
        weights = rows @ np.clip(self.residuals, -0.3, 0.3)
        for start in range(0, len(cases), 4096):  # 100,000 layouts against 100 rows need no 80 MB at once
            part = slice(start, start + 4096)
            near = _near(here[part], self.places)
            mean[part] = near @ weights
            both = _SYSTEM**2 + near
            variance[part] = alone[part] - np.einsum("ij,jk,ik->i", both, inverse, both)
        return mean, np.sqrt(np.maximum(variance, _NOISE**2))


def _near(a: Floats, b: Floats) -> Floats:
    distance = np.sqrt(np.maximum(((a[:, None, :] - b[None, :, :]) ** 2).sum(-1), 0))
    return _ROW**2 * np.exp(-distance / _LENGTH)


NO_CORRECTION = Correction(np.zeros((0, 16)), np.zeros(0))


def interval(seconds: Floats, deviation: Floats) -> tuple[Floats, Floats]:
    """The 80 % interval of a prediction whose logarithm has this standard deviation."""
    width = np.exp(_EIGHTY * deviation)
    return seconds / width, seconds * width
