"""What became of every point of a study: its record, the ledger and one question to the scheduler, put together.

Who is believed: a completed record, always (a launcher may fail while it tidies up). Then the scheduler where it names a
cause (time limit, memory, node, preemption, cancelled), since a killed rank cannot. Then the record's own failure. Then
what the exit says: 137 or signal 9 is the kernel's out-of-memory killer unless somebody knows better.
"""

from __future__ import annotations

import contextlib
import getpass
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hpcscale.jobs import claims
from hpcscale.jobs import ledger as ledgers
from hpcscale.jobs import progress as progresses
from hpcscale.jobs.ledger import Job, Ledger
from hpcscale.jobs.progress import Progress
from hpcscale.jobs.schedulers import Unreachable, scheduler
from hpcscale.jobs.states import EXIT_STATUS, LIVE, JobState
from hpcscale.record import outcome
from hpcscale.record.schema import FAILURES
from hpcscale.spec.point import Point

# How long after it was submitted a job may be unknown to the scheduler before it counts as missing.
SETTLING_SECONDS = 60.0
# The record's failure words as words for a point; the other ones are the same.
_FAILED = {"error": "failed", "nan": "failed", "unreadable": "failed"}


@dataclass(frozen=True)
class PointStatus:
    """One point now. ``word``: see states.py; ``detail``: why it waits, or how it failed."""

    point: Point
    folder: Path
    word: str = "new"
    detail: str = ""
    job: str = ""
    jobs: int = 0  # that were submitted for it
    attempts: int = 0  # that began
    progress: Progress | None = None
    state: JobState | None = None
    checked: bool = True  # false: the scheduler could not be asked
    abandoned: bool = False  # a submit that was killed had claimed it; the next one finds out what became of it

    @property
    def live(self) -> bool:
        return self.word in LIVE


@dataclass
class StudyStatus:
    points: list[PointStatus]
    notes: list[str] = field(default_factory=list)
    reachable: bool = True
    live_jobs: list[Job] = field(default_factory=list)  # of the whole study, whatever points were asked for

    @property
    def words(self) -> Counter[str]:
        return Counter(each.word for each in self.points)

    @property
    def settled(self) -> bool:
        """Nothing is left that waiting would change."""
        return not any(each.live or each.word in ("submitting", "unknown") for each in self.points)


def status(points: Iterable[Point], folder: Path, write: bool = True) -> StudyStatus:
    """Every point's status. ``folder`` is the study's in the runs folder.

    ``write``: note in the ledger, and beside records without a last line, how jobs ended, so that the scheduler is asked
    about each only once, and so that it is still known when the scheduler has forgotten.
    """
    points = list(points)
    ledger = ledgers.read(folder)
    asked = _Asked(ledger)
    asked.ask(points)
    result = StudyStatus([], asked.notes, asked.reachable, asked.live())
    lines: list[dict[str, Any]] = []
    for point in points:
        found, ended = _point(point, folder / point.identity, ledger, asked)
        result.points.append(found)
        lines += ended
    if ledger.damaged_lines:
        result.notes.append(f"{ledger.damaged_lines} lines of {folder / ledgers.LEDGER} cannot be read")
    if write and lines:
        try:
            ledgers.append(folder, lines)
        except OSError as error:
            result.notes.append(f"how jobs ended is not noted: {folder / ledgers.LEDGER}: {error.strerror}")
    return result


