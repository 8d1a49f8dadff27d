"""Measured rows: from a runs folder, a study's folder in it, a point's folder or an attempt's folder.

A point's row comes from its newest completed attempt, else from its newest one. Points that differ in nothing but
``repeat`` become one row.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from hpcscale.cost.flops import OWN, convention
from hpcscale.ingest import energy, imported, schema
from hpcscale.ingest.describe import described, model_of
from hpcscale.ingest.rates import rates
from hpcscale.record.attempt import RECORD, attempts
from hpcscale.record.median import median_with_interval
from hpcscale.record.reader import Record
from hpcscale.record.reader import read as read_record
from hpcscale.spec.problems import InputError

DESCRIPTION = "point.json"


@dataclass
class Run:
    """One point's run: what it was to do, and the record that counts (None if it never started)."""

    description: dict[str, Any]
    record: Record | None
    attempt: str = ""
    problem: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)  # the measured ones

    @property
    def status(self) -> str:
        if self.problem:
            return "unreadable"
        return "missing" if self.record is None else self.record.status

    @property
    def as_run(self) -> dict[str, Any]:
        """The description with the micro batch that was really used: found by trying (``auto``), or halved after running out
        of memory."""
        used = self.record.run.get("micro_batch_size") if self.record is not None else None
        training = self.description.get("training")
        if not isinstance(used, int) or not isinstance(training, dict):
            return self.description
        return {**self.description, "training": {**training, "micro_batch_size": used}}

    @property
    def configuration(self) -> str:
        """Equal for repeats of one configuration and for nothing else."""
        if model_of(self.description) is None:
            return str(self.description.get("point"))  # unreadable ones are not alike
        left_out = ("repeat", "point", "hash")
        return json.dumps({k: v for k, v in self.description.items() if k not in left_out}, sort_keys=True)


def holds_runs(folder: Path) -> bool:
    """Whether ``folder`` is an attempt, a point, or holds points one or two levels below (a study, all runs)."""
    return (folder / RECORD).is_file() or bool(_descriptions(folder))


def read(folder: Path, convention_name: str | None = None) -> pd.DataFrame:
    """The rows of everything below ``folder``. Raises InputError if it holds no run."""
    if (folder / RECORD).is_file():
        runs = [_attempt(folder)]
    else:
        runs = [_point(path.parent) for path in _descriptions(folder)]
    if not runs:
        raise InputError(f"{folder} holds no run: there is neither a {RECORD} nor a {DESCRIPTION} in or below it")
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.configuration, []).append(run)
    rows = [_row_or_why_not(group, convention_name or OWN) for group in groups.values()]
    return schema.frame(sorted(rows, key=_order))


def _row_or_why_not(runs: list[Run], convention_name: str) -> dict[str, Any]:
    """One odd file among thousands must not hide the others."""
    try:
        row = _row(runs, convention_name)
        schema.check(row)
    except (ValueError, TypeError, AttributeError, KeyError, ArithmeticError) as error:
        point = runs[0].description.get("point")
        note = f"{point}: its description or record holds values of another kind: {error}"
        return {"origin": "measured", "status": "unreadable", "point": str(point), "note": note}
    return row


def _descriptions(folder: Path) -> list[Path]:
    # Not rglob: attempts hold checkpoints with thousands of files.
    found = (path for depth in ("", "*/", "*/*/") for path in folder.glob(depth + DESCRIPTION))
    return sorted(found)


def _point(folder: Path) -> Run:
    description, problem = _description(folder / DESCRIPTION)
    records = [read_record(attempt / RECORD) for attempt in attempts(folder)]
    completed = [record for record in records if record.status == "completed"]
    record = (completed or records or [None])[-1]
    if not description and record is not None:
        description = record.point
    description.setdefault("point", folder.name)
    return _run(description, record, problem if record is None else "")


def _attempt(folder: Path) -> Run:
    record = read_record(folder / RECORD)
    description = record.point
    if not description and (folder.parent.parent / DESCRIPTION).is_file():
        description, _ = _description(folder.parent.parent / DESCRIPTION)
    return _run(description, record, "")


