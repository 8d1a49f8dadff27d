"""What ``hpcscale scaling`` prints for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import numpy as np

from hpcscale.cli.tables import Column, print_fitting, width
from hpcscale.report.laws.analysis import Analysis, Answer, LineAnswer
from hpcscale.report.laws.forms import TITLES
from hpcscale.report.laws.knee import FARTHEST, whole
from hpcscale.report.laws.lines import Place
from hpcscale.report.laws.training import Bill, Training
from hpcscale.report.text import percent, significant

EMPTY = "-"
_MOST_ALONE = 3
_MISSES = 0.15  # of a fitted row; runs that are months apart differ by 6 % in the median
# Karp and Flatt: a serial fraction that grows with the size is overhead that grows, not serial work.
_RISES = 1.25


def show(found: Analysis) -> None:
    """Print the analysis."""
    training = found.question.training
    for each in found.lines:
        _show_line(each, found)
    if found.others and (training or not found.lines):
        _show_others(found)
    _show_notes(found.reasons)
    if not found.lines and not found.reasons:
        click.echo("No two rows can be compared, so there is no scaling to see.")
    if found.lines:
        click.echo(_definitions(found))


def _show_notes(reasons: Sequence[str]) -> None:
    """A table may have a hundred series of one size, which nobody wants listed."""
    alone = [reason for reason in reasons if "only one size" in reason]
    others = [reason for reason in reasons if reason not in alone]
    shown = (
        [*others, *alone]
        if len(alone) <= _MOST_ALONE
        else [*others, f"{len(alone)} series have only one size (--json names them)"]
    )
    for reason in shown:
        click.echo(f"note: {reason}")


def _show_line(each: LineAnswer, found: Analysis) -> None:
    line = each.line
    work = f"global batch {line.batch:,g}" if line.kind == "strong" else f"{line.batch:,g} sequences a device"
    training = found.question.training
    cost = f"; for {training.title}" if training else ""
    click.echo(f"{line.name}: {line.kind} scaling, {work}, {len(line.places)} sizes{cost}")
    print_fitting(_place_columns(each, training), width())
    rise = _rise(each)
    if rise:
        click.echo(rise)
    click.echo()
    if not each.answers:
        click.echo(
            f"No law is fitted: {_sizes(each, each.fitted)} of it {'are' if each.fitted else 'is'} in --fit-on.\n"
        )
        return
    held_out = f", {_sizes(each, each.held_out)} held out" if each.held_out else ""
    click.echo(f"Laws fitted on {_sizes(each, each.fitted)}{held_out}:")
    print_fitting(_law_columns(each, found), width())
    for answer in each.answers:
        if answer.judged.reason:
            click.echo(f"{TITLES[answer.judged.name]}: no fit: {answer.judged.reason}")
    for missed in _missed(each):
        click.echo(missed)
    ranked = each.ranked
    if ranked:
        said = ", ".join(f"{TITLES[answer.judged.name]} {percent(error, 1)} %" for answer, error, _ in ranked)
        click.echo(f"Foresaw larger sizes, mean error in the tests that all took ({ranked[0][2]}): {said}.")
    click.echo()
    if found.question.to:
        _show_to(each, found)
    if each.held_out:
        click.echo("Held out, each foreseen by the laws above:")
        print_fitting(_held_out_columns(each), width())
        click.echo()


def _sizes(each: LineAnswer, places: Sequence[Place]) -> str:
    if not places:
        return "nothing"
    shown = [each.line.shown(place.devices) for place in places]
    ends = f"{shown[0]:,g}" if len(shown) == 1 else f"{shown[0]:,g}-{shown[-1]:,g}"
    return f"{ends} {each.line.unit}"


def _place_columns(each: LineAnswer, training: Training | None) -> list[Column]:
    places = each.line.places
    columns = [
        Column(each.line.unit.capitalize(), [f"{each.line.shown(place.devices):,g}" for place in places]),
        Column("sec/it", [_or(place.seconds, significant) for place in places], 2),
        Column("tokens/s", [significant(place.throughput) for place in places], 3),
        Column("efficiency (%)", [percent(place.efficiency, 1) for place in places]),
        Column("95 %", [_interval(place.efficiency_low, place.efficiency_high, 100, 1) for place in places], 1),
        Column(
            "serial fraction (%)", [_or(place.serial_fraction, lambda value: percent(value, 2)) for place in places], 1
        ),
    ]
    columns = [each_ for each_ in columns if any(cell != EMPTY for cell in each_.cells)]
    return columns + _bill_columns(each.bills, training)


def _bill_columns(bills: Sequence[Bill | None], training: Training | None) -> list[Column]:
    if training is None:
        return []
    hours = [_or(bill and (bill.node_hours or bill.device_hours), significant) for bill in bills]
    unit = "node-hours" if any(bill and bill.node_hours for bill in bills) else "device-hours"
    columns = [
        Column(unit, hours),
        Column("days", [_or(bill and bill.seconds / 86400, lambda days: significant(days, 3)) for bill in bills], 1),
    ]
    if any(bill and bill.megawatt_hours for bill in bills):
        columns.append(
            Column("MWh", [_or(bill and bill.megawatt_hours, lambda value: significant(value, 3)) for bill in bills], 1)
        )
    return columns


def _law_columns(each: LineAnswer, found: Analysis) -> list[Column]:
    answers = [answer for answer in each.answers if answer.judged.fit]
    columns = [
        Column("law", [TITLES[answer.judged.name] for answer in answers], left=True),
        Column("parameters (%), 80 %", [_parameters(answer) for answer in answers], 3, left=True),
        Column("one left out (%)", [_error(answer.judged.validation.one_out_error) for answer in answers], 2),
        Column("larger foreseen (%)", [_error(answer.judged.validation.larger_error) for answer in answers], 1),
    ]
    bound = f"{100 * found.question.efficiency:g} %"
    columns += [
        Column(f"knee at {bound} ({each.line.unit})", [_knee(each, answer) for answer in answers]),
        Column("knee 80 %", [_knee_interval(each, answer) for answer in answers], 2),
    ]
    return columns


def _show_to(each: LineAnswer, found: Analysis) -> None:
    """What each law says of the size of --to, with what a training would take there."""
    training = found.question.training
    answers = [answer for answer in each.answers if answer.to]
    to = [answer.to for answer in answers]
    cost = f", and for {training.title}" if training else ""
    click.echo(f"At {found.question.to:,g} {each.line.unit}{cost}:")
    columns = [
        Column("law", [TITLES[answer.judged.name] for answer in answers], left=True),
        Column("sec/it", [_or(at and at.seconds, significant) for at in to]),
        Column("80 %", [_interval(at and at.low, at and at.high) for at in to]),
        Column("efficiency (%)", [_or(at and at.efficiency, lambda value: percent(value, 1)) for at in to], 1),
    ]
    if any(at and at.error is not None for at in to):
        columns.append(Column("off (%)", [_or(at and at.error, _signed) for at in to]))
    print_fitting(columns + _bill_columns([at.bill if at else None for at in to], training), width())
    if to[0] and to[0].beyond_batch:
        click.echo(to[0].beyond_batch)
    click.echo()


def _held_out_columns(each: LineAnswer) -> list[Column]:
    columns = [
        Column(each.line.unit.capitalize(), [f"{each.line.shown(place.devices):,g}" for place in each.held_out]),
        Column("sec/it", [_or(place.seconds, significant) for place in each.held_out]),
    ]
    for answer in each.answers:
        if answer.held_out:
            title = TITLES[answer.judged.name]
            columns += [
                Column(title, [_or(at.seconds, significant) for at in answer.held_out]),
                Column("80 %", [_interval(at.low, at.high) for at in answer.held_out], 1),
                Column("off (%)", [_or(at.error, _signed) + ("" if at.inside else " *") for at in answer.held_out]),
            ]
    return columns


def _show_others(found: Analysis) -> None:
    training = found.question.training
    rows = [row for row, _ in found.others]
    click.echo(f"Rows on no line{f', for {training.title}' if training else ''}:")
    columns = [
        Column("series", [row["series"] or EMPTY for row in rows], left=True),
        Column("nodes", [_or(row["nodes"], str) for row in rows], 1),
        Column("devices", [_or(row["devices"], str) for row in rows], 1),
        Column("sec/it", [_or(row["step_seconds"], significant) for row in rows]),
    ]
    print_fitting(columns + _bill_columns([bill for _, bill in found.others], training), width())
    click.echo()


def _missed(each: LineAnswer) -> list[str]:
    """Laws that do not go through the rows they were fitted on, which no interval makes good: Amdahl's on a line that slows down."""
    sizes = np.array([float(place.devices) for place in each.fitted])
    costs = np.array([place.device_seconds_per_token for place in each.fitted])
    said = []
    for answer in each.answers:
        if answer.judged.fit is None:
            continue
        off = answer.judged.fit.cost(sizes) / costs - 1
        worst = int(np.argmax(np.abs(np.log1p(off))))
        if abs(off[worst]) > _MISSES:
            at = f"{each.line.shown(sizes[worst]):,g} {each.line.unit}"
            said.append(
                f"{TITLES[answer.judged.name]} misses a fitted row by {_signed(off[worst])} % ({at}): it is no law of this line, so do not "
                "carry it on."
            )
    return said


