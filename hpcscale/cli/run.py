"""``hpcscale run``."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import click

from hpcscale.cli import options
from hpcscale.cli.errors import FAILED
from hpcscale.jobs import local
from hpcscale.jobs.render import Rendered, Request, render
from hpcscale.record.reader import Record
from hpcscale.spec import job, study
from hpcscale.spec.problems import InputError


@click.command()
@click.argument("name", metavar="STUDY")
@options.point_option
@options.set_option
@options.out_option
@click.option("--rerun", is_flag=True, help="Run points again that have completed.")
@options.json_option
def command(
    name: str, point: str | None, sets: tuple[tuple[str, Any], ...], out: Path, rerun: bool, as_json: bool
) -> None:
    """Run a study on this computer: write its scripts, run each point, print the table.

    Only machines without a scheduler run here. A point that has completed is not run again; one that fails does not
    stop the others.
    """
    asked = study.read(name)
    here, elsewhere = _machines(asked)
    request = Request(here, point, sets, out)
    rendering = render(asked, request, job.read_settings())
    for each in rendering.expansion.skipped:
        click.echo(each, err=True)
    if not rendering.points:
        names = [each.identity for each in rendering.expansion.points]
        raise InputError(f"{asked.name}: {options.nothing_left(names, point)}")
    if elsewhere:
        click.echo(f"not run here: {', '.join(elsewhere)} (hpcscale render writes their scripts)", err=True)
    rendering.write()
    failed = _run_all(rendering.points, rerun)
    _foreign(rendering.points)
    if not all(each.point.workload.foreign for each in rendering.points):
        _report(asked, out, as_json)
    if failed:
        sys.exit(FAILED)


def _machines(asked: study.Study) -> tuple[tuple[str, ...], list[str]]:
    """The study's machines as (those without a scheduler, the others)."""
    from hpcscale.spec import locate, machine

    here, elsewhere = [], []
    for name in asked.file.machines:
        profile = machine.read(locate.find(name, "machines", "machine"))
        (here if profile.scheduler == "local" else elsewhere).append(name)
    if not here:
        raise InputError(
            f"{asked.name} has no machine that runs here ({', '.join(elsewhere)} have schedulers); "
            f"hpcscale render {asked.path} writes their job scripts"
        )
    return tuple(here), elsewhere


def _run_all(points: list[Rendered], rerun: bool) -> int:
    # Ctrl-C raises by itself; a closed terminal or a kill must end the job's processes in the same way.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    failed = 0
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[now]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        for number, each in enumerate(points, 1):
            label = f"{number}/{len(points)} {each.point.identity}"
            task = progress.add_task(label, total=each.point.protocol.steps, now="starting")
            if not rerun and local.completed(each.folder, each.point.hash):
                progress.update(task, completed=each.point.protocol.steps, now="has completed before")
                continue

            def watch(record: Record, task: Any = task) -> None:
                if record.steps:
                    progress.update(task, completed=len(record.steps), now=_step(record.steps[-1]))

            status, attempt = local.run(each.folder, number, watch)
            outcome = _outcome(status, attempt, each.point.workload.foreign)
            failed += outcome is not None
            if each.point.workload.foreign:
                progress.update(task, completed=each.point.protocol.steps, now="ended")
            if outcome:
                progress.update(task, now="failed")
                progress.console.print(f"{each.point.identity} failed: {outcome}", markup=False, soft_wrap=True)
    return failed


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _step(step: dict[str, Any]) -> str:
    return f"step {step['step']}, {step.get('step_seconds', 0):.3g} s, loss {step.get('loss', 0):.4g}"


def _outcome(status: int, attempt: Path, foreign: bool) -> str | None:
    """None if the attempt completed, else why not. A foreign workload writes no record: its exit status says it."""
    if foreign and status == 0:
        return None
    path = attempt / local.RECORD
    record = local.read(path) if path.exists() else None
    if record is not None and record.status == "completed":
        return None
    if record is not None and record.failure is not None:
        return f"{record.status} ({record.failure.get('evidence', '')}); see {attempt}"
    return f"job.sh ended with exit status {status}: {local.last_words(attempt)}; see {attempt}/output"


def _foreign(points: list[Rendered]) -> None:
    """Where the output of foreign workloads is: they write no records, so no table shows them yet."""
    for each in points:
        if each.point.workload.foreign:
            click.echo(f"{each.point.workload.name} printed into {each.folder}/attempts/*/output", err=True)


def _report(asked: study.Study, out: Path, as_json: bool) -> None:
    from hpcscale.cli.report import command as report

    arguments = [str(asked.path), "--runs", str(out)] + (["--format", "json"] if as_json else [])
    report.main(arguments, standalone_mode=False)