def _description(path: Path) -> tuple[dict[str, Any], str]:
    """point.json's content, or an empty one and what is wrong with it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, ""
    except ValueError as error:
        return {}, f"{path} is no JSON: {error}"
    return (content, "") if isinstance(content, dict) else ({}, f"{path} holds no JSON object")


def _run(description: dict[str, Any], record: Record | None, problem: str) -> Run:
    run = Run(description, record, problem=problem)
    if record is not None:
        run.attempt = record.path.parent.name
        protocol = description.get("protocol")
        warmup = protocol.get("warmup_steps") if isinstance(protocol, dict) else None
        run.steps = _measured(record, warmup if isinstance(warmup, int) else 0)
    return run


def _measured(record: Record, warmup_steps: int) -> list[dict[str, Any]]:
    """The steps after warm-up: an attempt's first ``warmup_steps`` steps are dropped, also after a restart, where
    compilation and caches are cold again. A step that stands twice counts as it was run last. A traced step is left out:
    the profiler slowed it."""
    timed = {line["step"]: line for line in record.steps if isinstance(line.get("step_seconds"), int | float)}
    measured = imported.after_warmup(list(timed.values()), warmup_steps)
    return [line for line in measured if line["step_seconds"] > 0 and "traced" not in line]


def _row(runs: list[Run], convention_name: str) -> dict[str, Any]:
    """One row for the repeats of one configuration: figures of those that completed, else of the last that has any."""
    completed = [run for run in runs if run.status == "completed"]
    shown = completed or [run for run in runs if run.steps][-1:] or runs[-1:]
    first = shown[0]
    row: dict[str, Any] = {"origin": "measured", "status": first.status, **described(first.as_run)}
    if first.record is not None:
        row |= {"attempt": first.attempt, "record": str(first.record.path)} | _extremes(shown)
    row["note"] = "; ".join(_notes(runs, shown))
    measured = [run for run in shown if run.steps]
    if measured:
        steps = sum(imported.steps_of(line) for run in measured for line in run.steps)
        row |= {"repeats": len(measured), "measured_steps": steps}
        row |= _times(measured, row)
        row |= _energy(measured, row)
    if first.record is not None and imported.is_imported(first.description):
        row |= imported.printed(first.record, first.steps)
        row.setdefault("tokens_per_second_per_device", row.get("tokens_per_second_per_device_published"))
    model = model_of(first.description)
    if model is not None:
        row |= rates(row, model, convention(convention_name))
    return row


def _energy(runs: list[Run], row: dict[str, Any]) -> dict[str, Any]:
    records = [run.record for run in runs if run.record is not None]
    steps = [line for run in runs for line in run.steps]
    return energy.columns(steps, records[0].run.get("energy_source"), [record.path.parent for record in records], row)


def _times(runs: list[Run], row: dict[str, Any]) -> dict[str, Any]:
    """Step time and throughput: over runs where there are several (repeats are runs, not steps), else over steps."""
    by_run = [[float(step["step_seconds"]) for step in run.steps] for run in runs]
    seconds = median_with_interval([median(each) for each in by_run] if len(by_run) > 1 else by_run[0])
    if len(by_run) == 1:
        seconds = imported.weighted(seconds, runs[0].steps)
    found: dict[str, Any] = {
        "step_seconds": seconds.value, "step_seconds_low": seconds.low, "step_seconds_high": seconds.high,
        "steps_per_second": 1 / seconds.value,
    }  # fmt: skip
    if row.get("tokens_per_step"):
        found["tokens_per_second"] = row["tokens_per_step"] / seconds.value
        found["samples_per_second"] = row["global_batch_size"] / seconds.value
        if row.get("devices"):
            found["tokens_per_second_per_device"] = found["tokens_per_second"] / row["devices"]
    return found


def _extremes(runs: list[Run]) -> dict[str, Any]:
    """Peak memory over all runs, and the first run's losses."""
    records = [run.record for run in runs if run.record is not None]
    peaks = [
        line["peak_memory_bytes"]
        for record in records
        for line in (record.run, record.summary or {}, record.failure or {}, *record.steps)
        if isinstance(line.get("peak_memory_bytes"), int | float)
    ]
    losses = [line["loss"] for line in records[0].steps if isinstance(line.get("loss"), int | float)]
    found: dict[str, Any] = {"loss_first": losses[0], "loss_last": losses[-1]} if losses else {}
    if peaks:
        found["peak_memory_bytes"] = int(max(peaks))
        kind = (records[0].summary or {}).get("memory_kind") or records[0].run.get("memory_kind")
        on_gpu = runs[0].description.get("device", {}).get("kind") == "gpu"
        found["memory_kind"] = kind or ("allocated" if on_gpu else "resident")
    return found


def _notes(runs: list[Run], shown: list[Run]) -> list[str]:
    notes = [run.problem for run in runs if run.problem]
    others = Counter(run.status for run in runs if run not in shown)
    notes += [f"{number} of {len(runs)} repeats: {status}" for status, number in sorted(others.items())]
    notes += imported.remarks(runs[0].description)
    record = shown[0].record
    if record is None:
        return notes
    if record.failure and record.failure.get("evidence"):
        notes.append(_shortened(str(record.failure["evidence"])))
    asked, used = runs[0].description.get("training"), record.run.get("micro_batch_size")
    if isinstance(asked, dict) and isinstance(used, int) and used != asked.get("micro_batch_size"):
        notes.append(f"micro batch {used}: the study's {asked.get('micro_batch_size')} ran out of memory"
                     if asked.get("micro_batch_size") != "auto" else f"micro batch {used} found by trying")  # fmt: skip
    if record.damaged_lines:
        lines = "1 line" if record.damaged_lines == 1 else f"{record.damaged_lines} lines"
        notes.append(f"{lines} of the record cannot be read")
    bad = next((line["step"] for line in record.steps if line.get("loss") != line.get("loss")), None)
    if bad is not None:
        notes.append(f"the loss is not a number from step {bad} on")
    return notes


def _shortened(text: str, length: int = 100) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    words = [str(row.get(key) or "") for key in ("source", "machine", "model", "activation_checkpointing", "precision")]
    sizes = [row.get(key) or 0 for key in ("sequence_length", "tp", "pp", "cp")]
    return (*words, str(row.get("sharding") or ""), *sizes, row.get("devices") or 0, row.get("global_batch_size") or 0)
