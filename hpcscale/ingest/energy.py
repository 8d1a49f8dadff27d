"""Energy of measured rows: from the steps' own counters, else from what accounting said of the whole job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hpcscale.ingest.imported import steps_of
from hpcscale.record import energy as noted
from hpcscale.record.energy import JobEnergy

Line = dict[str, Any]

# What a source's joules are those of, by the first word of ``energy_source``; a report says it below its table.
COVERS = {
    "nvml": "the GPUs alone (NVML), during the measured steps",
    "rapl": "the processors' packages, and their memory where dram is named (RAPL), during the measured steps",
    "sacct": "whole nodes as Slurm's accounting has them (the site's plugin decides what is in it): the job's mean power, its start "
    "and its end included, times a step's seconds",
    "pjm": "whole nodes as PJM's job statistics have them: the job's mean power, its start and its end included, times a step's seconds",
}


def covers(source: str) -> str:
    return COVERS.get(source.partition(":")[0], "what the source counts")


def columns(
    steps: Iterable[Line], source: object, attempts: Sequence[Path | str], row: dict[str, Any]
) -> dict[str, Any]:
    """The row's columns of energy; empty where nobody counted. ``steps``: the measured ones; ``source``: the run line's."""
    counted = [line for line in steps if _number(line, "energy_joules") and _number(line, "step_seconds")]
    if counted:
        number = sum(steps_of(line) for line in counted)
        joules = sum(line["energy_joules"] * steps_of(line) for line in counted)
        seconds = sum(line["step_seconds"] * steps_of(line) for line in counted)
        # Counters move in jumps, so a mean over steps and not a median.
        return _columns(joules / number, joules / seconds, str(source or "unknown"), row)
    found = [each for attempt in attempts if (each := noted.read(attempt)) is not None]
    return _accounted(found, row) if found and row.get("step_seconds") else {}


def _number(line: Line, name: str) -> bool:
    return isinstance(line.get(name), int | float) and line[name] > 0


def _accounted(found: Sequence[JobEnergy], row: dict[str, Any]) -> dict[str, Any]:
    watts = sum(each.joules for each in found) / sum(each.seconds for each in found)
    return _columns(watts * row["step_seconds"], watts, found[0].source, row)


def _columns(joules_per_step: float, watts: float, source: str, row: dict[str, Any]) -> dict[str, Any]:
    tokens, devices = row.get("tokens_per_step"), row.get("devices")
    return {
        "energy_joules_per_step": joules_per_step,
        "watts_per_device": watts / devices if devices else None,
        "tokens_per_joule": tokens / joules_per_step if tokens else None,
        "energy_source": source,
    }
