"""Why a prediction is what it is: the terms of time and the lines of memory, each with what it means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcscale.cost.cases import Floats
from hpcscale.cost.memory import LINES
from hpcscale.cost.predict import Predictions
from hpcscale.cost.time import TERMS

# What bounds a step, and the terms that it shows in.
BOUNDS = {
    "compute": ("matmul", "logits"),
    "attention": ("attention",),
    "memory traffic": ("memory",),
    "kernel launches": ("launch",),
    "tensor parallelism": ("tp",),
    "context parallelism": ("cp",),
    "pipeline (bubble and messages)": ("bubble", "p2p"),
    "data parallelism": ("dp",),
    "the optimizer": ("optimizer",),
    "what is done once a step": ("fixed",),
    "waiting for the slowest of many nodes": ("scale",),
}


@dataclass(frozen=True)
class Term:
    name: str
    meaning: str
    seconds: float
    share: float  # of the step


@dataclass(frozen=True)
class Line:
    """A line of the memory table, in bytes; ``last`` is None where there is one stage."""

    name: str
    meaning: str
    first: float
    last: float | None


@dataclass(frozen=True)
class Explanation:
    """Of one case. Terms and lines add up to the prediction; ``correction`` is in the terms already."""

    terms: tuple[Term, ...]
    lines: tuple[Line, ...]
    bound: str
    bound_share: float
    correction: float
    calibrated: bool

    @property
    def seconds(self) -> float:
        return sum(term.seconds for term in self.terms)

    @property
    def first(self) -> float:
        return sum(line.first for line in self.lines)

    @property
    def last(self) -> float | None:
        found = [line.last for line in self.lines if line.last is not None]
        return sum(found) if found else None


def explain(predictions: Predictions, i: int) -> Explanation:
    """The ``i``-th case of ``predictions``."""
    correction = float(predictions.correction[i])
    seconds = {name: _at(values, i) * correction for name, values in predictions.step.terms.items()}
    total = float(predictions.seconds[i])
    shares = {bound: sum(seconds[name] for name in names) / total for bound, names in BOUNDS.items()}
    bound = max(shares, key=lambda name: shares[name])
    several = float(predictions.cases.pp[i]) > 1
    need = predictions.need
    return Explanation(
        tuple(Term(name, TERMS[name], value, value / total) for name, value in seconds.items()),
        tuple(
            Line(name, LINES[name], _at(need.first[name], i), _at(need.last[name], i) if several else None)
            for name in LINES
        ),
        bound, shares[bound], correction, abs(correction - 1) > 1e-9,
    )  # fmt: skip


def _at(values: Floats, i: int) -> float:
    return float(values if np.ndim(values) == 0 else values[i])


def parts(values: list[float], decimals: int) -> list[float]:
    """The values rounded so that their sum is the rounded sum: a printed table must add up."""
    found, exact, so_far = [], 0.0, 0.0
    for value in values:
        exact += value
        rounded = round(round(exact, decimals) - so_far, decimals)
        found.append(rounded)
        so_far = round(so_far + rounded, decimals)
    return found
