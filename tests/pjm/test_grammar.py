"""What pjsub understands, and the very words in which it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from .system import PJM

TRY = "Try `pjsub --help` for more information.\n"
BARE = "#!/bin/bash\necho hi\n"
LEAST = ("-g", "hp000000", "-L", "rscgrp=small")


def refusal(pjm: PJM, *options: str, text: str = BARE) -> str:
    """What pjsub prints to standard error when it refuses; it ends with 1 and no job exists."""
    (pjm.work / "job.sh").write_text(text, newline="")
    done = pjm.pjsub(*options, "job.sh")
    assert (done.returncode, done.stdout) == (1, ""), done.stdout
    assert pjm.jobs() == []
    return done.stderr


def accepted(pjm: PJM, *options: str, text: str = BARE) -> dict:
    (pjm.work / "job.sh").write_text(text)
    done = pjm.pjsub(*options, "job.sh")
    assert done.returncode == 0, done.stderr
    return pjm.job(pjm.jobs()[-1])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--nodes", "4"], "[ERR.] PJM 0001 pjsub Unknown option or no option argument: --nodes.\n" + TRY),
        (["--version"], "[ERR.] PJM 0001 pjsub Unknown option or no option argument: --version.\n" + TRY),
        (["--omp", "thread=4"], "[ERR.] PJM 0001 pjsub Unknown option or no option argument: --omp.\n" + TRY),
        (["-s", "-S"], "[ERR.] PJM 0002 pjsub Invalid combination: -s and -S.\n" + TRY),
        (["--bulk", "--step", "--sparam", "0-1"], "[ERR.] PJM 0002 pjsub Invalid combination: --bulk and --step.\n" + TRY),
        (["--mpi", "procs=4"], "[ERR.] PJM 0003 pjsub Unknown option argument: --mpi procs=4.\n" + TRY),
        (["-L", "nodes=4"], "[ERR.] PJM 0003 pjsub Unknown option argument: -L nodes=4.\n" + TRY),
        (["-L", "gpu=4"], "[ERR.] PJM 0003 pjsub Unknown option argument: -L gpu=4.\n" + TRY),
        (["-L", "vnode=1"], "[ERR.] PJM 0003 pjsub Unknown option argument: -L vnode=1.\n" + TRY),
        (["--llio", "tmp=4Gi"], "[ERR.] PJM 0003 pjsub Unknown option argument: --llio tmp=4Gi.\n" + TRY),
        (["-L", "node=4x6:strict"], "[ERR.] PJM 0004 pjsub Invalid option argument: -L node=4x6:strict.\n"),
        (["-L", "node=0"], "[ERR.] PJM 0004 pjsub Invalid option argument: -L node=0.\n"),
        (["-L", "elapse=1:2:3:4"], "[ERR.] PJM 0004 pjsub Invalid option argument: -L elapse=1:2:3:4.\n"),
        (["-L", "node-mem=4GB"], "[ERR.] PJM 0004 pjsub Invalid option argument: -L node-mem=4GB.\n"),
        (["--llio", "stripe-count=25"], "[ERR.] PJM 0004 pjsub Invalid option argument: --llio stripe-count=25.\n"),
        (["--llio", "async-close=yes"], "[ERR.] PJM 0004 pjsub Invalid option argument: --llio async-close=yes.\n"),
        (["-N", "4th"], "[ERR.] PJM 0004 pjsub Invalid option argument: -N 4th.\n"),
        (["-N", "a/b"], "[ERR.] PJM 0004 pjsub Invalid option argument: -N a/b.\n"),
        (["-N", "n" * 64], f"[ERR.] PJM 0004 pjsub Invalid option argument: -N {'n' * 64}.\n"),
        (["--mpi", "rank-map-bychip:XY"], "[ERR.] PJM 0004 pjsub Invalid option argument: --mpi rank-map-bychip=XY.\n"),
        (["--mpi", "rank-map-bychip,rank-map-bynode"],
         "[ERR.] PJM 0002 pjsub Invalid combination: rank-map-bynode and rank-map-bychip.\n" + TRY),
        (["--mpi", "proc=49"], "[ERR.] PJM 0048 pjsub Option argument must be less than or equal to 48: proc.\n"),
        (["--mpi", "max-proc-per-node=49"],
         "[ERR.] PJM 0048 pjsub Option argument must be less than or equal to 48: max-proc-per-node.\n"),
        (["-L", "node=2", "--mpi", "proc=9,max-proc-per-node=4"],
         "[ERR.] PJM 0048 pjsub Option argument must be less than or equal to 8: proc.\n"),
        (["--at", "202001010000"],
         "[ERR.] PJM 0056 pjsub The specified execution time is earlier than the current time: 202001010000.\n"),
        (["--bulk", "--sparam", "3-1"], "[ERR.] PJM 0004 pjsub Invalid option argument: --sparam 3-1.\n"),
        (["--step", "--sparam", "jid=64856"], "[ERR.] PJM 0012 pjsub Job 64856 does not exist.\n"),
        (["--step", "--sparam", "jid=1,jnam=a"], "[ERR.] PJM 0002 pjsub Invalid combination: jid and jnam.\n" + TRY),
        (["--step", "--sparam", "sn=65535"], "[ERR.] PJM 0060 pjsub Step number overflowed.\n"),
        (["--interact"], "[ERR.] PJM 0070 pjsub No execute permission.\n"),
        (["--llio", "localtmp-size=50Gi,sharedtmp-size=50Gi"],
         "[ERR.] PJM 0049 pjsub Option argument is invalid. sharedtmp-size + localtmp-size must be less than or equal to "
         "93415538688.\n"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)  # fmt: skip
def test_a_wrong_option_is_refused_in_pjms_words(pjm: PJM, options: list[str], words: str) -> None:
    assert refusal(pjm, *LEAST, *options) == words


@pytest.mark.parametrize(
    "options",
    [  # a value out of what the Command Reference allows (p.76-90)
        "-L node=4x6x8:mesh:strict", "-L node=12:noncont:io-exclusive", "-L node=12:io-exclusive", "-L node=1x2x3x4", "-L node=2147483648",
        "-L node=4:strict:torus", "-L elapse=2147483648", "-L elapse=2h-1h", "-L elapse=1d", "-L proc-openfd=1048577", "-L proc-stack=8MB",
        "-L node-mem=1Gb", f"-L rscunit={'u' * 64}", "--llio cn-cache-size=1Mi", "--llio stripe-size=32Ki", "--llio stripe-count=0",
        "--llio perf=on", "--llio localtmp-size", "--mpi proc=0", "--mpi proc", "--mpi shape=2", "--mpi rank-map-bynode=X",
        "--mpi rank-map-bynode=XX", "--mpi assign-online-node=1", "-m q", "--net-route fast", "-w wait", "-z id", "-x 1A=2",
        f"--comment {'c' * 256}", "--at 20301301", "--at tomorrow",
    ],
)  # fmt: skip
def test_a_value_out_of_bounds_is_refused(pjm: PJM, options: str) -> None:
    shape = () if "node=" in options else ("-L", "node=2x3x2")
    assert refusal(pjm, *LEAST, *shape, *options.split()).startswith("[ERR.] PJM 0004 pjsub Invalid option argument: ")


@pytest.mark.parametrize(
    "options",
    ["-L node=4x6x8:torus:strict-io", "-L node=4x6x8:torus:strict:no-io-exclusive", "-L node=12:torus:io-exclusive", "-L ru=rscunit_ft01",
     "-L node=12:noncont:no-io-exclusive", "-L proc-core=unlimited", "--llio stripe-size=64Ki,perf", "--mpi assign-online-node",
     "--mpi shape=2x3", "-m b,e,r", "-w nowait", "--net-route static", f"--comment {'c' * 255}", "-jS", "--rsc-list=node=3"],
)  # fmt: skip
def test_a_value_at_its_bounds_is_accepted(pjm: PJM, options: str) -> None:
    shape = ("-L", "node=2x3") if "shape" in options else ()
    accepted(pjm, *LEAST, *shape, *options.split())


def test_a_prefix_of_directives_has_at_most_63_characters(pjm: PJM) -> None:
    assert refusal(pjm, *LEAST, "-C", "#" + "p" * 63).startswith("[ERR.] PJM 0004 pjsub ")


def test_of_restart_and_norestart_the_last_one_counts(pjm: PJM) -> None:
    assert accepted(pjm, *LEAST, "--restart", "--norestart")["restart"] is False
    assert accepted(pjm, *LEAST, "--norestart", "--restart")["restart"] is True


def test_more_than_64_custom_resources_are_refused(pjm: PJM) -> None:
    pjm.set(custom={f"c{number}": "any" for number in range(65)}, custom_defaults={})
    given = ",".join(f"c{number}=1" for number in range(65))
    assert refusal(pjm, *LEAST, "-L", given) == "[ERR.] PJM 0077 pjsub Too many custom resources specified.\n"


def test_a_hostfile_for_ranks_by_node_may_be_short_and_repeat_nodes(pjm: PJM) -> None:
    (pjm.work / "hosts").write_text("(1)\n(0)\n(1)\n")
    options = (*LEAST, "-L", "node=2", "--mpi", "proc=6,max-proc-per-node=4,rank-map-bynode,rank-map-hostfile=hosts")
    assert accepted(pjm, *options)["mpi"]["order"] == [1, 0, 1]


def test_an_option_without_its_argument_is_refused(pjm: PJM) -> None:
    words = "[ERR.] PJM 0001 pjsub Unknown option or no option argument: -L.\n"
    assert pjm.pjsub(pjm.script("true"), "-L").stderr == words + TRY


def test_a_priority_out_of_range_is_refused(pjm: PJM) -> None:
    assert refusal(pjm, *LEAST, "-p", "256").startswith("[ERR.] PJM 0046 pjsub ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('#!/bin/bash\n#PJM -L "node=4\n', "[ERR.] PJM 0008 pjsub Option arguments must be enclosed in quotation mark.\nScript file job.sh line 2.\n"),
        (f"#!/bin/bash\n\n#PJM -N {'n' * 4096}\n", "[ERR.] PJM 0025 pjsub Line length too long.\nScript file job.sh line 3.\n"),
        ("#!/bin/bash\n#PJM --nodes 4\n", "[ERR.] PJM 0001 pjsub Unknown option or no option argument: --nodes.\n" + TRY),
        ("#!/bin/bash\n#PJM -L node=$N\n", "[ERR.] PJM 0004 pjsub Invalid option argument: -L node=$N.\n"),
        ("#!/bin/bash\r\n#PJM -L node=4\r\n", "[ERR.] PJM 0004 pjsub Invalid option argument: -L node=4\r.\n"),
    ],
    ids=["quote", "long line", "unknown option", "shell variable", "CRLF"],
)  # fmt: skip
def test_a_wrong_directive_is_refused_in_pjms_words(pjm: PJM, text: str, words: str) -> None:
    assert refusal(pjm, *LEAST, text=text) == words.replace("\r", "\n")  # as a reader of text sees a lone \r


def test_options_beyond_64_in_a_line_are_ignored_with_a_warning(pjm: PJM) -> None:
    (pjm.work / "job.sh").write_text(f"#!/bin/bash\n#PJM {'-j ' * 64}-N late\ntrue\n")
    done = pjm.pjsub(*LEAST, "job.sh")
    assert (
        done.stderr
        == "[WARN] PJM 0024 pjsub Too many arguments in script file.\nScript file job.sh line 2.\nIgnore the subsequent options: -N late.\n"
    )
    assert pjm.job("1")["name"] == "job.sh"


def test_two_scripts_are_refused(pjm: PJM) -> None:
    pjm.script("true")
    assert pjm.pjsub("job.sh", "job.sh").stderr == "[ERR.] PJM 0023 pjsub Multiple script files specified.\n" + TRY


def test_a_script_that_cannot_be_read_is_refused(pjm: PJM) -> None:
    assert pjm.pjsub("missing.sh").stderr == "[ERR.] PJM 0020 pjsub File open failed: missing.sh (2).\n"


def test_the_command_line_wins_over_the_script_and_keys_are_merged(pjm: PJM) -> None:
    text = '#!/bin/bash\n#PJM -L "node=2, elapse=1:00:00"\n#PJM -L elapse=2h\n#PJM -N first\n#PJM -N second\n#PJM -x A=1,B=2\ntrue\n'
    job = accepted(pjm, *LEAST, "-L", "node=4", "-x", "B=3", text=text)
    assert (job["node"]["count"], job["elapse"]["max"], job["name"]) == (4, 7200, "second")
    assert job["export"] == {"A": "1", "B": "3"}


def test_directives_end_at_the_first_command(pjm: PJM) -> None:
    job = accepted(pjm, *LEAST, text="#!/bin/bash\n# a comment\n\n#PJM -N early\necho hi\n#PJM -j\n")
    assert (job["name"], job["join"]) == ("early", False)


def test_only_lines_that_begin_with_the_prefix_and_a_blank_are_directives(pjm: PJM) -> None:
    text = "#!/bin/bash\n #PJM -N indented\n"
    assert accepted(pjm, *LEAST, text=text)["name"] == "job.sh"
    assert (
        accepted(pjm, *LEAST, text="#!/bin/bash\n#PJM-N glued\n#PJMX -N other\n#PJM\t-N tab\ntrue\n")["name"] == "tab"
    )


def test_another_prefix_may_be_chosen(pjm: PJM) -> None:
    job = accepted(pjm, *LEAST, "-C", "#X", text="#!/bin/bash\n#PJM -N no\n#X -N yes\ntrue\n")
    assert job["name"] == "yes"


def test_a_comment_behind_the_arguments_and_trailing_blanks_are_ignored(pjm: PJM) -> None:
    job = accepted(pjm, "-L", "rscgrp=small", text="#!/bin/bash\n#PJM -g hp000000          \n#PJM -N a # -N b\ntrue\n")
    assert (job["group"], job["name"]) == ("hp000000", "a")


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("2:00:00", 7200), ("7200", 7200), ("1h30m", 5400), ("90M", 5400), ("1:30", 90), ("2H10S", 7210)],
)
def test_elapse_is_written_in_many_ways(pjm: PJM, written: str, seconds: int) -> None:
    assert accepted(pjm, *LEAST, "-L", f"elapse={written}")["elapse"]["max"] == seconds


@pytest.mark.parametrize(
    ("written", "low", "high"), [("1h-2h", 3600, 7200), ("1h-", 3600, 518400), ("1:00:00-unlimited", 3600, 518400)]
)
def test_elapse_may_adapt(pjm: PJM, written: str, low: int, high: int) -> None:
    assert accepted(pjm, *LEAST, "-L", f"elapse={written}")["elapse"] == {"min": low, "max": high, "adaptive": True}


@pytest.mark.parametrize(
    ("mpi", "nodes", "proc", "per_node"),
    [("proc=8", 4, 8, 2), ("proc=7", 4, 7, 2), ("max-proc-per-node=4", 3, 12, 4), ("proc=9,max-proc-per-node=4", 3, 9, 4),
     ("rank-map-bychip", 3, 3, 1), ("shape=2", 3, 2, 1)],
)  # fmt: skip
def test_the_number_of_ranks_follows_from_mpi(pjm: PJM, mpi: str, nodes: int, proc: int, per_node: int) -> None:
    found = accepted(pjm, *LEAST, "-L", f"node={nodes}", "--mpi", mpi)["mpi"]
    assert (found["declared"], found["per_node"]) == (proc, per_node)


def test_a_hostfile_is_checked_at_submission(pjm: PJM) -> None:
    (pjm.work / "hosts").write_text("# two nodes\n(1)\n\n(0)\n(1)\n")
    options = (*LEAST, "-L", "node=2", "--mpi", "rank-map-hostfile=hosts")
    assert accepted(pjm, *options)["mpi"]["order"] == [1, 0]  # what is beyond the nodes is ignored
    for wrong in ("(0)\n", "(0)\n(0)\n", "(0)\n(2)\n", "(0,0)\n(1,0)\n"):
        (pjm.work / "hosts").write_text(wrong)
        assert pjm.pjsub(*options, "job.sh").returncode == 1, wrong


def test_the_name_is_that_of_the_script_or_stdin(pjm: PJM) -> None:
    (pjm.work / "30b.sh").write_text(BARE)
    pjm.pjsub(*LEAST, "30b.sh")
    pjm.pjsub(*LEAST, stdin=BARE)
    assert [pjm.job(key)["name"] for key in ("1", "2")] == ["J30b.sh", "STDIN"]


def test_z_jid_prints_the_number_alone(pjm: PJM) -> None:
    assert pjm.pjsub(*LEAST, "-z", "jid", pjm.script("true")).stdout == "1\n"


def test_help_is_there(pjm: PJM) -> None:
    done = pjm.pjsub("--help")
    assert (done.returncode, done.stdout[:6]) == (0, "usage:")


def test_the_scripts_text_is_that_of_the_submission(pjm: PJM, tmp_path: Path) -> None:
    pjm.environment["FAKEPJM_MAX_RUN"] = "0"
    job = pjm.submit("echo as submitted")
    pjm.script("echo changed")
    pjm.environment["FAKEPJM_MAX_RUN"] = "1"
    other = pjm.submit("true")
    pjm.wait(other)
    assert pjm.text(f"job.sh.{job}.out") == "as submitted\n"
