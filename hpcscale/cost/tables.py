"""Predictions for the rows of a table: what ``hpcscale predict --table`` adds, with a fit on pilot rows where asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from hpcscale.cost import cases as cases_of
from hpcscale.cost import time as times
from hpcscale.cost.calibration import fit_machine, fit_memory
from hpcscale.cost.constants import Fitted, values_of
from hpcscale.cost.of_rows import Described, described
from hpcscale.cost.predict import Predictions, predict
from hpcscale.spec.machine import Calibration

GIB = 2.0**30
# The columns that say what a row was: a calibration block keeps these of its rows.
SHAPE = (
    "model", "n_params", "layers", "hidden", "heads", "kv_heads", "ffn", "vocab", "seq", "gpus", "nodes", "gpu_type",
    "dp", "tp", "pp", "cp", "vpp", "mbs", "gbs", "ac_mode", "sharding", "precision", "freq_ghz", "freq", "eco_state",
    "ranks_per_node", "program", "notes",
)  # fmt: skip

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Predicted:
    """Of one row. ``reason`` says why there is no number, or what was assumed; seconds per step, bytes per device."""

    reason: str
    seconds: float | None = None
    low: float | None = None
    high: float | None = None
    memory: float | None = None
    verdict: str = ""
    is_pilot: bool = False  # the fit has seen it


def predict_rows(
    rows: Sequence[Row], pilot: int = 0, learned: Fitted | None = None, use_calibrations: bool = True
) -> list[Predicted]:
    """Every row's prediction. ``pilot``: each system's first rows that were measured are fitted on first.

    ``use_calibrations``: a machine profile's own block counts where no pilot rows do.
    """
    found = [described(row) for row in rows]
    able = [index for index, each in enumerate(found) if each.values is not None]
    results = [Predicted(each.reason) for each in found]
    if not able:
        return results
    blocks, pilots = _pilots(rows, found, able, pilot, learned) if pilot else ({}, set())
    given = [blocks.get(_system(rows[i])) or (_profile_block(found[i]) if use_calibrations else None) for i in able]
    predictions = predict(_cases(found, able), [found[i].kind for i in able], given, learned)
    for place, index in enumerate(able):
        results[index] = _predicted(predictions, place, found[index].note, index in pilots)
    return results


def _predicted(predictions: Predictions, place: int, note: str, is_pilot: bool) -> Predicted:
    return Predicted(
        reason="; ".join(filter(None, ("pilot row" if is_pilot else "", note))),
        seconds=float(predictions.seconds[place]), low=float(predictions.low[place]), high=float(predictions.high[place]),
        memory=float(predictions.memory[place]), verdict=predictions.verdict[place], is_pilot=is_pilot,
    )  # fmt: skip


def _cases(found: Sequence[Described], chosen: Sequence[int]) -> cases_of.Cases:
    return cases_of.made([found[i].values or {} for i in chosen])


def _system(row: Row) -> str:
    return str(row.get("system") or "")


def _profile_block(each: Described) -> Calibration | None:
    return each.machine.calibration if each.machine is not None else None


def _pilots(
    rows: Sequence[Row], found: Sequence[Described], able: Sequence[int], pilot: int, learned: Fitted | None
) -> tuple[dict[str, Calibration], set[int]]:
    """A calibration block for each system, and the rows that it was made of."""
    blocks, used = {}, set()
    for system in dict.fromkeys(_system(rows[i]) for i in able):
        measured = [i for i in able if _system(rows[i]) == system and seconds_of(rows[i]) is not None]
        chosen = measured[:pilot]
        if chosen:
            blocks[system] = calibrated([rows[i] for i in chosen], [found[i] for i in chosen], system, learned)
            used.update(chosen)
    return blocks, used


def calibrated(
    rows: Sequence[Row],
    found: Sequence[Described],
    source: str,
    learned: Fitted | None = None,
    start: Mapping[str, float] | None = None,
) -> Calibration:
    """A machine's calibration block from its measured rows (``found`` describes each; all of one machine).

    ``start``: constants that a probe measured; the others start from what is believed of the machine's class.
    """
    everything = list(range(len(rows)))
    cases, kinds = _cases(found, everything), [each.kind for each in found]
    seconds = np.array([seconds_of(row) for row in rows], dtype=float)
    base = values_of(kinds, [dict(start or {})] * len(rows), learned)
    own = fit_machine(cases, kinds, seconds, base)
    measured = np.array([memory_of(row) or np.nan for row in rows])
    known = np.isfinite(measured)
    if known.any():
        part = cases[known]
        values = {name: array[known] for name, array in base.items()}
        own.update(
            fit_memory(part, [kind for kind, yes in zip(kinds, known, strict=True) if yes], measured[known], values)
        )
    residuals = np.log(seconds / times.step(cases, values_of(kinds, [own] * len(rows), learned)).total)
    return Calibration(
        date=date.today().isoformat(), source=source, constants={name: float(f"{value:.6g}") for name, value in own.items()},
        rows=tuple(kept(row, float(each)) for row, each in zip(rows, residuals, strict=True)),
    )  # fmt: skip


def kept(row: Row, residual: float) -> dict[str, str | float]:
    """What a calibration block keeps of a row: its columns that are not empty, and log(measured / predicted)."""
    cells = {name: row[name] for name in SHAPE if row.get(name) not in (None, "") and row[name] == row[name]}
    return {
        **{name: _plain(cell) for name, cell in cells.items()},
        "residual": round(residual, 4),
    }


def _plain(cell: Any) -> str | float:
    """A cell as a number where it is one."""
    try:
        return float(cell)
    except ValueError:
        return str(cell)


def seconds_of(row: Row) -> float | None:
    """Measured seconds per step of a row; None for one that ran out of memory or was not measured."""
    if str(row.get("oom") or "").strip().lower() in ("yes", "true", "1", "oom"):
        return None
    return _positive(row.get("sec_per_iter"))


def memory_of(row: Row) -> float | None:
    """Measured bytes per device."""
    value = _positive(row.get("mem_gib"))
    return None if value is None else value * GIB


def _positive(cell: Any) -> float | None:
    try:
        value = float(str(cell).replace(",", ""))
    except (TypeError, ValueError):
        return None
    return value if value > 0 and value == value else None
