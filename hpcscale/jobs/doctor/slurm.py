"""Slurm: its commands, partitions and accounts."""

from __future__ import annotations

import getpass

from hpcscale.jobs.doctor.ask import Answer, ask, last_line
from hpcscale.jobs.doctor.check import Check
from hpcscale.jobs.doctor.limits import Limits, partitions
from hpcscale.spec.job import Settings
from hpcscale.spec.machine import Machine

COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "srun")
_QUERY = ["scontrol", "--all", "--oneliner", "show", "partition"]


def queues() -> tuple[list[Check], dict[str, Limits]]:
    """What the controller says of its partitions."""
    answer = ask(_QUERY)
    if not answer:
        way = "try it by hand, and ask the site if it is down"
        return [Check("scheduler", "problem", f"the Slurm controller does not answer: {answer.failure}; {way}")], {}
    found = partitions(answer.output)
    if not found:
        message = "what scontrol says of its partitions cannot be read; nothing was compared with the profile"
        return [Check("scheduler", "warning", message)], {}
    return [Check("scheduler", "ok", f"the Slurm controller answers, in {answer.seconds:.1f} s")], found


def account(machine: Machine, settings: Settings, found: dict[str, Limits]) -> list[Check]:
    """Whether the account is one of the person's, by Slurm's accounting where it answers."""
    own = settings.account
    answer = ask(["sacctmgr", "-nP", "show", "assoc", f"user={getpass.getuser()}", "format=account"])
    known = sorted({line.strip() for line in answer.output.splitlines() if line.strip()}) if answer else []
    if not own:
        return _no_account(machine, known)
    checks = [_barred(own, machine, found)] if _shut(own, machine, found) else []
    if not answer:
        return [
            *checks,
            Check("account", "warning", f"whether {own} is an account of yours cannot be said: {_why(answer)}"),
        ]
    if own not in known:
        listed = f"they are {', '.join(known)}" if known else "you have none; ask the site for one"
        way = f"correct it in the settings file or with --set {machine.name}.account=<account>" if known else ""
        return [*checks, Check("account", "problem", f"{own} is no account of yours: {listed}; {way}".rstrip("; "))]
    return [*checks, Check("account", "ok", f"{own} is an account of yours")]


def _no_account(machine: Machine, known: list[str]) -> list[Check]:
    if "account" not in machine.requires:
        return [Check("account", "ok", f"{machine.name} needs none")]
    yours = f" (yours: {', '.join(known)})" if known else ""
    way = f"hpcscale init --machine {machine.name} --account <account>{yours}"
    return [Check("account", "problem", f"your settings have no account for {machine.name}; write it with: {way}")]


def _shut(own: str, machine: Machine, found: dict[str, Limits]) -> list[str]:
    """Partitions of the profile that this account may not use."""
    mine = [found[queue.name] for queue in machine.queues if queue.name in found]
    return [each.name for each in mine if (each.accounts and own not in each.accounts) or own in each.accounts_denied]


def _barred(own: str, machine: Machine, found: dict[str, Limits]) -> Check:
    names = ", ".join(_shut(own, machine, found))
    return Check("account", "warning", f"{own} may not use {names}; name another queue or account for them")


def _why(answer: Answer) -> str:
    return answer.failure or last_line(answer.errors) or "no answer"
