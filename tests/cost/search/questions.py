"""Questions that several tests ask a search."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from hpcscale.cost import search
from hpcscale.spec import locate, machine, model
from hpcscale.spec.layout import Training
from hpcscale.spec.machine import Machine
from hpcscale.spec.point import Point


def question(name: str = "juwels-booster", of: str = "gpt-1.3b", **training: Any) -> Point:
    """``of`` on the machine ``name``; 2048 tokens, a batch of 96 unless told otherwise."""
    given = {"sequence_length": 2048, "global_batch_size": 96, **training}
    return search.question(model.named(of), _profile(name), Training(**given), {})


@lru_cache
def _profile(name: str) -> Machine:
    return machine.read(locate.packaged("machines") / f"{name}.yaml")
