"""One side of a comparison: its rows, the steps behind them, and what was configured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hpcscale.ingest import records, schema
from hpcscale.ingest.folders import DESCRIPTION, Found
from hpcscale.ingest.gather import RUNS, folder_of_runs

Row = dict[str, Any]

# Keys of a point's description that say which run it was or what is known of the machine, not what was run.
NO_CONFIGURATION = (
    "schema", "study", "point", "hash", "scaling", "repeat", "protocol", "job", "imported", "device.kind",
    "device.peak_tflops", "device.memory_bytes", "model.source", "training.checkpoint",
)  # fmt: skip


@dataclass(frozen=True)
class Side:
    """One configuration: its row of the table, the measured seconds per step of each run (none for a table's row), and its
    configuration as flat keys (``training.seed``), None for a table's row."""

    row: Row
    runs: tuple[np.ndarray, ...] = ()
    configuration: dict[str, Any] | None = None
    versions: frozenset[str] = field(default_factory=frozenset)


def sides(argument: str, runs: Path = RUNS, convention: str | None = None) -> list[Side]:
    """The configurations that an argument has a time of: a folder of runs, a study that has run, a CSV or a published table."""
    folder = folder_of_runs(argument, runs)
    if folder is None:
        from hpcscale.report.build import build

        return [Side(row) for row in build([argument], runs, convention).rows if row["step_seconds"]]
    found = [_side(group) for group in records.grouped(folder)]
    return [side for side in found if side.row["step_seconds"] and side.row["status"] == "completed"]


def _side(group: list[Found]) -> Side:
    row = dict.fromkeys(schema.NAMES) | records.row_or_why_not(group, records.OWN)
    shown = records.those_shown(group)
    seconds = tuple(np.array(each.run.step_seconds) for each in shown if each.run.step_seconds)
    description = _description(shown[0])
    flat = dict(_flat(description)) if description else None
    if flat is not None and row["micro_batch_size"] is not None:
        flat["training.micro_batch_size"] = row["micro_batch_size"]  # that was used, where the study said auto
    return Side(row, seconds, flat, frozenset(_versions(each.run.facts) for each in shown))


def _description(found: Found) -> dict[str, Any]:
    try:
        content = json.loads(Path(found.folder, DESCRIPTION).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _flat(value: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, each in value.items():
        name = before + key
        if name in NO_CONFIGURATION:
            continue
        if isinstance(each, dict):
            yield from _flat(each, name + ".")
        else:
            yield name, each


def _versions(facts: dict[str, Any]) -> str:
    """As a person says which code ran: hpcscale 0.1.0, torch 2.6.0, commit 1234abcd."""
    versions = facts.get("versions")
    words = [f"{name} {version}" for name, version in versions.items()] if isinstance(versions, dict) else []
    commit = facts.get("git_commit")
    return ", ".join([*words, *([f"commit {commit[:8]}"] if isinstance(commit, str) else [])])
