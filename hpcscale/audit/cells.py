"""What a cell says: a number with its printed digits, a unit, a note, or that there is nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from hpcscale.audit.markup import plain

State = Literal["number", "text", "missing", "oom"]
_MISSING = {
    "",
    "-",
    "--",
    "---",
    "–",
    "—",
    "n/a",
    "na",
    "n.a.",
    "nan",
    "none",
    "null",
    "?",
    "x",
    "×",
    "tbd",
    "/",
    "...",
}
_OOM = re.compile(r"\boom\b|out of memory|メモリ不足", re.IGNORECASE)
_NUMBER = re.compile(
    r"^[~≈≃<>=≤≥±\s]*(?P<sign>[-+])?\$?(?P<digits>\d{1,3}(?:[,'_ \u00a0\u2009\u202f]\d{3})+(?:\.\d+)?(?![\d])|\d+\.\d*|\.\d+|\d+(?:,\d{1,2}(?!\d))?|\d+)"
    r"(?:\s?(?:[eE]|[x×*]\s?10\s?\^?\{?)(?P<exponent>[-+]?\d+)\}?)?\s*(?P<rest>.*)$",
    re.DOTALL,
)
_UNIT = re.compile(
    r"^(?P<unit>%|[x×](?![a-z])|[A-Za-zµ]+(?:\s?/\s?[A-Za-z]+)*|秒|分|ミリ秒|時間|億)?\s*(?P<note>.*)$", re.DOTALL
)
_SPREAD = re.compile(r"^(?:±|\+/-|\+-)\s*(\d+(?:\.\d+)?)\s*(.*)$", re.DOTALL)


@dataclass(frozen=True)
class Cell:
    """``step`` is one unit of the last printed digit; ``unit`` and ``note`` are what follows the number."""

    text: str
    state: State
    value: float = 0.0
    step: float = 0.0
    unit: str = ""
    note: str = ""

    @property
    def printed(self) -> bool:
        return self.state == "number"


@lru_cache(maxsize=65536)
def read(raw: str) -> Cell:
    """Reads a cell; it never fails, since a cell that holds no number is text."""
    text = plain(raw)
    out_of_memory = bool(_OOM.search(text))
    if text.lower().strip(" .") in _MISSING or text.lower() in _MISSING:
        return Cell(text, "missing")
    match = _NUMBER.match(text)
    if not match or len(match["digits"]) > 25:
        return Cell(text, "oom" if out_of_memory else "text")
    value, step = _value(match["digits"], match["exponent"])
    rest = match["rest"]
    spread = _SPREAD.match(rest)
    if spread:
        step, rest = max(step, 2 * float(spread[1])), spread[2]
    unit = _UNIT.match(rest)
    found, note = (unit["unit"] or "", unit["note"]) if unit else ("", rest)
    if match["sign"] == "-":
        value = -value
    return Cell(text, "number", value, step, found.replace(" ", ""), note.strip())


def _value(digits: str, exponent: str | None) -> tuple[float, float]:
    if re.fullmatch(r"\d+,\d{1,2}", digits):
        digits = digits.replace(",", ".")  # a decimal comma: groups of thousands have three digits
    digits = re.sub(r"[,'_\s]", "", digits)
    decimals = len(digits.partition(".")[2])
    power = max(-300, min(300, int(exponent))) if exponent else 0
    scale = 10.0 ** min(max(power, -200), 200)
    return float(digits) * scale, 10.0**-decimals * scale


def significant(value: float, step: float) -> int:
    """Significant digits of a printed number without the zeros at its end: 3 of 32200."""
    if not value or not step:
        return 0
    return len(str(round(abs(value) / step)).rstrip("0")) or 1


def is_oom(text: str) -> bool:
    return bool(_OOM.search(text))
