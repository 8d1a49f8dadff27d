"""A job from its submission to its files."""

from __future__ import annotations

import pytest

from .fakepjm import processes
from .system import PJM


def variables(text: str) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition("=") for line in text.splitlines())}


def test_output_and_errors_have_files_of_their_own(pjm: PJM) -> None:
    job = pjm.submit("echo out; echo err >&2")
    found = pjm.wait(job)
    assert (found["state"], found["ec"], found["pc"], found["last_state"]) == ("EXT", 0, 0, "RNO")
    assert (pjm.text(f"job.sh.{job}.out"), pjm.text(f"job.sh.{job}.err")) == ("out\n", "err\n")


def test_both_files_exist_even_if_nothing_was_written(pjm: PJM) -> None:
    job = pjm.submit("true", "-N quiet")
    pjm.wait(job)
    assert (pjm.text(f"quiet.{job}.out"), pjm.text(f"quiet.{job}.err")) == ("", "")


def test_j_joins_them(pjm: PJM) -> None:
    job = pjm.submit("echo out; echo err >&2", "-j")
    pjm.wait(job)
    assert pjm.text(f"job.sh.{job}.out") == "out\nerr\n"
    assert not (pjm.work / f"job.sh.{job}.err").exists()


def test_a_j_behind_the_first_command_does_nothing(pjm: PJM) -> None:
    job = pjm.submit("echo hi\n#PJM -j\necho err >&2")
    pjm.wait(job)
    assert pjm.text(f"job.sh.{job}.err") == "err\n"


def test_files_may_be_named(pjm: PJM) -> None:
    job = pjm.submit("echo out", "-N run -o %n.%j.log", "-e errors.%J")
    pjm.wait(job)
    assert pjm.text(f"run.{job}.log") == "out\n"
    assert (pjm.work / f"errors.{job}").exists()


def test_an_output_file_that_cannot_be_written_ends_the_job(pjm: PJM) -> None:
    job = pjm.wait(pjm.submit("true", "-o nosuch/out"))
    assert (job["state"], job["pc"]) == ("EXT", 16)


def test_a_working_directory_that_is_gone_ends_the_job(pjm: PJM) -> None:
    folder = pjm.work / "gone"
    folder.mkdir()
    pjm.environment["FAKEPJM_MAX_RUN"] = "0"
    assert pjm.pjsub(pjm.script("true"), cwd=folder).returncode == 0
    folder.rmdir()
    pjm.environment["FAKEPJM_MAX_RUN"] = "1"
    pjm.run("pjdel", "999")  # any command that looks at the queue
    job = pjm.wait("1")
    assert (job["pc"], pjm.status("1")["REASON"]) == (16, "NO CURRENT DIR")


def test_the_exit_code_is_the_scripts_and_the_pjm_code_stays_0(pjm: PJM) -> None:
    job = pjm.wait(pjm.submit("exit 3"))
    assert (job["state"], job["ec"], job["pc"], job["sn"]) == ("EXT", 3, 0, 0)


def test_a_signal_is_told(pjm: PJM) -> None:
    job = pjm.wait(pjm.submit("kill -TERM $$"))
    assert (job["ec"], job["pc"], job["sn"]) == (0, 0, 15)


@pytest.mark.parametrize("header", ["#!/no/such/interpreter", "#!/bin/bash\r"])
def test_a_missing_interpreter_is_a_shell_failure(pjm: PJM, header: str) -> None:
    (pjm.work / "job.sh").write_text(f"{header}\ntrue\n", newline="")
    pjm.pjsub("-g", "hp000000", "-L", "rscgrp=small", "job.sh")
    assert pjm.wait("1")["pc"] == 21
    assert pjm.text("job.sh.1.err") == "[ERR.] PJM 7009 Job 1 was canceled. The job script execution failed.\n"


