"""The constants of the time and memory models: what is believed of each class of device, and what a machine has of its own.

A constant belongs to everything that runs (``network``) or to a generation of devices (``matmul``). All are positive and move
by factors, so fits work on logarithms. priors.yaml beside this module has values, spreads and sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from hpcscale.cost.cases import Floats
from hpcscale.spec.yaml12 import load

PRIORS = Path(__file__).with_name("priors.yaml")
# What published rows made of the priors, written by benchmarks/prediction.py --fit.
FITTED = Path(__file__).with_name("fitted.yaml")
# Constants that are a device's, not a system's: fitted for each generation.
BY_GENERATION = ("matmul", "attention", "fp8", "process", "fixed")


@dataclass(frozen=True)
class Prior:
    """``values`` by class or generation; ``spread`` of the logarithm."""

    name: str
    values: Mapping[str, float]
    spread: float

    def value(self, kind: str, generation: str) -> float:
        """Of a generation, else of its class; a class without a value takes that of GPUs (fp8 on a CPU never counts)."""
        return self.values.get(generation, self.values.get(kind, self.values["gpu"]))


@lru_cache(maxsize=1)
def priors() -> dict[str, Prior]:
    """Every constant by name, time's before memory's."""
    data = load(PRIORS).data
    return {
        name: Prior(name, {key: float(value) for key, value in entry["value"].items()}, float(entry["spread"]))
        for part in ("time", "memory")
        for name, entry in data[part].items()
    }


@lru_cache(maxsize=2)
def names(part: str) -> tuple[str, ...]:
    """The names of ``time`` or ``memory``."""
    return tuple(load(PRIORS).data[part])


@dataclass(frozen=True)
class Kind:
    """What decides the prior: class (gpu, cpu) and generation (ampere, a64fx) of a device."""

    kind: str
    generation: str


Fitted = Mapping[str, Mapping[str, float]]  # constant -> class or generation -> value


@lru_cache(maxsize=1)
def fitted() -> Fitted:
    """What the published rows say of classes and generations."""
    return load(FITTED).data["constants"]


def values_of(
    kinds: Sequence[Kind], own: Sequence[Mapping[str, float]] | None = None, learned: Fitted | None = None
) -> dict[str, Floats]:
    """Each constant's value for each case [n]: the prior of its kind, what was ``learned`` of kinds, its machine's ``own``.

    ``learned`` None means :func:`fitted`; ``{}`` leaves the priors as they are.
    """
    learned = fitted() if learned is None else learned
    distinct = {kind: index for index, kind in enumerate(dict.fromkeys(kinds))}
    codes = np.array([distinct[kind] for kind in kinds], dtype=int)
    found = {}
    for name, prior in priors().items():
        rows = learned.get(name, {})
        by_kind = [
            rows.get(kind.generation, rows.get(kind.kind, prior.value(kind.kind, kind.generation))) for kind in distinct
        ]
        found[name] = np.array(by_kind, dtype=float)[codes]
    for position, mapping in enumerate(own or ()):
        for name, value in mapping.items():
            found[name][position] = value
    return found
