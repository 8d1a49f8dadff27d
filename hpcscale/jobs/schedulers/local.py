"""This computer: a job is a process in the background, known by its id, and by its record once it has ended."""

from __future__ import annotations

import os
import re

from hpcscale.jobs import processes
from hpcscale.jobs.schedulers.answer import Answer, Found
from hpcscale.jobs.states import JobState

_ID = re.compile(r"local-\d{8}-\d{6}-(\d+)\Z")
# What a job's processes are started with; the last one is set by the first of them only.
NAME, COMMENT, TIME = "HPCSCALE_JOB_NAME", "HPCSCALE_JOB_COMMENT", "HPCSCALE_JOB_TIME"
WAITS = "hpcscale-waits"  # stands in the command line of a job that waits for another one


class Local:
    name = "local"

    def states(self, ids: list[str], users: list[str]) -> Answer:
        waiting = set(processes.commands_with(WAITS))
        answer = Answer()
        for id_ in ids:
            pid = _running(id_)
            if pid is not None:
                word, reason = ("queued", "for the job before it") if pid in waiting else ("running", "")
                answer.states[id_] = JobState(id_, word, word.upper(), reason)
        return answer

    def find(self, names: list[str]) -> list[Found]:
        found = []
        for pid in processes.all_ids():
            values = processes.environment(pid, (NAME, COMMENT, TIME))
            if values.get(NAME) in names and _running(job_id(values.get(TIME, ""), pid)) == os.getpgid(pid):
                found.append(Found(job_id(values[TIME], pid), values[NAME], values.get(COMMENT, "")))
        return found

    def cancel(self, ids: list[str]) -> dict[str, str]:
        refused = {}
        for id_ in ids:
            pid = _running(id_)
            if pid is None:
                refused[id_] = f"{id_} does not run on this computer"
            else:
                processes.stop(pid)
        return refused


def job_id(time: str, pid: int) -> str:
    """A job's id: when it was handed over, and its first process."""
    return f"local-{time}-{pid}"


def _running(id_: str) -> int | None:
    """The job's process, if it is still that process and not a later one with its number."""
    match = _ID.match(id_)
    pid = int(match.group(1)) if match else 0
    time = processes.environment(pid, (TIME,)).get(TIME, "") if pid else ""
    return pid if pid and processes.runs(pid) and job_id(time, pid) == id_ else None
