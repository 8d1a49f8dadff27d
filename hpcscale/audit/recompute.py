"""What follows from a published row's own numbers, beside what it prints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from hpcscale.audit.documents import Document, Habit, document
from hpcscale.cost import flops
from hpcscale.cost.parameters import count
from hpcscale.ingest import schema
from hpcscale.ingest.rates import COLUMNS as RATES
from hpcscale.ingest.rates import rates
from hpcscale.spec import device
from hpcscale.spec.model import Model, named
from hpcscale.spec.problems import InputError

Verdict = Literal["reproduces", "differs"]

# The quantities that are printed and recomputed, in the order in which a report lists them.
QUANTITIES = (
    "parameters", "tokens_per_step", "step_seconds", "steps_per_second", "samples_per_second", "tokens_per_second",
    "tokens_per_second_per_device", "tflops_per_device", "aggregate_pflops", "mfu", "hfu",
)  # fmt: skip


@dataclass(frozen=True)
class Check:
    """One printed figure and what it should be. ``row`` is the row's position in the table; ``error`` is relative."""

    row: int
    quantity: str
    printed: float
    recomputed: float
    error: float
    tolerance: float
    verdict: Verdict


def recompute(table: pd.DataFrame, convention: str | None = None) -> tuple[pd.DataFrame, list[Check]]:
    """The table with every published row's figures filled in from its own numbers, and a check of each printed one.

    Checks use the convention that the document used, whatever ``convention`` says the table should show. The vocabulary
    is padded for the row's tensor parallelism, as the tools do: for the Fugaku rows 50304 to 51200 instead of the 50304
    of tp 1, which moves their TFLOPs by less than 0.02 %.
    """
    if not (table["origin"] == "published").any():
        return table, []
    rows, checks = schema.rows(table), []
    for position, row in enumerate(rows):
        if row["origin"] != "published":
            continue
        by = document(row["source"])
        measured = _fill(row, by)
        own = row["flops_convention"]
        row.update(_rates(row, own))
        checks += _checks(position, row, by, measured)
        if convention is not None:
            row.update(dict.fromkeys(RATES), **_rates(row, convention))
    return schema.frame(rows), checks


def _model(row: dict[str, Any]) -> Model | None:
    try:
        return named(row["model"]) if row["model"] else None
    except InputError:
        return None  # a table may be of a model that the catalogue lacks: no FLOPs then


def _rates(row: dict[str, Any], convention: str | None) -> dict[str, Any]:
    model = _model(row)
    return rates(row, model, flops.convention(convention)) if model and convention else {}


def _fill(row: dict[str, Any], by: Document) -> str | None:
    """Everything but the rates; returns the printed quantity that the others follow from (None if there is none)."""
    model, length, batch = _model(row), row["sequence_length"], row["global_batch_size"]
    if model and length:
        row["parameters"] = count(model, length, row["tp"] or 1).total
    if batch and length:
        row["tokens_per_step"] = batch * length
    if row["peak_tflops"] is None and row["device"] and row["precision"]:
        found = device.find(row["device"])
        row["peak_tflops"] = found.peak(row["precision"], _resources(row["resources"])) if found else None
    measured = next((name for name in by.measured if row[f"{name}_published"] is not None), None)
    if measured is not None:
        _fill_throughput(row, measured, row[f"{measured}_published"])
    return measured


def _fill_throughput(row: dict[str, Any], measured: str, value: float) -> None:
    devices, tokens = row["devices"], row["tokens_per_step"]
    total: float | None = None
    if measured == "step_seconds":
        total = tokens / value if tokens else None
    elif measured == "tokens_per_second":
        total = value
    else:
        total = value * devices if devices else None
    row[measured] = value
    if not total:
        return
    row["tokens_per_second"] = total
    if devices:
        row["tokens_per_second_per_device"] = total / devices
    if tokens:
        row["step_seconds"] = tokens / total
        row["steps_per_second"] = total / tokens
    if row["sequence_length"]:
        row["samples_per_second"] = total / row["sequence_length"]
    row[measured] = value  # the very figure, not what dividing and multiplying again makes of it


def _resources(text: str | None) -> dict[str, int]:
    pairs = (part.partition("=") for part in (text or "").split(",") if part)
    return {key.strip(): int(value) for key, _, value in pairs if value.strip().lstrip("-").isdecimal()}


def _checks(position: int, row: dict[str, Any], by: Document, measured: str | None) -> list[Check]:
    found = []
    for quantity in QUANTITIES:
        printed, value = row[f"{quantity}_published"], row[quantity]
        if printed is None or value is None or quantity == measured:
            continue
        habit = by.habit(quantity)
        # As percentages are printed: one of a hundred is a digit that people see.
        scale = 100 if quantity in ("mfu", "hfu") else 1
        expected = value * habit.factor
        error = abs(expected - printed) / abs(printed) if printed else float(expected >= 1)
        verdict: Verdict = "reproduces" if _same(expected * scale, printed * scale, error, habit) else "differs"
        found.append(Check(position, quantity, printed, expected, error, habit.tolerance, verdict))
    return found


def _same(expected: float, printed: float, error: float, habit: Habit) -> bool:
    """Whether the document would print ``printed`` for ``expected``, or the two agree within its tolerance."""
    if error <= habit.tolerance:
        return True
    decimals = _decimals(printed)
    if habit.cut_off:
        return math.floor(expected * 10**decimals + 1e-6) == round(printed * 10**decimals)
    return math.isclose(round(expected, decimals), printed, rel_tol=1e-9)


def _decimals(value: float) -> int:
    """Decimals that a number is printed with, as far as a number tells (1.10 is 1.1)."""
    text = f"{value:.10f}".rstrip("0")
    return len(text.partition(".")[2])


def differing(checks: Sequence[Check]) -> list[Check]:
    return [check for check in checks if check.verdict == "differs"]
