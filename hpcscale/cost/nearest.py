"""A point that does not fit, and the smallest change that makes it: same nodes, same global batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcscale.cost import hardware, layouts
from hpcscale.cost.layouts import MODES, SHARDINGS, Layouts, layout_of
from hpcscale.cost.memory import FITS
from hpcscale.cost.predict import Predictions, predict_alike
from hpcscale.spec import workload
from hpcscale.spec.point import Point

# What a change costs a person, in steps: for each doubling or halving of a number, or for the word being another.
_PER_DOUBLING = {"micro_batch": 1.0, "tp": 3.0, "pp": 3.0, "cp": 4.0, "virtual": 0.5}
_PER_WORD = {"mode": 1.0, "sharding": 1.5, "sequence_parallel": 0.5}
_GIB = 2.0**30
_TRIED = 2000  # candidates shown to a foreign program before giving up


def nearest(point: Point) -> tuple[dict[str, Any], str] | None:
    """(keys to set, a sentence) of the layout nearest to ``point`` that fits into memory; None where none does or nothing is
    known of the memory. The mesh is changed only where nothing else helps; of equally small changes the fastest is taken.
    """
    try:
        have = hardware.of_machine(point.machine, point.training.precision, point.resources, point.ranks_per_node)
    except hardware.Unknown:
        return None
    if have.memory is None:
        return None
    for found in _candidates(point):
        if not len(found):
            continue
        predictions = predict_alike(layouts.as_cases(point, found, have), have.kind, point.machine.calibration)
        for place in _in_order(point, found, predictions):
            keys = found.keys(place)
            if _allowed(point, keys):
                changed = _changes(point, keys)
                return changed, _sentence(changed, predictions, place, have.memory)
    return None


def _candidates(point: Point) -> Iterator[Layouts]:
    """Those of the point's mesh, then the others: none with larger micro batches or with another number of virtual stages."""
    now, ranks = point.layout, point.layout.ranks
    yield layouts.every(point, ranks, mesh_of=now)
    others = layouts.every(point, ranks)
    kept = ~layouts.has_mesh(others, now) & (others.micro_batch <= _micro_batch(point))
    yield others[kept & ((others.virtual == 1) | (others.virtual == now.virtual_stages))]


def _micro_batch(point: Point) -> int:
    micro = point.training.micro_batch_size
    return micro if isinstance(micro, int) else 1


def _in_order(point: Point, found: Layouts, predictions: Predictions) -> Iterator[int]:
    """Places of those that fit, the smallest change first."""
    fitting = np.flatnonzero(np.array(predictions.verdict, dtype=object) == FITS)
    if not len(fitting):
        return
    cost = _distance(point, found[fitting])
    for place in fitting[np.lexsort((predictions.seconds[fitting], np.round(cost, 6)))][:_TRIED]:
        yield int(place)


def _distance(point: Point, found: Layouts) -> npt.NDArray[np.float64]:
    now, training = point.layout, point.training
    numbers = {
        "micro_batch": _micro_batch(point),
        "tp": now.tp,
        "pp": now.pp,
        "cp": now.cp,
        "virtual": now.virtual_stages,
    }
    cost = np.zeros(len(found))
    for name, price in _PER_DOUBLING.items():
        cost += price * np.abs(np.log2(getattr(found, name) / numbers[name]))
    ac = training.activation_checkpointing
    cost += _PER_WORD["mode"] * (found.mode != (MODES.index(ac) if ac in MODES else -1))
    cost += _PER_WORD["sharding"] * (found.sharding != SHARDINGS.index(now.sharding))
    return cost + _PER_WORD["sequence_parallel"] * (found.sequence_parallel != now.sequence_parallel)


def _allowed(point: Point, keys: dict[str, Any]) -> bool:
    """Whether the program that the point runs has such a layout."""
    training = point.training.model_copy(
        update={"micro_batch_size": keys["mbs"], "activation_checkpointing": keys["ac"]}
    )
    parts = {"model": point.model, "layout": layout_of(keys), "training": training, "data": point.data}
    broken = workload.violations(point.workload, point.machine, parts, point.nodes)
    return not list(broken)


def _changes(point: Point, keys: dict[str, Any]) -> dict[str, Any]:
    """The keys whose values differ from the point's."""
    now = {
        **point.layout.model_dump(), "mbs": point.training.micro_batch_size, "ac": point.training.activation_checkpointing
    }  # fmt: skip
    return {name: value for name, value in keys.items() if now[name] != value}


def _sentence(changed: dict[str, Any], predictions: Predictions, place: int, memory: float) -> str:
    words = " ".join(f"{name}={_written(value)}" for name, value in changed.items())
    what = f"nearest that fits: {words}" if changed else "it fits as it is"
    need = predictions.memory[place] / _GIB
    return f"{what} ({need:.1f} of {memory / _GIB:.1f} GiB, {predictions.seconds[place]:.4g} s a step)"


def _written(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
