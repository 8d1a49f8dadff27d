"""Ranks of which one is lost, in several ways: ``mpiexec -n N python -m tests.train.mpi.lost WAY FILE [BACKEND]``. Rank 0 writes what it noticed."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

from hpcscale.train import communication
from hpcscale.train.failures import classify
from hpcscale.train.rendezvous import locate

TIMEOUT_SECONDS = 2.0


def be_lost(way: str) -> None:
    """What becomes of rank 1."""
    if way == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if way == "raised":
        raise RuntimeError("a mistake of rank 1")
    if way == "left":
        os._exit(0)
    while True:  # it hangs, in a collective of its own or in none
        time.sleep(1)


def main() -> None:
    way, noticed, backend = [*sys.argv[1:], "mpi4py"][:3]
    place = locate(os.environ, "mpi" if backend == "mpi4py" else backend)
    communication.connect(place, backend, torch.device("cpu"), TIMEOUT_SECONDS)
    group = dist.new_group([0, 1]) if way == "hangs in a sub-group" else dist.group.WORLD
    assert group is not None
    if way == "hangs in a sub-group":
        communication.limit_wait(group, TIMEOUT_SECONDS)
    tensor = torch.ones(100_000)
    dist.all_reduce(tensor)
    if place.rank == 1:
        be_lost(way)
    try:
        if way == "hangs before a group":
            dist.new_group([0, 1])
        elif way == "hangs before the end":
            os.environ[communication.TIMEOUT_VARIABLE] = str(TIMEOUT_SECONDS)
            communication.disconnect()
        elif way == "hangs while a future is pending":
            work = dist.all_reduce(tensor, async_op=True)
            assert work is not None
            work.get_future().then(lambda future: future.value()).wait()
        else:
            while True:
                dist.all_reduce(tensor, group=group)
    except Exception as error:
        if place.rank == 0:
            # Not to the output: mpiexec may end before it has passed on the last lines.
            Path(noticed).write_text(f"{classify(error)}: {error}")
        communication.abort(7)
        os._exit(7)  # with Gloo nothing but the exit code tells mpiexec


if __name__ == "__main__":
    main()
