"""Which points of a study to submit, why not the others, and what they may cost."""

from __future__ import annotations

from dataclasses import dataclass, field

from hpcscale.jobs.ledger import Job
from hpcscale.jobs.status import PointStatus, StudyStatus
from hpcscale.spec.point import Point
from hpcscale.spec.problems import InputError
from hpcscale.spec.units import format_seconds

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
    if each.abandoned and (not words or "new" in words):
        return None
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
