"""Numbers as people read them. Rounding happens here and nowhere before."""

from __future__ import annotations

from typing import Any


def whole(value: Any) -> str:
    return f"{int(value):,}"


def significant(value: float, digits: int = 4) -> str:
    """At least ``digits`` significant digits, never an exponent: 17,213, 558.7, 0.5082."""
    magnitude = abs(value)
    decimals = 0
    while decimals < 6 and magnitude < 10 ** (digits - 1 - decimals):
        decimals += 1
    return f"{value:,.{decimals}f}"


def percent(value: float, decimals: int = 2) -> str:
    """A share of 1, without the sign."""
    return f"{100 * value:.{decimals}f}"


def as_printed(value: float, scale: float = 1) -> str:
    """A document's number with the digits it has."""
    text = f"{value * scale:,.8f}".rstrip("0").rstrip(".")
    return text or "0"


def error_percent(error: float) -> str:
    """A relative error in percent, with two significant digits."""
    return f"{significant(100 * error, 2)} %" if error else "0 %"


def ranges(numbers: list[int]) -> str:
    """1, 2, 3, 5 as ``1-3, 5``."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)
