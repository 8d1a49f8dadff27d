"""The process group: which backend, which device, joining and leaving, and the few collectives of the step loop.

A run of one process joins nothing: every helper here then answers for itself.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore, PrefixStore, Store, TCPStore

from hpcscale.train import mpi
from hpcscale.train.rendezvous import Rendezvous, RendezvousError

TIMEOUT_VARIABLE = "HPCSCALE_COLLECTIVE_TIMEOUT_SECONDS"
TIMEOUT_SECONDS = 1800.0


def backend_for(wanted: str, cuda: bool) -> str:
    """``auto`` is NCCL on NVIDIA GPUs, else Gloo; ``mpi`` is torch's own MPI where it was built in, else ours."""
    if wanted == "auto":
        return "nccl" if cuda else "gloo"
    if wanted == "mpi":
        return "mpi" if dist.is_mpi_available() else mpi.BACKEND
    return wanted


def device_for(place: Rendezvous, cuda: bool) -> torch.device:
    """The device of this rank. Sites differ in whether a task sees one GPU or all of its node's, hence the modulo."""
    if not cuda:
        return torch.device("cpu")
    return torch.device("cuda", place.local_rank % torch.cuda.device_count())


def timeout_seconds(environment: Mapping[str, str] = os.environ) -> float:
    """How long a collective waits for the slowest rank before the run is given up."""
    text = environment.get(TIMEOUT_VARIABLE)
    try:
        seconds = float(text) if text else TIMEOUT_SECONDS
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise RendezvousError(f"{TIMEOUT_VARIABLE} is '{text}'; it must be a number of seconds greater than 0")
    return seconds


def connect(place: Rendezvous, backend: str, device: torch.device, timeout: float) -> None:
    """Joins the process group; does nothing for a single process."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if place.world_size == 1:
        return
    limit = timedelta(seconds=timeout)
    if backend == mpi.BACKEND:
        _connect_through_mpi4py(place, limit)
    elif backend == "mpi":  # torch's own: MPI numbers the ranks
        dist.init_process_group(backend, timeout=limit)
        if (dist.get_rank(), dist.get_world_size()) != (place.rank, place.world_size):
            raise RendezvousError(
                f"{place.launcher} says rank {place.rank} of {place.world_size}, but torch's MPI says rank "
                f"{dist.get_rank()} of {dist.get_world_size()}; start the ranks with the mpiexec of torch's MPI library"
            )
    else:
        dist.init_process_group(
            backend,
            # torchrun's agent keeps the store; its variables lead there.
            init_method="env://" if place.launcher == "torchrun" else None,
            store=None if place.launcher == "torchrun" else _store(place, limit),
            rank=place.rank,
            world_size=place.world_size,
            timeout=limit,
            device_id=device if device.type == "cuda" else None,
        )


def _connect_through_mpi4py(place: Rendezvous, timeout: timedelta) -> None:
    if not mpi.available():
        raise RendezvousError(
            "communication mpi needs mpi4py, or a torch that was built with MPI; this Python has neither (pip install mpi4py)"
        )
    from hpcscale.train.mpi.backend import register

    register()
    # Everything goes through MPI: the store, which c10d wants, is this process's own.
    dist.init_process_group(
        mpi.BACKEND, store=HashStore(), rank=place.rank, world_size=place.world_size, timeout=timeout
    )


def _store(place: Rendezvous, timeout: timedelta) -> Store:
    """The key-value store at which the ranks meet. Rank 0 serves it."""
    try:
        store = TCPStore(
            place.master_address,
            place.master_port,
            place.world_size,
            is_master=place.rank == 0,
            timeout=timeout,
            wait_for_workers=False,
            master_listen_fd=place.listener,
        )
    except RuntimeError as error:
        if re.search("EADDRINUSE|already in use", str(error)):
            raise RendezvousError(
                f"port {place.master_port} of {socket.gethostname()}, at which the ranks should meet, is in use by another "
                "program; set MASTER_PORT to a free one, the same for all ranks"
            ) from None
        raise
    # Should two programs meet at one port after all, neither reads the other's keys.
    return PrefixStore(place.name, store)


def limit_wait(group: dist.ProcessGroup, timeout: float) -> None:
    """Gives a sub-group the run's time-out: torch gives each new one half an hour (NCCL's ten minutes) of its own."""
    set_timeout = getattr(group, "set_timeout", None)  # newer torch, and ours
    if set_timeout is not None:
        set_timeout(timedelta(seconds=timeout))
    else:
        dist.distributed_c10d._set_pg_timeout(timedelta(seconds=timeout), group)


def disconnect() -> None:
    """Leaves the process group and, where this process is an MPI program, ends MPI: mpiexec takes any other end for a crash.

    To be called by all ranks, when all is well. One that does not come is waited for until the collective time-out.
    """
    if dist.is_initialized():
        dist.destroy_process_group()
    if mpi.loaded():
        from hpcscale.train.mpi.world import finalize

        finalize(timeout_seconds())


def abort(code: int) -> None:
    """Ends all ranks of an MPI program at once, with exit code ``code``; returns where this is none (or MPI has ended)."""
    if mpi.loaded():
        from hpcscale.train.mpi.world import abort as abort_all

        abort_all(code)


def gather_numbers(values: list[float], device: torch.device) -> list[list[float]]:
    """Each rank's ``values``, by rank, on every rank; one collective of 8 bytes a value and rank."""
    if not dist.is_initialized():
        return [values]
    own = torch.tensor(values, dtype=torch.float64, device=device)
    rows = own.new_empty((dist.get_world_size(), len(values)))
    dist.all_gather(list(rows.unbind()), own)
    return rows.tolist()


def gather_objects(value: Any) -> list[Any]:
    """Each rank's ``value`` (anything that pickles), by rank, on every rank."""
    if not dist.is_initialized():
        return [value]
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, value)
    return gathered
