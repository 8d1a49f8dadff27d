"""What the site lets through: groups, places, ranges, custom resources. Texts as on Fugaku."""

from __future__ import annotations

import pytest

from .system import PJM

# DeepSpeedFugaku's 30B benchmark (rioyokotalab/DeepSpeedFugaku, 30b_pp48_mp4_dp16.sh), blanks behind -g included.
HEADER_30B = (
    "#!/bin/bash -x\n"
    '#PJM -L "rscunit=rscunit_ft01,rscgrp=large"\n'
    "#PJM -L elapse=2:00:00\n"
    '#PJM -L "node=3072"\n'
    '#PJM --mpi "proc=3072"\n'
    '#PJM --mpi "max-proc-per-node=1"\n'
    "#PJM -g hp000000          \n"
    "#PJM -x PJM_LLIO_GFSCACHE=/vol0003:/vol0004\n"
    "#PJM -j\n"
    "#PJM -S\n"
    "\n"
)
# Fugaku-LLM's 13B run (13b_pp8_tp6_dp288_outer.sh), with the placeholder group.
HEADER_13B = (
    "#!/bin/bash -x\n"
    '#PJM -L "rscunit=rscunit_ft01,rscgrp=ppu2023"\n'
    '#PJM --rsc-list "proc-openfd=65536"\n'
    "#PJM -L elapse=165:00:00\n"
    '#PJM -L "node=48x6x48:torus:strict-io"\n'
    '#PJM -L "freq=2200"\n'
    '#PJM -L "throttling_state=0"\n'
    '#PJM -L "issue_state=0"\n'
    '#PJM -L "ex_pipe_state=0"\n'
    '#PJM -L "eco_state=0"\n'
    '#PJM -L "retention_state=0"\n'
    '#PJM --mpi "proc=1"\n'
    '#PJM --mpi "max-proc-per-node=1"\n'
    "#PJM -g hp000000\n"
    "#PJM -x PJM_LLIO_GFSCACHE=/vol0003:/vol0004:/vol0005:/vol0006\n"
    "#PJM --llio localtmp-size=50Gi\n"
    "#PJM --llio sio-read-cache=off\n"
    "#PJM -j\n"
    "#PJM -S\n"
)


def refusal(pjm: PJM, *options: str) -> str:
    (pjm.work / "job.sh").write_text("#!/bin/bash\ntrue\n")
    done = pjm.pjsub(*options, "job.sh")
    assert (done.returncode, pjm.jobs()) == (1, [])
    return done.stderr


GROUP = ("-g", "hp000000")


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ("node=1,rscgrp=large", "0054 pjsub node=1 is less than the lower limit (385)."),
        ("rscgrp=small,elapse=100:00:00", "0057 pjsub elapse=360000 is greater than the upper limit (259200)."),
        ("rscgrp=small,elapse=10", "0054 pjsub elapse=10 is less than the lower limit (60)."),
        ("rscgrp=small,elapse=1h-200h", "0057 pjsub elapse=720000 is greater than the upper limit (518400)."),
        ("rscgrp=small,node=20x20", "0057 pjsub node=400 is greater than the upper limit (384)."),
        ("node=1", "0069 pjsub rscgrp in -L option is not specified."),
        ("rscgrp=nosuch", "0058 pjsub rscgrp=nosuch does not exist."),
        ("rscgrp=small,rscunit=nosuch", "0058 pjsub rscunit=nosuch does not exist."),
        ("rscgrp=small,freq=2100", "0076 pjsub freq=2100 cannot be specified. The value must be specified as follows:\n2000,2200"),
        ("rscgrp=small,exepjrsh=2", "0057 pjsub exepjrsh=2 is greater than the upper limit (1)."),
        ("rscgrp=small,node-mem=32Gi", "0057 pjsub node-mem=34359738368 is greater than the upper limit (30739333120)."),
        ("rscgrp=int", "0070 pjsub No execute permission."),
        ("rscgrp=large,node=8x8x8:mesh", "0004 pjsub Invalid option argument: -L node=8x8x8:mesh."),
    ],
)  # fmt: skip
def test_what_is_out_of_range_is_refused_in_pjms_words(pjm: PJM, resources: str, words: str) -> None:
    assert refusal(pjm, *GROUP, "-L", resources) == f"[ERR.] PJM {words}\n"


def test_a_stopped_resource_group_is_refused(pjm: PJM) -> None:
    pjm.set(rscgrp={"small": {"node": [1, 384], "elapse": [60, 3600], "stopped": True}})
    assert refusal(pjm, *GROUP, "-L", "rscgrp=small") == "[ERR.] PJM 0059 pjsub rscgrp=small is disabled.\n"


def test_without_a_group_nothing_is_submitted(pjm: PJM) -> None:
    assert refusal(pjm, "-L", "rscgrp=small").startswith(
        "[ERR.] PJM 0071 pjsub Group not authorized to submit a job: group("
    )
    assert (
        refusal(pjm, "-L", "rscgrp=small", "-g", "59999")
        == "[ERR.] PJM 0071 pjsub Group not authorized to submit a job: group(59999)\n"
    )


