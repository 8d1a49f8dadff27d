"""mpiexec: how many ranks, with which variables, into which files, and what it says when one fails."""

from __future__ import annotations

import pytest

from .fakepjm import processes
from .system import NONE, PJM, Variables

FOUR = ("-L node=4", "--mpi proc=4")
WARNING = "[WARN] PLE 0605 plexec ignore option -ofout/-stdout(stdout outputs to "


def ran(pjm: PJM, body: str, *directives: str, variables: Variables = NONE) -> tuple[str, str]:
    """What the script wrote to its two files."""
    job = pjm.submit(body, *(directives or FOUR), variables=variables)
    pjm.wait(job)
    return pjm.text(f"job.sh.{job}.out"), pjm.text(f"job.sh.{job}.err")


def names(pjm: PJM, pattern: str) -> list[str]:
    return sorted(str(path.relative_to(pjm.work)) for path in pjm.work.glob(pattern) if path.is_file())


def test_each_rank_has_its_number_and_its_file(pjm: PJM) -> None:
    out, err = ran(pjm, "mpiexec -stdout-proc o -n 4 python3 -c 'import os; print(os.environ[\"PMIX_RANK\"])'")
    assert (out, err) == ("", "")
    assert names(pjm, "o.*") == [f"o.1.{rank}" for rank in range(4)]
    assert pjm.text("o.1.3") == "3\n"


def test_the_number_of_ranks_is_that_of_the_job_if_not_given(pjm: PJM) -> None:
    ran(pjm, "mpiexec -std-proc o sh -c 'echo $PMIX_RANK'", "-L node=3", "--mpi max-proc-per-node=2")
    assert names(pjm, "o.*") == [f"o.1.{rank}" for rank in range(6)]


def test_fugaku_keeps_ranks_apart_by_default_and_counts_launches(pjm: PJM) -> None:
    ran(pjm, "mpiexec -n 2 sh -c 'echo hi; [ $PMIX_RANK = 1 ] && echo err >&2; true'\nmpirun -np 1 echo again")
    assert names(pjm, "output.1/**/*") == [
        "output.1/0/1/stderr.1.1", "output.1/0/1/stdout.1.0", "output.1/0/1/stdout.1.1", "output.1/0/2/stdout.2.0",
    ]  # fmt: skip


def test_stock_tcs_writes_beside_the_jobs_output(wisteria: PJM) -> None:
    (wisteria.work / "job.sh").write_text(
        "#!/bin/bash\n#PJM -g hp000000 -L rscgrp=debug-o,node=2 --mpi proc=2\nmpiexec sh -c 'echo $PMIX_RANK'\n"
    )
    wisteria.pjsub("job.sh")
    wisteria.wait("1")
    assert wisteria.text("job.sh.1.out.1.1") == "1\n"


def test_stock_tcs_writes_all_ranks_to_one_file_if_told_so(wisteria: PJM) -> None:
    (wisteria.work / "job.sh").write_text(
        "#!/bin/bash\n#PJM -g hp000000 -L rscgrp=debug-o,node=2 --mpi proc=2\n"
        "mpiexec -of all.%j sh -c 'echo $PMIX_RANK; echo err >&2'\n"
        "mpiexec -ofout out -oferr err sh -c 'echo $PMIX_RANK; echo err >&2'\n"
    )
    wisteria.pjsub("job.sh")
    wisteria.wait("1")
    assert sorted(wisteria.text("all.1").split()) == ["0", "1", "err", "err"]
    assert sorted(wisteria.text("out").split()) == ["0", "1"]
    assert wisteria.text("err") == "err\nerr\n"
    assert wisteria.text("job.sh.1.err") == ""


def test_silent_ranks_leave_no_file_unless_asked_to(pjm: PJM) -> None:
    body = "mpiexec -n 2 -std-proc {}/o sh -c '[ $PMIX_RANK = 0 ] && echo hi; true'"
    ran(pjm, body.format("a") + "\nPLE_MPI_STD_EMPTYFILE=on " + body.format("b"))
    assert names(pjm, "[ab]/*") == ["a/o.1.0", "b/o.2.0", "b/o.2.1"]


