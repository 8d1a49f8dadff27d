"""Ranks that really communicate: FAKEPJM_REAL_MPI=1 lets the host's MPICH start them under PLE's rules and words."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from .system import PJM

REPOSITORY = Path(__file__).parents[2]
MPIEXEC = Path(sys.executable).parent / "mpiexec"
# As hpcscale's profile of Fugaku launches its ranks.
LAUNCH = "mpiexec -n {ranks} -std-proc out/%/1000r/rank numactl -m 4-7 -N 4-7 {program}"
PROGRAM = """
import os, sys
from mpi4py import MPI
world = MPI.COMM_WORLD
print(os.environ["PMIX_RANK"], world.rank, world.allreduce(1), flush=True)
if world.rank == 1:
    if sys.argv[1] == "abort":
        world.Abort(7)
    if sys.argv[1] == "exit":
        os._exit(3)
world.Barrier()
"""

pytestmark = pytest.mark.skipif(
    not MPIEXEC.exists() and not shutil.which("mpiexec.hydra"), reason="no MPICH here; the extra `mpi` brings one"
)


@pytest.fixture
def mpi(pjm: PJM) -> PJM:
    pjm.environment["FAKEPJM_REAL_MPI"] = "1"
    pjm.login(OMP_NUM_THREADS="1", PYTHONPATH=str(REPOSITORY))
    (pjm.work / "program.py").write_text(PROGRAM)
    return pjm


def submit(pjm: PJM, program: str, ranks: int) -> tuple[str, str]:
    """What the script wrote: its output and errors."""
    launch = LAUNCH.format(ranks=ranks, program=f"{sys.executable} {program}")
    job = pjm.submit(f"{launch}; echo code $?", f"-L node={ranks}", "--mpi max-proc-per-node=1")
    pjm.wait(job, timeout=120)
    return pjm.text(f"job.sh.{job}.out"), pjm.text(f"job.sh.{job}.err")


def test_ranks_meet_under_the_numbers_that_pmix_says(mpi: PJM) -> None:
    assert submit(mpi, "program.py none", 4) == ("code 0\n", "")
    assert [mpi.text(f"out/0/rank.1.{rank}") for rank in range(4)] == [f"{rank} {rank} 4\n" for rank in range(4)]


@pytest.mark.parametrize(("way", "code", "words"), [("abort", 7, "PLE 0019 plexec One of MPI processes was aborted.(rank=1)"),
                                                    ("exit", 3, "PLE 0014 plexec The process terminated abnormally.(rank=1)")])  # fmt: skip
def test_the_rank_that_fails_is_named(mpi: PJM, way: str, code: int, words: str) -> None:
    out, err = submit(mpi, f"program.py {way}", 2)
    assert out == f"code {code}\n"
    assert words in err


def test_ranks_that_mpich_does_not_end_are_ended(mpi: PJM) -> None:
    launcher = mpi.work / "launcher.sh"
    launcher.write_text('#!/bin/bash\necho "1.0 3" > "$(dirname "${@: -1}")/failed.1"\nexec sleep 600\n')
    launcher.chmod(0o755)
    mpi.login(FAKEPJM_MPIEXEC=str(launcher))
    out, err = submit(mpi, "program.py none", 2)
    assert out == "code 3\n"
    assert "PLE 0014 plexec The process terminated abnormally.(rank=1)" in err
