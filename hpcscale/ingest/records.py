"""Measured rows: from a runs folder, a study's folder in it, a point's folder or an attempt's folder.

A point's row comes from its newest completed attempt, else from its newest one. Points that differ in nothing but
``repeat`` become one row.
"""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from hpcscale.cost.flops import OWN, convention
from hpcscale.ingest import energy, folders, schema
from hpcscale.ingest.cache import Cache
from hpcscale.ingest.describe import model_in
from hpcscale.ingest.folders import DESCRIPTION, Found
from hpcscale.ingest.rates import rates
from hpcscale.ingest.run import Run, complete
from hpcscale.record.attempt import RECORD
from hpcscale.record.median import median_with_interval
from hpcscale.spec.problems import InputError


def holds_runs(folder: Path) -> bool:
    """Whether ``folder`` is an attempt, a point, or holds points one or two levels below (a study, all runs)."""
    return (folder / RECORD).is_file() or any(True for _ in folders.points(folder))


def read(folder: Path, convention_name: str | None = None) -> pd.DataFrame:
    """The rows of everything below ``folder``. Raises InputError if it holds no run."""
    rows = [row_or_why_not(group, convention_name or OWN) for group in grouped(folder)]
    return schema.frame(sorted(rows, key=_order))


def grouped(folder: Path) -> list[list[Found]]:
    """The runs below ``folder``, repeats of one configuration together. Raises InputError if there is none.

    What was read before of files that have not changed since is not read again.
    """
    if (folder / RECORD).is_file():
        found = [folders.attempt(folder)]
        complete([found[0].run])
    else:
        with no_search_for_cycles():
            cache = Cache(folder)
            found = [folders.point(folder, name, stamp, cache) for name, stamp in folders.points(folder)]
            complete(each.run for each in found)
            cache.save()  # what was put there is completed too
    if not found:
        raise InputError(f"{folder} holds no run: there is neither a {RECORD} nor a {DESCRIPTION} in or below it")
    groups: dict[str, list[Found]] = {}
    for each in found:
        groups.setdefault(each.run.configuration, []).append(each)
    return list(groups.values())


@contextmanager
def no_search_for_cycles() -> Iterator[None]:
    """Reading makes millions of objects that stay and no cycles: looking for those again and again takes a tenth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def row_or_why_not(runs: list[Found], convention_name: str) -> dict[str, Any]:
    """One odd file among thousands must not hide the others."""
    odd = next((each.run.odd for each in runs if each.run.odd), "")
    try:
        if odd:
            raise ValueError(odd)
        row = _row(runs, convention_name)
        schema.check(row)
    except (ValueError, TypeError, AttributeError, KeyError, ArithmeticError) as error:
        point = runs[0].run.columns.get("point")
        note = f"{point}: its description or record holds values of another kind: {error}"
        return {"origin": "measured", "status": "unreadable", "point": str(point), "note": note}
    return row


def _row(found: list[Found], convention_name: str) -> dict[str, Any]:
    """One row for the repeats of one configuration."""
    shown = those_shown(found)
    first, runs = shown[0].run, [each.run for each in shown]
    row: dict[str, Any] = {"origin": "measured", "status": first.status, **first.columns}
    if first.has_record:
        row |= {"attempt": first.attempt, "record": shown[0].record} | _figures(runs)
    row["note"] = "; ".join(_notes(found, shown))
    measured = [run for run in runs if run.seconds is not None]
    if measured:
        row |= {"repeats": len(measured), "measured_steps": sum(run.measured_steps for run in measured)}
        row |= _times(measured, row)
        row |= _energy(shown, row)
    if first.printed is not None:
        row |= first.printed
        row.setdefault("tokens_per_second_per_device", row.get("tokens_per_second_per_device_published"))
    model = model_in(first.model) if first.model is not None else None
    if model is not None:
        row |= rates(row, model, convention(convention_name))
    return row


def _energy(shown: list[Found], row: dict[str, Any]) -> dict[str, Any]:
    steps = [line for each in shown if "energy_joules" in each.run.packed for line in each.run.steps]
    places = [os.path.dirname(each.record) for each in shown if each.run.has_record]  # noqa: PTH120
    return energy.columns(steps, shown[0].run.facts.get("energy_source"), places, row)


def those_shown(found: list[Found]) -> list[Found]:
    """Of the repeats of one configuration those whose figures count: that completed, else the last that has any."""
    completed = [each for each in found if each.run.status == "completed"]
    return completed or [each for each in found if each.run.seconds is not None][-1:] or found[-1:]


def _times(runs: list[Run], row: dict[str, Any]) -> dict[str, Any]:
    """Step time and throughput: over runs where there are several (repeats are runs, not steps), else over steps."""
    if len(runs) == 1 and runs[0].seconds is not None:
        value, low, high = runs[0].seconds
    else:
        value, low, high = median_with_interval([run.median_of_lines or 0.0 for run in runs])
    found: dict[str, Any] = {
        "step_seconds": value, "step_seconds_low": low, "step_seconds_high": high, "steps_per_second": 1 / value,
    }  # fmt: skip
    if row.get("tokens_per_step"):
        found["tokens_per_second"] = row["tokens_per_step"] / value
        found["samples_per_second"] = row["global_batch_size"] / value
        if row.get("devices"):
            found["tokens_per_second_per_device"] = found["tokens_per_second"] / row["devices"]
    return found


def _figures(runs: list[Run]) -> dict[str, Any]:
    """Peak memory over all runs, and the first run's losses."""
    found = dict(runs[0].figures)
    peaks = [run.figures["peak_memory_bytes"] for run in runs if "peak_memory_bytes" in run.figures]
    return found | {"peak_memory_bytes": max(peaks)} if peaks else found


def _notes(found: list[Found], shown: list[Found]) -> list[str]:
    notes = [each.run.problem for each in found if each.run.problem]
    others = Counter(each.run.status for each in found if each not in shown)
    notes += [f"{number} of {len(found)} repeats: {status}" for status, number in sorted(others.items())]
    notes += found[0].run.remarks
    if len(shown) == 1:
        return notes + shown[0].run.notes
    # what several runs have to say needs to say which run it is
    return notes + list(
        dict.fromkeys(f"{each.run.columns.get('point')}: {note}" for each in shown for note in each.run.notes)
    )


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    words = [str(row.get(key) or "") for key in ("source", "machine", "model", "activation_checkpointing", "precision")]
    sizes = [row.get(key) or 0 for key in ("sequence_length", "tp", "pp", "cp")]
    return (*words, str(row.get("sharding") or ""), *sizes, row.get("devices") or 0, row.get("global_batch_size") or 0)
