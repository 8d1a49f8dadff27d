"""Ranks that really communicate: the host's MPICH starts this module once for each rank, and it becomes the rank's program."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

from . import processes

TYPE_CHECKING = False  # as in typing, which takes long to import
if TYPE_CHECKING:
    from .mpiexec import Run

# MPICH takes PMIX_NAMESPACE for the offer of a PMIx server; its own launcher speaks the first PMI.
VARIABLES = {"MPIR_CVAR_PMI_VERSION": "1"}
PATIENCE, POLL = 10.0, 0.2  # seconds
# What MPICH prints in a rank that calls MPI_Abort.
ABORTED = b"application called MPI_Abort"
SHIM = "import sys; sys.path.insert(0, sys.argv[1]); from fakepjm.real_mpi import as_rank; as_rank(sys.argv[2])"


def start(run: Run) -> int:
    from .mpi_options import ple
    from .mpiexec import end_with_signals

    program = host_mpiexec()
    if program is None:
        raise ple(
            2, "PLE service error occurred.(FAKEPJM_REAL_MPI needs MPICH's mpiexec beside Python, or FAKEPJM_MPIEXEC)"
        )
    processes.adopt_orphans()
    end_with_signals()
    folder = run.store.file(run.job["key"], f"mpi.{run.count}")
    os.makedirs(folder)
    for rank in range(run.started):
        out, err = run.files.open(rank)
        for file in {out, err}:
            os.close(file)
    plan = os.path.join(folder, "plan.json")
    with open(plan, "w", encoding="utf-8") as file:
        json.dump([plan_of(run, rank) for rank in range(run.started)], file)
    packages = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    command = [program, "-launcher", "fork", "-n", str(run.started), sys.executable, "-IS", "-c", SHIM, packages, plan]
    with open(os.path.join(folder, "mpiexec.log"), "wb") as log:
        started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    code = wait(started, folder)
    processes.kill_below(os.getpid())
    aborting = next((rank for rank in range(run.started) if printed_abort(run, rank)), None) if code else None
    run.files.drop_empty(run.started)
    if aborting is not None:
        return run.explain(aborting, code, aborted=True)
    failure = first_failure(folder, code)
    return run.explain(*failure, aborted=False) if failure else 0


def wait(started: subprocess.Popen[bytes], folder: str) -> int:
    """MPICH's exit code. It ends the other ranks when one has failed; where it does not, as happens on a busy host, PLE would."""
    patience = PATIENCE
    while True:
        try:
            return started.wait(timeout=POLL)
        except subprocess.TimeoutExpired:
            patience -= POLL if first_failure(folder, 0) else 0
            if patience <= 0:
                started.kill()


def host_mpiexec() -> str | None:
    beside = os.path.join(os.path.dirname(sys.executable), "mpiexec")
    return os.environ.get("FAKEPJM_MPIEXEC") or (
        beside if os.access(beside, os.X_OK) else shutil.which("mpiexec.hydra")
    )


def plan_of(run: Run, rank: int) -> dict:
    return {
        "command": run.command(rank),
        "variables": {**run.variables(rank), **VARIABLES},
        "stdin": run.launch.stdin,
        "out": run.files.path(rank, "out"),
        "err": run.files.path(rank, "err"),
    }


def as_rank(plan: str) -> None:
    """Runs as one of MPICH's processes: starts the rank's program beneath and writes down how it ended.

    The program stays in this process's group, and inherits MPICH's connection and variables.
    """
    import time

    from .ranks import become

    rank = int(os.environ["PMI_RANK"])
    with open(plan, encoding="utf-8") as file:
        mine = json.load(file)[rank]
    out = os.open(mine["out"], os.O_WRONLY | os.O_APPEND)
    err = out if mine["err"] == mine["out"] else os.open(mine["err"], os.O_WRONLY | os.O_APPEND)
    child = os.fork()
    if not child:
        try:
            become(mine["command"], {**os.environ, **mine["variables"]}, mine["stdin"], out, err)
        finally:
            os._exit(127)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        with open(os.path.join(os.path.dirname(plan), f"failed.{rank}"), "w", encoding="utf-8") as file:
            file.write(f"{time.monotonic()} {status}")
    os._exit(status if status >= 0 else 128 - status)


def first_failure(folder: str, code: int) -> tuple[int, int] | None:
    """(rank, status) of the rank that failed first; MPICH ends the others."""
    failures = []
    for name in os.listdir(folder):
        if name.startswith("failed."):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                moment, status = file.read().split()
            failures.append((float(moment), int(name.split(".")[1]), int(status)))
    if failures:
        _, rank, status = min(failures)
        return rank, status
    return (0, code) if code else None


def printed_abort(run: Run, rank: int) -> bool:
    try:
        with open(run.files.path(rank, "err"), "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 4096))
            tail = file.read()
    except OSError:
        return False
    return ABORTED in tail
