"""What a whole training takes at a size: node-hours, days and energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hpcscale.spec.problems import InputError
from hpcscale.spec.units import parse_count

Row = dict[str, Any]


@dataclass(frozen=True)
class Training:
    """So many tokens, or so many steps; ``batch``: the steps' global batch where it is not each row's own."""

    tokens: float | None = None
    steps: float | None = None
    batch: int | None = None

    @property
    def title(self) -> str:
        if self.tokens is not None:
            return f"{short(self.tokens)} tokens"
        return f"{self.steps:,.0f} steps" + (f" of global batch {self.batch:,}" if self.batch else "")


@dataclass(frozen=True)
class Bill:
    """Of one training. ``node_hours`` None where nobody says what a node is; ``megawatt_hours`` None without energy."""

    seconds: float
    device_hours: float
    node_hours: float | None
    megawatt_hours: float | None = None


def amount(text: str) -> float:
    """``300B``, ``1.4T``, ``2e12``, ``100k``. Raises InputError."""
    try:
        return parse_count(text)
    except ValueError:
        raise InputError(f"'{text}' is no number of tokens or steps; write, for example, 300B, 1.4T or 100k") from None


def short(value: float) -> str:
    for letter, scale in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{value / scale:g}{letter}"
    return f"{value:g}"


def bill(row: Row, asked: Training) -> Bill | None:
    """A measured or published row's; None where its rate or batch is not known.

    NeMo's figure is this: node-hours for 100k steps of global batch 4096 = 100000 x 4096 / samples/s / 3600 x nodes.
    """
    seconds = _seconds(row, asked)
    if seconds is None or not row["devices"]:
        return None
    joules = row.get("energy_joules_per_step")
    energy = joules * seconds / row["step_seconds"] / 3.6e9 if joules and row["step_seconds"] else None
    hours = seconds / 3600
    return Bill(seconds, hours * row["devices"], hours * row["nodes"] if row["nodes"] else None, energy)


def _seconds(row: Row, asked: Training) -> float | None:
    if asked.tokens is not None:
        return asked.tokens / row["tokens_per_second"] if row["tokens_per_second"] else None
    # A document's own iterations/s count its steps; tokens/s, from which sec/it follows, may be rounded otherwise.
    step = 1 / row["steps_per_second_published"] if row["steps_per_second_published"] else row["step_seconds"]
    if not step or asked.steps is None:
        return None
    if asked.batch is None:
        return asked.steps * step
    return asked.steps * step * asked.batch / row["global_batch_size"] if row["global_batch_size"] else None


def bill_of(device_seconds_per_token: float, devices: float, devices_per_node: float | None, tokens: float) -> Bill:
    """A fit's at a size."""
    device_hours = device_seconds_per_token * tokens / 3600
    nodes = device_hours / devices_per_node if devices_per_node else None
    return Bill(device_hours * 3600 / devices, device_hours, nodes)


def tokens_of(row: Row, asked: Training, batch: float) -> float | None:
    """How many tokens the training is for a size with this global batch; None where the sequence length is not known."""
    if asked.tokens is not None:
        return asked.tokens
    length = row["sequence_length"]
    return asked.steps * (asked.batch or batch) * length if asked.steps and length else None
