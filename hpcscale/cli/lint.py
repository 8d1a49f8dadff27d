"""``hpcscale lint``."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import click

from hpcscale.cli import options
from hpcscale.cli.errors import FAILED
from hpcscale.jobs.lint import Finding, lint, machine_of
from hpcscale.spec import job, locate, machine
from hpcscale.spec.machine import Machine
from hpcscale.spec.problems import InputError, Problem


@click.command()
@click.argument("scripts", metavar="SCRIPT...", nargs=-1, required=True)
@click.option(
    "--machine", "name", metavar="NAME", help="The machine whose limits count (found from the script's queue)."
)
@options.json_option
def command(scripts: tuple[str, ...], name: str | None, as_json: bool) -> None:
    """Read job scripts as strictly as no scheduler does: directives, variables, limits of the machine.

    `-` reads standard input. Nothing is run or submitted. Exit code 1 if there is an error; warnings alone are 0.
    """
    given = machine.read(locate.find(name, "machines", "machine")) if name else None
    texts = [(each, _text(each)) for each in scripts]
    profiles = [] if given else _profiles()
    mine = job.read_settings().machines  # where several machines have such a queue, it is one of the person's own
    findings: list[Finding] = []
    read_for: dict[str, str | None] = {}
    for path, text in texts:
        found = (
            given or machine_of(text, [each for each in profiles if each.name in mine]) or machine_of(text, profiles)
        )
        read_for[path] = found.name if found else None
        findings += lint(text, "<stdin>" if path == "-" else path, found)
    errors = sum(each.severity == "error" for each in findings)
    if as_json:
        options.print_json({"findings": [dataclasses.asdict(each) for each in findings], "machines": read_for})
    else:
        for each in findings:
            click.echo(each)
        click.echo(_summary(findings, errors, read_for), err=True)
    if errors:
        sys.exit(FAILED)


def _text(path: str) -> str:
    if path == "-":
        return sys.stdin.buffer.read().decode("utf-8", "replace")
    try:
        return Path(path).read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise InputError(Problem(path, 0, 0, f"cannot read the script: {error.strerror}; give a file")) from None


def _profiles() -> list[Machine]:
    """Every machine that can be read; a broken profile of somebody is no reason not to read a script."""
    found = []
    for path in locate.available("machines").values():
        try:
            found.append(machine.read(path))
        except InputError:
            continue
    return found


def _summary(findings: list[Finding], errors: int, read_for: dict[str, str | None]) -> str:
    count = len(read_for)
    machines = sorted({each for each in read_for.values() if each})
    limits = f" (limits of {', '.join(machines)})" if machines else " (no machine known: no limits; see --machine)"
    scripts = f"{count} script{'s' if count != 1 else ''}{limits}"
    warnings = len(findings) - errors
    return f"{scripts}: {errors} error{'s' if errors != 1 else ''}, {warnings} warning{'s' if warnings != 1 else ''}"
