"""Published seconds per step of the tables that a study compares with, looked up for its points. No pandas: planning is quick."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hpcscale.spec import locate
from hpcscale.spec.point import Point

FOLDER = "studies/published"
# What says how large a row's job was; a row that states none of them is like no point.
_SIZES = ("nodes", "devices", "ranks")
# column of a table -> the same of a point. What a row leaves empty it does not contradict.
_SAME = {
    "model": lambda point: point.model.name,
    "machine": lambda point: point.machine.name,
    "nodes": lambda point: point.nodes,
    "devices": lambda point: point.devices,
    "ranks": lambda point: point.ranks,
    **{axis: (lambda point, axis=axis: getattr(point.layout, axis)) for axis in ("dp", "tp", "pp", "cp")},
    # one replica has nothing to shard
    "sharding": lambda point: point.layout.sharding if point.layout.dp > 1 else None,
    "micro_batch_size": lambda point: point.training.micro_batch_size,
    "global_batch_size": lambda point: point.training.global_batch_size,
    "sequence_length": lambda point: point.training.sequence_length,
    "activation_checkpointing": lambda point: point.training.activation_checkpointing,
    "precision": lambda point: point.training.precision,
}

Row = Mapping[str, str]
Said = dict[str, str | int]  # what a row says of the configuration, by the names of _SAME


@dataclass(frozen=True)
class Published:
    """A row of a published table: seconds per step (None where it prints none), bytes per rank, completed or oom."""

    source: str
    status: str
    step_seconds: float | None
    memory_bytes: float | None


class Tables:
    """The rows of some tables, by model."""

    def __init__(self, names: Iterable[str]):
        self._rows: dict[str, list[tuple[str, Row, Said]]] = {}
        for name in names:
            path = locate.find(name, FOLDER, "published table", ".csv")
            for row in _read(path):
                said: Said = {key: _typed(row[key]) for key in _SAME if row.get(key)}
                if any(size in said for size in _SIZES):
                    self._rows.setdefault(row.get("model", ""), []).append((path.stem, row, said))

    def of(self, point: Point) -> tuple[Published, ...]:
        """The rows that are this point as far as they say, in the tables' order."""
        rows = self._rows.get(point.model.name)
        if not rows:
            return ()
        facts = {key: value for key, of in _SAME.items() if (value := of(point)) is not None}
        return tuple(
            _published(source, row)
            for source, row, said in rows
            if all(facts.get(key, value) == value for key, value in said.items())
            and _same_resources(row.get("resources", ""), point)
        )


def _read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = (line for line in file if not line.startswith("#"))
        return [{name: cell.strip() for name, cell in row.items() if name and cell} for row in csv.DictReader(lines)]


def _typed(cell: str) -> str | int:
    return int(cell) if cell.isdecimal() else cell


def _same_resources(text: str, point: Point) -> bool:
    pairs = (part.partition("=") for part in text.split(",") if part)
    return all(str(point.resources.get(name, value)) == value for name, _, value in pairs)


def _published(source: str, row: Row) -> Published:
    return Published(source, row.get("status") or "completed", _step_seconds(row), _number(row, "peak_memory_bytes"))


def _step_seconds(row: Row) -> float | None:
    """As printed, or what follows from the printed throughput."""
    printed = _number(row, "step_seconds_published")
    if printed is not None:
        return printed
    batch, length, devices = (_number(row, name) for name in ("global_batch_size", "sequence_length", "devices"))
    if batch is None:
        return None
    tokens = batch * length if length else None
    per_device = _number(row, "tokens_per_second_per_device_published")
    for amount, rate in (
        (tokens, _number(row, "tokens_per_second_published")),
        (tokens, per_device * devices if per_device and devices else None),
        (batch, _number(row, "samples_per_second_published")),
        (1.0, _number(row, "steps_per_second_published")),
    ):
        if amount and rate:
            return amount / rate
    return None


def _number(row: Row, name: str) -> float | None:
    try:
        value = float(row.get(name, ""))
    except ValueError:
        return None
    return value if value > 0 else None
