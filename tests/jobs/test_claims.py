"""Who may submit a point, case by case: what eight real submits at once meet only by luck."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from hpcscale.jobs import claims, ledger, processes
from hpcscale.jobs.schedulers import Answer, Found
from hpcscale.spec import study
from hpcscale.spec.expand import expand
from hpcscale.spec.point import Point


class Scheduler:
    """One that knows the jobs that a test gives it."""

    name = "local"

    def __init__(self, *found: Found):
        self.found = list(found)

    def find(self, names: list[str]) -> list[Found]:
        return self.found

    def states(self, ids: list[str], users: list[str]) -> Answer:
        raise AssertionError("not asked here")

    def cancel(self, ids: list[str]) -> dict[str, str]:
        raise AssertionError("not asked here")


@pytest.fixture
def point() -> Point:
    return expand(study.read("quickstart")).points[0]


def line(point: Point, token: str, **changes: object) -> dict[str, object]:
    own = {"host": socket.gethostname(), "pid": os.getpid(), "started": processes.started(os.getpid()), "user": "me"}
    known = {"kind": "claim", "point": point.identity, "hash": point.hash, "token": token, "time": time.time()}
    return {**known, **own, **changes}


def claim(point: Point, folder: Path, known: int = 0, scheduler: Scheduler | None = None) -> claims.Won:
    return claims.claim([point], folder, {point.identity: known}, {"local": scheduler or Scheduler()})


def test_a_point_that_was_submitted_since_one_looked_is_left_alone(point: Point, tmp_path: Path) -> None:
    ledger.append(tmp_path, [claims.submitted_line(point, "other", "7")])
    won = claim(point, tmp_path, known=0)
    assert won.points == []
    assert won.lost == {point.identity: "has just been submitted by somebody else"}
    assert ledger.read(tmp_path).claims == [], "and nobody is kept from it"
    assert claim(point, tmp_path, known=1).points == [point]


@pytest.mark.parametrize(
    ("changes", "free"),
    [
        ({}, False),
        ({"started": "1"}, True),  # another process has the number now
        ({"pid": 2**22 + 1}, True),
        ({"host": "elsewhere"}, False),
        ({"host": "elsewhere", "time": time.time() - 2 * claims.FOREIGN_CLAIM_SECONDS}, True),
    ],
)
def test_a_claim_holds_while_its_process_may_live(
    point: Point, tmp_path: Path, changes: dict[str, object], free: bool
) -> None:
    ledger.append(tmp_path, [line(point, "other", **changes)])
    assert claim(point, tmp_path).points == ([point] if free else [])


def test_a_renewed_claim_keeps_its_place(point: Point, tmp_path: Path) -> None:
    old = time.time() - 2 * claims.FOREIGN_CLAIM_SECONDS
    ledger.append(tmp_path, [line(point, "far", host="elsewhere", time=old), line(point, "far", host="elsewhere")])
    assert "is being submitted by me on elsewhere" in claim(point, tmp_path).lost[point.identity]


def test_what_a_dead_submitter_had_submitted_is_found_by_its_token(point: Point, tmp_path: Path) -> None:
    ledger.append(tmp_path, [line(point, "dead", started="1")])
    others = Found("8", "x", claims.comment_of(point, "another"))
    mine = Found("9", "x", claims.comment_of(point, "dead"))
    won = claim(point, tmp_path, scheduler=Scheduler(others, mine))
    assert (won.found, won.points) == ({point.identity: "9"}, [])
    assert list(ledger.read(tmp_path).jobs) == ["9"]


def test_a_submission_that_outlives_its_submitter_is_waited_for(point: Point, tmp_path: Path) -> None:
    """hpcscale was killed, its sbatch was not: the job is there a moment later."""
    comment, there = claims.comment_of(point, "0dead0f1"), tmp_path / "there"
    ledger.append(tmp_path, [line(point, "0dead0f1", started="1")])

    class Late(Scheduler):
        def find(self, names: list[str]) -> list[Found]:
            return [Found("9", "x", comment)] if there.exists() else []

    with subprocess.Popen(["sh", "-c", f"sleep 0.5; echo > '{there}'", "sbatch", f"--comment={comment}"]):
        while not processes.commands_with("/0dead0f1"):  # a moment after its start the system shows no arguments yet
            assert not there.exists()
        won = claim(point, tmp_path, scheduler=Late())
    assert (won.found, won.points) == ({point.identity: "9"}, [])
