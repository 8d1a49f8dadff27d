"""Numbers as logs print them."""

from __future__ import annotations

MIB, GIB = 2**20, 2**30
GB = 10**9

# nanotron's human_format (src/nanotron/logging/base.py): powers of 1000.
_SUFFIXES = {b"K": 1e3, b"M": 1e6, b"B": 1e9, b"G": 1e9, b"T": 1e12}


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


def size(text: bytes | None, unit: int) -> int | None:
    """Bytes, from a number of units."""
    value = positive(text)
    return round(value * unit) if value is not None else None


def count(value: float) -> int | None:
    """A number of things that was read as a float; None where it can be none."""
    return int(value) if 0 < value < 1e15 else None


def whole(text: bytes | str | None) -> int | None:
    """An integer, also with separators of thousands."""
    if text is None:
        return None
    digits = (text.decode("ascii", "replace") if isinstance(text, bytes) else text).replace(",", "").strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else None


def human(text: bytes) -> float:
    """``4.19M`` is 4,190,000: three digits are all that is printed. Raises ValueError for what is no number."""
    factor = _SUFFIXES.get(text[-1:])
    return float(text) if factor is None else float(text[:-1]) * factor