def test_jobs_are_submitted_from_a_data_area(pjm: PJM) -> None:
    script = pjm.script("true")
    elsewhere = pjm.home
    done = pjm.pjsub(script, cwd=elsewhere)
    assert (done.returncode, done.stderr) == (
        1,
        f"The current directory is not a data area. (directory: {elsewhere})\n"
        "Specify --no-check-directory option if you want to submit jobs outside the data area.\n",
    )
    assert pjm.pjsub("--no-check-directory", script, cwd=elsewhere).returncode == 0


def test_spack_needs_its_volume(pjm: PJM) -> None:
    script = pjm.script(". /vol0004/apps/oss/spack/share/spack/setup-env.sh")
    assert pjm.pjsub(script).stderr == (
        "If you use Spack, set PJM_LLIO_GFSCACHE to /vol0004.(ex. pjsub -x PJM_LLIO_GFSCACHE=/vol0004)\n"
        "Specify --no-check-gfscache option if you do not want to use Spack and want to submit jobs.\n"
    )
    assert pjm.pjsub("-x", "PJM_LLIO_GFSCACHE=/vol0003:/vol0004", script).returncode == 0
    assert pjm.pjsub("--no-check-gfscache", script).returncode == 0


def test_too_many_jobs_are_refused(pjm: PJM) -> None:
    pjm.set(accept_limit=2)
    pjm.environment["FAKEPJM_MAX_RUN"] = "0"
    script = pjm.script("true")
    done = [pjm.pjsub(script) for _ in range(3)]
    assert [each.returncode for each in done] == [0, 0, 1]
    assert done[2].stderr == "[ERR.] PJM 0072 pjsub Job exceeded the accept limit: ru-accept.\n"


def test_the_30b_script_is_accepted_and_its_ranks_write_files_of_their_own(pjm: PJM) -> None:
    script = pjm.work / "30b_pp48_mp4_dp16.sh"
    script.write_text(HEADER_30B + "mpirun -np 3072 -std-proc out/stdproc sh -c 'echo $PMIX_RANK of $PJM_MPI_PROC'\n")
    assert pjm.pjsub(script.name).stdout == "[INFO] PJM 0000 pjsub Job 1 submitted.\n"
    job = pjm.wait("1")
    assert (job["ec"], job["pc"]) == (0, 0), pjm.text("J30b_pp48_mp4_dp16.sh.1.out")
    assert sorted(path.name for path in (pjm.work / "out").iterdir()) == sorted(
        f"stdproc.1.{rank}" for rank in range(16)
    )
    assert pjm.text("out/stdproc.1.15") == "15 of 3072\n"
    assert (pjm.home / "jobs/1/emulator.log").read_text() == "fakepjm: truncated 3072 ranks to 16\n"


def test_the_13b_script_may_start_a_rank_on_each_node_although_it_declares_one(pjm: PJM) -> None:
    (pjm.work / "outer.sh").write_text(
        HEADER_13B + "mpirun -n 13824 -std-proc out/stdproc true && echo started\nmpirun -n 13825 true\n"
    )
    assert pjm.pjsub("outer.sh").stdout == "[INFO] PJM 0000 pjsub Job 1 submitted.\n"
    pjm.wait("1")
    output = pjm.text("outer.sh.1.out")
    assert "started\n" in output
    assert "[ERR.] PLE 0005 plexec The specified number of processes is too many.(nid=0x01010001)(CODE=" in output


def test_very_large_jobs_lose_core_retention_with_a_remark(pjm: PJM) -> None:
    (pjm.work / "job.sh").write_text("#!/bin/bash\ntrue\n")
    large = ("-g", "hp000000", "-L", "rscgrp=large,node=9217")
    words = "warn: specification of core retention is invalid because job size is too large.\n"
    assert pjm.pjsub(*large, "job.sh").stderr == words
    assert pjm.pjsub(*large, "-L", "retention_state=0", "job.sh").stderr == ""


def test_pjacl_shows_the_limits(pjm: PJM) -> None:
    text = pjm.run("pjacl").stdout
    assert "RSCUNIT: rscunit_ft01" in text
    assert "385 12288" in text
    assert "00:01:00 72:00:00" in text


def test_wisteria_knows_other_options_and_refuses_bulk_jobs(wisteria: PJM) -> None:
    (wisteria.work / "job.sh").write_text(
        "#!/bin/bash\n#PJM -L rscgrp=debug-o,node=2,elapse=0:10:00\n#PJM -g hp000000\n#PJM --omp thread=12\ntrue\n"
    )
    assert wisteria.pjsub("job.sh").stdout == "[INFO] PJM 0000 pjsub Job 1 submitted.\n"
    assert (
        wisteria.pjsub("--bulk", "--sparam", "0-3", "job.sh").stderr
        == "[ERR.] PJM 0070 pjsub No execute permission: pjsub-bulk.\n"
    )
    assert wisteria.pjsub("--no-check-directory", "job.sh").returncode == 1
    assert wisteria.pjsub("-L", "rscgrp=regular-o,node=1153,elapse=48:00:00", "job.sh").stderr == (
        "[ERR.] PJM 0057 pjsub elapse=172800 is greater than the upper limit (86400).\n"
    )
    assert wisteria.pjsub("-L", "freq=2200", "job.sh").stderr.startswith("[ERR.] PJM 0003 pjsub ")
