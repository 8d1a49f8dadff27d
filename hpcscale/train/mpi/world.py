"""All ranks of the job as MPI knows them: sub-communicators, and leaving in order or at once."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import time
from collections.abc import Callable, Sequence

from hpcscale.train.mpi.engine import ENGINE
from hpcscale.train.mpi.library import MPI

# Tags of COMM_WORLD; all other messages travel in communicators of their own.
MEET_TAG, CREATE_TAG = 1, 2
ACKNOWLEDGED_SECONDS = 2.0


class WorldError(RuntimeError):
    """MPI's world is not what this run needs; the text is the sentence for the user."""


def communicator(ranks: Sequence[int], seconds: float) -> MPI.Intracomm:
    """A communicator of ``ranks``, made by them alone and in their order.

    MPI makes it in a call that blocks for ever if one of them is lost, so they meet first, with a time-out.
    """
    world = MPI.COMM_WORLD
    meet(ranks, seconds)
    with ENGINE.lock:
        everyone = world.Get_group()
        group = everyone.Incl(list(ranks))
        made = world.Create_group(group, CREATE_TAG)
        group.Free()
        everyone.Free()
    return made


def meet(ranks: Sequence[int], seconds: float) -> None:
    """Returns when all of ``ranks`` are here (the dissemination barrier of Hensgen, Finkel and Manber, 1988)."""
    world, count = MPI.COMM_WORLD, len(ranks)
    place, step = list(ranks).index(world.rank), 1
    nothing = bytearray()
    deadline = time.monotonic() + seconds
    while step < count:
        to, source = ranks[(place + step) % count], ranks[(place - step) % count]
        with ENGINE.lock:
            requests = [world.Isend(nothing, to, MEET_TAG), world.Irecv(nothing, source, MEET_TAG)]
        _until(lambda requests=requests: MPI.Request.Testall(requests), deadline, f"meeting rank {source}", seconds)
        step *= 2


def finalize(seconds: float) -> None:
    """Ends MPI in order: what is under way arrives and all ranks meet first, for MPI_Finalize waits without a time-out."""
    if not MPI.Is_finalized():
        ENGINE.drain(seconds)
        meet(range(MPI.COMM_WORLD.size), seconds)
        finalize_library()
    if "MPICH" in MPI.Get_library_version():
        _tell_mpiexec()


def finalize_library() -> None:
    """Ends MPI for ranks that have just heard of each other and live on. To mpiexec they still count as running."""
    with ENGINE.lock:
        MPI.Finalize()


def _tell_mpiexec() -> None:
    """MPICH's word to its mpiexec that this rank has finished, one line of the PMI-1 protocol over the socket PMI_FD.

    MPICH 5 sends it only in C's exit handlers, which the trainer's os._exit does not run; without it mpiexec kills the ranks
    that are still there when the first one leaves. Libraries that send it in MPI_Finalize have closed the socket by now.
    """
    text = os.environ.get("PMI_FD", "")
    with contextlib.suppress(OSError):
        if text.isdigit() and stat.S_ISSOCK(os.fstat(int(text)).st_mode):
            os.write(int(text), b"cmd=finalize\n")
            if select.select([int(text)], [], [], ACKNOWLEDGED_SECONDS)[0]:
                os.read(int(text), 1024)


def abort(code: int) -> None:
    """Ends all ranks at once; returns only where MPI has ended already."""
    if not MPI.Is_finalized():
        MPI.COMM_WORLD.Abort(code)


def _until(done: Callable[[], bool], deadline: float, what: str, seconds: float) -> None:
    while True:
        with ENGINE.lock:
            if done():
                return
        if time.monotonic() > deadline:
            raise WorldError(
                f"{what} through MPI timed out after {seconds:g} s: a rank is lost, hangs or is far behind"
            )
        time.sleep(20e-6)
