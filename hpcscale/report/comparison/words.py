"""A comparison in words and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from hpcscale.report import text
from hpcscale.report.comparison.compare import Compared, Comparison, label_of
from hpcscale.report.comparison.ratio import Ratio
from hpcscale.report.comparison.sides import Side

_MOST_NAMED = 5


def verdict(comparison: Comparison, a: str, b: str) -> str:
    """The whole in one sentence."""
    value, title = comparison.value, comparison.metric.title
    known = [each for each in comparison.compared if each.ratio.low is not None]
    over = (
        f"{len(known) or len(comparison.compared)} configuration{'s' * ((len(known) or len(comparison.compared)) > 1)}"
    )
    mean = "geometric mean of " if len(comparison.compared) > 1 else ""
    interval = f", 95 % interval {_interval(comparison.low, comparison.high)}" if comparison.low is not None else ""
    figures = f"{mean}{title} {text.significant(value)} times A's over {over}{interval}"
    tolerance = f"{100 * comparison.tolerance:g} %"
    if comparison.low is None:
        return f"Cannot tell whether {b} is slower than {a}: {figures}, but neither steps nor runs tell how far to trust that."
    if comparison.verdict != "cannot tell":
        return f"{b} is {comparison.verdict} than {a}: {figures}, beyond the tolerance of {tolerance}."
    if comparison.within:
        return f"{b} is as fast as {a} within the tolerance of {tolerance}: {figures}."
    return f"Cannot tell whether {b} is slower than {a}: {figures}, which reaches into the tolerance of {tolerance}."


def remarks(comparison: Comparison) -> list[str]:
    """What to know about the verdict: counts, repeats, what was not compared, versions."""
    compared, matches = comparison.compared, comparison.matches
    return [
        *_counts(compared),
        *_repeats(compared),
        *_unlike(compared),
        *_unmatched("A", matches.only_a, comparison.differing),
        *_unmatched("B", matches.only_b, comparison.differing),
        *_versions(compared),
    ]


def verdict_cell(each: Compared) -> str:
    """Of a row of the table."""
    if each.ratio.low is None:
        return "cannot tell (one value)"
    return "equal within tolerance" if each.within else each.verdict


def interval_cell(ratio: Ratio) -> str:
    return _interval(ratio.low, ratio.high) if ratio.low is not None else ""


def document(comparison: Comparison, a: str, b: str) -> dict[str, Any]:
    """For programs: raw numbers."""
    return {
        "a": a, "b": b, "metric": comparison.metric.name, "tolerance": comparison.tolerance,
        "verdict": comparison.verdict, "within_tolerance": comparison.within,
        "ratio": comparison.value, "ratio_low": comparison.low, "ratio_high": comparison.high,
        "points": [
            {
                "point": each.label, "a": each.pair.a.row[comparison.metric.name], "b": each.pair.b.row[comparison.metric.name],
                "ratio": each.ratio.value, "ratio_low": each.ratio.low, "ratio_high": each.ratio.high,
                "verdict": each.verdict, "within_tolerance": each.within, "runs_a": _runs(each.pair.a), "runs_b": _runs(each.pair.b),
                "unlike": list(each.pair.unlike),
            }
            for each in comparison.compared
        ],
        "only_in_a": [_name(side, comparison.differing) for side in comparison.matches.only_a],
        "only_in_b": [_name(side, comparison.differing) for side in comparison.matches.only_b],
        "remarks": [verdict(comparison, a, b), *remarks(comparison)],
    }  # fmt: skip


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{text.significant(low)}–{text.significant(high)}"


def _counts(compared: Sequence[Compared]) -> list[str]:
    if len(compared) < 2:
        return []
    counts = Counter(verdict_cell(each) for each in compared)
    counted = ", ".join(f"{count} {word}" for word, count in counts.most_common())
    if all(each.ratio.low is None for each in compared):
        return [f"By configuration: {counted}."]
    chance = len(compared) * 0.05
    by_chance = f"about {chance:.0f}" if chance >= 0.5 else "hardly one"
    return [
        f"By configuration: {counted}. Each has a 95 % interval of its own: of {len(compared)} equal ones {by_chance} would miss 1 by "
        "chance, so the verdict is that of the geometric mean."
    ]


def _repeats(compared: Sequence[Compared]) -> list[str]:
    single = [
        each for each in compared if any(side.runs and len(side.runs) == 1 for side in (each.pair.a, each.pair.b))
    ]
    if not single:
        return []
    which = "The intervals" if len(single) == len(compared) else f"{len(single)} of {len(compared)} intervals"
    return [
        f"{which} come from the steps of single runs: they do not know how much runs differ from one another, on large machines "
        "often 5 % and more (protocol.repeats)."
    ]


def _unlike(compared: Sequence[Compared]) -> list[str]:
    counts = Counter(setting for each in compared for setting in each.pair.unlike)
    if not counts:
        return []
    named = "; ".join(f"{setting} ({count})" for setting, count in counts.most_common(_MOST_NAMED))
    return [f"Compared though settings differ (A / B, configurations): {named}."]


def _unmatched(side: str, left: Sequence[Side], differing: Sequence[str]) -> list[str]:
    if not left:
        return []
    names = "; ".join(_name(each, differing) for each in left[:_MOST_NAMED])
    more = f"; and {len(left) - _MOST_NAMED} more" if len(left) > _MOST_NAMED else ""
    return [f"Only in {side}, not compared: {names}{more}."]


def _versions(compared: Sequence[Compared]) -> list[str]:
    a, b = (
        sorted({version for each in compared for version in side(each).versions if version})
        for side in (lambda each: each.pair.a, lambda each: each.pair.b)
    )
    return [f"A ran with {' and '.join(a)}; B with {' and '.join(b)}."] if a and b and a != b else []


def _name(side: Side, differing: Sequence[str]) -> str:
    point = side.row["point"]
    return str(point) if point else label_of(side, differing or ("model", "devices"))


def _runs(side: Side) -> int:
    return len(side.runs) or int(side.row["repeats"] or 1)
