"""PJM: its commands, resource groups, groups and volumes."""

from __future__ import annotations

import os
import re
from pathlib import Path

from hpcscale.jobs.doctor.ask import ask
from hpcscale.jobs.doctor.check import Check
from hpcscale.jobs.doctor.limits import Limits, resource_group
from hpcscale.spec.job import Settings
from hpcscale.spec.machine import Machine

COMMANDS = ("pjsub", "pjstat", "pjdel")
_VOLUME = re.compile(r"/vol\d+")


def queues(machine: Machine) -> tuple[list[Check], dict[str, Limits]]:
    """What pjacl says of the profile's resource groups, for the person who asks."""
    found: dict[str, Limits] = {}
    refused: dict[str, str] = {}
    unread = []
    for name in dict.fromkeys(queue.name for queue in machine.queues):
        answer = ask(["pjacl", "--rg", name])
        if not answer:
            refused[name] = answer.failure
            if not answer.errors and not found:  # it hangs, or is not there: the next question would take as long
                break
        elif limits := resource_group(name, answer.output):
            found[name] = limits
        else:
            unread.append(name)
    if refused and not found and not unread:
        way = "try it by hand, and ask the site if it is down"
        return [Check("scheduler", "problem", f"PJM does not answer: {next(iter(refused.values()))}; {way}")], {}
    checks = [Check("scheduler", "ok", "PJM answers")]
    if unread:
        message = f"what pjacl says of {', '.join(unread)} cannot be read; compare it by hand: pjacl --rg {unread[0]}"
        checks.append(Check("queues", "warning", message))
    way = "correct the profile, or do not use it where it is not open to you"
    checks += [Check("queues", "warning", f"{name} is not to be had: {why}; {way}") for name, why in refused.items()]
    return checks, found


def group(machine: Machine, settings: Settings) -> list[Check]:
    """Whether the group that jobs are charged to is one of the person's."""
    answer = ask(["id", "-Gn"])
    known = answer.output.split() if answer else []
    if not settings.group:
        if "group" not in machine.requires:
            return [Check("group", "ok", f"{machine.name} needs none")]
        way = f"hpcscale init --machine {machine.name} --group <group> (yours: {', '.join(known)})"
        return [Check("group", "problem", f"your settings have no group for {machine.name}; write it with: {way}")]
    if not answer:
        return [Check("group", "warning", f"your groups cannot be read: {answer.failure}")]
    if settings.group not in known:
        message = f"{settings.group} is no group of yours; they are {', '.join(known)}: correct it in the settings file"
        return [Check("group", "problem", message)]
    return [Check("group", "ok", f"{settings.group} is a group of yours")]


def volumes(settings: Settings, out: Path) -> list[Check]:
    """The volumes that jobs mount: there, and with the one among them that the runs lie on."""
    checks = []
    for volume in settings.volumes:
        there = os.path.isdir(volume)
        message = "is there" if there else "is no directory here; correct volumes in the settings file"
        checks.append(Check("volumes", "ok" if there else "problem", f"{volume} {message}"))
    match = _VOLUME.match(os.path.realpath(out))
    if match and match[0] not in settings.volumes:
        message = f"the runs lie on {match[0]}, which jobs do not mount; add it to volumes in the settings file"
        checks.append(Check("volumes", "problem", message))
    return checks
