"""pjdel, pjhold, pjrls and pjwait."""

from __future__ import annotations

import pytest

from .system import PJM


def outcome(pjm: PJM, *command: str) -> tuple[int, str]:
    done = pjm.run(*command)
    return done.returncode, done.stdout + done.stderr


def test_a_queued_job_is_deleted_and_a_second_time_is_no_error(pjm: PJM) -> None:
    running = pjm.submit("sleep 30")
    queued = pjm.submit("true")
    assert outcome(pjm, "pjdel", queued) == (0, f"[INFO] PJM 0100 pjdel Accepted job {queued}.\n")
    found = pjm.wait(queued)
    assert (found["state"], found["pc"]) == ("CCL", 1)
    assert outcome(pjm, "pjdel", queued) == (0, f"[INFO] PJM 0119 pjdel Already accepted job {queued}.\n")
    assert not (pjm.work / f"job.sh.{queued}.out").exists(), "it never ran"
    assert pjm.until(running, "RUN")


def test_a_running_job_is_deleted_with_all_its_processes(pjm: PJM) -> None:
    job = pjm.submit("sleep 30")
    pjm.until(job, "RUN")
    assert outcome(pjm, "pjdel", job) == (0, f"[INFO] PJM 0100 pjdel Accepted job {job}.\n")
    found = pjm.wait(job)
    assert (found["state"], found["pc"]) == ("CCL", 1)
    assert pjm.text(f"job.sh.{job}.err") == (
        f"[INFO] PJM 7090 Job {job} was canceled. User {found['user']} executed pjdel command.\n"
    )
    assert outcome(pjm, "pjdel", job)[1] == f"[INFO] PJM 0119 pjdel Already accepted job {job}.\n"


def test_a_deleted_job_makes_room_for_the_next(pjm: PJM) -> None:
    first = pjm.submit("sleep 30")
    second = pjm.submit("true")
    pjm.run("pjdel", first)
    assert pjm.wait(second)["ec"] == 0


def test_a_job_that_is_still_being_accepted_is_rejected_instead(pjm: PJM) -> None:
    pjm.inject("accept@60s")
    job = pjm.submit("true")
    assert pjm.status(job)["ST"] == "ACC"
    pjm.run("pjdel", job)
    assert pjm.status(job)["ST"] == "RJT"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("pjdel",), "[ERR.] PJM 0110 pjdel No jobid(s) specified.\n"),
        (("pjdel", "one"), "[ERR.] PJM 0111 pjdel Invalid jobid: one.\n"),
        (("pjdel", "99"), "[ERR.] PJM 0112 pjdel Job 99 does not exist.\n"),
        (("pjhold",), "[ERR.] PJM 0310 pjhold No jobid(s) specified.\n"),
        (("pjhold", "99"), "[ERR.] PJM 0312 pjhold Job 99 does not exist.\n"),
    ],
)
def test_what_cannot_be_is_said_so(pjm: PJM, command: tuple[str, ...], words: str) -> None:
    assert outcome(pjm, *command) == (1, words)


def test_a_job_that_has_ended_cannot_be_deleted_or_held(pjm: PJM) -> None:
    job = pjm.submit("true")
    pjm.wait(job)
    for command, number in (("pjdel", "0113"), ("pjhold", "0313")):
        words = f"[ERR.] PJM {number} {command} Job {job} is not in the state that {command} can be accepted.\n"
        assert outcome(pjm, command, job) == (1, words)


def test_a_range_never_complains(pjm: PJM) -> None:
    pjm.environment["FAKEPJM_MAX_RUN"] = "0"
    for _ in range(2):
        pjm.submit("true")
    assert outcome(pjm, "pjdel", "2-9") == (0, "[INFO] PJM 0100 pjdel Accepted job 2.\n")
    assert outcome(pjm, "pjhold", "1-9") == (0, "[INFO] PJM 0300 pjhold Accepted job 1.\n"), "job 2 is gone"


def test_each_of_several_jobs_has_its_line(pjm: PJM) -> None:
    pjm.environment["FAKEPJM_MAX_RUN"] = "0"
    job = pjm.submit("true")
    code, text = outcome(pjm, "pjdel", "99", job)
    assert code == 1
    assert sorted(text.splitlines()) == [
        "[ERR.] PJM 0112 pjdel Job 99 does not exist.",
        f"[INFO] PJM 0100 pjdel Accepted job {job}.",
    ]


def test_a_queued_job_can_be_held_and_released(pjm: PJM) -> None:
    running = pjm.submit("sleep 30")
    job = pjm.submit("true")
    assert outcome(pjm, "pjhold", job) == (0, f"[INFO] PJM 0300 pjhold Accepted job {job}.\n")
    assert outcome(pjm, "pjhold", job) == (0, f"[INFO] PJM 0319 pjhold Already accepted job {job}.\n")
    pjm.run("pjdel", running)
    pjm.wait(running)
    assert pjm.status(job)["ST"] == "HLD"
    assert outcome(pjm, "pjrls", job) == (0, f"[INFO] PJM 0400 pjrls Job {job} released.\n")
    assert pjm.wait(job)["ec"] == 0


def test_a_running_job_that_is_held_starts_again_when_released(pjm: PJM) -> None:
    job = pjm.submit("echo try >> tries; [ $(wc -l < tries) = 2 ] || sleep 30")
    pjm.written("tries")
    pjm.run("pjhold", job)
    assert pjm.until(job, "HLD")["pc"] == 4
    assert " PJM 7091 " in pjm.text(f"job.sh.{job}.err")
    pjm.run("pjrls", job)
    assert (pjm.wait(job)["pc"], pjm.text("tries")) == (0, "try\ntry\n")


def test_only_a_held_job_can_be_released(pjm: PJM) -> None:
    job = pjm.submit("sleep 30")
    assert outcome(pjm, "pjrls", job) == (1, f"[ERR.] PJM 0413 pjrls Job {job} status is not hold.\n")


def test_pjwait_blocks_and_tells_how_jobs_ended(pjm: PJM) -> None:
    first = pjm.submit("sleep 0.2; exit 1")
    second = pjm.submit("kill -9 $$")
    assert outcome(pjm, "pjwait", first, second) == (0, f"{first} 0 1 -\n{second} 0 0 9\n")
