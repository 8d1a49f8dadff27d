"""What ends a job that does not end itself: its time limit, and faults of the machine."""

from __future__ import annotations

import time

import pytest

from .fakepjm import processes
from .system import PJM


def test_at_the_time_limit_all_processes_get_SIGXCPU_and_may_still_write(pjm: PJM) -> None:
    pjm.hurry(60)
    job = pjm.submit(
        "trap 'echo handled in the script' XCPU\nbash -c 'trap \"echo handled in a child; exit 0\" XCPU; sleep 30 & wait'\n",
        "-L elapse=60",
    )
    found = pjm.wait(job)
    assert sorted(pjm.text(f"job.sh.{job}.out").splitlines()) == ["handled in a child", "handled in the script"]
    assert (found["state"], found["pc"]) == ("EXT", 11)
    assert pjm.text(f"job.sh.{job}.err").splitlines()[-1] == (
        f"[ERR.] PJM 7004 Job {job} was canceled. The job exceeded its elapse time limit."
    )
    shown = pjm.status(job)
    assert (shown["ST"], shown["PC"], shown["REASON"]) == ("EXT", "11", "ELAPSE LIMIT EXC")


def test_a_script_without_a_trap_dies_of_SIGXCPU(pjm: PJM) -> None:
    pjm.hurry(120)
    found = pjm.wait(pjm.submit("sleep 30", "-L elapse=60"))
    assert (found["ec"], found["pc"], found["sn"]) == (0, 11, 24)  # as Fugaku's `pjstat -H -v` shows


def test_who_ignores_SIGXCPU_is_killed_later(pjm: PJM) -> None:
    pjm.hurry(120)
    begun = time.monotonic()
    job = pjm.submit("trap '' XCPU\nsleep 30", "-L elapse=60")
    found = pjm.wait(job)
    assert (found["pc"], found["sn"]) == (11, 9)
    assert time.monotonic() - begun >= 60 / 120 + 0.5


def test_the_site_may_keep_its_messages_to_itself(pjm: PJM) -> None:
    pjm.set(job_messages=False)
    pjm.hurry(240)
    job = pjm.submit("sleep 30", "-L elapse=60")
    pjm.wait(job)
    assert pjm.text(f"job.sh.{job}.err") == ""


@pytest.mark.parametrize(
    ("fault", "state", "code", "message"),
    [
        ("node_down@0.1s", "EXT", 20, None),
        ("oom@0.1s", "EXT", 23, "7011"),
        ("memory@0.1s", "EXT", 12, "7005"),
        ("shell_fail", "EXT", 21, "7009"),
        ("reject", "RJT", 2, None),
    ],
)
def test_a_fault_shows_as_its_pjm_code(pjm: PJM, fault: str, state: str, code: int, message: str | None) -> None:
    pjm.inject(fault)
    job = pjm.submit("sleep 30")
    found = pjm.wait(job)
    assert (found["state"], found["pc"]) == (state, code)
    if message:
        assert f"[ERR.] PJM {message} Job {job} was canceled." in pjm.text(f"job.sh.{job}.err")


def test_an_adaptive_job_that_must_make_room_gets_SIGTERM_and_time(pjm: PJM) -> None:
    pjm.inject("another_job@0.3s")
    job = pjm.submit("trap 'echo saving; exit 0' TERM\nsleep 30 & wait", "-L elapse=60-1:00:00")
    found = pjm.wait(job)
    assert (found["pc"], found["reason"], pjm.status(job)["REASON"]) == (18, "ANOTHER JOB STARTED", "ANOTHER JOB STAR")
    assert pjm.text(f"job.sh.{job}.out") == "saving\n"


def test_a_job_that_may_restart_is_queued_again_when_its_node_goes_down(pjm: PJM) -> None:
    pjm.inject("node_down@0.2s")
    job = pjm.submit("echo try >> tries; [ $(wc -l < tries) = 2 ] || sleep 30", "--restart")
    found = pjm.wait(job)
    assert (found["pc"], found["retries"], pjm.text("tries")) == (0, 1, "try\ntry\n")


def test_a_supervisor_that_is_killed_looks_like_a_dead_node(pjm: PJM) -> None:
    first = pjm.submit("sleep 30")
    second = pjm.submit("true")
    supervisor = pjm.until(first, "RUN")["supervisor"]
    processes.send([supervisor["pid"]], 9)
    while processes.alive(supervisor):
        time.sleep(0.01)
    pjm.run("pjstat")
    assert pjm.wait(first)["pc"] == 20
    assert pjm.wait(second)["pc"] == 0


def test_at_keeps_a_job_waiting_until_then(pjm: PJM) -> None:
    moment = time.localtime(time.time() + 3600)
    job = pjm.submit("true", f"--at {time.strftime('%Y%m%d%H%M', moment)}")
    assert pjm.job(job)["state"] == "QUE"
    assert pjm.run("pjstat", job).stdout.splitlines()[1].split()[5:7] == [
        time.strftime("(%m/%d", moment), time.strftime("%H:%M)@", moment),
    ]  # fmt: skip
    pjm.hurry(36000)
    sooner = pjm.submit("true", f"--at {time.strftime('%Y%m%d%H%M', moment)}")
    assert pjm.wait(sooner)["ec"] == 0
