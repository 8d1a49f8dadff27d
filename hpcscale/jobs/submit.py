"""Submitting points: several at a time, each exactly once, in lanes where no more than so many may run at once."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hpcscale.jobs import claims, quoting
from hpcscale.jobs import ledger as ledgers
from hpcscale.jobs.plan import Plan
from hpcscale.jobs.render import SCRIPT, Rendered
from hpcscale.jobs.schedulers import Unreachable, scheduler
from hpcscale.jobs.schedulers.command import Refused
from hpcscale.spec.point import Point
from hpcscale.spec.problems import InputError

if TYPE_CHECKING:
    from hpcscale.jobs.executors.handover import Handover, ScriptExecutor

IN_FLIGHT = 6  # submissions at once: most of one is waiting for the scheduler
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 60, 3600


@dataclass
class Outcome:
    """What became of each chosen point."""

    submitted: dict[str, str] = field(default_factory=dict)  # identity -> job
    found: dict[str, str] = field(default_factory=dict)  # identity -> job that an interrupted submit had submitted
    refused: dict[str, str] = field(default_factory=dict)  # identity -> what the scheduler said
    left: dict[str, str] = field(default_factory=dict)  # identity -> why somebody else does it
    interrupted: bool = False


def submit(
    plan: Plan,
    rendered: dict[str, Rendered],
    folder: Path,
    max_jobs: int | None = None,
    told: Callable[[str, str], None] = lambda identity, job: None,
) -> Outcome:
    """Submits the plan's points, each exactly once whoever else does the same. ``told`` hears of each job.

    ``max_jobs``: no more of the study's jobs than that run at once; the rest wait for one of these to end, by a dependency
    that the scheduler holds. Raises Unreachable, InputError and OSError before anything is submitted.
    """
    machines = {point.machine.scheduler for point in plan.points}
    executors = {name: _executor(name, folder) for name in machines}
    known = {each.point.identity: each.jobs for each in plan.chosen}
    won = claims.claim(plan.points, folder, known, {name: scheduler(name) for name in machines})
    desk = _Desk(plan, rendered, folder, won, executors, max_jobs is not None, told)
    try:
        if max_jobs is None:
            with desk.until_interrupted(ThreadPoolExecutor(IN_FLIGHT)) as pool:
                list(pool.map(lambda point: desk.hand_over(point, None), won.points))
        else:
            _in_lanes(won.points, _tails(plan, max_jobs), max_jobs, desk)
        if desk.stopped.is_set():
            desk.give_back()
    except KeyboardInterrupt:
        desk.give_back()
        desk.outcome.interrupted = True
    return desk.outcome


class _Desk:
    """Hands points over, several at a time: each is in the ledger before the next one of its lane goes."""

    def __init__(
        self, plan: Plan, rendered: dict[str, Rendered], folder: Path, won: claims.Won, executors: dict[str, ScriptExecutor],
        lanes: bool, told: Callable[[str, str], None],
    ):  # fmt: skip
        self.outcome = Outcome(left=won.lost, found=won.found)
        self.stopped = threading.Event()
        self._rendered, self._folder, self._token, self._executors = rendered, folder, won.token, executors
        self._lanes, self._told, self._lock = lanes, told, threading.Lock()
        self._open = {point.identity: point for point in won.points}
        self._renewed = time.monotonic()
        again = ("timeout", "preempted", "node")
        self._retried = {
            each.point.identity: each.jobs for each in plan.chosen if plan.by_itself and each.word in again
        }

    @contextlib.contextmanager
    def until_interrupted(self, pool: ThreadPoolExecutor) -> Iterator[ThreadPoolExecutor]:
        """Ctrl-C: what is on its way is waited for, the rest is given back."""
        with pool:
            try:
                yield pool
            except KeyboardInterrupt:
                self.stopped.set()
                raise

    def hand_over(self, point: Point, after: str | None) -> str | None:
        """The point's job; None if there is none, and the outcome says why."""
        if self.stopped.is_set():
            return None
        self._renew()
        try:
            job = self._executors[point.machine.scheduler].submit_script(self._handover(point, after)).job_id
        except Refused as error:
            claims.release(point, self._token, self._folder, str(error))
            self._note(self.outcome.refused, point, str(error))
            return None
        except Unreachable as error:
            # Nobody knows what became of it: the claim stays, and the next submit looks.
            self.stopped.set()
            self._note(self.outcome.refused, point, f"{error}; the next hpcscale submit finds out what became of it")
            return None
        ledgers.append(self._folder, [claims.submitted_line(point, self._token, job, behind=after)])
        self._note(self.outcome.submitted, point, job)
        with self._lock:
            self._told(point.identity, job)
        return job

    def give_back(self) -> None:
        """Points that were claimed and not handed over: somebody else may have them."""
        for point in self._open.values():
            claims.release(point, self._token, self._folder, "stopped before it was submitted")

    def _handover(self, point: Point, after: str | None) -> Handover:
        from hpcscale.jobs.executors.handover import Handover

        return Handover(
            self._rendered[point.identity].folder / SCRIPT,
            quoting.job_name(point.study, point.hash),
            claims.comment_of(point, self._token),
            after=after,
            lane=self._lanes,
            delay_seconds=_delay(self._retried.get(point.identity, 0)),
        )

    def _note(self, where: dict[str, str], point: Point, text: str) -> None:
        with self._lock:
            where[point.identity] = text
            self._open.pop(point.identity, None)

    def _renew(self) -> None:
        """Thousands of points take minutes: submitters on other hosts must see that somebody is at it."""
        with self._lock:
            if time.monotonic() - self._renewed < claims.RENEWAL_SECONDS:
                return
            self._renewed = time.monotonic()
            waiting = list(self._open.values())
        claims.renew(waiting, self._token, self._folder)


def _executor(name: str, folder: Path) -> ScriptExecutor:
    from hpcscale.jobs.executors import executor

    return executor(name, folder)


def _delay(retries: int) -> int:
    """Seconds before a retry may begin: each waits twice as long as the one before."""
    return min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS << (retries - 1)) if retries else 0


def _tails(plan: Plan, max_jobs: int) -> list[str]:
    """The last jobs of the lanes that are in use: the study's live jobs, the newest of them."""
    pjm = [job for job in plan.live if job.scheduler == "pjm" and "_" not in job.id]
    if pjm and max_jobs <= len(pjm):
        raise InputError(
            f"{len(pjm)} jobs of the study were submitted without --max-jobs and PJM lets none wait for those; "
            "wait until they have ended, or give a larger --max-jobs"
        )
    waited_for = {job.behind for job in plan.live}
    return [job.id for job in plan.live if job not in pjm and job.id not in waited_for]


def _in_lanes(points: list[Point], live: list[str], max_jobs: int, desk: _Desk) -> None:
    """As many lanes as jobs may run at once; in a lane, each job waits for the one before. Lanes go on side by side."""
    # Live jobs of earlier submissions, dealt in their order: the last of each lane is what the next job waits for.
    tails: list[str | None] = [None] * max_jobs
    for number, job in enumerate(live):
        tails[number % max_jobs] = job
    order = sorted(range(max_jobs), key=lambda lane: tails[lane] is not None)

    def lane(number: int) -> None:
        tail = tails[order[number]]
        for point in points[number::max_jobs]:
            tail = desk.hand_over(point, tail) or tail

    with desk.until_interrupted(ThreadPoolExecutor(min(max_jobs, IN_FLIGHT))) as pool:
        list(pool.map(lane, range(max_jobs)))