class _Asked:
    """The schedulers' answers for every job that is not known to have ended: one question each."""

    def __init__(self, ledger: Ledger):
        self._ledger = ledger
        self.states: dict[str, JobState] = {}
        self.notes: list[str] = []
        self.unsure: set[str] = set()  # jobs whose scheduler could not be asked

    @property
    def reachable(self) -> bool:
        return not self.unsure

    def ask(self, points: list[Point]) -> None:
        known = {(point.identity, point.hash): point.machine.scheduler for point in points}
        by_scheduler: dict[str, list[str]] = {}
        for job in self._ledger.jobs.values():
            job.scheduler = job.scheduler or known.get((job.point, job.hash), "")
            if job.ended is None and job.scheduler:
                by_scheduler.setdefault(job.scheduler, []).append(job.id)
        for name, ids in by_scheduler.items():
            users = sorted({self._ledger.jobs[id_].user for id_ in ids} - {""})
            try:
                answer = scheduler(name).states(ids, users or [getpass.getuser()])
            except Unreachable as error:
                self.unsure.update(ids)
                self.notes.append(f"the scheduler cannot be asked ({error}); what follows is from the records")
                continue
            self.states |= answer.states
            self.notes += answer.notes

    def live(self) -> list[Job]:
        """Jobs that are queued or running, or may be."""
        return [
            job
            for job in self._ledger.jobs.values()
            if job.id in self.unsure or (job.id in self.states and not self.states[job.id].ended)
        ]


def _point(point: Point, folder: Path, ledger: Ledger, asked: _Asked) -> tuple[PointStatus, list[dict[str, Any]]]:
    jobs = ledger.of(point.identity, point.hash)
    attempts = progresses.attempts(folder)
    newest = progresses.progress(attempts[-1]) if attempts else None
    if newest is not None and newest.hash not in ("", point.hash):
        newest, attempts = None, []  # of the point as it was before
    base = PointStatus(point, folder, attempts=len(attempts), jobs=len(jobs), progress=newest)
    done = _completed(newest, attempts, point.hash)
    if not jobs:
        return _without_jobs(base, ledger, done), []
    job = jobs[-1]
    state = asked.states.get(job.id) or _noted(job) or _told_by_its_script(job, point, newest)
    own = newest if newest is not None and newest.job in {each.id for each in jobs} else None
    base = replace(base, job=job.id, state=state, checked=job.id not in asked.unsure)
    if (state is None or state.ended) and _is_being_requeued(newest, point):
        return replace(base, word="queued", detail="stopped early, and its script is requeueing it"), []
    lines = [_ended(each, asked.states[each.id]) for each in jobs if _just_ended(each, asked)]
    if done is not None and (state is None or state.ended):
        return replace(base, word="completed", progress=done), lines
    if state is not None and not state.ended:
        return replace(base, word=state.word, detail=_waiting(state)), lines
    if state is None:
        return _unknown_to_scheduler(base, job, own), lines
    own = own if own is not None and own.job == job.id else None
    word, detail = _end(state, own, point)
    if _just_ended(job, asked):
        lines[-1] |= {"status": word, "evidence": detail}
        _tell_the_attempt(own, word, detail)
    return replace(base, word=word, detail=detail), lines


def _completed(newest: Progress | None, attempts: list[Path], hash_: str) -> Progress | None:
    """An attempt of this very point that completed: mostly the newest."""
    if newest is None or newest.status == "completed":
        return newest
    found = (progresses.progress(attempt) for attempt in reversed(attempts[:-1]))
    return next((each for each in found if each.status == "completed" and each.hash == hash_), None)


def _is_being_requeued(newest: Progress | None, point: Point) -> bool:
    """Between an attempt's end and the moment when the scheduler shows the job, or its successor, as waiting again."""
    if newest is None or newest.status == "completed" or not point.job.retries or point.machine.scheduler == "local":
        return False
    try:
        return time.time() - (newest.attempt / outcome.WISH).stat().st_mtime < SETTLING_SECONDS / 2
    except OSError:
        return False


def _without_jobs(base: PointStatus, ledger: Ledger, done: Progress | None) -> PointStatus:
    """Never submitted by hpcscale: being submitted now, run by hand, or new."""
    claim = ledger.owner(base.point.identity)
    if done is not None:
        return replace(base, word="completed", progress=done)
    if claim is not None and claims.lives(claim):
        return replace(base, word="submitting", detail=f"by {claim.user} on {claim.host} (process {claim.pid})")
    base = replace(base, abandoned=claim is not None)
    if base.progress is not None:
        return replace(base, **_by_record(base.progress))
    return base


def _by_record(own: Progress) -> dict[str, str]:
    if own.status == "unfinished":
        return {"word": "unknown", "detail": f"{own.attempt.name} has begun and has not ended; no job of it is known"}
    return {"word": _FAILED.get(own.status, own.status), "detail": own.evidence}


