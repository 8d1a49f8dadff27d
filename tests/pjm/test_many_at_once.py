"""Several users of one queue at the same time."""

from __future__ import annotations

import subprocess

from .system import PJM


def test_eight_submissions_at_once_become_eight_jobs(pjm: PJM) -> None:
    pjm.environment["FAKEPJM_MAX_RUN"] = "3"
    script = pjm.script("echo $PJM_JOBID")
    started = [
        subprocess.Popen(
            ["pjsub", "-z", "jid", script.name], cwd=pjm.work, env=pjm.environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(8)
    ]
    keys = [process.communicate(timeout=60)[0].strip() for process in started]
    assert sorted(keys, key=int) == [str(number) for number in range(1, 9)]
    for key in keys:
        assert pjm.wait(key)["pc"] == 0
        assert pjm.text(f"job.sh.{key}.out") == f"{key}\n"


def test_a_submission_does_not_wait_for_the_job(pjm: PJM) -> None:
    job = pjm.submit("sleep 30")  # with its output captured: nothing of the job may hold the pipe open
    assert pjm.until(job, "RNA", "RUN")


def test_nothing_outlives_a_system(pjm: PJM) -> None:
    from .fakepjm import processes

    job = pjm.submit("setsid sleep 30 & sleep 30")
    pjm.until(job, "RUN")
    pjm.close()
    assert processes.with_variables(FAKEPJM_HOME=str(pjm.home)) == []
