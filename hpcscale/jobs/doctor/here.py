"""Which machine this is."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from hpcscale.jobs.doctor import pjm, slurm
from hpcscale.spec.machine import Machine

SYSTEM_NAME = Path("/etc/FZJ/systemname")
_SUBMIT = {"slurm": "sbatch", "pjm": "pjsub"}


def schedulers() -> set[str]:
    """The schedulers whose submit command is on this node."""
    return {name for name, command in _SUBMIT.items() if shutil.which(command)}


def guess(machines: Iterable[Machine]) -> list[Machine]:
    """Machines that this node may belong to: by its system's name, else by the scheduler and its queues."""
    known = list(machines)
    name = _plain(_system_name())
    named = [each for each in known if name and _plain(each.name) == name]
    if named:
        return named
    here = [each for each in known if each.scheduler in schedulers()]
    if len(here) > 1 and any(each.scheduler == "slurm" for each in here):
        _, found = slurm.queues()
        here = [
            each for each in here if each.scheduler != "slurm" or (_everyday(each) and _everyday(each) <= set(found))
        ]
    if len(here) > 1 and any(each.scheduler == "pjm" for each in here):
        here = [each for each in here if each.scheduler != "pjm" or pjm.queues(each)[1]]
    return here


def _everyday(machine: Machine) -> set[str]:
    """The partitions that everybody may see."""
    return {queue.partition for queue in machine.queues if queue.partition and not queue.on_request}


def _system_name() -> str:
    """JSC's systems say who they are."""
    given = os.environ.get("SYSTEMNAME")
    if given:
        return given
    try:
        return SYSTEM_NAME.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
