"""Values of pjsub's options: times, sizes, node shapes (CmdRef p.76-90)."""

from __future__ import annotations

import re

LARGEST = 2147483647
UNLIMITED = -1
UNITS = {"": 2**20, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}
SIZE = re.compile(r"(\d+)(Ki|Mi|Gi|Ti|Pi)?")
CLOCK = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+)")
PARTS = re.compile(r"(?=\d)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.IGNORECASE)
NODE = re.compile(
    r"(\d+(?:x\d+){0,2})(?::(torus|mesh|noncont))?(?::(strict-io|strict))?(?::(io-exclusive|no-io-exclusive))?"
)


def size(text: str) -> int | None:
    """Bytes of ``50Gi``; a number without a unit counts MiB."""
    found = SIZE.fullmatch(text)
    return int(found[1]) * UNITS[found[2] or ""] if found else None


def whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def seconds(text: str) -> int | None:
    """``2:00:00``, ``7200``, ``1h30m``, ``unlimited``."""
    if text == "unlimited":
        return UNLIMITED
    found = CLOCK.fullmatch(text) or PARTS.fullmatch(text)
    if not found:
        return None
    hours, minutes, rest = (int(part or 0) for part in found.groups())
    total = hours * 3600 + minutes * 60 + rest
    return total if total <= LARGEST else None


def elapse(text: str) -> tuple[int | None, int | None] | None:
    """(minimum, maximum): the minimum is None for a fixed limit, the maximum for ``Tmin-`` (the group's)."""
    first, dash, last = text.partition("-")
    low = seconds(first)
    high = seconds(last) if last else None
    if low is None or (last and high is None):
        return None
    if not dash:
        return None, low
    if low == UNLIMITED or (high is not None and high != UNLIMITED and high < low):
        return None
    return low, high


def node(text: str) -> dict | None:
    """Shape, allocation mode, strictness and I/O exclusiveness of ``-L node=``."""
    found = NODE.fullmatch(text)
    shape = shape_of(found[1]) if found else None
    if not found or shape is None:
        return None
    mode, strict, exclusive = found[2], found[3], found[4]
    if strict and (len(shape) != 3 or mode in ("mesh", "noncont")):
        return None  # strict shapes are three-dimensional tori
    if exclusive == "io-exclusive" and mode in ("mesh", "noncont"):
        return None
    return {"shape": shape, "mode": mode, "strict": strict, "exclusive": exclusive}


def shape_of(text: str) -> list[int] | None:
    """``4x6x8`` as numbers, each at least 1."""
    axes = [whole(axis) for axis in text.split("x")]
    if len(axes) > 3 or any(axis is None or not 1 <= axis <= LARGEST for axis in axes):
        return None
    return [axis for axis in axes if axis is not None]


def product(shape: list[int]) -> int:
    total = 1
    for axis in shape:
        total *= axis
    return total
