"""Slurm: squeue for what lives (and, for some minutes, for what has ended), sacct for the rest, if there is accounting."""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterator

from hpcscale.jobs.schedulers.answer import Answer, Found
from hpcscale.jobs.schedulers.command import Unreachable, ask, cancel_each
from hpcscale.jobs.states import SLURM, JobState

_SQUEUE = ["squeue", "--noheader", "--all", "--states=all"]
_SQUEUE_FIELDS = "%i|%T|%M|%L|%S|%r"  # the reason last: it may hold anything
_SACCT = ["sacct", "--noheader", "--parsable2", "--format=JobIDRaw,State,ExitCode,Elapsed,Start,Reason"]
_MOST_IDS = 2000  # of one sacct call: command lines end somewhere


class Slurm:
    name = "slurm"

    def states(self, ids: list[str], users: list[str]) -> Answer:
        answer = Answer()
        # By person, not by id: squeue refuses a whole list for one id that it has forgotten.
        who = ",".join(users or [getpass.getuser()])
        wanted = set(ids)
        for state in _read_queue(ask([*_SQUEUE, f"--user={who}", f"--format={_SQUEUE_FIELDS}"])):
            if state.id in wanted:
                answer.states[state.id] = state
        # squeue tells how a job ended only by its state; accounting also knows its exit code and what its steps died of.
        unclear = [id_ for id_ in ids if id_ not in answer.states or answer.states[id_].word == "failed"]
        try:
            for start in range(0, len(unclear), _MOST_IDS):
                part = ",".join(unclear[start : start + _MOST_IDS])
                answer.states |= _read_accounts(ask([*_SACCT, f"--jobs={part}"]))
        except Unreachable as error:
            answer.notes.append(f"no accounting, so ended jobs are known by their records only ({error})")
        return answer

    def find(self, names: list[str]) -> list[Found]:
        found = [
            Found(*line.split("|", 2))
            for line in ask([*_SQUEUE, "--me", f"--name={','.join(names)}", "--format=%i|%j|%k"]).splitlines()
        ]
        try:
            lines = ask(
                ["sacct", "--noheader", "--parsable2", "--allocations", "--starttime=now-7days", f"--name={','.join(names)}",
                 "--format=JobIDRaw,JobName,Comment"]
            ).splitlines()  # fmt: skip
        except Unreachable:
            lines = []
        known = {each.id for each in found}
        return found + [each for line in lines if (each := Found(*line.split("|", 2))).id not in known]

    def cancel(self, ids: list[str]) -> dict[str, str]:
        return cancel_each("scancel", ids)


def word_of(state: str) -> str:
    """hpcscale's word for ``CANCELLED by 1000``, ``RUNNING``, ... A state that a later Slurm invents counts as running."""
    return SLURM.get(re.split(r"[ +]", state.strip(), maxsplit=1)[0].upper(), "running")


def _read_queue(text: str) -> Iterator[JobState]:
    for line in text.splitlines():
        fields = line.split("|", 5)
        if len(fields) == 6:
            id_, state, elapsed, left, start, reason = fields
            reason = "" if reason == "None" else reason
            yield JobState(id_, word_of(state), state, reason, elapsed=elapsed, time_left=left, start=_time(start))


def _read_accounts(text: str) -> dict[str, JobState]:
    """Jobs by id; a step that ran out of memory says more than the job's own state."""
    found: dict[str, JobState] = {}
    out_of_memory: set[str] = set()
    killed: dict[str, tuple[int, int]] = {}
    for line in text.splitlines():
        fields = line.split("|", 5)
        if len(fields) != 6:
            continue
        id_, state, exit_code, elapsed, start, reason = fields
        job, _, step = id_.partition(".")
        code, _, number = exit_code.partition(":")
        codes = (int(code) if code.isdigit() else 0, int(number) if number.isdigit() else 0)
        if step:
            if word_of(state) == "oom":
                out_of_memory.add(job)
            if codes[0] == 137 or codes[1] == 9:
                killed[job] = codes
            continue
        reason = "" if reason in ("None", "") else reason
        found[job] = JobState(job, word_of(state), state, reason, *codes, elapsed=elapsed, start=_time(start))
    for job, state in found.items():
        if state.word == "failed" and job in out_of_memory:
            found[job] = _replaced(state, "oom", state.exit_code, state.signal)
        elif state.word == "failed" and job in killed and not state.killed:
            found[job] = _replaced(state, "failed", *killed[job])
    return found


def _replaced(state: JobState, word: str, exit_code: int | None, signal: int | None) -> JobState:
    return JobState(
        state.id, word, state.state, state.reason, exit_code, signal, elapsed=state.elapsed, start=state.start
    )


def _time(text: str) -> str:
    return "" if text in ("N/A", "Unknown", "None") else text