def _unknown_to_scheduler(base: PointStatus, job: Job, own: Progress | None) -> PointStatus:
    """The scheduler could not be asked, or does not know the job."""
    if own is not None and own.status != "unfinished":
        return replace(base, **_by_record(own))
    if not base.checked:
        return replace(base, word="unknown", detail="the scheduler cannot be asked")
    if time.time() - job.time < SETTLING_SECONDS and base.point.machine.scheduler != "local":
        return replace(base, word="queued", detail="just submitted")
    if job.cancelled:
        return replace(base, word="cancelled")
    if own is not None:
        how = "ended without a word (killed?)" if own.has_record else "ended before the trainer began"
        return replace(base, word="failed", detail=f"job {job.id} {how}")
    return replace(base, word="missing", detail=f"the scheduler does not know job {job.id}, and it wrote nothing")


def _noted(job: Job) -> JobState | None:
    """How the job ended, as the ledger has it."""
    if job.ended is None:
        return None
    line = job.ended
    return JobState(job.id, line.get("word", "failed"), line.get("state", ""), line.get("reason", ""),
                    line.get("exit_code"), line.get("signal"))  # fmt: skip


def _told_by_its_script(job: Job, point: Point, newest: Progress | None) -> JobState | None:
    """Without a scheduler nobody else knows how a script ended."""
    if point.machine.scheduler != "local" or newest is None or newest.job != job.id or job.cancelled:
        return None
    try:
        code = int((newest.attempt / EXIT_STATUS).read_text())
    except (OSError, ValueError):
        return None
    return JobState(job.id, "failed" if code else "completed", f"exit status {code}", exit_code=code)


def _just_ended(job: Job, asked: _Asked) -> bool:
    state = asked.states.get(job.id)
    return job.ended is None and state is not None and state.ended


def _ended(job: Job, state: JobState) -> dict[str, Any]:
    return {
        "kind": "ended", "point": job.point, "hash": job.hash, "job": job.id, "state": state.state, "word": state.word,
        "reason": state.reason, "exit_code": state.exit_code, "signal": state.signal, "time": time.time(),
    }  # fmt: skip


def _end(state: JobState, own: Progress | None, point: Point) -> tuple[str, str]:
    """The word and the evidence for a job that has ended and whose attempt did not complete."""
    said = " ".join(part for part in (state.state, state.reason if state.reason != state.state else "") if part)
    told = own is not None and own.status != "unfinished" and not own.told_by_scheduler
    if state.word in ("oom", "node", "timeout", "preempted", "cancelled"):
        more = f"; {own.evidence}" if told and own is not None and own.evidence else ""
        return state.word, f"scheduler: {said}{more}"
    if told and own is not None and not (own.status in ("node", "error") and state.killed):
        return _FAILED.get(own.status, own.status), own.evidence
    if state.killed:
        return "oom", f"scheduler: {said}, killed (137): out of memory unless somebody killed it"
    if state.word == "completed":
        if point.workload.foreign:
            return "completed", ""
        return "failed", "the job ended well, but the trainer recorded nothing" if own is None else "the record stops"
    code = f", exit code {state.exit_code}" if state.exit_code else ""
    return "failed", f"scheduler: {said}{code}; see {own.attempt.name}/output" if own else f"scheduler: {said}{code}"


def _waiting(state: JobState) -> str:
    if state.word == "running":
        return f"{state.time_left} left" if state.time_left else ""
    start = f"; expected {state.start}" if state.start else ""
    return f"{state.reason}{start}"


def _tell_the_attempt(own: Progress | None, word: str, detail: str) -> None:
    """Beside a record without a last line: reports and later attempts read it."""
    kind = {"failed": "error", "cancelled": "error"}.get(word, word)
    if own is not None and own.status == "unfinished" and kind in FAILURES:
        with contextlib.suppress(OSError):  # somebody else's folder, or a full disk: the ledger has it
            outcome.write(own.attempt, kind, detail)
