"""A profile's ``calibration:`` block as text, and the profile with it: every other line stays as it was."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from hpcscale.spec.machine import Calibration

_BLOCK = re.compile(r"^calibration:.*\n(?:(?:[ \t]+.*|[ \t]*)\n)*", re.MULTILINE)


def with_block(profile: str, block: Calibration) -> str:
    """The text of a profile with this block in place of its old one, or at its end."""
    whole = profile if profile.endswith("\n") else profile + "\n"
    written = text(block)
    if _BLOCK.search(whole):
        return _BLOCK.sub(lambda _: written, whole, count=1)
    return whole + written


def text(block: Calibration) -> str:
    """YAML. JSON strings and numbers are YAML's; a row is a line."""
    lines = [
        "calibration: # written by hpcscale calibrate",
        f"  date: {json.dumps(block.date)}",
        f"  source: {json.dumps(block.source)}",
    ]
    if block.measured:
        lines.append(f"  measured: {_mapping(block.measured)}")
    if block.constants:
        lines.append("  constants:")
        lines += [f"    {name}: {_number(value)}" for name, value in block.constants.items()]
    if block.error is not None:
        lines.append(f"  error: {_number(block.error)}")
    if block.rows:
        lines.append("  rows:")
        lines += [f"    - {_mapping(row)}" for row in block.rows]
    return "\n".join(lines) + "\n"


def _mapping(values: Mapping[Any, str | float]) -> str:
    inside = (
        f"{name}: {json.dumps(value, ensure_ascii=False) if isinstance(value, str) else _number(value)}"
        for name, value in values.items()
    )
    return "{" + ", ".join(inside) + "}"


def _number(value: float) -> str:
    """A number that YAML 1.2 reads as one: 1e-05 needs no point there, but a reader may want it."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
