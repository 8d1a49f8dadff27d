"""The lines below a table: what reproduces, what differs, how figures are defined and where they come from."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hpcscale.audit.documents import document
from hpcscale.audit.recompute import Check
from hpcscale.cost.flops import convention
from hpcscale.ingest.energy import covers
from hpcscale.report import text

Row = dict[str, Any]

_TITLES = {
    "parameters": "Parameters", "tokens_per_step": "GBS in tokens", "step_seconds": "sec/it",
    "steps_per_second": "iter/s", "samples_per_second": "samples/s", "tokens_per_second": "tokens/s",
    "tokens_per_second_per_device": "tokens/s/device", "tflops_per_device": "TFLOPs/device",
    "aggregate_pflops": "PFLOPs in all", "mfu": "MFU", "hfu": "HFU",
}  # fmt: skip


def reproduction(rows: Sequence[Row], checks: Sequence[Check]) -> list[str]:
    """A line for each quantity that a document prints, and one for each figure that does not follow from its row."""
    groups: dict[tuple[str, str], list[Check]] = {}
    for check in checks:
        groups.setdefault((rows[check.row]["source"], check.quantity), []).append(check)
    several = len({source for source, _ in groups}) > 1
    lines = []
    for (source, quantity), group in groups.items():
        good = [check for check in group if check.verdict == "reproduces"]
        start = f"{source}, {_TITLES[quantity]}" if several else _TITLES[quantity]
        line = f"{start}: {len(good)} of {len(group)} row{'s' * (len(group) > 1)} reproduce{'s' * (len(group) == 1)}"
        lines.append(line + _tightness(source, quantity, good))
        lines += [f"  {_difference(rows[check.row], check)}" for check in group if check.verdict == "differs"]
    return lines


def _tightness(source: str, quantity: str, good: list[Check]) -> str:
    habit = document(source).habit(quantity)
    about = f" ({habit.why})" if habit.why else ""
    if not good:
        return ""
    if habit.cut_off:
        return ", cut off to the digits printed"
    largest = max(check.error for check in good)
    if largest == 0:
        return f", exactly{about}"
    if habit.tolerance == 0:
        return f", rounded to the digits printed{about}"
    return f", largest error {text.error_percent(largest)}{about}"


def _difference(row: Row, check: Check) -> str:
    scale, unit = (100, " %") if check.quantity in ("mfu", "hfu") else (1, "")
    return (
        f"row {check.row + 1} ({row['model']}): {_TITLES[check.quantity]} printed "
        f"{text.as_printed(check.printed, scale)}{unit}, recomputed {text.significant(check.recomputed * scale)}{unit} "
        f"({text.error_percent(check.error)} off)"
    )


def about_rows(rows: Sequence[Row]) -> list[str]:
    """What single rows say beside their numbers."""
    by_note: dict[str, list[int]] = {}
    for number, row in enumerate(rows, 1):
        if row["note"]:
            by_note.setdefault(row["note"], []).append(number)
    return [f"row{'s' * (len(numbers) > 1)} {text.ranges(numbers)}: {note}" for note, numbers in by_note.items()]


def definitions(rows: Sequence[Row]) -> list[str]:
    """Formulas, interval, efficiency, what is not known and why, records."""
    return [
        *conventions(rows),
        *_no_peak(rows),
        *_interval(rows),
        *_predictions(rows),
        *_efficiency(rows),
        *_energy(rows),
        *_records(rows),
    ]


def conventions(rows: Sequence[Row]) -> list[str]:
    """How the rows' FLOPs are counted, a line for each way."""
    lines = []
    counted = [row["flops_convention"] for row in rows if row["tflops_per_device"] is not None]
    for name in dict.fromkeys(filter(None, counted)):
        found = convention(name)
        what = "counts recomputed work, so TFLOPs belong to HFU; MFU without it" if found.hardware else "model FLOPs"
        lines.append(f"FLOPs a token as {name} ({what}): {found.formula}. {found.source}.")
    return lines


def _no_peak(rows: Sequence[Row]) -> list[str]:
    unknown: dict[str, list[int]] = {}
    for number, row in enumerate(rows, 1):
        if row["tokens_per_second"] is not None and row["peak_tflops"] is None:
            if not row["device"]:
                reason = "no device is named"
            elif not row["precision"]:
                reason = f"no precision is named for {row['device']}"
            else:
                reason = f"no peak is known of {row['device']} at {row['precision']}"
            unknown.setdefault(reason, []).append(number)
    if len(unknown) == 1 and sum(row["tokens_per_second"] is not None for row in rows) == len(*unknown.values()):
        return [f"No MFU: {next(iter(unknown))}."]
    return [f"No MFU for row{'s' * (len(n) > 1)} {text.ranges(n)}: {reason}." for reason, n in unknown.items()]


def _interval(rows: Sequence[Row]) -> list[str]:
    measured = [row for row in rows if row["step_seconds_low"] is not None and row["measured_steps"] is not None]
    if not measured:
        return []
    over_runs = [row for row in measured if (row["repeats"] or 1) > 1]
    population = "runs where a point was repeated, else over steps" if over_runs else "steps"
    sizes = [row["repeats"] if row in over_runs else row["measured_steps"] for row in measured]
    line = f"sec/it: median over {population}, warm-up dropped; interval: 95 % confidence interval of the median"
    line += " (block bootstrap over steps)" if max(sizes) >= 6 and len(over_runs) < len(measured) else ""
    return [line + (", smallest and largest where there are fewer than 6." if min(sizes) < 6 else ".")]


def _predictions(rows: Sequence[Row]) -> list[str]:
    rows = [row for row in rows if row["origin"] == "predicted" or row["predicted_step_seconds"] is not None]
    if not rows:
        return []
    return ["Predictions: 80 % intervals; hpcscale plan STUDY --explain POINT shows what one consists of."]


def _efficiency(rows: Sequence[Row]) -> list[str]:
    lines = []
    kinds = {row["efficiency_kind"] for row in rows if row["efficiency"] is not None}
    words = {"strong": "strong: the same GBS", "weak": "weak: the same GBS per device"}
    if kinds:
        named = "; ".join(words[kind] for kind in words if kind in kinds)
        lines.append(f"Efficiency by tokens/s against the smallest row of its series ({named}).")
    beyond = [number for number, row in enumerate(rows, 1) if (row["efficiency"] or 0) > 1.02]
    if beyond:
        lines.append(
            f"Efficiency above 100 % in row{'s' * (len(beyond) > 1)} {text.ranges(beyond)}: "
            "the smallest row of the series is slow for its size, or has another micro batch."
        )
    reasons = Counter(row["efficiency_kind"] for row in rows if row["efficiency"] is None and row["efficiency_kind"])
    if reasons:
        counted = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
        lines.append(f"No efficiency for {reasons.total()} row{'s' * (reasons.total() > 1)}: {counted}.")
    return lines


def _energy(rows: Sequence[Row]) -> list[str]:
    sources = dict.fromkeys(row["energy_source"] for row in rows if row["energy_source"])
    return [f"Energy from {source}: {covers(source)}." for source in sources]


def _records(rows: Sequence[Row]) -> list[str]:
    paths = [row["record"] for row in rows if row["record"]]
    if not paths:
        return []
    if len(paths) == 1:
        return [f"Record: {paths[0]}."]
    return [f"Records: {len(paths)} files below {os.path.commonpath(paths)} (--format json names them)."]
