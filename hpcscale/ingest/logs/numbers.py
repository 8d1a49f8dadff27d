"""Numbers as logs print them."""

from __future__ import annotations

import re

MIB, GIB = 2**20, 2**30
GB = 10**9

# nanotron's human_format (src/nanotron/logging/base.py): powers of 1000.
_SUFFIXES = {"K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}
_HUMAN = re.compile(r"(-?[0-9.]+(?:e[+-]?[0-9]+)?)([KMBGT]?)\Z")


def number(text: bytes | None) -> float | None:
    """A float, also ``nan`` and ``inf``; None for anything else."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def positive(text: bytes | None) -> float | None:
    """A finite number above zero: what a time or a rate can be."""
    value = number(text)
    return value if value is not None and 0 < value < float("inf") else None


def whole(text: bytes | str | None) -> int | None:
    """An integer, also with separators of thousands."""
    if text is None:
        return None
    digits = (text.decode("ascii", "replace") if isinstance(text, bytes) else text).replace(",", "").strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else None


def human(text: bytes | None) -> float | None:
    """``4.19M`` is 4,190,000: three digits are all that is printed."""
    found = _HUMAN.match(text.decode("ascii", "replace").strip()) if text is not None else None
    value = number(found[1].encode()) if found else None
    return value * _SUFFIXES.get(found[2], 1.0) if found and value is not None else None