def test_file_names_have_metacharacters(pjm: PJM) -> None:
    ran(pjm, "mpiexec -n 4 -std-proc 'jobs/output.%j/%m/%/2r/%n-%03r' echo hi")
    assert names(pjm, "jobs/**/*") == [
        f"jobs/output.1/1/{rank // 2 * 2}/job.sh-{rank:03d}.1.{rank}" for rank in range(4)
    ]


def test_one_file_for_all_ranks_is_ignored_with_a_warning(pjm: PJM) -> None:
    _, err = ran(pjm, "mpiexec -n 1 -stdout all echo hi")
    assert err.startswith(WARNING)
    assert err.endswith("output.1/0/1/stdout.1.0).\n")
    assert not (pjm.work / "all").exists()


def test_a_failing_rank_ends_the_others_and_mpiexec(pjm: PJM) -> None:
    out, err = ran(
        pjm, "mpiexec -n 4 -std-proc o sh -c '[ $PMIX_RANK = 2 ] && exit 3; sleep 2; echo alive'; echo code $?"
    )
    assert (out, names(pjm, "o.*")) == ("code 3\n", [])
    first, second = err.splitlines()
    assert first.startswith(
        "[ERR.] PLE 0014 plexec The process terminated abnormally.(rank=2)(nid=0x01010003)(exitstatus=3)(CODE="
    )
    assert second == (
        "[ERR.] PLE The program that the user specified may be illegal or inaccessible on the node.(nid=0x01010003)"
    )


def test_a_rank_that_dies_of_a_signal_is_told(pjm: PJM) -> None:
    out, err = ran(pjm, "mpiexec -n 2 sh -c '[ $PMIX_RANK = 1 ] && kill -9 $$; sleep 30'; echo code $?")
    assert (out, err) == (
        "code 137\n",
        "[ERR.] PLE 0017 plexec The process terminated with the signal.(rank=1)(nid=0x01010002)(sig=9)\n",
    )


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            "mpiexec -n 5 true",
            "[ERR.] PLE 0005 plexec The specified number of processes is too many.(nid=0x01010001)(CODE=",
        ),
        ("mpiexec -n 2", "[ERR.] PLE 0011 plexec The program is not specified."),
        ("mpiexec ./nosuch", "[ERR.] PLE 0018 plexec The program(./nosuch) cannot be executed.(nid=0x01010001)(error="),
        (
            "mpiexec --vcoordfile v true",
            '[ERR.] PLE 0044 plexec The file "v" specified with --vcoordfile does not exist.',
        ),
        ("echo '(9)' > v; mpiexec -n 1 --vcoordfile v true", "[ERR.] PLE 0060 plexec Format error in --vcoordfile."),
        ("mpiexec --map-by node true", "mpiexec: unknown option --map-by\nusage: mpiexec "),
        ("mpiexec -N 4 true", "mpiexec: unknown option -N\nusage: mpiexec "),
    ],
)
def test_what_cannot_be_launched_is_refused_in_ples_words(pjm: PJM, command: str, words: str) -> None:
    out, err = ran(pjm, f"{command}; echo code $?")
    assert err.startswith(words)
    assert out == "code 1\n"


def test_a_job_of_one_node_without_mpi_has_no_ranks(pjm: PJM) -> None:
    _, err = ran(pjm, "mpiexec true", "-L node=1")
    assert err == "[ERR.] PLE 0015 plexec cannot execute as sequential job.\n"


def test_outside_a_job_there_is_no_launch(pjm: PJM) -> None:
    done = pjm.run("mpiexec", "true")
    assert (done.returncode, done.stderr[:35]) == (1, "[ERR.] PLE 0002 plexec PLE service ")


