"""How each figure of a row came about: a product of other figures, or where it was read.

A formula is shown for a row only if it gives that row's figure, so what the page puts into it always adds up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Row = Mapping[str, Any]
Floats = npt.NDArray[np.float64]
Factor = str | float  # a column, or a number
_TOLERANCE = 1e-6  # relative: the order of multiplication


@dataclass(frozen=True)
class Product:
    """``figure`` = ``times`` multiplied / ``over`` multiplied."""

    figure: str
    times: tuple[Factor, ...]
    over: tuple[Factor, ...] = ()


@dataclass(frozen=True)
class Source:
    """``figure`` was not computed from other columns: ``said`` is where it is from, in rows where ``holds``."""

    figure: str
    said: str
    holds: Callable[[Row], bool]


def _measured(row: Row) -> bool:
    return row["origin"] == "measured" and bool(row["record"])


def _median_of_steps(row: Row) -> bool:
    return _measured(row) and (row["repeats"] or 1) == 1


def _median_of_runs(row: Row) -> bool:
    return _measured(row) and (row["repeats"] or 1) > 1


def _predicted(row: Row) -> bool:
    return row["origin"] == "predicted"


def _as_printed(name: str) -> Callable[[Row], bool]:
    return lambda row: row.get(f"{name}_published") is not None and row[f"{name}_published"] == row[name]


def _printed(name: str) -> Source:
    return Source(name, "as the document prints it", _as_printed(name))


# The first that holds for a row is shown: what was read before what follows from it.
WAYS: tuple[Product | Source, ...] = (
    Source("step_seconds", "median over the measured steps of the record, each as slow as its slowest rank", _median_of_steps),
    Source("step_seconds", "median over the runs (repeats) of each run's median step", _median_of_runs),
    Source("step_seconds", "predicted: the time model's terms add up to it", _predicted),
    _printed("step_seconds"),
    Product("step_seconds", ("tokens_per_step",), ("tokens_per_second",)),
    Source("predicted_step_seconds", "predicted: the time model's terms add up to it", lambda _: True),
    Product("tokens_per_step", ("global_batch_size", "sequence_length")),
    _printed("tokens_per_second"),
    Product("tokens_per_second", ("tokens_per_second_per_device_published", "devices")),
    Product("tokens_per_second", ("tokens_per_step",), ("step_seconds",)),
    Product("tokens_per_second", ("tokens_per_second_per_device", "devices")),
    _printed("tokens_per_second_per_device"),
    Product("tokens_per_second_per_device", ("tokens_per_second",), ("devices",)),
    Product("samples_per_second", ("global_batch_size",), ("step_seconds",)),
    Product("samples_per_second", ("tokens_per_second",), ("sequence_length",)),
    Product("steps_per_second", (1.0,), ("step_seconds",)),
    Product("tflops_per_device", ("flops_per_token", "tokens_per_second_per_device"), (1e12,)),
    Product("aggregate_pflops", ("tflops_per_device", "devices"), (1000.0,)),
    Product("mfu", ("tflops_per_device",), ("peak_tflops",)),
    Product("mfu", ("model_flops_per_token", "tokens_per_second_per_device"), (1e12, "peak_tflops")),
    Product("hfu", ("mfu", "recompute_factor")),
    Product("hfu", ("tflops_per_device",), ("peak_tflops",)),
    Product("speedup", ("tokens_per_second",), ("reference_tokens_per_second",)),
    Product("efficiency", ("speedup", "reference_devices"), ("devices",)),
    Source("peak_memory_bytes", "predicted by the memory model", _predicted),
    Source("peak_memory_bytes", "the most of all ranks and steps in the record", _measured),
    Source("peak_memory_bytes", "as the document prints it", lambda row: row["origin"] == "published"),
    Product("watts_per_device", ("energy_joules_per_step",), ("step_seconds", "devices")),
    Product("tokens_per_joule", ("tokens_per_step",), ("energy_joules_per_step",)),
    Source("energy_joules_per_step", "median over the measured steps, all devices together", _measured),
)  # fmt: skip

# figure -> (what a person reads, unit). In the order in which a row's panel lists them; factors that are no figure follow.
WORDS: dict[str, tuple[str, str]] = {
    "step_seconds": ("sec/it", "s"),
    "predicted_step_seconds": ("sec/it predicted", "s"),
    "tokens_per_second": ("tokens/s", ""),
    "tokens_per_second_per_device": ("tokens/s/device", ""),
    "samples_per_second": ("samples/s", ""),
    "steps_per_second": ("iter/s", ""),
    "flops_per_token": ("FLOPs a token", ""),
    "tflops_per_device": ("TFLOPs/device", "TFLOP/s"),
    "aggregate_pflops": ("PFLOPs in all", "PFLOP/s"),
    "mfu": ("MFU", "%"),
    "hfu": ("HFU", "%"),
    "speedup": ("speedup", ""),
    "efficiency": ("efficiency", "%"),
    "peak_memory_bytes": ("peak memory", "GiB"),
    "energy_joules_per_step": ("energy a step", "J"),
    "watts_per_device": ("power of a device", "W"),
    "tokens_per_joule": ("tokens/J", ""),
    "tokens_per_step": ("tokens a step", ""),
    "parameters": ("parameters", ""),
    "global_batch_size": ("GBS", ""),
    "sequence_length": ("sequence length", ""),
    "devices": ("devices", ""),
    "peak_tflops": ("dense peak of a device", "TFLOP/s"),
    "tokens_per_second_per_device_published": ("tokens/s/device printed", ""),
    "model_flops_per_token": ("FLOPs a token without recomputation", ""),
    "recompute_factor": ("(1 + recomputed share of the forward pass ÷ 3)", ""),
    "reference_tokens_per_second": ("tokens/s of the series' smallest row", ""),
    "reference_devices": ("devices of the series' smallest row", ""),
}


def ways(rows: Sequence[Row]) -> dict[str, list[int]]:
    """For each figure the position in WAYS of what gives it, row by row; -1 where nothing does or the figure is missing."""
    columns = {name: _column(rows, name) for name in {name for way in WAYS for name in _names(way)}}
    found: dict[str, list[int]] = {}
    for position, way in enumerate(WAYS):
        chosen = found.setdefault(way.figure, [-1] * len(rows))
        known = ~np.isnan(columns[way.figure])
        if isinstance(way, Source):
            right = np.array([bool(yes) and way.holds(row) for yes, row in zip(known, rows, strict=True)], dtype=bool)
        else:
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # a figure of 0 follows from nothing
                right = known & np.isclose(_value(way, columns), columns[way.figure], rtol=_TOLERANCE, atol=0)
        for i in np.flatnonzero(right):
            if chosen[i] == -1:
                chosen[i] = position
    return {figure: chosen for figure, chosen in found.items() if any(each != -1 for each in chosen)}


def _names(way: Product | Source) -> list[str]:
    factors = (*way.times, *way.over) if isinstance(way, Product) else ()
    return [way.figure, *(each for each in factors if isinstance(each, str))]


def _column(rows: Sequence[Row], name: str) -> Floats:
    values = (row.get(name) for row in rows)
    return np.array([np.nan if value is None else float(value) for value in values], dtype=float)


def _value(way: Product, columns: Mapping[str, Floats]) -> Floats:
    value: Any = 1.0
    for each in way.times:
        value = value * (columns[each] if isinstance(each, str) else each)
    for each in way.over:
        value = value / (columns[each] if isinstance(each, str) else each)
    return value


def described(way: Product | Source) -> dict[str, Any]:
    """As the page's scripts read it."""
    if isinstance(way, Source):
        return {"figure": way.figure, "said": way.said}
    return {"figure": way.figure, "times": way.times, "over": way.over}
