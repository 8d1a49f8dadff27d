"""Times and sizes as people write them, checked: ``02:00:00``, ``90m``, ``512 GB``, ``28 GiB``, ``100 GB/s``."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_CLOCK = re.compile(r"(?:(\d+)-)?(\d{1,4}):([0-5]?\d)(?::([0-5]?\d))?\Z")
_PARTS = re.compile(r"(?:(\d+)\s*d)?\s*(?:(\d+)\s*h)?\s*(?:(\d+)\s*m(?:in)?)?\s*(?:(\d+)\s*s)?\Z")
_SIZE = re.compile(r"([0-9]*\.?[0-9]+)\s*([kKMGTP]i?)?B(/s)?\Z")
_FACTORS = {
    "": 1,
    **{p: 1000 ** (i + 1) for i, p in enumerate("kMGTP")},
    "K": 1000,
    **{p + "i": 1024 ** (i + 1) for i, p in enumerate("KMGTP")},
    "ki": 1024,
}


_COUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:e[+]?[0-9]+)?)\s*([kmbgt]?)", re.IGNORECASE)
_SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
_MOST = 1e30  # beyond any number of tokens or steps


def parse_count(text: str) -> float:
    """A number of tokens, steps or node-hours: ``300B``, ``1.5T``, ``3e11``, ``1,000,000``. Raises ValueError."""
    match = _COUNT.fullmatch(text.strip().replace(",", "").replace("_", ""))
    value = float(match[1]) * _SCALES[match[2].lower()] if match else 0.0
    if not 0 < value < _MOST:
        raise ValueError(f"'{text}' is no number above zero; write, for example, 300B, 1.5T or 3e11")
    return value


def parse_seconds(value: Any) -> int:
    """Seconds from ``HH:MM:SS``, ``D-HH:MM:SS``, ``90m`` or ``1h30m``; two fields (``10:30``) are ambiguous, refused."""
    if isinstance(value, bool) or not isinstance(value, str):
        raise ValueError(f"{value!r} is no duration with a unit; write HH:MM:SS or, for example, 90m or 2h")
    text = value.strip()
    clock = _CLOCK.match(text)
    if clock:
        days, first, second, third = clock.groups()
        if third is None:
            raise ValueError(f"{value!r} could mean hours or minutes; write HH:MM:SS")
        return int(days or 0) * 86400 + int(first) * 3600 + int(second) * 60 + int(third)
    parts = _PARTS.match(text)
    if parts and any(parts.groups()):
        days, hours, minutes, seconds = (int(each or 0) for each in parts.groups())
        return days * 86400 + hours * 3600 + minutes * 60 + seconds
    raise ValueError(f"{value!r} is not a duration; write HH:MM:SS or, for example, 90m or 2h")


def format_seconds(seconds: int) -> str:
    """``HH:MM:SS``, hours unbounded: what both Slurm and PJM read."""
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def parse_bytes(value: Any) -> int:
    """Bytes from ``40 GB`` (10^9), ``32 GiB`` (2^30) or ``100 GB/s``. A bare number has no unit and is refused."""
    match = _SIZE.match(value.strip()) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"{value!r} is not a size with a unit; write, for example, 40 GB or 32 GiB")
    number, prefix, _ = match.groups()
    return round(float(number) * _FACTORS[prefix or ""])


Seconds = Annotated[
    int,
    BeforeValidator(parse_seconds),
    PlainSerializer(format_seconds, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["02:00:00", "90m"]}),
]
Bytes = Annotated[
    int,
    BeforeValidator(parse_bytes),
    PlainSerializer(lambda size: f"{size} B", return_type=str),
    WithJsonSchema({"type": "string", "examples": ["40 GB", "32 GiB"]}),
]
BytesPerSecond = Bytes
