"""Handing a rendered script to a scheduler through submitit: job ids, states and cancelling, no pickles.

submitit writes a submission file around a pickled function, waits 0.2 s between two jobs, and finishes a job by its
result file. Here the submission file is job.sh itself, several jobs are handed over at once, and whether a point is done is
said by its record and the scheduler.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from submitit.core import core

from hpcscale.jobs.schedulers import Scheduler, Unreachable, scheduler
from hpcscale.jobs.schedulers.command import call

SUBMIT_SECONDS = 120.0


@dataclass(frozen=True)
class Handover:
    """One job.sh, and what is said beside it. The script itself is not changed by a byte."""

    script: Path
    name: str  # as the script has it; only the local executor needs it
    comment: str
    after: str | None = None  # begin only when this job has ended, however it ended
    lane: bool = False  # others may come to wait for it (PJM wants to know before)
    delay_seconds: int = 0  # begin no earlier than that from now


class ScriptExecutor(Protocol):
    def submit_script(self, handover: Handover) -> core.Job[Any]:
        """Raises Refused (the scheduler said no) and Unreachable (nobody knows what became of it)."""
        ...


class ScriptWatcher(core.InfoWatcher):
    """A job's state as hpcscale's schedulers tell it: from queue and accounting, and never waiting for one that is gone."""

    def __init__(self, name: str, delay_s: int = 60):
        super().__init__(delay_s)
        self._name = name
        self._unknown: dict[str, int] = {}

    def update(self) -> None:
        asked = sorted(self._registered - self._finished)
        self._num_calls += 1
        try:
            answer = self._scheduler().states(asked, [])
        except Unreachable:
            return  # asked again later; the states are those of before
        for id_ in asked:
            state = answer.states.get(id_)
            if state is None:
                self._unknown[id_] = self._unknown.get(id_, 0) + 1
                if self._unknown[id_] > 2:  # the scheduler answers and does not know it
                    self._info_dict[id_] = {"State": "GONE"}
            else:
                self._info_dict[id_] = {"State": state.word.upper()}
            if self.is_done(id_, mode="cache"):
                self._finished.add(id_)

    def is_done(self, job_id: str, mode: str = "standard") -> bool:
        return self.get_state(job_id, mode=mode) not in ("UNKNOWN", "QUEUED", "HELD", "RUNNING")

    def get_state(self, job_id: str, mode: str = "standard") -> str:
        return self.get_info(job_id, mode=mode).get("State") or "UNKNOWN"

    def _scheduler(self) -> Scheduler:
        return scheduler(self._name)


class ScriptJob(core.Job[Any]):
    """A job that runs a script: it has a state and can be cancelled; its result is the point's record."""

    def results(self) -> list[Any]:
        raise NotImplementedError("a script returns nothing; the point's record says what came out (hpcscale report)")


def hand_over(command: list[str]) -> str:
    return call(command, SUBMIT_SECONDS)
