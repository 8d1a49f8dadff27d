"""The FAKEPJM_* variables: how the emulator deviates from a real machine, mostly in speed."""

from __future__ import annotations

import os

from .codes import FAULTS
from .messages import Refused


def number(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        return float(text) if text else default
    except ValueError:
        raise Refused(f"fakepjm: {name} is no number: {text}") from None


def max_run() -> int:
    return int(number("FAKEPJM_MAX_RUN", 1))


def of_submission() -> dict:
    """What a job keeps from the moment of its submission."""
    kind, _, when = os.environ.get("FAKEPJM_INJECT", "").partition("@")
    if kind and kind not in FAULTS:
        raise Refused(f"fakepjm: FAKEPJM_INJECT knows {', '.join(FAULTS)}, not {kind}")
    return {
        "time_scale": number("FAKEPJM_TIME_SCALE", 1.0),
        "grace": number("FAKEPJM_GRACE", 10.0),
        # The emulator's own variables are seen by a job whatever else its environment holds.
        "variables": {name: value for name, value in os.environ.items() if name.startswith("FAKEPJM_")},
        "fault": {"kind": kind, "after": float(when.removesuffix("s") or 0)} if kind else None,
    }
