"""``hpcscale status``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from hpcscale.cli import options, tables
from hpcscale.jobs.status import PointStatus, StudyStatus, status
from hpcscale.spec import study
from hpcscale.spec.expand import expand
from hpcscale.spec.point import Point
from hpcscale.spec.problems import InputError
from hpcscale.spec.sets import split_sets

_FIRST = ("running", "queued", "held", "submitting", "unknown", "failed", "oom", "timeout", "node", "preempted", "missing",
          "cancelled", "completed", "new")  # fmt: skip
LONGEST_WAIT_SECONDS = 300.0
Seconds = tuple[float, float, float]  # predicted, and the ends of the 80 % interval


@click.command()
@click.argument("name", metavar="STUDY")
@options.points_options
@click.option("--watch", is_flag=True, help="Go on until every job has ended.")
@click.option(
    "--every",
    type=click.FloatRange(1),
    default=15.0,
    show_default=True,
    metavar="SECONDS",
    help="Between two questions of --watch.",
)
@options.json_option
def command(
    name: str,
    machines: tuple[str, ...],
    point: str | None,
    sets: tuple[tuple[str, Any], ...],
    out: Path,
    watch: bool,
    every: float,
    as_json: bool,
) -> None:
    """What became of every point of a study: one question to the scheduler, and the records.

    Works without accounting, and with a scheduler that cannot be reached (then from the records alone, and it says so).
    """
    asked = study.read(name)
    points = selected(asked, machines, point, sets)
    folder = out / asked.name
    if watch:
        _watch(asked.name, points, folder, every)
        return
    found = status(points, folder)
    if as_json:
        options.print_json(document(asked.name, found))
        return
    _print(asked.name, found)


def selected(
    asked: study.Study, machines: tuple[str, ...], pattern: str | None, sets: tuple[tuple[str, Any], ...]
) -> list[Point]:
    """The study's points that are meant. Raises InputError if there is none."""
    from fnmatch import fnmatchcase

    overrides, _ = split_sets(asked, sets)
    found = expand(asked, machines, overrides).points
    chosen = [each for each in found if pattern is None or fnmatchcase(each.identity, pattern)]
    if not chosen:
        raise InputError(f"{asked.name}: {options.nothing_left([each.identity for each in found], pattern)}")
    return chosen


def document(name: str, found: StudyStatus) -> dict[str, Any]:
    predicted = _predicted(found.points)
    return {
        "study": name,
        "scheduler_reachable": found.reachable,
        "notes": found.notes,
        "states": dict(found.words),
        "points": [_row_for_programs(each, predicted.get(each.point.identity)) for each in found.points],
    }


def _predicted(points: list[PointStatus]) -> dict[str, Seconds]:
    """Of points that run and have made a step, by name: only these have something to be compared with."""
    running = [each.point for each in points if each.word == "running" and each.progress and each.progress.step_seconds]
    if not running:
        return {}
    from hpcscale.cost.of_points import foresee

    foreseen = foresee(running)
    found = foreseen.predictions
    return {
        point.identity: (float(found.seconds[i]), float(found.low[i]), float(found.high[i]))
        for point, i in zip(running, foreseen.position, strict=True)
        if isinstance(i, int) and found is not None
    }


def _far_off(each: PointStatus, predicted: Seconds | None) -> str:
    """What to say of a step that is far from its prediction, once the steps that warm up are over."""
    progress = each.progress
    if predicted is None or progress is None or not progress.step_seconds:
        return ""
    if progress.step <= each.point.protocol.warmup_steps:
        return ""
    from hpcscale.cost.deviation import far_off

    return far_off(progress.step_seconds, *predicted)


