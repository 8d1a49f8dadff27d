"""All that is said of a table's scaling: its lines, the laws fitted to them, what they foresee, and what a training takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpcscale.report.laws.fit import Band, Fit
from hpcscale.report.laws.knee import Knee, knee
from hpcscale.report.laws.lines import Line, Place, Row, lines
from hpcscale.report.laws.physical import Unable
from hpcscale.report.laws.training import Bill, Training, bill, bill_of, tokens_of
from hpcscale.report.laws.validation import Judged, judged
from hpcscale.spec.problems import InputError, suggestion

# Fitted sizes below which laws are not ranked: with three there is one test, which anybody may pass by chance.
_TOLD_BY = 4
_SPEEDS = (1e-12, 1e24)  # tokens/s


@dataclass(frozen=True)
class Question:
    """``to``: a size in nodes (devices where the table has no nodes). ``fit_on``: the sizes that laws may see, the same way."""

    to: float | None = None
    efficiency: float = 0.8
    fit_on: tuple[float, float] | None = None
    training: Training | None = None
    only: str = ""


@dataclass(frozen=True)
class At:
    """A fit at one size. ``measured``: where the line has that size. Costs as times of a step."""

    devices: float
    seconds: float | None
    low: float | None
    high: float | None
    tokens_per_second: float
    efficiency: float
    error: float | None  # foreseen time over measured time, less one
    inside: bool | None  # the measurement lies in the interval
    bill: Bill | None
    beyond_batch: str = ""  # why no run of that size exists


@dataclass(frozen=True)
class Answer:
    """Of one law on one line. ``held_out``: what it says of sizes that it was not fitted on."""

    judged: Judged
    knee: Knee | None = None
    to: At | None = None
    held_out: tuple[At, ...] = ()


@dataclass(frozen=True)
class LineAnswer:
    line: Line
    fitted: tuple[Place, ...]
    held_out: tuple[Place, ...]
    answers: tuple[Answer, ...]
    bills: tuple[Bill | None, ...]  # of the line's places

    @property
    def ranked(self) -> list[tuple[Answer, float, int]]:
        """Laws with their mean error in larger sizes foreseen, the best first, over the tests that all of them took (and how many
        those were). Empty where too few sizes were there to tell."""
        able = [each for each in self.answers if each.judged.fit and each.judged.validation.larger]
        if len(able) < 2 or len(self.fitted) < _TOLD_BY:
            return []
        tests = [
            {(test.from_devices, test.devices): abs(test.error) for test in each.judged.validation.larger}
            for each in able
        ]
        common = set.intersection(*map(set, tests))
        errors = [sum(errors[test] for test in common) / len(common) for errors in tests] if common else []
        return sorted(
            ((each, error, len(common)) for each, error in zip(able, errors, strict=False)), key=lambda each: each[1]
        )


@dataclass(frozen=True)
class Analysis:
    question: Question
    lines: tuple[LineAnswer, ...]
    reasons: tuple[str, ...]
    others: tuple[tuple[Row, Bill | None], ...]  # rows on no line, with what a training takes at their size


def analyse(rows: Sequence[Row], question: Question) -> Analysis:
    """``rows`` have gone through with_scaling. Raises InputError where nothing is left to look at."""
    rows = _chosen(rows, question.only)
    _check(rows)
    found, reasons = lines(rows)
    on = {id(place.row) for line in found for place in line.places}
    others = [
        row for row in rows if id(row) not in on and row["status"] == "completed" and row["origin"] != "predicted"
    ]
    return Analysis(
        question, tuple(_answer(line, question) for line in found), tuple(reasons),
        tuple((row, bill(row, question.training) if question.training else None) for row in others),
    )  # fmt: skip


def _chosen(rows: Sequence[Row], words: str) -> list[Row]:
    """The rows of series whose names have all of these words."""
    wanted = set(words.lower().split())
    chosen = [row for row in rows if wanted <= set((row["series"] or "").lower().split())]
    if not chosen:
        names = sorted({row["series"] for row in rows if row["series"]})
        raise InputError(f"no series has the words '{words}' in its name{suggestion(words, names)}")
    return chosen


def _check(rows: Sequence[Row]) -> None:
    """Speeds at which ratios and squares of ratios are numbers still."""
    for row in rows:
        if row["tokens_per_second"] and not _SPEEDS[0] <= row["tokens_per_second"] <= _SPEEDS[1]:
            raise InputError(
                f"{row['series'] or row['source']}, {row['devices'] or 'unknown'} devices: {row['tokens_per_second']:.3g} tokens/s is no "
                "speed of a training; correct the row's time or leave it out with --series"
            )


def _answer(line: Line, question: Question) -> LineAnswer:
    low, high = question.fit_on or (0, float("inf"))
    fitted = tuple(place for place in line.places if low <= line.shown(place.devices) <= high)
    held_out = tuple(place for place in line.places if place not in fitted)
    bills = tuple(bill(place.row, question.training) if question.training else None for place in line.places)
    if len(fitted) < 2:
        return LineAnswer(line, fitted, held_out, (), bills)
    answers = tuple(_of(each, line, fitted, held_out, question) for each in judged(line, fitted))
    return LineAnswer(line, fitted, held_out, answers, bills)


def _of(each: Judged, line: Line, fitted: Sequence[Place], held_out: Sequence[Place], question: Question) -> Answer:
    if each.fit is None:
        return Answer(each)
    try:
        return _asked(each, each.fit, line, fitted, held_out, question)
    except Unable as reason:  # it knows the line's sizes, but not all that is asked about
        return Answer(Judged(each.name, None, reason=str(reason)))


def _asked(
    each: Judged, fit: Fit, line: Line, fitted: Sequence[Place], held_out: Sequence[Place], question: Question
) -> Answer:
    smallest, largest = float(fitted[0].devices), float(fitted[-1].devices)
    sizes = [float(place.devices) for place in held_out]
    target = [line.devices_of(question.to)] if question.to else []
    asked = np.array([*sizes, *target], dtype=float)
    found: list[At] = []
    if len(asked):
        band, share = fit.band(asked), fit.efficiency(asked, smallest).middle
        measured = {float(place.devices): place for place in line.places}
        found = [
            _at(line, band, i, float(share[i]), size, measured.get(float(size)), question)
            for i, size in enumerate(asked)
        ]
    to = found[-1] if target else None
    return Answer(each, knee(fit, smallest, largest, question.efficiency), to, tuple(found[: len(sizes)]))


def _at(
    line: Line, band: Band, i: int, efficiency: float, devices: float, place: Place | None, question: Question
) -> At:
    middle, low, high = (float(each[i]) for each in (band.middle, band.low, band.high))
    batch = line.batch * (devices if line.kind == "weak" else 1)
    length = line.places[0].row["sequence_length"]
    # device-seconds per token as seconds per step
    scale = batch * length / devices if length else None
    tokens = tokens_of(line.places[0].row, question.training, batch) if question.training else None
    cost = place.device_seconds_per_token if place else None
    return At(
        devices=devices,
        seconds=None if scale is None else middle * scale,
        low=None if scale is None else low * scale,
        high=None if scale is None else high * scale,
        tokens_per_second=devices / middle,
        efficiency=efficiency,
        error=None if cost is None else middle / cost - 1,
        inside=None if cost is None else low <= cost <= high,
        bill=None if tokens is None else bill_of(middle, devices, line.devices_per_node, tokens),
        beyond_batch=_beyond_batch(line, devices),
    )


def _beyond_batch(line: Line, devices: float) -> str:
    """A strong line ends where each replica has one micro batch; laws know nothing of that."""
    micro = line.places[-1].row["micro_batch_size"]
    if (
        line.kind == "weak"
        or not micro
        or not line.places[-1].row["dp"]
        or devices <= line.replica * line.batch / micro
    ):
        return ""
    most = line.shown(line.replica * (line.batch // micro))
    return f"No such run exists: global batch {line.batch:g} in micro batches of {micro} feeds at most {most:,g} {line.unit}."
