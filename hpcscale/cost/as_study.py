"""A study of the layouts that a search found: every value explicit, so that rendering it needs no search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpcscale.cost.search import Choice
from hpcscale.spec.layout import Layout
from hpcscale.spec.units import format_seconds

# Starting thousands of ranks, importing torch and building the model, beside the steps themselves.
_START_SECONDS = 900
_GIB = 2.0**30
_ORDER = (
    "dp", "tp", "pp", "cp", "sharding", "dp_replicate", "sequence_parallel", "schedule", "virtual_stages", "mbs", "ac",
)  # fmt: skip
_DEFAULTS = {name: field.default for name, field in Layout.model_fields.items()}


def study_of(found: Sequence[Choice], name: str, command: str) -> str:
    """The YAML text of a study called ``name`` with these layouts as its points; all are of one question."""
    asked = found[0].ranked.point
    training, machine = asked.training, asked.machine
    given = {key: value for key, value in asked.resources.items() if machine.default_resources().get(key) != value}
    lines = [
        f"# The layouts that this found, best first: {command}",
        f"name: {name}",
        f"model: {asked.model.name}",
        "training:",
        f"  sequence_length: {training.sequence_length}",
        f"  global_batch_size: {training.global_batch_size}",
        f"  precision: {training.precision}",
        "machines:",
        f"  {machine.name}:",
    ]
    if given:
        lines.append(f"    resources: {{{', '.join(f'{key}: {value}' for key, value in given.items())}}}")
    lines += ["    sweep:", "      points: # each with the time that its steps are predicted to take at most, and room"]
    lines += [f"        - {_flow(each)} # {_said(each)}" for each in found]
    steps = asked.protocol
    lines.append(f"protocol: {{warmup_steps: {steps.warmup_steps}, measured_steps: {steps.measured_steps}}}")
    return "\n".join(lines) + "\n"


def _flow(each: Choice) -> str:
    keys = {name: each.keys[name] for name in _ORDER if _matters(name, each.keys[name])}
    keys["time"] = format_seconds(_time(each))
    return "{" + ", ".join(f"{name}: {_written(value)}" for name, value in keys.items()) + "}"


def _matters(name: str, value: Any) -> bool:
    """The axes, the micro batch and checkpointing always stand there; the rest where it is not the default."""
    return name in ("dp", "tp", "pp", "cp", "sharding", "mbs", "ac") or value != _DEFAULTS[name]


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _said(each: Choice) -> str:
    nodes = f"{each.nodes} node{'s' if each.nodes > 1 else ''}"
    return f"{nodes}, {each.seconds:.4g} s a step, {each.memory / _GIB:.1f} GiB {each.verdict}"


def _time(each: Choice) -> int:
    """Wall time in seconds, in steps of ten minutes, within what the queue gives."""
    wanted = each.ranked.point.protocol.steps * each.high + _START_SECONDS
    rounded = -(-int(wanted) // 600) * 600
    queue = each.ranked.queue
    return rounded if queue is None else max(queue.time.min, min(rounded, queue.time.max))
