"""This process's place among the ranks, as MPI knows it, and a free port of rank 0 that all ranks hear of."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from hpcscale.train.mpi.engine import ENGINE
from hpcscale.train.mpi.library import MPI


@dataclass(frozen=True)
class Place:
    rank: int
    world_size: int
    local_rank: int
    node_rank: int
    nodes: int
    first_host: str  # rank 0's


def place() -> Place:
    """Collective over all ranks: they tell each other the names of their hosts."""
    world = MPI.COMM_WORLD
    with ENGINE.lock:
        hosts = world.allgather(socket.gethostname())
    own = hosts[world.rank]
    names = list(dict.fromkeys(hosts))
    return Place(world.rank, world.size, hosts[: world.rank].count(own), names.index(own), len(names), hosts[0])


def open_port() -> tuple[int, int | None]:
    """Collective over all ranks: a port on which rank 0 listens, and on rank 0 the listening socket (a file descriptor).

    The port is held from here on, so no other job can take it before the process group uses it.
    """
    world = MPI.COMM_WORLD
    listener = None
    if world.rank == 0:
        listener = socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET)
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("", 0))
        listener.listen(4096)
    with ENGINE.lock:
        port = world.bcast(listener.getsockname()[1] if listener is not None else None, 0)
    return port, listener.detach() if listener is not None else None
