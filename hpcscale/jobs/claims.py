"""Who may submit a point: one process of all that ask at once, and the next one if that was killed half-way.

See ledger.py for how the file decides. What this adds: whether the owner of an open claim still lives, and what it had
done. A killed submitter may leave an sbatch that is still on its way, so that is waited for; then the scheduler is asked
for a job with the point's name and the claim's token in its comment.
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hpcscale.jobs import ledger as ledgers
from hpcscale.jobs import processes, quoting
from hpcscale.jobs.ledger import Claim, Ledger
from hpcscale.jobs.schedulers import Scheduler, Unreachable
from hpcscale.spec.point import Point

# A claim of another host, whose submitter cannot be seen, is dead after so long; a submitter renews its claims much sooner.
FOREIGN_CLAIM_SECONDS = 600.0
RENEWAL_SECONDS = 60.0
# How long a submission command of a killed submitter is waited for.
ON_ITS_WAY_SECONDS = 60.0


@dataclass
class Won:
    """What this process may submit, under ``token``; and why it may not submit the rest."""

    token: str
    points: list[Point] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)  # identity -> sentence
    found: dict[str, str] = field(default_factory=dict)  # identity -> job that a killed submitter had submitted


def comment_of(point: Point, token: str) -> str:
    return f"hpcscale/{point.identity}/{token}"


def claim(points: list[Point], folder: Path, known_jobs: dict[str, int], scheduler_of: dict[str, Scheduler]) -> Won:
    """Claims the points that nobody else is submitting. ``known_jobs``: how many jobs of each the caller knew of when it chose
    them; one that has more by now was submitted by somebody else. Raises OSError if nothing can be written."""
    won = Won(secrets.token_hex(4))
    waiting = _settle_claims_of_the_dead(points, folder, scheduler_of, won)
    wanted = [point for point in points if point.identity not in waiting and point.identity not in won.found]
    now = time.time()
    lines = [{"kind": "claim", **asdict(_own(point, won.token, now))} for point in wanted]
    ledgers.append(folder, lines)
    ledger = ledgers.read(folder)
    given_up = []
    for point in wanted:
        owner = ledger.owner(point.identity)
        if owner is None or owner.token != won.token:
            # Somebody claimed it before this process: theirs counts. If that has ended already, so has their submission.
            won.lost[point.identity] = _busy(owner) if owner else "has just been submitted by somebody else"
        elif len(ledger.of(point.identity, point.hash)) != known_jobs.get(point.identity, 0):
            won.lost[point.identity] = "has just been submitted by somebody else"
        else:
            won.points.append(point)
            continue
        given_up.append(
            {"kind": "released", "point": point.identity, "hash": point.hash, "token": won.token, "time": now}
        )
    ledgers.append(folder, given_up)
    return won


def renew(points: list[Point], token: str, folder: Path) -> None:
    """For submitters elsewhere: this one is still at it."""
    now = time.time()
    ledgers.append(folder, [{"kind": "claim", **asdict(_own(point, token, now))} for point in points])


def release(point: Point, token: str, folder: Path, reason: str) -> None:
    """The scheduler refused: the claim is given back."""
    line = {"kind": "refused", "point": point.identity, "hash": point.hash, "token": token, "reason": reason}
    ledgers.append(folder, [{**line, "time": time.time()}])


def submitted_line(point: Point, token: str, job: str, user: str = "", behind: str | None = None) -> dict[str, Any]:
    return {
        "kind": "submitted", "point": point.identity, "hash": point.hash, "token": token, "job": job,
        "user": user or getpass.getuser(), "scheduler": point.machine.scheduler, "nodes": point.nodes,
        "seconds": point.job_seconds, "time": time.time(), **({"behind": behind} if behind else {}),
    }  # fmt: skip


def _own(point: Point, token: str, now: float) -> Claim:
    pid = os.getpid()
    host, user = socket.gethostname(), getpass.getuser()
    return Claim(point.identity, point.hash, token, host, pid, processes.started(pid), user, now)


def _settle_claims_of_the_dead(
    points: list[Point], folder: Path, scheduler_of: dict[str, Scheduler], won: Won
) -> set[str]:
    """Looks after open claims of the points; those that must be left alone, with the reason in ``won.lost``."""
    ledger = ledgers.read(folder)
    by_identity = {point.identity: point for point in points}
    dead: dict[str, list[Claim]] = {}
    for each in ledger.claims:
        if each.point not in by_identity:
            continue
        if lives(each):
            won.lost.setdefault(each.point, _busy(each))
        else:
            dead.setdefault(by_identity[each.point].machine.scheduler, []).append(each)
    for name, claims in dead.items():
        _wait_for_commands_on_their_way({each.token for each in claims})
        try:
            found = _jobs_of(claims, by_identity, scheduler_of[name], ledger, folder)
        except Unreachable as error:
            for each in claims:
                won.lost.setdefault(
                    each.point, f"was being submitted when that was killed, and {error}; try again later"
                )
            continue
        lines: list[dict[str, Any]] = []
        for each in claims:
            job = found.get((each.point, each.token))
            if job:
                lines.append(submitted_line(by_identity[each.point], each.token, job, each.user))
                won.found[each.point] = job
            else:
                lines.append({"kind": "released", "point": each.point, "hash": each.hash, "token": each.token, "time": time.time()})  # fmt: skip
        ledgers.append(folder, lines)
    return set(won.lost)


def lives(each: Claim) -> bool:
    """Whether the claim's submitter may still be at it."""
    if each.host != socket.gethostname():
        return time.time() - each.time < FOREIGN_CLAIM_SECONDS
    return processes.runs(each.pid) and processes.started(each.pid) == each.started


def _busy(each: Claim) -> str:
    return f"is being submitted by {each.user} on {each.host} (process {each.pid})"


def _wait_for_commands_on_their_way(tokens: set[str]) -> None:
    """A submission command outlives the hpcscale that called it."""
    deadline = time.monotonic() + ON_ITS_WAY_SECONDS
    while time.monotonic() < deadline:
        if not any(processes.commands_with(f"/{token}") for token in tokens):
            return
        time.sleep(0.2)


def _jobs_of(
    claims: list[Claim], points: dict[str, Point], scheduler: Scheduler, ledger: Ledger, folder: Path
) -> dict[tuple[str, str], str]:
    """The jobs that dead submitters had submitted, by point and token. Raises Unreachable."""
    names = sorted({quoting.job_name(points[each.point].study, each.hash) for each in claims})
    found = {}
    comments = {comment_of(points[each.point], each.token): (each.point, each.token) for each in claims}
    for job in scheduler.find(names):
        if job.comment in comments:
            found[comments[job.comment]] = job.id
    # One that has run and that the scheduler has forgotten has left its attempt.
    for each in claims:
        if (each.point, each.token) not in found:
            for attempt in sorted((folder / each.point / "attempts").glob("*.0")):
                job_id = attempt.name.rpartition(".")[0]
                if job_id not in ledger.jobs and attempt.stat().st_mtime >= each.time - 1:
                    found[(each.point, each.token)] = job_id
    return found
