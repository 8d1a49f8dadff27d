"""Registers the process group as c10d's backend ``mpi4py``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import torch.distributed as dist

from hpcscale.train.mpi import BACKEND
from hpcscale.train.mpi.group import MpiGroup
from hpcscale.train.mpi.library import MPI
from hpcscale.train.mpi.world import WorldError, communicator


def register() -> None:
    """Makes ``init_process_group("mpi4py", ...)`` possible. Any store will do, also one that no other rank can see."""
    if MPI.Query_thread() < MPI.THREAD_SERIALIZED:
        raise WorldError(
            "MPI was initialised for a single thread, but transfers go on in a second one; import hpcscale before mpi4py.MPI, "
            "or use an MPI library with MPI_THREAD_SERIALIZED"
        )
    if not hasattr(dist.Backend, BACKEND.upper()):
        dist.Backend.register_backend(BACKEND, _create, extended_api=True, devices=["cpu"])


def _create(options: Any, backend_options: Any) -> MpiGroup:
    """Called by c10d in every member of a new group. The default group's list of ranks is empty."""
    world = MPI.COMM_WORLD
    ranks = list(options.global_ranks_in_group) or list(range(options.group_size))
    if len(ranks) > world.size or ranks[options.group_rank] != world.rank:
        raise WorldError(
            f"torch's rank {ranks[options.group_rank]} of {len(ranks)} is MPI's rank {world.rank} of {world.size}; "
            "the two must be numbered alike"
        )
    timeout = options.timeout
    if dist.is_initialized():  # for a new group torch takes half an hour, whatever the default group was given
        timeout = min(timeout, _timeout_of(dist.group.WORLD, timeout))
    return MpiGroup(communicator(ranks, timeout.total_seconds()), ranks, options.group_id, timeout)


def _timeout_of(group: Any, otherwise: timedelta) -> timedelta:
    return group.timeout if isinstance(group, MpiGroup) else otherwise