def test_the_environment_is_a_logins_with_pjms_variables(pjm: PJM) -> None:
    job = pjm.submit(
        "env", "-L node=2x3x2:torus,elapse=0:30:00", "--mpi proc=24,rank-map-bynode=YZX", "-x A=1,B", "--comment hello",
        variables={"UNSEEN": "x", "B": "from the shell"},
    )  # fmt: skip
    pjm.wait(job)
    found = variables(pjm.text(f"job.sh.{job}.out"))
    assert "UNSEEN" not in found
    assert (found["A"], found["B"]) == ("1", "from the shell")
    expected = {
        "PJM_ENVIRONMENT": "BATCH", "PJM_JOBID": job, "PJM_SUBJOBID": job, "PJM_JOBNAME": "job.sh", "PJM_JOBDIR": str(pjm.work),
        "PJM_NODE": "12", "PJM_NODE_X": "2", "PJM_NODE_Y": "3", "PJM_NODE_Z": "2", "PJM_NODE_ALLOCATION_MODE": "torus",
        "PJM_MPI_PROC": "24", "PJM_MPI_SHAPE_X": "2", "PJM_PROC_BY_NODE": "2", "PJM_RANK_MAP_BYNODE": "YZX",
        "PJM_RSCUNIT": "rscunit_ft01", "PJM_RSCGRP": "small", "PJM_ELAPSE_LIMIT": "1800", "PJM_ELAPSED_TIME_MODE": "fixed",
        "PJM_COMMENT": "hello", "PJM_O_WORKDIR": str(pjm.work), "PJM_STDOUT_PATH": str(pjm.work / f"job.sh.{job}.out"),
    }  # fmt: skip
    assert {name: found.get(name) for name in expected} == expected
    absent = {"PJM_BULKNUM", "PJM_STEPNUM", "PJM_LOCALTMP", "PJM_RANK_MAP_BYCHIP", "PJM_ADAPTIVE_ELAPSED_TIME_MIN"}
    assert not absent & found.keys()


def test_an_adaptive_job_that_is_not_started_again_finds_that_in_its_environment(pjm: PJM) -> None:
    job = pjm.submit("env", "-L elapse=1h-2h", "--norestart", "-N named")
    pjm.wait(job)
    found = variables(pjm.text(f"named.{job}.out"))
    expected = {
        "PJM_ELAPSED_TIME_MODE": "adaptive", "PJM_ADAPTIVE_ELAPSED_TIME_MIN": "3600", "PJM_ADAPTIVE_ELAPSED_TIME_MAX": "7200",
        "PJM_NORESTART": "1", "PJM_JOBNAME": "named", "PJM_SHELL": found["SHELL"], "PJM_DPREFIX": "#PJM",
    }  # fmt: skip
    assert {name: found.get(name) for name in expected} == expected


def test_a_hostfile_that_is_gone_when_the_job_starts_ends_it(pjm: PJM) -> None:
    (pjm.work / "hosts").write_text("(0)\n(1)\n")
    pjm.environment["FAKEPJM_MAX_RUN"] = "0"
    job = pjm.submit("true", "-L node=2 --mpi rank-map-hostfile=hosts")
    (pjm.work / "hosts").unlink()
    pjm.environment["FAKEPJM_MAX_RUN"] = "1"
    pjm.run("pjdel", "999")  # any command that looks at the queue
    pjm.wait(job)
    assert pjm.status(job)["REASON"] == "INVALID HOSTFILE"


def test_axes_that_the_shape_has_not_are_unset(pjm: PJM) -> None:
    job = pjm.submit("env", "-L node=2", "--mpi rank-map-bychip")
    pjm.wait(job)
    found = variables(pjm.text(f"job.sh.{job}.out"))
    assert (found["PJM_NODE_X"], found["PJM_RANK_MAP_BYCHIP"]) == ("2", "DEF")
    assert "PJM_NODE_Y" not in found


def test_X_passes_on_the_whole_environment_but_the_library_path(pjm: PJM) -> None:
    job = pjm.submit("env", "-X", variables={"MINE": "x", "LD_LIBRARY_PATH": "/nowhere"})
    pjm.wait(job)
    found = variables(pjm.text(f"job.sh.{job}.out"))
    assert found["MINE"] == "x"
    assert "LD_LIBRARY_PATH" not in found


