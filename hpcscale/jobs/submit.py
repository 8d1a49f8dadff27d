"""Submitting the points of a study: which ones, what they may cost, each exactly once."""

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
from hpcscale.jobs.ledger import Job
from hpcscale.jobs.render import SCRIPT, Rendered
from hpcscale.jobs.schedulers import Unreachable, scheduler
from hpcscale.jobs.schedulers.command import Refused
from hpcscale.jobs.status import PointStatus, StudyStatus
from hpcscale.spec.point import Point
from hpcscale.spec.problems import InputError
from hpcscale.spec.units import format_seconds

if TYPE_CHECKING:
    from hpcscale.jobs.executors.handover import Handover, ScriptExecutor

# --only WORD: the points' words that it means.
ONLY: dict[str, tuple[str, ...]] = {
    "new": ("new",),
    "failed": ("failed",),
    "timeout": ("timeout",),
    "oom": ("oom",),
    "missing": ("missing",),
    "node": ("node", "preempted"),
    "cancelled": ("cancelled",),
}
# What another job can do better at, as often as the study says.
_RETRIED = ("timeout", "preempted", "node", "missing")
IN_FLIGHT = 6  # submissions at once: most of one is waiting for the scheduler
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 60, 3600


@dataclass
class Plan:
    """What is to be submitted, and what not and why."""

    chosen: list[PointStatus] = field(default_factory=list)
    left: list[tuple[PointStatus, str]] = field(default_factory=list)
    by_itself: bool = True  # retries because they are due, not because somebody asked for them now
    live: list[Job] = field(default_factory=list)  # the study's jobs that are queued or running already

    @property
    def queued_node_hours(self) -> float:
        return sum(job.node_hours for job in self.live)

    @property
    def points(self) -> list[Point]:
        return [each.point for each in self.chosen]


@dataclass(frozen=True)
class Bill:
    """The most that the chosen jobs can cost: their nodes for all of their time."""

    jobs: int
    node_hours: float | None  # None: a point has no time limit
    longest_seconds: int | None
    most_nodes: int

    def sentence(self) -> str:
        words = f"{self.jobs} job{'' if self.jobs == 1 else 's'}"
        if self.node_hours is None or self.longest_seconds is None:
            return f"{words}, up to {self.most_nodes} nodes, without a time limit: no node-hours can be told"
        return (f"{words}, at most {self.node_hours:,.4g} node-hours, up to {self.most_nodes} "
                f"node{'' if self.most_nodes == 1 else 's'}, longest wall time {format_seconds(self.longest_seconds)}")  # fmt: skip


def plan(found: StudyStatus, only: tuple[str, ...] = ()) -> Plan:
    """Which points to submit: with ``only`` those in one of these states, else new ones and those whose retry is due."""
    words = {word for name in only for word in ONLY[name]}
    result = Plan(live=found.live_jobs, by_itself=not only)
    for each in found.points:
        reason = _why_not(each, words)
        if reason is None:
            result.chosen.append(each)
        else:
            result.left.append((each, reason))
    return result


def _why_not(each: PointStatus, words: set[str]) -> str | None:
    if each.live or each.word == "submitting":
        return f"{each.word} already" + (f" as job {each.job}" if each.job else f" {each.detail}")
    if each.word == "unknown":
        return f"nobody knows whether it runs: {each.detail}"
    if words:
        return None if each.word in words else each.word
    if each.word == "new":
        return None
    if each.word == "completed":
        return "completed"
    if each.word in _RETRIED or (each.word == "oom" and each.point.job.on_oom == "halve_mbs"):
        if each.jobs <= each.point.job.retries:
            return None
        return f"{each.word}, and retried {each.jobs - 1} times (job.retries: {each.point.job.retries})"
    return f"{each.word}; submit it again with --only {_only_word(each.word)}"


def _only_word(word: str) -> str:
    return next(name for name, words in ONLY.items() if word in words)


def node_hours(point: Point) -> float | None:
    return None if point.job_seconds is None else point.nodes * point.job_seconds / 3600


def bill(points: list[Point]) -> Bill:
    hours = [node_hours(point) for point in points]
    seconds = [point.job_seconds for point in points]
    unlimited = None in hours
    return Bill(
        len(points),
        None if unlimited else sum(each for each in hours if each is not None),
        None if unlimited else max((each for each in seconds if each is not None), default=0),
        max((point.nodes for point in points), default=0),
    )


def check_budget(plan: Plan, budget: float | None, name: str) -> None:
    """Raises InputError if what is to be submitted, with what is queued or running, may cost more than the study allows."""
    if budget is None:
        return
    hours = bill(plan.points).node_hours
    if hours is None:
        raise InputError(
            f"{name} has budget_node_hours, and a point without a time limit may cost anything; set job.time"
        )
    total = hours + plan.queued_node_hours
    if total > budget:
        queued = f" and {plan.queued_node_hours:,.4g} queued or running" if plan.queued_node_hours else ""
        raise InputError(
            f"{name}: {hours:,.4g} node-hours to submit{queued} are more than its budget_node_hours of {budget:,.4g}; "
            "nothing was submitted. Choose fewer points with --point, shorten job.time, or raise the budget"
        )


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
    except KeyboardInterrupt:
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
            claims.release(point, self._token, self._folder, "stopped before it was submitted")
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
        ledgers.append(self._folder, [claims.submitted_line(point, self._token, job)])
        self._note(self.outcome.submitted, point, job)
        with self._lock:
            self._told(point.identity, job)
        return job

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
    return [job.id for job in plan.live if job not in pjm]


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
