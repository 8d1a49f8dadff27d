"""What the table needs of one run: digested from its record once, small enough for thousands, and plain enough for a cache."""

from __future__ import annotations

import hashlib
import math
from array import array
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import lt
from typing import Any

import numpy as np

from hpcscale.ingest import imported
from hpcscale.ingest.describe import described, model_in, model_of, model_text
from hpcscale.ingest.statistics.findings import about_slowest, about_steps
from hpcscale.ingest.statistics.interval import median_interval
from hpcscale.ingest.statistics.slowest import often_slowest, persistently_slowest
from hpcscale.ingest.statistics.together import AT_ONCE, uneventful
from hpcscale.ingest.step_lines import Steps
from hpcscale.record.json_text import dumps
from hpcscale.record.reader import Record

# Of the measured steps these are kept one by one; the rest of a step's line is only in the record.
KEPT = ("step", "step_seconds", "averaged_steps", "energy_joules")
_COUNTS = ("step", "averaged_steps")
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
            {
                name: int(value) if name in _COUNTS else value
                for name, value in zip(kept, values, strict=True)
                if value == value
            }
            for values in zip(*kept.values(), strict=True)
        ]

    @property
    def step_seconds(self) -> list[float]:
        return _unpack(self.packed["step_seconds"]) if "step_seconds" in self.packed else []


def never_started(description: dict[str, Any], problem: str = "") -> Run:
    """The run of a description (point.json's content) without a record. ``problem``: what is wrong with that file."""
    return _digest(description, None, problem)


def digest(description: dict[str, Any], record: Record) -> Run:
    """The run of a description and an attempt's record; :func:`complete` does the rest."""
    return _digest(description, record)


def _digest(description: dict[str, Any], record: Record | None, problem: str = "") -> Run:
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
        model = model_text(description)
        run.model = model if model_in(model) is not None else None
        if record is not None:
            _add_record(run, description, record, Steps(record.steps))
    except _ODD as error:
        run.odd = str(error)
    return run


def complete(runs: Iterable[Run]) -> None:
    """Fills in what the steps of runs say. Of all runs together: one kind of work at a time is nearly twice as fast."""
    waiting = [(run, run.step_seconds) for run in runs if run.packed and run.seconds is None]
    for step, chosen in ((_add_interval, waiting), (_add_notes, list(_perhaps_eventful(waiting)))):
        for run, seconds in chosen:
            try:
                step(run, seconds)
            except _ODD as error:
                run.odd = str(error)


def _perhaps_eventful(waiting: Sequence[tuple[Run, list[float]]]) -> Iterator[tuple[Run, list[float]]]:
    """The runs of whose steps there may be something to say."""
    alike: dict[int, list[tuple[Run, list[float]]]] = {}
    for each in waiting:
        alike.setdefault(len(each[1]), []).append(each)
    for group in alike.values():
        for start in range(0, len(group), AT_ONCE):
            part = group[start : start + AT_ONCE]
            quiet = uneventful(np.array([seconds for _, seconds in part]))
            yield from (each for each, nothing in zip(part, quiet.tolist(), strict=True) if not nothing)


def _add_interval(run: Run, seconds: list[float]) -> None:
    found = median_interval(seconds)
    run.median_of_lines = found.value
    if "averaged_steps" in run.packed:
        found = imported.weighted(found, run.steps)
    run.seconds = (found.value, found.low, found.high)


def _add_notes(run: Run, seconds: list[float]) -> None:
    run.notes += about_steps([int(step) for step in _unpack(run.packed["step"])], seconds)


def configuration(description: dict[str, Any]) -> str:
    """A hash that repeats of one configuration share."""
    if not isinstance(description.get("model"), dict) or model_of(description) is None:
        return str(description.get("point"))  # unreadable ones are not alike
    kept = {key: value for key, value in description.items() if key not in _NO_CONFIGURATION}
    return hashlib.sha1(dumps(kept, sort_keys=True), usedforsecurity=False).hexdigest()


def _with_micro_batch_used(description: dict[str, Any], record: Record | None) -> dict[str, Any]:
    """The description with the micro batch that was really used: found by trying (``auto``), or halved after running out
    of memory."""
    used = record.run.get("micro_batch_size") if record is not None else None
    training = description.get("training")
    if not isinstance(used, int) or not isinstance(training, dict):
        return description
    return {**description, "training": {**training, "micro_batch_size": used}}


