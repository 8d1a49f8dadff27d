"""What the table needs of one run: digested from its record once, small enough for thousands, and plain enough for a cache."""

from __future__ import annotations

import hashlib
import json
from array import array
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from hpcscale.ingest import imported
from hpcscale.ingest.describe import described, model_of
from hpcscale.ingest.statistics.findings import about_slowest, about_steps
from hpcscale.ingest.statistics.interval import median_interval
from hpcscale.ingest.statistics.slowest import persistently_slowest
from hpcscale.record.reader import Record
from hpcscale.record.reader import read as read_record

# Of the measured steps these are kept one by one; the rest of a step's line is only in the record.
KEPT = ("step", "step_seconds", "averaged_steps", "energy_joules")
# Of the run line, what the table or a comparison says.
FACTS = ("micro_batch_size", "energy_source", "versions", "git_commit", "backend")
# Keys of a description that do not say what was run, but which run it was.
_NO_CONFIGURATION = ("repeat", "point", "hash")
_ODD = (ValueError, TypeError, AttributeError, KeyError, ArithmeticError)

Line = dict[str, Any]


@dataclass
class Run:
    """One point's run: what it was to do, and what the attempt that counts has measured. JSON can hold all of it.

    ``configuration`` is equal for repeats of one configuration and for nothing else. ``odd``: what of its description or
    record is of another kind than it should be; such a run is a row without figures.
    """

    columns: dict[str, Any]
    configuration: str
    model: str | None = None  # JSON of a valid model
    status: str = "missing"
    attempt: str = ""
    started: float = 0.0
    problem: str = ""
    odd: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)  # of an imported log
    figures: dict[str, Any] = field(default_factory=dict)  # columns: losses, memory
    printed: dict[str, float] | None = None  # of an imported log
    measured_steps: int = 0
    seconds: tuple[float, float, float] | None = None  # median of the measured steps, low, high
    median_of_lines: float | None = None
    packed: dict[str, str] = field(default_factory=dict)

    @property
    def has_record(self) -> bool:
        return bool(self.attempt)

    @property
    def steps(self) -> list[Line]:
        """The measured steps, each with the keys of KEPT that it has."""
        kept = {name: _unpack(text) for name, text in self.packed.items()}
        return [
            {name: value for name, value in zip(kept, values, strict=True) if value == value}
            for values in zip(*kept.values(), strict=True)
        ]

    @property
    def step_seconds(self) -> list[float]:
        return _unpack(self.packed["step_seconds"]) if "step_seconds" in self.packed else []

    def record(self, folder: Path) -> Record:
        """The whole record, read again: for what is not kept here. ``folder``: the attempt's."""
        return read_record(folder / "record.jsonl")


def digest(description: dict[str, Any], record: Record | None, problem: str = "") -> Run:
    """The run of a description (point.json's content) and the record that counts, None if it never started."""
    used = _with_micro_batch_used(description, record)
    run = Run(
        {"point": str(description.get("point"))}, configuration(description), problem=problem if record is None else ""
    )
    if run.problem:
        run.status = "unreadable"
    if record is not None:
        run.status, run.attempt = record.status, record.path.parent.name
        run.facts = {name: record.run[name] for name in FACTS if name in record.run}
    try:
        run.columns = described(used)
        run.remarks = imported.remarks(description)
        if model_of(description) is not None:
            run.model = json.dumps(description["model"])
        if record is not None:
            _add_record(run, description, record)
    except _ODD as error:
        run.odd = str(error)
    return run


def configuration(description: dict[str, Any]) -> str:
    """A hash that repeats of one configuration share."""
    if model_of(description) is None:
        return str(description.get("point"))  # unreadable ones are not alike
    kept = {key: value for key, value in description.items() if key not in _NO_CONFIGURATION}
    return hashlib.sha1(json.dumps(kept, sort_keys=True).encode(), usedforsecurity=False).hexdigest()


def _with_micro_batch_used(description: dict[str, Any], record: Record | None) -> dict[str, Any]:
    """The description with the micro batch that was really used: found by trying (``auto``), or halved after running out
    of memory."""
    used = record.run.get("micro_batch_size") if record is not None else None
    training = description.get("training")
    if not isinstance(used, int) or not isinstance(training, dict):
        return description
    return {**description, "training": {**training, "micro_batch_size": used}}


