"""``hpcscale doctor``."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import click

from hpcscale.cli import options
from hpcscale.cli.errors import FAILED
from hpcscale.jobs.doctor import Report, examine
from hpcscale.jobs.doctor.here import guess
from hpcscale.spec import job, locate, machine
from hpcscale.spec.job import SettingsFile
from hpcscale.spec.machine import Machine
from hpcscale.spec.problems import InputError

Profile = tuple[Machine, Path]


@click.command()
@click.option("--machine", "names", multiple=True, metavar="NAME", help="Only this machine. Repeatable.")
@options.out_option
@options.json_option
def command(names: tuple[str, ...], out: Path, as_json: bool) -> None:
    """Is this login node able to submit? Asks commands, queues, account, environment and file systems.

    Where the scheduler's limits differ from the profile, a patch to the profile is printed (patch -p0). Nothing is
    submitted and no question waits longer than a minute. Exit code 1 if there is a problem.
    """
    settings = job.read_settings()
    reports = [
        examine(profile, path, job.merge_settings(settings, profile.name, {}), out)
        for profile, path in _profiles(names, settings)
    ]
    if as_json:
        options.print_json([{**dataclasses.asdict(each), "healthy": each.healthy} for each in reports])
    else:
        for each in reports:
            _tell(each)
    if not all(each.healthy for each in reports):
        sys.exit(FAILED)


def _profiles(names: tuple[str, ...], settings: SettingsFile) -> list[Profile]:
    """The machines asked for, else those of the settings file that this node may belong to, else any it may."""
    if names:
        return [_profile(name) for name in names]
    own = [_profile(name) for name in settings.machines]
    if len(own) == 1:
        return own
    here = _here(own)
    if here or own:
        return here or own
    found = _here(_packaged())
    if len(found) == 1:
        return found
    fitting = ", ".join(profile.name for profile, _ in found) or ", ".join(locate.available("machines"))
    raise InputError(f"which machine this is cannot be told; name it: hpcscale doctor --machine NAME ({fitting})")


def _profile(name: str) -> Profile:
    path = locate.find(name, "machines", "machine")
    return machine.read(path), path


def _packaged() -> list[Profile]:
    return [(machine.read(path), path) for path in locate.available("machines").values()]


def _here(profiles: list[Profile]) -> list[Profile]:
    names = {each.name for each in guess(profile for profile, _ in profiles)}
    return [each for each in profiles if each[0].name in names]


def _tell(report: Report) -> None:
    click.echo(f"{report.machine}:")
    for check in report.checks:
        click.echo(f"  {check}")
    if report.patch:
        click.echo()
        click.echo(report.patch, nl=False)
