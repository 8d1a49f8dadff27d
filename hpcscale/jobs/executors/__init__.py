"""submitit executors that hand job.sh over as it is: one for each scheduler."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpcscale.jobs.executors.handover import ScriptExecutor


def executor(scheduler: str, folder: Path) -> ScriptExecutor:
    """The executor of a machine profile's ``scheduler``. Raises Unreachable if its commands are not here."""
    if scheduler == "slurm":
        from hpcscale.jobs.executors.slurm import SlurmScriptExecutor

        return SlurmScriptExecutor(folder)
    if scheduler == "pjm":
        from hpcscale.jobs.executors.pjm import PJMScriptExecutor

        return PJMScriptExecutor(folder)
    from hpcscale.jobs.executors.local import LocalScriptExecutor

    return LocalScriptExecutor(folder)
