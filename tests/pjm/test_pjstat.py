"""pjstat: what it shows of which jobs, in the columns of the real command."""

from __future__ import annotations

import re
import time

import pytest

from .system import PJM

HEADER = "JOB_ID     JOB_NAME   MD ST  USER     START_DATE      ELAPSE_LIM           NODE_REQUIRE    VNODE  CORE V_MEM"
VERBOSE = (
    "JOB_ID     JOB_NAME   MD ST  USER     GROUP    START_DATE      ELAPSE_TIM ELAPSE_LIM            NODE_REQUIRE    VNODE  CORE "
    "V_MEM        V_POL E_POL RANK      LST EC  PC  SN PRI ACCEPT         RSC_GRP  REASON"
)


def lines(pjm: PJM, *options: str) -> list[str]:
    done = pjm.run("pjstat", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_without_jobs_there_is_only_the_header(pjm: PJM) -> None:
    assert lines(pjm) == [HEADER]


def test_a_line_has_the_columns_of_the_real_command(pjm: PJM) -> None:
    job = pjm.submit("sleep 30", "-L node=2x3x2 -N a_name_that_is_long")
    started = time.strftime("%m/%d %H:%M:%S", time.localtime(pjm.until(job, "RUN")["started"]))
    user = pjm.job(job)["user"]
    assert (
        lines(pjm)[1]
        == f"{job:<10} a_name_tha NM RUN {user:<8.8} {started}  0001:00:00           12:2x3x2        -      -    -"
    )


def test_the_verbose_form_is_that_of_captures_from_fugaku(pjm: PJM) -> None:
    """The widths of a line that a Fugaku user published (two dates, codes and a reason with blanks)."""
    pjm.hurry(240)
    job = pjm.submit("sleep 30", "-L elapse=60")
    pjm.wait(job)
    header, line = lines(pjm, "-H", "-v")
    assert header == VERBOSE
    shape = (
        r"1          job\.sh     NM EXT \S+ +hp000000 \d\d/\d\d \d\d:\d\d:\d\d  0000:\d\d:\d\d 0000:01:00            1               "
        r"-      -    -            -     -     bychip    RNO 0   11  24 127 \d\d/\d\d \d\d:\d\d:\d\d small    ELAPSE LIMIT EXC"
    )
    assert re.fullmatch(shape, line)


def test_a_queued_job_shows_a_start_in_brackets(pjm: PJM) -> None:
    pjm.submit("sleep 30")
    queued = pjm.submit("true")
    assert re.search(r" QUE \S+ +\(\d\d/\d\d \d\d:\d\d\)   0001:00:00 ", lines(pjm, queued)[1])


def test_jobs_that_have_ended_are_history(pjm: PJM) -> None:
    job = pjm.submit("true")
    pjm.wait(job)
    assert lines(pjm) == [HEADER]
    assert lines(pjm, job) == [HEADER]
    assert lines(pjm, "-H")[1].startswith(f"{job} ")
    assert lines(pjm, "-H", "day=1")[1].startswith(f"{job} ")
    assert lines(pjm, "-H", "start=20200101,end=20200102") == [HEADER]


def test_unknown_jobs_are_left_out_silently(pjm: PJM) -> None:
    assert lines(pjm, "99") == [HEADER]


def test_data_has_an_empty_first_field_and_chosen_items(pjm: PJM) -> None:
    job = pjm.submit("exit 3")
    pjm.wait(job)
    assert lines(pjm, "-H", "--data", "--choose", "jid,st,nosuch,ec,pc,sn,ermsg", job) == [
        "H,JOB_ID,ST,EC,PC,SN,REASON",
        f",{job},EXT,3,0,0,-",
    ]


def test_units_and_groups_are_columns_on_request(pjm: PJM) -> None:
    pjm.environment["FAKEPJM_MAX_RUN"] = "0"
    job = pjm.submit("true")
    header, line = lines(pjm, "--data", "--choose", "jid", "--rscunit", "--rscgrp")
    assert (header, line) == ("H,RSCUNIT,RSCGRP,,JOB_ID", f",rscunit_ft01,small,{job}")
    assert len(lines(pjm, "--rscgrp=small")) == 2
    assert len(lines(pjm, "--rscgrp=large")) == 1


def test_filters_take_lists_ranges_and_wildcards(pjm: PJM) -> None:
    pjm.environment["FAKEPJM_MAX_RUN"] = "0"
    for name in ("alpha", "beta", "beta2"):
        pjm.submit("true", f"-N {name}")

    def found(text: str) -> list[str]:
        return [line.split(",")[1] for line in lines(pjm, "--data", "--choose", "jid", "--filter", text)[1:]]

    assert found("jid=1+3") == ["1", "3"]
    assert found("jid=2-3") == ["2", "3"]
    assert found("jid=-2") == ["1", "2"]
    assert found("jid=3-") == ["3"]
    assert found("jnam=beta*") == ["2", "3"]
    assert found("jnam=beta.") == ["3"]
    assert found(r"jnam=beta\*") == []
    assert found("jnam=beta*,jid=1-2") == ["2"]
    assert found("nosuch=1") == []


def test_sorting_and_ranges_of_ids(pjm: PJM) -> None:
    pjm.environment["FAKEPJM_MAX_RUN"] = "0"
    for _ in range(3):
        pjm.submit("true")
    assert [line.split()[0] for line in lines(pjm, "--sort", "jid:D", "1-2")[1:]] == ["2", "1"]


def test_a_summary_counts_states(pjm: PJM) -> None:
    pjm.environment["FAKEPJM_MAX_RUN"] = "0"
    pjm.submit("true")
    pjm.run("pjhold", pjm.submit("true"))
    found = lines(pjm, "--summary")
    assert found[0] == "  ACCEPT QUEUED RUNING RUNOUT HOLD   ERROR  SUSPND REJECT EXIT   CANCEL TOTAL"
    assert [line.split() for line in found[1:]] == [
        ["0", "1", "0", "0", "1", "0", "0", "0", "0", "0", "2"],
        ["s", "0", "1", "0", "0", "1", "0", "0", "0", "0", "0", "2"],
    ]


def test_sub_jobs_are_shown_on_request_below_one_line_for_the_job(pjm: PJM) -> None:
    pjm.environment["FAKEPJM_MAX_RUN"] = "0"
    pjm.pjsub("--bulk", "--sparam", "0-2", pjm.script("true"))
    pjm.pjsub("--step", pjm.script("true"))
    assert [line.split()[:4] for line in lines(pjm)[1:]] == [["1", "job.sh", "BU", "QUE"], ["2", "job.sh", "ST", "QUE"]]
    assert lines(pjm)[2].split()[-5:] == ["-"] * 5, "the sub jobs of a step job differ"
    shown = [line.split()[0] for line in lines(pjm, "-E")[1:]]
    assert shown == ["1", "1[0]", "1[1]", "1[2]", "2", "2_0"]
    assert [line.split()[0] for line in lines(pjm, "1[1-2]", "2_0")[1:]] == ["1[1]", "1[2]", "2_0"]


def test_statistics_can_be_asked_for(pjm: PJM) -> None:
    job = pjm.submit("true")
    pjm.wait(job)
    text = pjm.run("pjstat", "-H", "-s", job).stdout
    assert text.startswith("Job Statistical Information\n")
    assert f" JOB ID                              : {job}\n" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--nosuch"], "[ERR.] PJM 0201 pjstat Unknown option or no option argument: --nosuch."),
        (["--choose"], "[ERR.] PJM 0201 pjstat Unknown option or no option argument: --choose."),
        (["-v", "-s"], "[ERR.] PJM 0202 pjstat Invalid combination of options: -v and -s."),
        (["--rscunit=nosuch"], "[ERR.] PJM 0297 pjstat Resource unit does not exist: nosuch."),
        (["one"], "[ERR.] PJM 0211 pjstat Invalid jobid: one."),
    ],
)
def test_what_it_does_not_know_is_refused(pjm: PJM, options: list[str], words: str) -> None:
    done = pjm.run("pjstat", *options)
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, words)


def test_others_parse_our_output_as_they_parse_the_real_one(pjm: PJM) -> None:
    """How fugaku-api, autosubmit, nextflow and seisflows read pjsub and pjstat."""
    pjm.environment["FAKEPJM_MAX_RUN"] = "0"
    text = pjm.pjsub(pjm.script("true")).stdout
    assert re.search("pjsub Job ([0-9]+) submitted", text)
    assert text.split()[5] == "1"
    assert re.search(r"\[INFO\] PJM 0000 pjsub Job (\d+) submitted\.", text)
    row = pjm.run("pjstat", "1").stdout.split("\n")[1].split()
    assert (row[0], row[3]) == ("1", "QUE")


def test_a_machine_whose_pjm_is_down_says_so_and_goes_on_with_its_jobs(pjm: PJM) -> None:
    job = pjm.submit("sleep 0.1; echo done")
    pjm.unreachable()
    done = pjm.run("pjstat")
    assert (done.returncode, done.stderr) == (1, "[ERR.] PJM 0290 pjstat PJM daemon is not present.\n")
    assert pjm.pjsub("job.sh").returncode == 1
    pjm.wait(job)
    pjm.unreachable(False)
    assert pjm.status(job)["ST"] == "EXT"