def _add_record(run: Run, description: dict[str, Any], record: Record) -> None:
    protocol = description.get("protocol")
    warmup = protocol.get("warmup_steps") if isinstance(protocol, dict) else None
    measured = _measured(record, warmup if isinstance(warmup, int) else 0)
    run.figures = _figures(description, record)
    run.notes = _notes(description, record)
    if imported.is_imported(description):
        run.printed = imported.printed(record, measured)
    if measured:
        _add_steps(run, measured, record)


def _add_steps(run: Run, measured: list[Line], record: Record) -> None:
    seconds = [float(line["step_seconds"]) for line in measured]
    found = imported.weighted(median_interval(seconds), measured)
    run.measured_steps = sum(imported.steps_of(line) for line in measured)
    run.seconds, run.median_of_lines = (found.value, found.low, found.high), median(seconds)
    run.packed = {name: _pack(measured, name) for name in KEPT if any(name in line for line in measured)}
    run.notes += about_steps([line["step"] for line in measured], seconds)
    ranks = [_whole(line.get("slowest_rank")) for line in measured]
    if any(rank is not None for rank in ranks):
        middle = [_number(line.get("median_rank_seconds")) for line in measured]
        size = _whole(record.run.get("ranks")) or 0
        run.notes += about_slowest(persistently_slowest(ranks, seconds, middle, size))


def _measured(record: Record, warmup_steps: int) -> list[Line]:
    """The steps after warm-up: an attempt's first ``warmup_steps`` steps are dropped, also after a restart, where
    compilation and caches are cold again. A step that stands twice counts as it was run last. A traced step is left out:
    the profiler slowed it."""
    timed = {line["step"]: line for line in record.steps if isinstance(line.get("step_seconds"), int | float)}
    measured = imported.after_warmup(list(timed.values()), warmup_steps)
    return [line for line in measured if line["step_seconds"] > 0 and "traced" not in line]


def _figures(description: dict[str, Any], record: Record) -> dict[str, Any]:
    """Peak memory, and the losses of the first and the last step."""
    lines = (record.run, record.summary or {}, record.failure or {}, *record.steps)
    peaks = [peak for line in lines if isinstance(peak := line.get("peak_memory_bytes"), int | float)]
    losses = [loss for line in record.steps if isinstance(loss := line.get("loss"), int | float)]
    found: dict[str, Any] = {"loss_first": losses[0], "loss_last": losses[-1]} if losses else {}
    if peaks:
        found["peak_memory_bytes"] = int(max(peaks))
        kind = (record.summary or {}).get("memory_kind") or record.run.get("memory_kind")
        on_gpu = description.get("device", {}).get("kind") == "gpu"
        found["memory_kind"] = kind or ("allocated" if on_gpu else "resident")
    return found


def _notes(description: dict[str, Any], record: Record) -> list[str]:
    notes = []
    if record.failure and record.failure.get("evidence"):
        notes.append(_shortened(str(record.failure["evidence"])))
    asked, used = description.get("training"), record.run.get("micro_batch_size")
    if isinstance(asked, dict) and isinstance(used, int) and used != asked.get("micro_batch_size"):
        notes.append(f"micro batch {used}: the study's {asked.get('micro_batch_size')} ran out of memory"
                     if asked.get("micro_batch_size") != "auto" else f"micro batch {used} found by trying")  # fmt: skip
    if record.damaged_lines:
        lines = "1 line" if record.damaged_lines == 1 else f"{record.damaged_lines} lines"
        notes.append(f"{lines} of the record cannot be read")
    bad = next((line["step"] for line in record.steps if (loss := line.get("loss")) != loss), None)
    if bad is not None:
        notes.append(f"the loss is not a number from step {bad} on")
    return notes


def _shortened(text: str, length: int = 100) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _pack(lines: list[Line], name: str) -> str:
    """Numbers as eight bytes each, exactly; what is no number as NaN. A text, since the cache is JSON."""
    numbers = array("d", (value if (value := _number(line.get(name))) is not None else float("nan") for line in lines))
    return b64encode(numbers.tobytes()).decode()


def _unpack(text: str) -> list[float]:
    return array("d", b64decode(text)).tolist()


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) else None


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None
