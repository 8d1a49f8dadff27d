"""What is asked of a scheduler beside submitting: states of many jobs in one question, jobs by name, cancelling."""

from __future__ import annotations

from typing import Protocol

from hpcscale.jobs.schedulers.command import Unreachable
from hpcscale.jobs.states import JobState

__all__ = ["Answer", "Found", "Scheduler", "Unreachable", "scheduler"]

from hpcscale.jobs.schedulers.answer import Answer, Found


class Scheduler(Protocol):
    name: str

    def states(self, ids: list[str], users: list[str]) -> Answer:
        """The states of these jobs. Raises Unreachable."""
        ...

    def find(self, names: list[str]) -> list[Found]:
        """This person's jobs of these names, ended ones too as far as the scheduler remembers. Raises Unreachable."""
        ...

    def cancel(self, ids: list[str]) -> dict[str, str]:
        """Ends jobs; those that were not, with the reason. Raises Unreachable."""
        ...


def scheduler(name: str) -> Scheduler:
    """The scheduler of a machine profile's ``scheduler``."""
    if name == "slurm":
        from hpcscale.jobs.schedulers.slurm import Slurm

        return Slurm()
    if name == "pjm":
        from hpcscale.jobs.schedulers.pjm import Pjm

        return Pjm()
    from hpcscale.jobs.schedulers.local import Local

    return Local()


def by_id(states: list[JobState]) -> dict[str, JobState]:
    return {state.id: state for state in states}