def _rise(each: LineAnswer) -> str:
    """Whether the serial fraction grows with the size, which is no serial work."""
    fractions = [place.serial_fraction for place in each.line.places if place.serial_fraction is not None]
    if each.line.kind != "strong" or len(fractions) < 3 or fractions[0] <= 0 or fractions[-1] < _RISES * fractions[0]:
        return ""
    return (
        f"The serial fraction rises from {percent(fractions[0], 2)} to {percent(fractions[-1], 2)} %: overhead that grows with the "
        "size (communication, imbalance), which Amdahl's law has no term for."
    )


def _definitions(found: Analysis) -> str:
    stars = any(at.inside is False for each in found.lines for answer in each.answers for at in answer.held_out)
    star = " * outside the interval." if stars else ""
    return (
        "Intervals of laws are 80 %: parameters, a new run's noise, and how far laws drift beyond what they were fitted on. One left "
        "out, larger foreseen: mean error of sizes predicted from the others, from smaller ones. Knee: against the smallest fitted "
        f"size, in whole replicas of the model on whole nodes.{star}"
    )


def _parameters(answer: Answer) -> str:
    fit = answer.judged.fit
    found = fit.parameters if fit else {}
    return (
        ", ".join(
            f"{name} {_share(value)} ({_share(low)}-{_share(high)})" for name, (value, low, high) in found.items()
        )
        or EMPTY
    )