def _row_for_programs(each: PointStatus, predicted: Seconds | None) -> dict[str, Any]:
    progress, state = each.progress, each.state
    seconds, low, high = predicted or (None, None, None)
    return {
        "point": each.point.identity,
        "machine": each.point.machine.name,
        "nodes": each.point.nodes,
        "state": each.word,
        "detail": each.detail,
        "job": each.job or None,
        "scheduler_state": state.state if state else None,
        "exit_code": state.exit_code if state else None,
        "time_left": state.time_left or None if state else None,
        "start": state.start or None if state else None,
        "jobs": each.jobs,
        "attempts": each.attempts,
        "attempt": str(progress.attempt) if progress else None,
        "step": progress.step if progress else None,
        "steps": each.point.protocol.steps,
        "step_seconds": progress.step_seconds if progress else None,
        "predicted_step_seconds": seconds,
        "predicted_step_seconds_low": low,
        "predicted_step_seconds_high": high,
        "far_off": _far_off(each, predicted) or None,
        "loss": progress.loss if progress else None,
    }


def _rows(points: list[PointStatus]) -> list[list[str]]:
    rows = []
    predicted = _predicted(points)
    for each in sorted(points, key=lambda point: _FIRST.index(point.word)):
        progress = each.progress
        steps = f"{progress.step}/{each.point.protocol.steps}" if progress and progress.has_record else ""
        seconds = f"{progress.step_seconds:.4g}" if progress and progress.step_seconds else ""
        loss = f"{progress.loss:.4g}" if progress and isinstance(progress.loss, int | float) else ""
        foreseen = predicted.get(each.point.identity)
        if foreseen is not None:
            seconds += f" (predicted {foreseen[0]:.4g})"
        detail = "; ".join(filter(None, (_short(each.detail), _far_off(each, foreseen))))
        tries = str(each.attempts) if each.attempts else ""
        rows.append([each.word, each.point.identity, str(each.point.nodes), each.job, tries, steps, seconds, loss, detail])  # fmt: skip
    return rows


_TITLES = ("state", "point", "nodes", "job", "tries", "step", "sec/it", "loss", "")


def _short(text: str, length: int = 120) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _summary(name: str, found: StudyStatus) -> str:
    counted = found.words
    return f"{name}: " + ", ".join(f"{counted[word]} {word}" for word in _FIRST if counted[word])


def _print(name: str, found: StudyStatus) -> None:
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    tables.print_table(_TITLES, _rows(found.points), right=(2, 4, 5, 6, 7))
    click.echo(_summary(name, found))


def _watch(name: str, points: list[Point], folder: Path, every: float) -> None:
    """Until nothing moves any more. A scheduler that cannot be asked is asked less and less often."""
    import sys

    from rich.console import Console
    from rich.live import Live

    console = Console()
    wait = every
    if not sys.stdout.isatty():
        _watch_plainly(name, points, folder, every)
        return
    with Live(console=console, refresh_per_second=2, screen=False) as live:
        while True:
            found = status(points, folder)
            live.update(_picture(name, found, console.size.height))
            if found.settled:
                break
            wait = every if found.reachable else min(2 * wait, LONGEST_WAIT_SECONDS)
            time.sleep(wait)


def _watch_plainly(name: str, points: list[Point], folder: Path, every: float) -> None:
    """Into a file or a pipe: a line when something has changed, the whole table at the end."""
    before, wait = "", every
    while True:
        found = status(points, folder)
        summary = _summary(name, found)
        if summary != before:
            click.echo(f"{time.strftime('%H:%M:%S')} {summary}")
            before = summary
        if found.settled:
            break
        wait = every if found.reachable else min(2 * wait, LONGEST_WAIT_SECONDS)
        time.sleep(wait)
    _print(name, found)


def _picture(name: str, found: StudyStatus, height: int) -> Any:
    """As many rows as the terminal has room for, what moves first."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for number, title in enumerate(_TITLES):
        table.add_column(title, justify="right" if number in (2, 4, 5, 6, 7) else "left", no_wrap=number != 8)
    rows = _rows(found.points)
    room = max(3, height - 5 - len(found.notes))
    for row in rows[:room]:
        table.add_row(*(Text(cell) for cell in row))
    more = [Text(f"and {len(rows) - room} more points")] if len(rows) > room else []
    notes = [Text(f"note: {note}", style="yellow") for note in found.notes]
    return Group(*notes, table, *more, Text(f"{time.strftime('%H:%M:%S')}  {_summary(name, found)}", style="bold"))
