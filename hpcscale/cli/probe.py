"""``hpcscale probe``."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from hpcscale.cli import options
from hpcscale.cli.errors import FAILED
from hpcscale.jobs import local
from hpcscale.jobs import probe as probes
from hpcscale.jobs.render import DESCRIPTION, SCRIPT, Rendered
from hpcscale.record import probe as record
from hpcscale.record.probe import Probe
from hpcscale.record.reader import Record
from hpcscale.spec import job, locate
from hpcscale.spec import machine as machines
from hpcscale.spec.probe import FULL, QUICK
from hpcscale.spec.problems import InputError

_NARROWEST = 110  # columns: rich would shorten numbers where a terminal, or a file, has fewer


@click.command()
@click.option(
    "--machine", "machine", default="local", show_default=True, metavar="NAME", help="The machine to measure."
)
@click.option(
    "--nodes", type=click.IntRange(1), metavar="N", help="Nodes of the job; default 2, or all of a smaller machine."
)
@click.option(
    "--ranks", type=click.IntRange(1), metavar="R", help="Ranks of the job; default: as many as the nodes take."
)
@click.option("--quick", is_flag=True, help="Fewer sizes and shorter measurements.")
@click.option(
    "--show", "show_newest", is_flag=True, help="Measure nothing: show what the machine's newest probe measured."
)
@options.set_option
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("runs"), show_default=True, metavar="DIR",
    help="The folder of all runs; the probe goes to probes/MACHINE in it.",
)  # fmt: skip
@options.json_option
def command(
    machine: str,
    nodes: int | None,
    ranks: int | None,
    quick: bool,
    show_newest: bool,
    sets: tuple[tuple[str, Any], ...],
    out: Path,
    as_json: bool,
) -> None:
    """Measure what predictions need: matrix products, attention, memory, kernel launches, and messages between ranks.

    This computer is measured at once. For a machine with a scheduler a job script is written, and nothing is submitted.
    Ctrl-C ends a probe; what was measured until then is shown and kept.
    """
    if show_newest:
        _show(_newest(machine, out), as_json)
        return
    asked = probes.Asked(machine, nodes, ranks, QUICK if quick else FULL, sets, out)
    rendered = probes.render(asked, job.read_settings())
    rendered.write()
    if rendered.point.machine.scheduler != "local":
        _tell_script(rendered, as_json)
        return
    sys.exit(_run(rendered, as_json))


def _newest(machine: str, out: Path) -> Probe:
    name = machines.read(locate.find(machine, "machines", "machine")).name
    found = record.records(out, name)
    if not found:
        raise InputError(f"{out} holds no probe of {name}; make one with: hpcscale probe --machine {machine}")
    return record.read(found[-1])


def _tell_script(rendered: Rendered, as_json: bool) -> None:
    point, submit = rendered.point, probes.submit_with(rendered)
    if as_json:
        options.print_json(
            {"machine": point.machine.name, "nodes": point.nodes, "ranks": point.ranks, "script": str(rendered.folder / SCRIPT),
             "description": str(rendered.folder / DESCRIPTION), "submit": submit}
        )  # fmt: skip
        return
    for warning in point.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"{point.machine.name}: {rendered.folder.name} ({rendered.change}); submit it with:\n{submit}")
    click.echo(f"and when it has run, see: hpcscale probe --machine {point.machine.name} --show")


def _run(rendered: Rendered, as_json: bool) -> int:
    """Runs job.sh here and shows what it measured; the exit code."""
    # Ctrl-C raises by itself; a closed terminal or a kill must end the ranks in the same way.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    from rich.console import Console

    _warn_of_others(int(rendered.point.machine.node.cores))
    seen: list[Path] = []
    console = Console(stderr=True)
    interrupted, status = False, 0
    with console.status("starting") as shown:

        def watch(running: Record) -> None:
            seen[:] = [running.path]
            if running.run:
                shown.update(_now(record.read(running.path)))

        try:
            status, attempt = local.run(rendered.folder, 1, watch)
        except KeyboardInterrupt:
            interrupted = True
            attempt = seen[0].parent if seen else rendered.folder
    path = attempt / local.RECORD
    found = record.read(path) if path.exists() else Probe(path)
    _show(found, as_json)
    complete = found.status == "completed"
    if not complete:
        reason = "interrupted" if interrupted else f"ended with exit status {status}: {local.last_words(attempt)}"
        click.echo(f"the probe was {reason}" if interrupted else f"the probe {reason}; see {attempt}/output", err=True)
    return 0 if complete else FAILED


def _warn_of_others(cores: int) -> None:
    load = os.getloadavg()[0]
    if load > cores / 2:
        click.echo(
            f"others are using this computer (load {load:.1f} on {cores} cores): expect slow and uneven times", err=True
        )


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _now(found: Probe) -> str:
    if not found.measurements:
        return "the ranks meet"
    last = found.measurements[-1]
    return f"{len(found.measurements)} measured, now {last.kind} ({last.dtype})"


def _show(found: Probe, as_json: bool) -> None:
    if as_json:
        options.print_json(_document(found))
        return
    if not found.measurements:
        return
    from rich.console import Console

    from hpcscale.report import probe as report

    console = Console(highlight=False)
    console.width = max(console.width, _NARROWEST)
    for table in report.tables(found):
        console.print(table, soft_wrap=True)
    click.echo(report.sentence(found))
    click.echo(f"record: {found.path}")


def _document(found: Probe) -> dict[str, Any]:
    return {
        "machine": found.machine, "status": found.status, "record": str(found.path), "run": found.run,
        "measurements": [record.with_rates(asdict(each)) for each in found.measurements],
    }  # fmt: skip