def _share(value: float) -> str:
    return f"{100 * value:.3g}"


def _error(value: float | None) -> str:
    return EMPTY if value is None else percent(value, 1)


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}"


def _knee(each: LineAnswer, answer: Answer) -> str:
    return _size_of_knee(each, answer.knee.devices) if answer.knee else EMPTY


def _knee_interval(each: LineAnswer, answer: Answer) -> str:
    knee = answer.knee
    ends = [_size_of_knee(each, end) for end in (knee.low, knee.high)] if knee else [EMPTY]
    return "-".join(dict.fromkeys(ends))


def _size_of_knee(each: LineAnswer, devices: float | None) -> str:
    line = each.line
    if devices is None:
        return f">{line.shown(each.fitted[-1].devices * FARTHEST):,.0f}"
    return f"{line.shown(whole(devices, line.replica, line.devices_per_node)):,g}"


def _interval(low: float | None, high: float | None, scale: float = 1, decimals: int | None = None) -> str:
    if low is None or high is None:
        return EMPTY
    if decimals is None:
        return f"{significant(low * scale)}-{significant(high * scale)}"
    return f"{low * scale:.{decimals}f}-{high * scale:.{decimals}f}"


def _or(value: Any, text: Any) -> str:
    return EMPTY if value is None else text(value)