def _add_record(run: Run, description: dict[str, Any], record: Record, steps: Steps) -> None:
    protocol = description.get("protocol")
    warmup = protocol.get("warmup_steps") if isinstance(protocol, dict) else None
    measured = _measured(steps, warmup if isinstance(warmup, int) else 0)
    run.figures = _figures(description, record, steps)
    run.notes = _notes(description, record, steps)
    if imported.is_imported(description):
        run.printed = imported.printed(record, [record.steps[place] for place in measured if record.steps])
    if measured:
        _add_steps(run, steps, measured, record)


def _add_steps(run: Run, steps: Steps, measured: Sequence[int], record: Record) -> None:
    kept = {name: _chosen(steps, name, measured) for name in KEPT if name in steps}
    seconds = [float(value) for value in kept["step_seconds"]]
    run.measured_steps = (
        sum(imported.steps_of(record.steps[place]) for place in measured) if "averaged_steps" in kept else len(measured)
    )
    run.packed = {name: _pack(values) for name, values in kept.items()}
    if "slowest_rank" in steps:
        ranks, size = _chosen(steps, "slowest_rank", measured), _whole(record.run.get("ranks")) or 0
        if often_slowest(ranks, size) is not None:
            middle = [_number(value) for value in _chosen(steps, "median_rank_seconds", measured)]
            run.notes += about_slowest(persistently_slowest(ranks, seconds, middle, size))


def _chosen(steps: Steps, name: str, places: Sequence[int]) -> list[Any]:
    column = steps.column(name)
    if isinstance(places, range):
        return column[places.start : places.stop]
    return [column[place] for place in places]


def _measured(steps: Steps, warmup_steps: int) -> Sequence[int]:
    """Places of the steps after warm-up: an attempt's first ``warmup_steps`` steps are dropped, also after a restart, where
    compilation and caches are cold again. A step that stands twice counts as it was run last. A traced step is left out:
    the profiler slowed it."""
    numbers, seconds = steps.column("step"), steps.column("step_seconds")
    if not ("averaged_steps" in steps or "traced" in steps) and _ascending(numbers) and _plain(seconds):
        return range(max(0, warmup_steps), steps.length)
    last = dict(zip(numbers, range(steps.length), strict=True))
    if len(last) < steps.length or not set(map(type, seconds)) <= {int, float}:
        last = {number: place for place, number in enumerate(numbers) if isinstance(seconds[place], int | float)}
    places = imported.after_warmup(
        list(last.values()), warmup_steps, steps.column("averaged_steps") if "averaged_steps" in steps else None
    )
    if "traced" in steps:
        traced = steps.column("traced")
        places = [place for place in places if traced[place] is None]
    return [place for place in places if 0 < seconds[place] < math.inf]


def _ascending(numbers: list[Any]) -> bool:
    return all(map(lt, numbers, numbers[1:]))


def _plain(seconds: list[Any]) -> bool:
    """Whether all are finite and above zero."""
    return set(map(type, seconds)) == {float} and min(seconds) > 0 and math.fsum(seconds) < math.inf  # NaN is neither


def _figures(description: dict[str, Any], record: Record, steps: Steps) -> dict[str, Any]:
    """Peak memory, and the losses of the first and the last step."""
    lines = (record.run, record.summary or {}, record.failure or {})
    peaks = [*(line.get("peak_memory_bytes") for line in lines), steps.largest("peak_memory_bytes")]
    peaks = [peak for peak in peaks if isinstance(peak, int | float)]
    found: dict[str, Any] = dict(zip(("loss_first", "loss_last"), steps.ends("loss"), strict=False))
    if peaks:
        found["peak_memory_bytes"] = int(max(peaks))
        kind = (record.summary or {}).get("memory_kind") or record.run.get("memory_kind")
        on_gpu = description.get("device", {}).get("kind") == "gpu"
        found["memory_kind"] = kind or ("allocated" if on_gpu else "resident")
    return found


def _notes(description: dict[str, Any], record: Record, steps: Steps) -> list[str]:
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
    bad = steps.not_a_number("loss")
    if bad is not None:
        notes.append(f"the loss is not a number from step {bad} on")
    return notes


def _shortened(text: str, length: int = 100) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _pack(values: list[Any]) -> str:
    """Numbers as eight bytes each, exactly; what is no number as NaN. A text, since the cache is JSON."""
    try:
        numbers = array("d", values)
    except TypeError:
        numbers = array("d", (float("nan") if (number := _number(value)) is None else number for value in values))
    return b64encode(numbers.tobytes()).decode()


def _unpack(text: str) -> list[float]:
    return array("d", b64decode(text)).tolist()


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) else None


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None