def test_temporary_folders_are_there_on_request_and_go_with_the_job(pjm: PJM) -> None:
    job = pjm.submit(
        'touch "$PJM_LOCALTMP/a" && echo "$PJM_LOCALTMP ${PJM_SHAREDTMP-none}"', "--llio localtmp-size=1Gi"
    )
    assert pjm.wait(job)["ec"] == 0
    local, shared = pjm.text(f"job.sh.{job}.out").split()
    assert shared == "none"
    assert not (pjm.home / "jobs" / job / "localtmp").exists()
    assert local.startswith(str(pjm.home))


def test_one_job_runs_and_the_others_queue_by_priority_then_by_age(pjm: PJM) -> None:
    first = pjm.submit("until [ -e seen ]; do sleep 0.05; done; echo $PJM_JOBID >> order")
    second = pjm.submit("echo $PJM_JOBID >> order")
    urgent = pjm.submit("echo $PJM_JOBID >> order", "-p 200")
    pjm.until(first, "RUN")
    assert (pjm.job(second)["state"], pjm.job(urgent)["state"]) == ("QUE", "QUE")
    (pjm.work / "seen").touch()
    pjm.wait(second)
    assert pjm.text("order").split() == [first, urgent, second]


def test_several_run_at_once_where_the_machine_is_large_enough(pjm: PJM) -> None:
    pjm.environment["FAKEPJM_MAX_RUN"] = "2"
    jobs = [pjm.submit("sleep 30") for _ in range(3)]
    for job in jobs[:2]:
        pjm.until(job, "RUN")
    assert pjm.job(jobs[2])["state"] == "QUE"


def test_a_job_keeps_what_the_emulator_was_told_at_its_submission(pjm: PJM) -> None:
    first = pjm.submit("sleep 0.2")
    second = pjm.submit("env", variables={"FAKEPJM_REAL_MPI": "1"})
    pjm.wait(first)
    pjm.wait(second)
    assert variables(pjm.text(f"job.sh.{second}.out"))["FAKEPJM_REAL_MPI"] == "1"


def test_a_job_may_submit_another_and_does_not_take_it_along_when_it_ends(pjm: PJM) -> None:
    pjm.environment["FAKEPJM_MAX_RUN"] = "2"
    pjm.script("sleep 0.3; echo later", name="next.sh")
    first = pjm.submit("pjsub next.sh")
    assert pjm.wait(first)["ec"] == 0
    assert pjm.wait("2")["pc"] == 0
    assert pjm.text("next.sh.2.out") == "later\n"


def test_processes_that_a_script_leaves_behind_go_with_the_job(pjm: PJM) -> None:
    job = pjm.submit("setsid sleep 300 & echo $!; setsid setsid sleep 300 & exit 0")
    pjm.wait(job)
    assert processes.start_time(int(pjm.text(f"job.sh.{job}.out"))) is None


def test_statistics_are_written_on_request(pjm: PJM) -> None:
    job = pjm.submit("exit 2", "-s -L node=2")
    pjm.wait(job)
    lines = pjm.text(f"job.sh.{job}.stats").splitlines()
    assert lines[0] == "Job Statistical Information"
    found = {key.strip(): value.strip() for key, colon, value in (line.partition(": ") for line in lines) if colon}
    assert (found["JOB ID"], found["EXIT CODE"], found["PJM CODE"], found["RESOURCE GROUP"]) == (job, "2", "0", "small")
    assert found["AVG POWER CONSUMPTION OF NODE (IDEAL)"] == "142.9"


def test_detailed_statistics_have_a_block_for_each_node_in_a_file_of_ones_choice(pjm: PJM) -> None:
    job = pjm.submit("true", "-S -L node=2 --mpi proc=4 --spath stats.%j")
    pjm.wait(job)
    text = pjm.text(f"stats.{job}")
    assert text.count("Node Statistical Information") == 2
    assert text.count("-" * 80) == 2
    assert " RANK NO                             : 2,3" in text
