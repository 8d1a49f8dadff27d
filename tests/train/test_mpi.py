"""The backend over mpi4py with real ranks: each world is started once and runs all checks of ``tests/train/mpi``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .mpi.checks import CHECKS
from .toys import clean_environment, free_port

BESIDE_PYTHON = str(Path(sys.executable).parent)
MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([BESIDE_PYTHON, os.environ.get("PATH", "")]))
REPOSITORY = Path(__file__).parents[2]
TIMEOUT = 120.0
SIZES = (2, 4)

pytestmark = pytest.mark.skipif(
    MPIEXEC is None, reason="no mpiexec here; the extra `mpi` (pip install mpich) brings one"
)


def mpiexec(ranks: int, program: str, *arguments: str) -> subprocess.Popen[str]:
    assert MPIEXEC is not None
    return subprocess.Popen(
        [
            MPIEXEC,
            "-n",
            str(ranks),
            sys.executable,
            "-W",
            "ignore",
            "-m",
            f"tests.train.mpi.{program}",
            *arguments,
        ],
        cwd=REPOSITORY,
        env={**clean_environment(), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """(exit code, output, errors); mpiexec ends its ranks when it is asked to end."""
    try:
        out, errors = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.terminate()
        out, errors = process.communicate()
        pytest.fail(f"the ranks did not end within {TIMEOUT:g} s: {out}{errors}")
    return process.returncode, out, errors


@pytest.fixture(scope="module", params=SIZES, ids=lambda ranks: f"{ranks} ranks")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, int, str]:
    """A world that ran all checks: (folder with results, ranks, exit code, errors)."""
    folder = tmp_path_factory.mktemp("checks")
    code, _, errors = output(mpiexec(request.param, "checks", str(folder)))
    return folder, request.param, code, errors


@pytest.mark.parametrize("check", [check.__name__ for check in CHECKS])
def test_every_rank_passes(world: tuple[Path, int, int, str], check: str) -> None:
    folder, ranks, _, errors = world
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    problems = [problem for result in found if (problem := result.get(check, "not reached"))]
    assert not problems, "\n".join(problems)
    assert len(found) == ranks, errors


def test_the_ranks_end_in_order(world: tuple[Path, int, int, str]) -> None:
    folder, ranks, code, errors = world
    assert code == 0, errors
    assert len(list(folder.glob("*.left"))) == ranks, "a rank was killed after another had left"
    assert "BAD TERMINATION" not in errors


def lost(folder: Path, way: str, backend: str = "mpi4py") -> tuple[int, str, str]:
    """Two ranks of which the second is lost: (exit code, what the first noticed, errors)."""
    noticed = folder / "noticed"
    code, _, errors = output(mpiexec(2, "lost", way, str(noticed), backend))
    return code, noticed.read_text() if noticed.exists() else "", errors


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("hangs", "MPI all_reduce over ranks 0, 1 timed out after 2 s"),
        ("hangs while a future is pending", "MPI all_reduce over ranks 0, 1 timed out after 2 s"),
        ("hangs before a group", "meeting rank 1 through MPI timed out after 2 s"),
        ("hangs before the end", "meeting rank 1 through MPI timed out after 2 s"),
    ],
)
def test_a_rank_that_hangs_ends_the_others_in_time(tmp_path: Path, way: str, words: str) -> None:
    code, noticed, errors = lost(tmp_path, way)
    assert noticed.startswith("node: "), errors
    assert words in noticed
    assert code == 7, "all ranks end with the code given to abort"


def test_a_sub_group_waits_no_longer_than_the_run(tmp_path: Path) -> None:
    code, noticed, errors = lost(tmp_path, "hangs in a sub-group")
    assert noticed.startswith("node: "), errors
    assert code == 7


def test_a_sub_group_of_gloo_waits_no_longer_than_the_run(tmp_path: Path) -> None:
    noticed = (
        tmp_path / "noticed"
    )  # without mpiexec: its ranks never begin to use MPI, and it does not end the one that hangs
    command = [sys.executable, "-m", "tests.train.mpi.lost", "hangs in a sub-group", str(noticed), "gloo"]
    ranks = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    started = [
        subprocess.Popen(command, cwd=REPOSITORY, env={**clean_environment(), **ranks, "RANK": str(rank)})
        for rank in range(2)
    ]
    try:
        assert started[0].wait(timeout=TIMEOUT) == 7
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert noticed.read_text().startswith("node: ")


@pytest.mark.parametrize("way", ["killed", "raised"])
def test_a_rank_that_dies_ends_the_others(tmp_path: Path, way: str) -> None:
    code, _, errors = lost(tmp_path, way)
    assert code != 0, errors


# A dead rank that mpiexec leaves alone cannot be tested with MPICH's: even under -disable-auto-cleanup it signals the others
# (USR1) and in some runs kills them before the time-out. To the others a dead rank is one that hangs, which is tested above.


# --- ranks that find each other through MPI

NO_RANKS = {"PMI_RANK": None, "PMI_SIZE": None, "MPI_LOCALRANKID": None, "MPI_LOCALNRANKS": None}


def met(process: subprocess.Popen[str]) -> dict[str, Any]:
    code, out, errors = output(process)
    assert code == 0, errors
    return json.loads(out.splitlines()[0])


def test_two_jobs_on_one_node_meet_on_two_ports_without_being_told_any() -> None:
    # The first as if its mpiexec set no variable that we know.
    jobs = [mpiexec(2, "meet", "gloo", json.dumps(changes)) for changes in (NO_RANKS, {})]
    unknown, known = (met(job) for job in jobs)
    assert (unknown["launcher"], known["launcher"]) == ("mpi4py", "mpich")
    for found in (unknown, known):
        first, second = found["ranks"]
        parent = first[-1]  # which only the ranks of one job have in common
        assert (first, second) == ([0, 0, found["port"], parent], [1, 1, found["port"], parent])
        assert found["nodes"] == 1
    assert unknown["port"] != known["port"]


def test_communication_through_mpi_needs_no_variable() -> None:
    found = met(mpiexec(2, "meet", "mpi", json.dumps(NO_RANKS)))
    assert [(rank, local) for rank, local, _, _ in found["ranks"]] == [(0, 0), (1, 1)]


def test_other_numbers_than_mpis_are_refused() -> None:
    found = met(mpiexec(2, "meet", "mpi", json.dumps({**NO_RANKS, "RANK": "3", "WORLD_SIZE": "4"})))
    assert "torchrun says rank 3 of 4, but MPI says rank" in found["refused"]
    assert "torchrun starts no MPI programs" in found["refused"]
