"""The comparison: a verdict for each configuration that both have, and one for all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hpcscale.ingest.gather import RUNS
from hpcscale.report.comparison.match import COLUMNS, Matches, Pair, match
from hpcscale.report.comparison.ratio import COVERAGE, METRICS, Metric, Ratio, ratio
from hpcscale.report.comparison.sides import Side, sides
from hpcscale.spec.problems import InputError

Verdict = Literal["faster", "slower", "cannot tell"]


@dataclass(frozen=True)
class Compared:
    """One configuration. ``within``: the whole interval lies within the tolerance, so there is no difference to speak of."""

    pair: Pair
    label: str
    ratio: Ratio
    verdict: Verdict
    within: bool


@dataclass(frozen=True)
class Comparison:
    """``value``, ``low``, ``high``: geometric mean of the ratios B / A over all configurations, with its interval."""

    metric: Metric
    tolerance: float
    compared: list[Compared]
    matches: Matches
    value: float
    low: float | None
    high: float | None
    verdict: Verdict
    within: bool
    differing: tuple[str, ...]  # the columns in which configurations differ


def compare(
    a: str,
    b: str,
    runs: Path = RUNS,
    metric: str = "step_seconds",
    tolerance: float = 0.02,
    ignored: Sequence[str] = (),
) -> Comparison:
    """Compare what two arguments of a report mean. Raises InputError if they have no configuration in common."""
    chosen = METRICS[metric]
    first, second = _measured(a, runs), _measured(b, runs)
    matches = match(first, second, ignored)
    differing = _differing(matches.pairs)
    compared = []
    for place, pair in enumerate(matches.pairs):
        label = label_of(pair.a, differing)
        # configurations that only settings tell apart have one label, but are no copies of each other
        found = ratio(pair.a, pair.b, chosen, f"{place} {label}")
        if found is not None:
            compared.append(Compared(pair, label, found, *_verdict(found.low, found.high, tolerance, chosen)))
    if not compared:
        raise InputError(
            f"{a} and {b} have no configuration in common: {_why_not(first, second)}; "
            "--ignore NAME leaves a column out, for example machine"
        )
    value, low, high = _overall([each.ratio for each in compared])
    verdict, within = _verdict(low, high, tolerance, chosen)
    return Comparison(chosen, tolerance, compared, matches, value, low, high, verdict, within, differing)


def label_of(side: Side, columns: Sequence[str]) -> str:
    """What tells a configuration from the others."""
    words = [f"{name}={side.row[name]}" for name in columns if side.row[name] is not None]
    return " ".join(words) or str(side.row["point"] or side.row["model"] or side.row["source"])


def _measured(argument: str, runs: Path) -> list[Side]:
    found = sides(argument, runs)
    if not found:
        raise InputError(
            f"{argument} holds no completed run with a time; hpcscale report {argument} shows what it holds"
        )
    return found


def _verdict(low: float | None, high: float | None, tolerance: float, metric: Metric) -> tuple[Verdict, bool]:
    """Only an interval that lies beyond the tolerance as a whole is a difference."""
    if low is None or high is None:
        return "cannot tell", False
    if low > 1 + tolerance:
        return ("slower" if metric.less_is_better else "faster"), False
    if high < 1 / (1 + tolerance):
        return ("faster" if metric.less_is_better else "slower"), False
    return "cannot tell", low >= 1 / (1 + tolerance) and high <= 1 + tolerance


def _overall(ratios: Sequence[Ratio]) -> tuple[float, float | None, float | None]:
    """The geometric mean and its interval, over those whose spread is known; without an interval if that is of none."""
    known = [each for each in ratios if each.logarithms is not None] or list(ratios)
    value = math.exp(math.fsum(math.log(each.value) for each in known) / len(known))
    drawn = [each.logarithms for each in known if each.logarithms is not None]
    if not drawn:
        return value, None, None
    tail = (1 - COVERAGE) / 2
    low, high = np.exp(np.quantile(sum(drawn) / len(drawn), [tail, 1 - tail])).tolist()
    return value, min(low, value), max(high, value)


def _differing(pairs: Sequence[Pair]) -> tuple[str, ...]:
    seen: list[list[object]] = []
    found = []
    for name in COLUMNS:
        values = [pair.a.row[name] for pair in pairs]
        if len(set(values)) > 1 and values not in seen:  # of node, device and rank counts that are equal one says all
            seen.append(values)
            found.append(name)
    return tuple(found)


def _why_not(a: Sequence[Side], b: Sequence[Side]) -> str:
    """The first column of which the two have no value in common."""
    for name in COLUMNS:
        values = [{side.row[name] for side in each} - {None} for each in (a, b)]
        if all(values) and not values[0] & values[1]:
            shown = [", ".join(sorted(map(str, each))[:3]) for each in values]
            return f"{name} is {shown[0]} in one and {shown[1]} in the other"
    return "no two rows agree in all columns, or several do"