def test_ranks_know_their_place_on_the_node(pjm: PJM) -> None:
    script = "mpiexec -std-proc {} sh -c 'echo $PLE_RANK_ON_NODE'\n"
    ran(pjm, script.format("chip"), "-L node=2", "--mpi max-proc-per-node=2")
    ran(pjm, script.format("node"), "-L node=2", "--mpi proc=4,max-proc-per-node=2,rank-map-bynode")
    assert [pjm.text(f"chip.1.{rank}").strip() for rank in range(4)] == ["0", "1", "0", "1"]
    assert [pjm.text(f"node.1.{rank}").strip() for rank in range(4)] == ["0", "0", "1", "1"]


def test_variables_are_passed_on(pjm: PJM) -> None:
    ran(
        pjm, "export B=2\nmpiexec -n 1 -x A=1 -x B -mca common_tofu_use_memory_pool 1 -std-proc o sh -c "
        "'echo $A $B $OMPI_MCA_common_tofu_use_memory_pool $PMIX_NAMESPACE ${OMPI_COMM_WORLD_RANK-none}'",
    )  # fmt: skip
    assert pjm.text("o.1.0") == "1 2 1 1.1 none\n"


def test_names_that_the_manuals_do_not_know_are_there_only_on_request(pjm: PJM) -> None:
    ran(
        pjm,
        "mpiexec -n 2 -std-proc o sh -c 'echo $OMPI_COMM_WORLD_RANK of $OMPI_COMM_WORLD_SIZE'",
        variables={"FAKEPJM_OMPI_ENV": "1"},
    )
    assert pjm.text("o.1.1") == "1 of 2\n"


def test_ranks_read_a_file_only_through_stdin_option(pjm: PJM) -> None:
    (pjm.work / "in").write_text("word\n")
    ran(pjm, "mpiexec -n 2 -stdin in -std-proc a cat\nmpiexec -n 2 -std-proc b sh -c 'cat; echo end' < in")
    assert [pjm.text(name) for name in ("a.1.0", "a.1.1", "b.2.0")] == ["word\n", "word\n", "end\n"]


def test_several_programs_share_a_launch(pjm: PJM) -> None:
    ran(pjm, "mpiexec -std-proc o -n 1 echo first : -n 2 echo others")
    assert [pjm.text(f"o.1.{rank}") for rank in range(3)] == ["first\n", "others\n", "others\n"]


def test_libraries_that_only_fugaku_has_are_not_preloaded(pjm: PJM) -> None:
    ran(pjm, "export LD_PRELOAD=\nmpiexec -n 1 -x LD_PRELOAD=libtcmalloc.so -std-proc o sh -c 'echo \"[$LD_PRELOAD]\"'")
    assert pjm.text("o.1.0") == "[]\n"


def test_too_many_ranks_for_this_host_can_be_an_error_instead(pjm: PJM) -> None:
    _, err = ran(pjm, "mpiexec true", "-L node=20", "--mpi proc=20", variables={"FAKEPJM_RANK_POLICY": "refuse"})
    assert err.startswith("[ERR.] PLE 0005 plexec ")


def test_a_deleted_job_leaves_no_rank(pjm: PJM) -> None:
    job = pjm.submit("mpiexec -n 2 -std-proc o sh -c 'echo $$; exec sleep 30'", *FOUR)
    ranks = [int(pjm.written(f"o.1.{rank}")) for rank in range(2)]
    pjm.run("pjdel", job)
    pjm.wait(job)
    assert [processes.start_time(rank) for rank in ranks] == [None, None]


# --- the tools beside it


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("llio_transfer job.sh", 0),
        ("llio_transfer --purge job.sh job.sh", 0),
        ("llio_transfer nosuch", 1),
        ("dir_transfer -p -l logs .", 0),
        ("dir_transfer nosuch", 1),
        ("numactl -m 4-7 -N 4-7 sh -c 'exit 7'", 7),
        ("numactl --membind=4-7 --cpunodebind=4-7 sh -c 'exit 7'", 7),
    ],
)
def test_tools_of_fugaku_look_at_what_they_are_given(pjm: PJM, command: str, code: int) -> None:
    assert ran(pjm, f"{command} 2> /dev/null; echo $?", "-L node=1")[0] == f"{code}\n"
