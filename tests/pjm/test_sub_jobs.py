"""Step jobs, whose sub jobs follow each other, and bulk jobs, whose sub jobs are alike."""

from __future__ import annotations

import pytest

from .system import PJM


def chain(pjm: PJM, *bodies: tuple[str, str]) -> list[str]:
    """Submits (body, dependency) as one step job, held until it is complete; the keys of its sub jobs."""
    room, pjm.environment["FAKEPJM_MAX_RUN"] = pjm.environment.get("FAKEPJM_MAX_RUN", "1"), "0"
    keys: list[str] = []
    for number, (body, dependency) in enumerate(bodies):
        words = [f"jid={keys[0].split('_')[0]}"] if keys else []
        words += [dependency] if dependency else []
        sparam = ("--sparam", ",".join(words)) if words else ()
        if number + 1 == len(bodies):
            pjm.environment["FAKEPJM_MAX_RUN"] = room
        keys.append(pjm.submit(body, options=("--step", *sparam)))
    return keys


def test_sub_jobs_run_one_after_the_other(pjm: PJM) -> None:
    pjm.environment["FAKEPJM_MAX_RUN"] = "4"
    keys = chain(pjm, ("sleep 0.2; echo $PJM_STEPNUM >> order", ""), ("echo $PJM_STEPNUM >> order", ""))
    assert keys == ["1_0", "1_1"]
    for key in keys:
        pjm.wait(key)
    assert pjm.text("order") == "0\n1\n"
    assert pjm.text("job.sh.1_1.out") == ""


def test_all_that_follow_a_failed_step_are_deleted(pjm: PJM) -> None:
    keys = chain(pjm, ("exit 3", ""), ("echo no", "sd=ec!=0:all"), ("echo no", ""))
    found = [pjm.wait(key) for key in keys]
    assert [(job["ec"], job["pc"]) for job in found] == [(3, 0), (0, 6), (0, 6)]
    assert found[2]["state"] == "CCL"
    assert not list(pjm.work.glob("job.sh.1_[12].out"))


@pytest.mark.parametrize(
    ("dependency", "codes"),
    [
        ("sd=ec!=0", [0, 6, 0]),
        ("sd=ec==1,3:one:0", [0, 6, 0]),
        ("sd=ec==1,2:all", [0, 0, 0]),
        ("sd=ec>3:all", [0, 0, 0]),
        ("sd=ec>=3:all", [0, 6, 6]),
        ("sd=pc!=0:all", [0, 0, 0]),
        ("sd=NONE", [0, 0, 0]),
    ],
)
def test_a_dependency_says_what_is_deleted(pjm: PJM, dependency: str, codes: list[int]) -> None:
    keys = chain(pjm, ("exit 3", ""), ("true", dependency), ("true", ""))
    assert [pjm.wait(key)["pc"] for key in keys] == codes


def test_after_deletes_those_that_depend_on_the_deleted_one(pjm: PJM) -> None:
    keys = chain(pjm, ("exit 3", ""), ("true", "sd=ec!=0:after"), ("true", "sd=ec==9:one:1"), ("true", ""))
    assert [pjm.wait(key)["pc"] for key in keys] == [0, 6, 6, 0]


def test_a_deleted_step_has_no_exit_code_to_depend_on(pjm: PJM) -> None:
    keys = chain(pjm, ("exit 3", ""), ("true", "sd=ec!=0"), ("true", "sd=ec==0"), ("true", "sd=pc==6:one:1"))
    assert [pjm.wait(key)["pc"] for key in keys] == [0, 6, 0, 6]


def test_a_wrong_dependency_is_refused(pjm: PJM) -> None:
    done = pjm.pjsub("--step", "--sparam", "sd=ec=0", pjm.script("true"))
    assert done.stderr == "[ERR.] PJM 0004 pjsub Invalid option argument: --sparam sd=ec=0.\n"


def test_a_step_job_that_has_ended_takes_no_more(pjm: PJM) -> None:
    key = pjm.submit("true", options=("--step",))
    pjm.wait(key)
    assert pjm.pjsub("--step", "--sparam", "jid=1", "job.sh").stderr == "[ERR.] PJM 0012 pjsub Job 1 does not exist.\n"


def test_several_scripts_become_one_step_job(pjm: PJM) -> None:
    pjm.script("echo a", name="a.sh")
    pjm.script("echo b", name="b.sh")
    done = pjm.pjsub("--step", "a.sh,b.sh")
    assert done.stdout == "[INFO] PJM 0000 pjsub Job 1_0 submitted.\n[INFO] PJM 0000 pjsub Job 1_1 submitted.\n"
    pjm.wait("1_1")
    assert pjm.text("b.sh.1_1.out") == "b\n"


def test_deleting_a_step_job_says_so_for_each_sub_job(pjm: PJM) -> None:
    chain(pjm, ("sleep 30", ""), ("true", ""))
    assert (
        pjm.run("pjdel", "1").stdout
        == "[INFO] PJM 0100 pjdel Accepted job 1_0.\n[INFO] PJM 0100 pjdel Accepted job 1_1.\n"
    )


def test_each_sub_job_of_a_bulk_job_has_its_number_and_files(pjm: PJM) -> None:
    pjm.environment["FAKEPJM_MAX_RUN"] = "2"
    done = pjm.pjsub("--bulk", "--sparam", "0-3", pjm.script("echo $PJM_SUBJOBID $PJM_BULKNUM", "-N run -o %n.%b"))
    assert done.stdout == "[INFO] PJM 0000 pjsub Job 1 submitted.\n"
    for number in range(4):
        assert pjm.wait(f"1[{number}]")["pc"] == 0
        assert pjm.text(f"run.{number}") == f"1[{number}] {number}\n"
        assert (pjm.work / f"run.1[{number}].err").exists()


def test_bulk_jobs_are_deleted_whole_or_in_part(pjm: PJM) -> None:
    pjm.environment["FAKEPJM_MAX_RUN"] = "0"
    pjm.pjsub("--bulk", "--sparam", "0-3", pjm.script("true"))
    assert (
        pjm.run("pjdel", "1[1-2]").stdout
        == "[INFO] PJM 0100 pjdel Accepted job 1[1].\n[INFO] PJM 0100 pjdel Accepted job 1[2].\n"
    )
    assert [pjm.job(f"1[{number}]")["state"] for number in range(4)] == ["QUE", "CCL", "CCL", "QUE"]
    assert pjm.run("pjdel", "1").stdout == "[INFO] PJM 0100 pjdel Accepted job 1.\n"
    assert pjm.job("1[3]")["state"] == "CCL"
