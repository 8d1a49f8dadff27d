"""``hpcscale cancel``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from hpcscale.cli import options
from hpcscale.cli.errors import FAILED
from hpcscale.cli.status import selected
from hpcscale.jobs import ledger
from hpcscale.jobs.schedulers import Unreachable, scheduler
from hpcscale.jobs.status import status
from hpcscale.spec import study
from hpcscale.spec.problems import InputError


@click.command()
@click.argument("name", metavar="STUDY")
@options.points_options
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(
    name: str,
    machines: tuple[str, ...],
    point: str | None,
    sets: tuple[tuple[str, Any], ...],
    out: Path,
    yes: bool,
) -> None:
    """Cancel the queued and running jobs of a study, or of those of its points that --point names."""
    import getpass

    asked = study.read(name)
    folder = out / asked.name
    found = status(selected(asked, machines, point, sets), folder)
    live = [each for each in found.points if each.job and (each.live or each.word == "unknown")]
    live.sort(key=lambda each: each.word == "running")  # waiting ones first, or they would begin when those end
    if not live:
        click.echo(f"{asked.name}: no job is queued or running")
        return
    click.echo(f"{asked.name}: {len(live)} job{'' if len(live) == 1 else 's'} to cancel: " + _listed(live))
    if not yes:
        if not sys.stdin.isatty():
            raise InputError("nothing was cancelled: there is no terminal to ask on; give --yes to cancel these")
        if not click.confirm("Cancel?"):
            raise InputError("nothing was cancelled")
    refused: dict[str, str] = {}
    for kind in sorted({each.point.machine.scheduler for each in live}):
        mine = {each.job: each for each in live if each.point.machine.scheduler == kind}
        try:
            said = scheduler(kind).cancel(list(mine))
        except Unreachable as error:
            said = dict.fromkeys(mine, str(error))
        refused |= said
        ledger.append(
            folder,
            [{"kind": "cancelled", "point": each.point.identity, "hash": each.point.hash, "job": id_,
              "user": getpass.getuser(), "time": time.time()} for id_, each in mine.items() if id_ not in said],
        )  # fmt: skip
    for id_, reason in refused.items():
        click.echo(f"not cancelled: job {id_}: {reason}", err=True)
    click.echo(f"{len(live) - len(refused)} cancelled")
    if refused:
        sys.exit(FAILED)


def _listed(live: list[Any]) -> str:
    shown = ", ".join(f"{each.job} ({each.word})" for each in live[:8])
    return shown + (f" and {len(live) - 8} more" if len(live) > 8 else "")
