"""Is this login node able to submit: commands, queues, account, environment, files, each asked with a time limit."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from hpcscale.jobs.doctor import pjm, slurm
from hpcscale.jobs.doctor.check import Check
from hpcscale.jobs.doctor.compare import Difference, comparable, differences, place
from hpcscale.jobs.doctor.environment import environment
from hpcscale.jobs.doctor.files import files
from hpcscale.jobs.doctor.limits import Limits
from hpcscale.jobs.doctor.patch import patch, shown
from hpcscale.spec.job import Settings
from hpcscale.spec.machine import Machine

__all__ = ["Check", "Report", "examine"]

_COMMANDS = {"slurm": slurm.COMMANDS, "pjm": pjm.COMMANDS, "local": ("bash",)}


@dataclass(frozen=True)
class Report:
    """What came of every check, and the patch that brings the profile to what the scheduler says."""

    machine: str
    checks: list[Check]
    patch: str = ""

    @property
    def healthy(self) -> bool:
        return all(check.status != "problem" for check in self.checks)


def examine(machine: Machine, path: Path, settings: Settings, out: Path) -> Report:
    """Look at everything that submitting to ``machine`` needs; ``path`` is its profile, ``out`` the folder of all runs."""
    checks = [_command(name, machine) for name in _COMMANDS[machine.scheduler]]
    diff = ""
    if all(check.status == "ok" for check in checks):
        found, asked = _scheduler(machine, settings)
        compared, diff = _compared(machine, path, found)
        checks += asked + compared
    checks += environment(machine, settings) + files(out)
    if machine.scheduler == "pjm":
        checks += pjm.volumes(settings, out)
    return Report(machine.name, _merged(checks), diff)


def _command(name: str, machine: Machine) -> Check:
    if shutil.which(name):
        return Check("commands", "ok", name)
    way = f"log in to a login node of {machine.name}, or name another machine with --machine"
    return Check("commands", "problem", f"{name} is not on PATH; {way}")


def _merged(checks: list[Check]) -> list[Check]:
    """The commands that are there in one line."""
    there = [check.message for check in checks if check.name == "commands" and check.status == "ok"]
    rest = [check for check in checks if check.name != "commands" or check.status != "ok"]
    return ([Check("commands", "ok", ", ".join(there))] if there else []) + rest


def _scheduler(machine: Machine, settings: Settings) -> tuple[dict[str, Limits], list[Check]]:
    if machine.scheduler == "slurm":
        checks, found = slurm.queues()
        # A controller that does not answer is not asked again: every further question would take as long.
        return found, checks + (slurm.account(machine, settings, found) if found else [])
    if machine.scheduler == "pjm":
        checks, found = pjm.queues(machine)
        return found, checks + pjm.group(machine, settings)
    return {}, []


def _compared(machine: Machine, path: Path, found: dict[str, Limits]) -> tuple[list[Check], str]:
    if not found:
        return [], ""
    checks = []
    for queue in machine.queues:
        name = place(machine, queue)
        if name and name not in found and machine.scheduler == "slurm":
            message = f"Slurm has no partition {name}; it has {', '.join(sorted(found))}: correct the profile"
            checks.append(Check("queues", "warning" if queue.on_request else "problem", message))
        elif name in found and not found[name].up:
            checks.append(Check("queues", "warning", f"{queue.name} is closed at the moment; jobs wait until it opens"))
        if not comparable(machine, queue):
            checks.append(
                Check("queues", "ok", f"{queue.name}: its limits are not a partition's, and are not compared")
            )
    different = differences(machine, found)
    checks += [Check("queues", "problem" if each.promises else "warning", _sentence(each)) for each in different]
    diff, left = patch(path, different) if different else ("", [])
    checks += [Check("queues", "warning", each) for each in left]
    same = [
        queue.name
        for queue in machine.queues
        if place(machine, queue) in found
        and comparable(machine, queue)
        and not any(queue.name == each.name for each in different)
    ]
    if same:
        checks.append(Check("queues", "ok", f"{', '.join(same)}: as the profile says"))
    if diff:
        below = shown(path) != path.name or path.resolve().parent == Path.cwd().resolve()
        where = "" if below else f" in {path.resolve().parent}"
        checks.append(Check("queues", "warning", f"the patch below brings the profile up to date: patch -p0{where}"))
    return checks, diff


def _sentence(difference: Difference) -> str:
    promise = (
        "such jobs would be refused or wait for ever" if difference.promises else "the profile is stricter than needed"
    )
    return f"{difference}: {promise}; apply the patch below"
