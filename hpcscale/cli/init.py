"""``hpcscale init``."""

from __future__ import annotations

import sys
from typing import Any

import click

from hpcscale.spec import job, locate, machine
from hpcscale.spec.problems import InputError
from hpcscale.spec.typed import validate
from hpcscale.spec.yaml12 import loads


@click.command()
@click.option("--machine", "name", metavar="NAME", help="The machine that the settings are for (hpcscale machines).")
@click.option("--account", metavar="NAME", help="The budget that jobs are charged to (Slurm).")
@click.option("--group", metavar="NAME", help="The group that jobs are charged to (PJM).")
@click.option("--volumes", metavar="LIST", help="Volumes that jobs use, for example /vol0003:/vol0004 (Fugaku).")
@click.option("--module", "modules", multiple=True, metavar="NAME", help="A module to load. Repeatable.")
@click.option("--venv", metavar="DIR", help="The virtual environment that jobs activate.")
@click.option("--setup", metavar="SHELL", help="Shell lines that jobs run first.")
@click.option("--python", metavar="COMMAND", help="The compute node's interpreter.")
def command(
    name: str | None,
    account: str | None,
    group: str | None,
    volumes: str | None,
    modules: tuple[str, ...],
    venv: str | None,
    setup: str | None,
    python: str | None,
) -> None:
    """Write your settings for a machine: what differs per person and stands in no profile.

    Without flags, questions are asked. Settings that exist are never overwritten; edit the file for that.
    """
    import yaml

    path = job.settings_path()
    existing = job.read_settings(path)
    interactive = name is None and sys.stdin.isatty()
    if name is None:
        if not interactive:
            raise InputError(
                f"name the machine: hpcscale init --machine NAME ({', '.join(locate.available('machines'))})"
            )
        name = str(click.prompt("Machine", type=click.Choice(list(locate.available("machines"))), show_choices=True))
    profile = machine.read(locate.find(name, "machines", "machine"))
    if profile.name in existing.machines:
        raise InputError(
            f"{path} has settings for {profile.name} already and they are kept; edit that file to change them"
        )
    given: dict[str, Any] = {"account": account, "group": group, "python": python}
    given["volumes"] = volumes.split(":") if volumes else None
    environment = {"modules": list(modules) or None, "venv": venv, "setup": setup}
    if interactive:
        _ask(profile, given, environment)
    kept = {key: value for key, value in environment.items() if value}
    settings = {key: value for key, value in given.items() if value} | ({"environment": kept} if kept else {})
    merged = job.merge_settings(job.SettingsFile(), profile.name, dict(settings))
    lacking = job.missing(merged, profile.requires)
    if lacking:
        raise InputError("; ".join(f"{profile.name} needs --{key} <{key}>" for key in lacking))
    _append(path, profile.name, settings, yaml)
    click.echo(f"wrote the settings of {profile.name} to {path}")


def _ask(profile: machine.Machine, given: dict[str, Any], environment: dict[str, Any]) -> None:
    for key in profile.requires:
        given[key] = given[key] or click.prompt(f"Your {key} on {profile.name}")
    for key in profile.uses:
        answer = click.prompt(f"Your {key} (empty for none)", default="", show_default=False)
        given[key] = (answer.split(":") if key == "volumes" else answer) or None
    modules = click.prompt("Modules to load (separated by blanks, empty for none)", default="", show_default=False)
    environment["modules"] = modules.split() or None
    environment["venv"] = click.prompt("Virtual environment (empty for none)", default="", show_default=False) or None


def _append(path: Any, name: str, settings: dict[str, Any], yaml: Any) -> None:
    """Add one machine's block; what stands in the file, comments included, stays as it is."""
    from hpcscale.jobs import files

    text = path.read_text(encoding="utf-8") if path.exists() else "# hpcscale: what differs per person, by machine.\n"
    block = yaml.safe_dump({name: settings}, allow_unicode=True, sort_keys=False, width=110)
    indented = "".join("  " + line for line in block.splitlines(keepends=True))
    lines = text.splitlines(keepends=True)
    at = next((i for i, line in enumerate(lines) if line.rstrip() == "machines:"), None)
    if at is None:
        text = text + ("" if text.endswith("\n") else "\n") + "machines:\n" + indented
    else:
        text = "".join(lines[: at + 1]) + indented + "".join(lines[at + 1 :])
    try:
        added = name in validate(job.SettingsFile, loads(text, str(path))).machines
    except InputError:
        added = False
    if not added:
        raise InputError(
            f"{path} is laid out in a way that init cannot add to, and is left as it is; add this yourself:\n{block}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(str(path.resolve()), text, 0o600)
